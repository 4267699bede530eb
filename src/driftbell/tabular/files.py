"""Read table files: text with separated cells, Parquet, Arrow, JSON, workbooks; also folders and patterns."""

from __future__ import annotations

import glob
import io
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

from driftbell.errors import ConfigError, InputError
from driftbell.phrases import join_names
from driftbell.tabular.cells import Cells, Form, read_series
from driftbell.tabular.compression import decompress
from driftbell.tabular.exact_names import nameless_series
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.join_cells import join_cells
from driftbell.tabular.json_files import is_profile, read_json
from driftbell.tabular.number_categories import arrow_categories, parquet_categories
from driftbell.tabular.raw_table import RawTable, first_line, is_duplicate
from driftbell.tabular.text_files import read_text_table
from driftbell.tabular.text_numbers import decimal_mark, may_be_thousands
from driftbell.tabular.workbooks import read_workbook
from driftbell.tabular.zone_setting import any_time_zone

PARQUET, ARROW, FEATHER_1, ZIP, XLS, SQLITE = (
    b"PAR1",
    b"ARROW1",
    b"FEA1",
    b"PK\x03\x04",
    b"\xd0\xcf\x11\xe0",
    b"SQLite format 3",
)
JSON_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson"})
EXCEL_SUFFIXES = frozenset({".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"})
COMPRESSED_SUFFIXES = frozenset({".gz", ".zst", ".bz2", ".xz", ".zip"})
PANDAS_INDEX = "__index_level_"
SAMPLE_ROWS = 2000

MAX_PARTS = 32
"""A Parquet file is read in about this number of parts, each with some of the columns."""

NO_ROWS = (
    "it is a profile, which has no rows: only the reference of `driftbell check` may be one, as a plain file"
)
UNSUPPORTED = re.compile(r"(?i)precision must be|not support|unsupported|not (?:yet )?implemented")
HIVE, HIVE_NULL = re.compile(r"([^/=]+)=([^/]*)"), "__HIVE_DEFAULT_PARTITION__"


def read_file(path: str | PathLike[str], options: FileOptions | None = None) -> RawTable:
    """Read a file, a folder of files of one format, or the files of a pattern such as `days/*.parquet`.

    The format is detected by the content: text with separated cells, Parquet, Arrow (Feather), JSON (lines or
    an array), or a workbook. Text may be compressed by gzip, zstd, bzip2 or xz, or be the only file of a zip.

    Args:
        path: the file, folder or pattern.
        options: the user's options; all others are detected.

    Raises:
        ConfigError: a file cannot be read, or the files of a folder have different columns.
    """
    if not fspath(path):  # as a path, it would be the current folder
        raise ConfigError("cannot read a table with an empty name: name a file, folder or pattern")
    path, options = Path(path), options or FileOptions()
    files = list_files(path)
    parts = [_read(file, options) for file in files]
    if len(parts) == 1 and not folder_columns(path, files[0]):
        return parts[0]
    return _joined(path, files, parts)


def list_files(source: str | PathLike[str]) -> list[Path]:
    """Return the files of a folder or pattern, sorted by name, or the one file.

    Raises:
        ConfigError: there is none, or the folder has files of different types.
    """
    path = Path(source)
    text = str(path)
    if path.is_dir():
        files = sorted(_walk(path))
        if not files:
            raise ConfigError(f"cannot read {path}: the folder has no files")
        suffixes = sorted({suffix_of(file) for file in files})
        if len(suffixes) > 1:
            raise ConfigError(
                f"cannot read {path}: the folder has files of different types ({join_names(suffixes)}): "
                f"name one file, or a pattern such as '{path}/*{suffixes[0]}'"
            )
        return files
    if any(c in text for c in "*?[") and not path.exists():
        matches = sorted(Path(name) for name in glob.glob(text, recursive=True) if Path(name).is_file())
        if not matches:
            raise ConfigError(f"cannot read {path}: no file has such a name")
        return matches
    return [path]


def is_hidden(path: Path) -> bool:
    """Return whether a file or folder in the name of a path has a dot or an underscore in front."""
    return any(part[0] in "._" for part in path.parts)


def _walk(path: Path) -> Iterator[Path]:
    """Yield the files of a folder and its folders, except those with a dot or an underscore in front.

    Raises:
        ConfigError: a folder cannot be read, or is a link, which may lead back.
    """

    def fail(error: OSError) -> None:
        raise ConfigError(f"cannot read {error.filename}: {error.strerror}") from error

    for folder, folders, names in os.walk(path, onerror=fail):
        folders[:] = [name for name in folders if name[0] not in "._"]
        for name in folders:
            if Path(folder, name).is_symlink():
                raise ConfigError(
                    f"cannot read {Path(folder, name)}: it is a link to a folder: name that folder"
                )
        files = (Path(folder, name) for name in names if name[0] not in "._")
        yield from (file for file in files if file.is_file() or file.is_symlink())


def suffix_of(path: Path) -> str:
    """Return the suffix of a file before that of its compression, such as ".csv"."""
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in COMPRESSED_SUFFIXES]
    return suffixes[-1] if suffixes else "no suffix"


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        ConfigError: it cannot be read, or is empty.
    """
    with _open(path) as file:
        return _content(path, file)


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """Open a file; errors name it."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error


def _content(path: Path, file: BinaryIO) -> bytes:
    data = file.read()
    if not data:
        raise ConfigError(f"cannot read {path}: the file is empty; the first line must name every column")
    return data


def _read(path: Path, options: FileOptions) -> RawTable:
    with _open(path) as file:
        if file.seekable():
            head = file.read(len(PARQUET))
            file.seek(0)
            if head == PARQUET:  # by columns, since the whole content may be large
                return _parquet(path, file, {})
        content = _content(path, file)
    data, compression = decompress(content, str(path))
    facts = {"compression": compression} if compression else {}
    if data.startswith(PARQUET) or path.suffix.lower() == ".parquet":
        return _parquet(path, io.BytesIO(data), facts)
    if data.startswith(ARROW):
        table = _typed(path, "Arrow", facts, lambda pl: [_read_ipc(pl, data)])
        return with_categories(table, arrow_categories(data))
    if path.suffix.lower() in (".arrow", ".feather", ".ipc") and not data.startswith(FEATHER_1):
        return _typed(path, "Arrow stream", facts, lambda pl: [pl.read_ipc_stream(io.BytesIO(data))])
    if data.startswith(FEATHER_1):
        raise ConfigError(f"cannot read {path}: Feather version 1 is not supported: write it as version 2")
    if data.startswith(SQLITE):
        raise ConfigError(f"cannot read {path}: a database needs a query: pass sqlite:///{path} and --query")
    if data.startswith((ZIP, XLS)) or path.suffix.lower() in EXCEL_SUFFIXES:
        return read_workbook(data, str(path), options)
    if is_profile(data[:512]):
        raise ConfigError(f"cannot read {path}: {NO_ROWS}")
    head = data[:512].lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ConfigError(f"cannot read {path}: it is a web page or XML, not a table")
    if suffix_of(path) in JSON_SUFFIXES:
        return replace(read_json(data, str(path)), detected={"format": "JSON"} | facts)
    return _text(path, data, options, facts)


def _text(path: Path, data: bytes, options: FileOptions, facts: dict[str, Any]) -> RawTable:
    table = read_text_table(data, str(path), options)
    decimal = file_decimal(table.frame, table.detected["separator"], options, has_quotes=b'"' in data)
    columns = {s.name: read_series(s.name, s, from_text=True) for s in table.frame.get_columns()}
    detected = table.detected | {"decimal": decimal or "decided by each column"} | facts
    names = [name for name, s in nameless_series(table.frame) if decimal is None and may_be_thousands(s)]
    if names:
        detected["thousands_or_decimals"] = join_names(names)
    return RawTable(columns, str(path), detected, decimal)


def file_decimal(frame: Any, separator: str, options: FileOptions, *, has_quotes: bool) -> str | None:
    """Return the decimal mark of the numbers in a text file; None if each column decides it.

    Args:
        frame: its first rows, or all.
        separator: name of the separator.
        options: the user's options.
        has_quotes: whether the file has a quote.
    """
    if options.decimal is not None or (separator == "comma" and not has_quotes):  # no cell has a comma
        return options.decimal
    samples = [s.head(SAMPLE_ROWS) for _, s in nameless_series(frame)]
    return decimal_mark(samples, semicolons=separator == "semicolon")


def _parquet(path: Path, source: BinaryIO, facts: dict[str, Any]) -> RawTable:
    def read(pl: Any) -> Iterator[Any]:
        count = len(pl.read_parquet_schema(source))
        step = max(1, count // MAX_PARTS)
        for first in range(0, max(count, 1), step):
            source.seek(0)
            columns = list(range(first, min(first + step, count)))
            yield pl.read_parquet(source, columns=columns, hive_partitioning=False)

    table = _typed(path, "Parquet", facts, read)
    source.seek(0)
    return with_categories(table, parquet_categories(source))


def _typed(path: Path, name: str, facts: dict[str, Any], read: Callable[[Any], Iterable[Any]]) -> RawTable:
    """Read a file that has types, as frames with some of its columns each."""
    import polars as pl

    try:
        with any_time_zone():
            columns = {
                s.name: read_series(s.name, s)
                for frame in read(pl)
                for s in frame.get_columns()
                if not s.name.startswith(PANDAS_INDEX)
            }
    except (
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
        OSError,
        InputError,
        ValueError,
    ) as error:
        raise ConfigError(corrupt_file(path, name, error)) from error
    return RawTable(columns, str(path), {"format": name} | facts)


def with_categories(table: RawTable, names: Collection[str]) -> RawTable:
    """Return a table with columns marked as categories."""
    columns = {n: replace(c, is_category=c.is_category or n in names) for n, c in table.columns.items()}
    return replace(table, columns=columns)


def _read_ipc(pl: Any, data: bytes) -> Any:
    """Read an Arrow IPC file; where pandas wrote -1 as the code of a null category, by pyarrow."""
    try:
        return pl.read_ipc(io.BytesIO(data))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        if "dictionary key" not in str(error):
            raise
        try:
            import pyarrow as pa
        except ImportError:
            raise error from None
        with pa.ipc.open_file(pa.py_buffer(data)) as file:
            table = file.read_all()
        decoded = [
            c.combine_chunks().dictionary_decode() if pa.types.is_dictionary(c.type) else c
            for c in table.columns
        ]
        return pl.DataFrame(pa.table(decoded, names=table.column_names))


def corrupt_file(path: Path, name: str, error: BaseException) -> str:
    """Return the message about a file of a format that cannot be read."""
    reason = first_line(error)
    if is_duplicate(reason):
        return f"cannot read {path}: duplicate column name ({reason}): give every column a name of its own"
    if UNSUPPORTED.search(reason):
        return f"cannot read {path}: its types are not supported ({reason}): write it with others"
    return f"cannot read {path}: it is no valid {name} file, or is cut off ({reason})"


def folder_columns(path: Path, file: Path) -> dict[str, str | None]:
    """Return the columns in the names of a file's folders, such as `year=2026`, as Hive and Spark write them.

    >>> folder_columns(Path("/"), Path("/city=S%C3%A3o Paulo/day=__HIVE_DEFAULT_PARTITION__/0.parquet"))
    {'city': 'São Paulo', 'day': None}
    """
    try:
        folders = file.relative_to(path).parts[:-1] if path.is_dir() else ()
    except ValueError:
        return {}
    matches = (m for part in folders if (m := HIVE.fullmatch(part)))
    return {unquote(m[1]): None if m[2] == HIVE_NULL else unquote(m[2]) for m in matches}


def folder_values(
    path: Path, files: Sequence[Path], stored: Collection[str]
) -> dict[str, tuple[str | None, ...]]:
    """Return the columns in the names of folders: the value of each file, by column.

    Args:
        path: the folder of all files.
        files: the files.
        stored: columns that the files store, which are read from them.

    Raises:
        ConfigError: a file lacks such a column, or has another one.
    """
    folders = [folder_columns(path, file) for file in files]
    names = [name for name in folders[0] if name not in stored]
    for file, values in zip(files, folders, strict=True):
        missing_or_extra(path, files[0], file, names, [name for name in values if name not in stored])
    return {name: tuple(values[name] for values in folders) for name in names}


def missing_or_extra(
    path: Path, first: Path, file: Path, expected: Sequence[str], names: Sequence[str]
) -> None:
    """Check that a file has the columns of the first one.

    Raises:
        ConfigError: it lacks one, or has another one.
    """
    missing = [name for name in expected if name not in names]
    extra = [name for name in names if name not in expected]
    if missing or extra:
        what = (
            f"has no column '{missing[0]}'"
            if missing
            else f"has a column '{extra[0]}' that is not in {first}"
        )
        raise ConfigError(f"cannot read {path}: {file} {what}: all files must have the same columns")


def other_type(path: Path, name: str, first: tuple[str, Path], other: tuple[str, Path]) -> str:
    """Return the message about a column that has another type in another file."""
    return (
        f"cannot read {path}: column '{name}' has {first[0]} in {first[1]} and {other[0]} in {other[1]}: all "
        "files must have the same types"
    )


def _joined(path: Path, files: list[Path], parts: list[RawTable]) -> RawTable:
    """Join the tables of several files."""
    import polars as pl

    first = parts[0]
    names = list(first.columns)
    columns: dict[str, Cells] = {}
    for file, part in zip(files, parts, strict=True):
        missing_or_extra(path, files[0], file, names, list(part.columns))
    for name in names:
        cells = [part.columns[name] for part in parts]
        typed = [(c, file) for c, file in zip(cells, files, strict=True) if c.form is not Form.NULLS]
        forms = {c.form for c, _ in typed}
        if len(forms) > 1:
            (a, file_a), (b, file_b) = typed[0], next(t for t in typed if t[0].form is not typed[0][0].form)
            raise ConfigError(other_type(path, name, (a.stored_as, file_a), (b.stored_as, file_b)))
        columns[name] = join_cells(cells)
    for name, by_file in folder_values(path, files, names).items():
        values = [value for value, part in zip(by_file, parts, strict=True) for _ in range(part.rows)]
        series = pl.Series(name, values, dtype=pl.String)
        columns[name] = Cells(Form.TEXTS, series, "text", from_text=True)
    decimals = {part.decimal for part in parts} - {None}
    detected = dict(first.detected) | {"files": len(files)}
    return RawTable(columns, str(path), detected, decimals.pop() if len(decimals) == 1 else None)
