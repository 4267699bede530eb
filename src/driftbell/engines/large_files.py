"""Parquet files that are read in parts: how many rows they have, a sample, and all parts one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from driftbell.drift.column_counts import ColumnCounts
from driftbell.engines.count_parts import CountPlan, count_table
from driftbell.engines.samples import TextBudget, first_present, sample_places
from driftbell.errors import ConfigError
from driftbell.tabular.cells import Cells, Form, read_series
from driftbell.tabular.column_options import ColumnOptions
from driftbell.tabular.exact_names import exactly
from driftbell.tabular.files import (
    PANDAS_INDEX,
    PARQUET,
    corrupt_file,
    folder_values,
    list_files,
    missing_or_extra,
    other_type,
    with_categories,
)
from driftbell.tabular.join_cells import join_cells
from driftbell.tabular.number_categories import parquet_categories
from driftbell.tabular.raw_table import RawTable
from driftbell.tabular.typed_column import read_with_options
from driftbell.tabular.zone_setting import any_time_zone

PART_ROWS, PART_COLUMNS = 250_000, 16
"""Rows and columns that are read at a time."""


@dataclass(frozen=True, eq=False)
class LargeFiles:
    """Parquet files with the same columns.

    Attributes:
        path: their folder or pattern, or the one file.
        files: the files, sorted by name.
        rows: number of rows of each.
        schema: Polars type of each column; that of the first file in which the column has values.
        precisions: dtype of numbers in each column, the widest of all files; None for other types.
        categories: columns that pandas wrote as categories.
        folders: columns in the names of folders, such as `year=2026`: the value of each file.
    """

    path: str
    files: tuple[Path, ...]
    rows: tuple[int, ...]
    schema: Mapping[str, Any]
    precisions: Mapping[str, np.dtype[Any] | None]
    categories: frozenset[str]
    folders: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Number of rows of all files."""
        return sum(self.rows)

    @property
    def names(self) -> list[str]:
        """Names of all columns."""
        return list(self.schema)

    def precision(self, name: str) -> np.dtype[Any] | None:
        """Return the widest dtype of the numbers of a column."""
        return self.precisions.get(name)

    def count(self, plan: CountPlan) -> dict[str, ColumnCounts]:
        """Return the counts of the columns of a plan.

        Raises:
            ConfigError: a file cannot be read; the message names it.
        """
        plan = replace(plan, categories=self.categories)
        counts = count_table(self.parts(list(plan.bins)), plan)
        folders = {name: _cells_of_folders(name, values) for name, values in self.folders.items()}
        for name, column in read_with_options(RawTable(folders), plan.options, {}).items():
            if name in counts:
                stored_as = () if column.stored_as == "nulls" else (column.stored_as,)
                counts[name] = replace(counts[name], stored_as=stored_as)
        return counts

    @property
    def detected(self) -> dict[str, Any]:
        """Facts about the files, as `read_file` detects them."""
        return {"format": "Parquet"} | ({"files": len(self.files)} if len(self.files) > 1 else {})

    def parts(self, names: Sequence[str]) -> Iterator[Any]:
        """Yield all rows as Polars frames with some of the rows, and of the columns.

        Raises:
            ConfigError: a file cannot be read; the message names it.
        """
        import polars as pl

        stored = [name for name in names if name not in self.folders]
        values = {name: by_file for name, by_file in self.folders.items() if name in names}
        for i, (file, rows) in enumerate(zip(self.files, self.rows, strict=True)):
            yield from read_parts(file, stored, (0, rows))
            for first in range(0, rows if values else 0, PART_ROWS):
                size = min(PART_ROWS, rows - first)
                cells = {n: pl.repeat(v[i], size, dtype=pl.String, eager=True) for n, v in values.items()}
                yield pl.DataFrame(cells)

    def sample(self, rows: int, names: Sequence[str] | None = None) -> RawTable:
        """Return rows at even distances, all if there are not more, of some columns or of all.

        Raises:
            ConfigError: a file cannot be read; the message names it.
        """
        schema = {name: self.schema[name] for name in (self.names if names is None else names)}
        places = sample_places(self.rows, rows)
        budget = TextBudget(len(places)) if rows < self.total else None
        frames = []
        for index, first, count in places:
            frames.append(self._slice(index, first, budget.rows(count) if budget else count, list(schema)))
            if budget:
                budget.add(frames[-1])
        columns = {n: _joined(n, [frame[n] for frame in frames], dtype) for n, dtype in schema.items()}
        for name in self.folders.keys() & columns.keys():
            columns[name] = replace(columns[name], from_text=True)
        table = RawTable(columns, self.path, self.detected)
        return with_categories(table, self.categories)

    def present(self, options: ColumnOptions, names: Sequence[str]) -> dict[str, Cells]:
        """Return some cells of columns that are not null; those of a column that has any.

        Raises:
            ConfigError: a file cannot be read; the message names it.
        """
        parts = first_present(self.parts(names), names, keep_null_words=options.keeps_null_words)
        cells = {name: _joined(name, some, self.schema[name]) for name, some in parts.items()}
        return {name: replace(c, from_text=name in self.folders) for name, c in cells.items()}

    def _slice(self, index: int, first: int, rows: int, names: Sequence[str]) -> Any:
        import polars as pl

        file = self.files[index]
        with _readable(file):
            frame = _scan(file).slice(first, rows)
            frame = frame.select(exactly([n for n in frame.collect_schema() if n in names])).collect()
        added = {name: values[index] for name, values in self.folders.items() if name in names}
        if not frame.width:  # without a column of the file, the number of rows is lost
            frame = pl.DataFrame({name: pl.repeat(None, rows, dtype=pl.String, eager=True) for name in added})
        return frame.with_columns(pl.lit(v, dtype=pl.String).alias(name) for name, v in added.items())


def open_large(source: str) -> LargeFiles | None:
    """Open Parquet files without reading their rows.

    Returns:
        None if the first file is no Parquet file.

    Raises:
        ConfigError: a file cannot be read, or has other columns or types than the first; the message names
            it.
    """
    path = Path(source)
    files = tuple(list_files(path))
    if not files[0].is_file():
        return None  # a pipe is read once
    try:
        with files[0].open("rb") as first:
            if first.read(len(PARQUET)) != PARQUET:
                return None
    except OSError:
        return None  # `read_file` says why
    import polars as pl

    rows: list[int] = []
    schemas: list[dict[str, Any]] = []
    categories: set[str] = set()
    for file in files:
        with _readable(file):
            table = _scan(file)
            schemas.append(
                {n: t for n, t in table.collect_schema().items() if not n.startswith(PANDAS_INDEX)}
            )
            rows.append(int(table.select(pl.len()).collect().item()))
            with file.open("rb") as content:
                categories |= parquet_categories(content)
    schema, precisions = _common(path, files, schemas)
    folders = folder_values(path, files, schema)
    schema |= dict.fromkeys(folders, pl.String)
    return LargeFiles(source, files, tuple(rows), schema, precisions, frozenset(categories), folders)


def read_parts(
    file: Path, names: Sequence[str], run: tuple[int, int], columns: int = PART_COLUMNS
) -> Iterator[Any]:
    """Yield columns of a file as Polars frames with some of the rows, and of the columns.

    Args:
        file: the file.
        names: names of the columns, which are stored in it.
        run: first row and number of the rows.
        columns: largest number of columns of a frame.

    Raises:
        ConfigError: the file cannot be read, or only some of the rows.
    """
    with any_time_zone():  # threads of Polars read on between two frames
        for first in range(0, len(names), columns):
            read = 0
            with _readable(file):
                table = _scan(file).slice(*run).select(exactly(names[first : first + columns]))
                batches = iter(table.collect_batches(chunk_size=PART_ROWS, maintain_order=False))
            while True:
                with _readable(file):
                    frame = next(batches, None)
                if frame is None:
                    break
                read += frame.height
                yield frame
            if read != run[1]:  # Polars ends the batches where one of its threads fails
                rows = f"only {read:,} of {run[1]:,} rows could be read"
                raise ConfigError(f"cannot read {file}: {rows}; write the file again")


def stored_types(file: Path) -> dict[str, Any]:
    """Return the Polars type of each column of a file.

    Raises:
        ConfigError: the file cannot be read.
    """
    with _readable(file):
        return dict(_scan(file).collect_schema())


def _scan(file: Path) -> Any:
    import polars as pl

    return pl.scan_parquet(file, hive_partitioning=False, glob=False)


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Raise errors of reading a file as errors that name it."""
    import polars as pl

    try:
        with any_time_zone():
            yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise ConfigError(corrupt_file(file, "Parquet", error)) from error


def _common(
    path: Path, files: Sequence[Path], schemas: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[str, np.dtype[Any] | None]]:
    """Return the type of each column, and the widest precision of its numbers.

    Raises:
        ConfigError: a file has other columns, or a column has another type.
    """
    first = schemas[0]
    for file, schema in zip(files, schemas, strict=True):
        missing_or_extra(path, files[0], file, list(first), list(schema))
    types, precisions = {}, {}
    for name in first:
        stored = [(schema[name], file) for schema, file in zip(schemas, files, strict=True)]
        cells = [(*_form(dtype), dtype, file) for dtype, file in stored]
        typed = [cell for cell in cells if cell[0] is not Form.NULLS]
        for form, stored_as, _, file in typed:
            if form is not typed[0][0]:
                raise ConfigError(other_type(path, name, (typed[0][1], typed[0][3]), (stored_as, file)))
        numbers = [p for dtype, _ in stored if (p := number_precision(dtype)) is not None]
        precisions[name] = np.result_type(*numbers) if numbers else None
        types[name] = _widest([dtype for _, _, dtype, _ in typed]) if typed else stored[0][0]
    return types, precisions


def _cells_of_folders(name: str, values: Sequence[str | None]) -> Cells:
    import polars as pl

    return replace(read_series(name, pl.Series(name, values, dtype=pl.String)), from_text=True)


def _joined(name: str, parts: Sequence[Any], dtype: Any) -> Cells:
    """Return the cells of parts of a column, as they are read when the files are read whole.

    Args:
        name: name of the column.
        parts: Polars series.
        dtype: common type of the files, see `_widest`.
    """
    import polars as pl

    stored = {part.dtype for part in parts} - {dtype}
    if not stored:
        return read_series(name, pl.concat(parts))
    if dtype != pl.Datetime:  # Polars casts to no zone such as "+05:30"
        stored -= {pl.Null}
    if not stored or dtype == pl.String or (dtype.is_numeric() and all(t.is_numeric() for t in stored)):
        return read_series(name, pl.concat([part.cast(dtype) for part in parts]))
    return join_cells([read_series(name, part) for part in parts])


def _widest(dtypes: Sequence[Any]) -> Any:
    import polars as pl

    if len(set(dtypes)) == 1:
        return dtypes[0]
    if all(dtype.is_numeric() for dtype in dtypes):
        return pl.Float64
    return pl.String if any(dtype == pl.String for dtype in dtypes) else dtypes[0]


def _form(dtype: Any) -> tuple[Form, str]:
    """Return the form of the cells of a type, and its name for messages."""
    import polars as pl

    if dtype == pl.Null:
        return Form.NULLS, "nulls"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return Form.TEXTS, "text"
    if dtype == pl.Boolean:
        return Form.BOOLEANS, "booleans"
    if dtype in (pl.Date, pl.Datetime):
        return Form.TIMES, "dates"
    if dtype.is_numeric():
        return Form.NUMBERS, "numbers"
    if dtype in (pl.Duration, pl.Time):
        return Form.NUMBERS, "durations" if dtype == pl.Duration else "times of day"
    return Form.NESTED, "bytes" if dtype == pl.Binary else "lists"


def number_precision(dtype: Any) -> np.dtype[Any] | None:
    """Return the precision of the numbers in a column of a Polars type; None if it has no numbers."""
    import polars as pl

    if dtype == getattr(pl, "Float16", None):
        return np.dtype(np.float16)
    if dtype == pl.Float32:
        return np.dtype(np.float32)
    return np.dtype(np.float64) if _form(dtype)[0] in (Form.NUMBERS, Form.TEXTS, Form.BOOLEANS) else None
