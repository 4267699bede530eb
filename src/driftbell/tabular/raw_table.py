"""Tables as their sources store them, before the kinds of the columns are decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

import numpy as np

from driftbell.errors import InputError
from driftbell.phrases import join_names
from driftbell.records import FieldProblem
from driftbell.tabular.cells import Cells, Form, read_array, read_objects, read_series
from driftbell.tabular.number_categories import dictionary_columns

MAX_LENGTHS = 8


@dataclass(frozen=True, slots=True, eq=False)
class RawTable:
    """A table in the types of its source.

    Attributes:
        columns: cells by name, all of one length.
        source: the file; "" for a table in memory.
        detected: what was detected in the file, such as {"separator": ";", "encoding": "utf-8"}.
        decimal: decimal mark of numbers in text; None if each column decides it.
    """

    columns: Mapping[str, Cells]
    source: str = ""
    detected: Mapping[str, Any] = field(default_factory=dict)
    decimal: str | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()), ()))


def read_raw(table: Any) -> RawTable:
    """Read any table in memory.

    Args:
        table: a mapping of sequences or arrays; a table of pandas, Polars (lazy ones are collected), Arrow or
            any library with the Arrow PyCapsule protocol or known to narwhals; a list of mappings (rows);
            or a structured array.

    Raises:
        InputError: it is no table, two columns have the same name, or the columns differ in length.
    """
    if isinstance(table, RawTable):
        return table
    columns = _columns(table)
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        texts = [f"{name} has {length}" for name, length in lengths.items()]
        raise _error("", "length", f"the columns differ in length: {join_names(texts)}")
    return RawTable(columns)


def _columns(table: Any) -> dict[str, Cells]:
    module = type(table).__module__.partition(".")[0]
    if isinstance(table, Iterator):
        table = list(table)
    if isinstance(table, Mapping):
        named: Iterable[tuple[Any, Any]] = table.items()
    elif isinstance(table, np.ndarray) and table.dtype.names:
        named = [(name, table[name]) for name in table.dtype.names]
    elif isinstance(table, list | tuple) and table and all(isinstance(row, Mapping) for row in table):
        names = dict.fromkeys(name for row in table for name in row)
        named = [(name, [row.get(name) for row in table]) for name in names]
    elif module == "polars" and hasattr(table, "collect"):
        named = _frame_columns(table.collect())
    elif module in ("polars", "pyarrow") or (hasattr(table, "__arrow_c_stream__") and module != "pandas"):
        named = _frame_columns(table)
    else:
        named = _narwhals_columns(table)
    pairs = [(_name(name), cells) for name, cells in named]
    check_names([name for name, _ in pairs])
    return {name: _cells(name, cells) for name, cells in pairs}


def check_names(names: list[str]) -> None:
    """Check that no two columns have the same name.

    Raises:
        InputError: two have.
    """
    duplicates = (
        [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if len(set(names)) < len(names)
        else []
    )
    if duplicates:
        texts = join_names(f"'{name}'" for name in duplicates)
        message = f"duplicate column name {texts}: give every column a name of its own"
        raise _error(duplicates[0], "duplicate", message)


def _name(name: Any) -> str:
    if isinstance(name, tuple):  # pandas' levels of names
        return " ".join(str(part) for part in name if str(part))
    return str(name)


def _frame_columns(table: Any) -> list[tuple[str, Any]]:
    """Return the series of a Polars or Arrow table."""
    names = getattr(table, "column_names", None)
    if isinstance(names, list):
        check_names([str(name) for name in names])
    import polars as pl

    if isinstance(table, pl.Series) or type(table).__name__ in ("Array", "ChunkedArray"):
        raise not_a_table(table)
    try:
        frame = table if isinstance(table, pl.DataFrame) else pl.DataFrame(table)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError, ValueError) as error:
        if is_duplicate(str(error)):
            raise _error("", "duplicate", f"duplicate column name: {first_line(error)}") from error
        raise _error("", "type", f"cannot read the {type(table).__name__}: {first_line(error)}") from error
    is_arrow = type(table).__module__.partition(".")[0] == "pyarrow"
    categories = dictionary_columns(table.schema) if is_arrow else frozenset()
    return [
        (s.name, replace(read_series(s.name, s), is_category=True) if s.name in categories else s)
        for s in frame.get_columns()
    ]


def _narwhals_columns(table: Any) -> list[tuple[Any, Any]]:
    if not hasattr(table, "columns") and not hasattr(table, "__narwhals_dataframe__"):
        raise not_a_table(table)
    if type(table).__module__.partition(".")[0] == "pandas":
        names = [_name(name) for name in table.columns]
        check_names(names)
        return [(name, table.iloc[:, i]) for i, name in enumerate(names)]
    import narwhals  # takes 0.1 s to import, and is needed for tables of other libraries only

    try:
        frame: Any = narwhals.from_native(table)
    except TypeError as error:
        raise not_a_table(table) from error
    if isinstance(frame, narwhals.LazyFrame):
        frame = frame.collect()
    return [(name, frame.get_column(name).to_native()) for name in frame.columns]


def not_a_table(table: Any) -> InputError:
    """Return the error about an object that is no table."""
    hint = (
        "pass columns by name, such as {'age': [31, 42]}, a data frame, a list of mappings, or a file's path"
    )
    kind = "None" if table is None else type(table).__name__
    return _error("", "type", f"a table must be a mapping of columns or a data frame, got {kind}: {hint}")


def _cells(name: str, cells: Any) -> Cells:
    if isinstance(cells, Cells):
        return cells
    module = type(cells).__module__.partition(".")[0]
    if module == "polars":
        return read_series(name, cells)
    if module == "pandas":
        return _pandas_cells(name, cells)
    if module == "pyarrow":
        import polars as pl

        return read_series(name, pl.Series(name, cells))
    if isinstance(cells, np.ndarray):
        return read_array(name, cells)
    if isinstance(cells, str | bytes) or (not hasattr(cells, "__iter__") and not hasattr(cells, "__array__")):
        message = f"column '{name}' must be a sequence of cells, got {type(cells).__name__}"
        raise _error(name, "type", message)
    if isinstance(cells, list | tuple | range) or not hasattr(cells, "__array__"):
        return read_objects(name, list(cells))
    return read_array(name, np.asarray(cells))


def _pandas_cells(name: str, series: Any) -> Cells:
    dtype = series.dtype
    if isinstance(dtype, np.dtype):
        return read_array(name, series.to_numpy())
    text = str(dtype)
    if text == "category":
        plain = read_objects(name, [None if v is None or v != v else v for v in series.tolist()])
        if plain.form in (Form.NUMBERS, Form.TEXTS, Form.NULLS):
            return replace(plain, is_category=True)
        cells = read_objects(name, [None if v is None or v != v else str(v) for v in series.tolist()])
        return Cells(cells.form, cells.data, "text", is_category=True)
    numpy_dtype = getattr(dtype, "numpy_dtype", None)  # nullable and Arrow numbers
    if isinstance(numpy_dtype, np.dtype) and numpy_dtype.kind in "fiu":
        if not series.isna().any():
            return read_array(name, series.to_numpy(dtype=numpy_dtype))
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        from_float = numpy_dtype.kind == "f"
        cells = read_array(name, values.astype(numpy_dtype) if from_float else values)
        return Cells(cells.form, cells.data, cells.stored_as, numpy_dtype)
    if text.startswith("datetime64"):
        return read_array(name, series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy())
    if text.startswith("Sparse"):
        return read_array(name, np.asarray(series))
    if hasattr(series.array, "__arrow_array__") and "[pyarrow]" in text:
        import polars as pl

        return read_series(name, pl.Series(name, series.array.__arrow_array__()))
    return read_objects(name, series.tolist())


def is_duplicate(message: str) -> bool:
    """Return whether an error of Polars is about a duplicate column name."""
    return "duplicate" in message.lower() or "more than one occurrence" in message


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error) or type(error).__name__).strip().partition("\n")[0]


def _error(field: str, reason: str, message: str) -> InputError:
    return InputError([FieldProblem(field, reason, message)])


def is_path(table: Any) -> bool:
    """Return whether a table is named by its path."""
    return isinstance(table, str | PathLike)
