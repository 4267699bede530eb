"""Check and convert the columns of an Arrow table, with the same errors as single rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from driftbell.errors import InputError
from driftbell.records import Column, Feature, FieldProblem, Kind
from driftbell.server.batch.limit import Limit
from driftbell.server.http.problems import Refused
from driftbell.tabular.columns import as_column
from driftbell.tabular.dtypes import MAX_EXACT, feature_column, has_integers, is_integer
from driftbell.tabular.feature_value import MAX_NUMBER, RULES, find_problem, short_value, wrong_type
from driftbell.tabular.schema import MAX_NAME_LENGTH, Schema

RowProblems: TypeAlias = list[tuple[NDArray[np.bool_], FieldProblem]]
"""Problems of a column, each with a mask of the rows that have it."""

UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Resolution of each unit of Arrow timestamps."""

SECONDS_PER_DAY = 24 * 3600
MIN_SECONDS, MAX_SECONDS = -62_135_596_800, 253_402_300_799
"""Begin of year 1 and end of year 9999, in seconds since 1970: ISO 8601 writes years in four digits."""


def check_header(schema: Schema, fields: Sequence[tuple[str, Any]]) -> None:
    """Check the names and types of a table's columns.

    Args:
        schema: the features of the model.
        fields: name and Arrow type of each column.

    Raises:
        InputError: columns are missing, unknown, or of a type that cannot hold the feature.
        Refused: 400, two columns have the same name.
    """
    types = dict(fields)
    if len(types) < len(fields):
        names = [name for name, _ in fields]
        duplicate = next(name for name in names if names.count(name) > 1)
        raise Refused(400, "duplicate", f"the field '{duplicate[:MAX_NAME_LENGTH]}' is there more than once")
    problems = schema.header_problems(list(types))
    for feature in schema.features:
        arrow_type = types.get(feature.name)
        if arrow_type is not None and not _fits(feature.kind, arrow_type):
            problem = wrong_type(feature, _describe_type(arrow_type))
            problems.append(replace(problem, message=problem.message + _time_advice(feature, arrow_type)))
    if problems:
        raise InputError(problems)


def checked_columns(table: Any, schema: Schema, limit: Limit, max_problems: int) -> dict[str, Column]:
    """Check the cells of a table and convert its columns.

    Args:
        table: an Arrow table with a checked header.
        schema: the features of the model.
        limit: the largest table; a text counts in each row that refers to it.
        max_problems: the most problems that are reported.

    Raises:
        InputError: cells do not fit the schema; the problems are ordered by row.
        Refused: 413, the texts are too large.
    """
    columns: dict[str, Column] = {}
    problems: list[tuple[int, int, FieldProblem]] = []
    text_size = 0
    present = set(table.column_names)
    for position, feature in enumerate(schema.features):
        if feature.name not in present:  # nullable, as the header was checked
            columns[feature.name] = as_column([None] * table.num_rows, feature.kind)
            continue
        chunks = []
        first_row = 0
        for chunk in table.column(feature.name).chunks:
            if is_text_type(value_type_of(chunk.type)):
                text_size += text_size_of(chunk)
                limit.check(rows=0, columns=1, size=text_size)
            cells, chunk_problems = _READERS[feature.kind](feature, chunk)
            chunks.append(cells)
            for mask, problem in chunk_problems:
                for row in (first_row + np.flatnonzero(mask)[:max_problems]).tolist():
                    cell = _plain(cells[row - first_row])
                    of_cell = find_problem(feature, cell, row) if problem.value else None
                    problems.append((row, position, of_cell or replace(problem, row=row)))
            first_row += len(chunk)
        if {c.dtype.kind for c in chunks} >= {"i", "u"}:  # NumPy would join them as floats
            chunks = [chunk.astype(object) for chunk in chunks]
        columns[feature.name] = np.concatenate(chunks)
    if problems:
        problems.sort(key=itemgetter(0, 1))
        raise InputError([problem for _, _, problem in problems[:max_problems]])
    return columns


def _plain(cell: Any) -> Any:
    return cell.item() if isinstance(cell, np.generic) else cell


def _describe_type(arrow_type: Any) -> str:
    """Return the name of a type: JSON's where JSON has it, else Arrow's."""
    from pyarrow import types

    value_type = value_type_of(arrow_type)
    names = {str: "a string", bool: "a boolean", float: "a number"}
    python_type = _python_type(value_type)
    if python_type in names:
        return names[python_type]
    if types.is_struct(value_type) or types.is_map(value_type):
        return "an object"
    name = str(value_type)
    return "an array" if "list" in name.partition("<")[0] else name[:MAX_NAME_LENGTH]


TIME_FORMS = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y")


def _time_advice(feature: Feature, arrow_type: Any) -> str:
    """Return how to send the times of a feature that is text in the reference; "" for other columns."""
    if feature.kind is not Kind.CATEGORICAL or not is_time_type(value_type_of(arrow_type)):
        return ""
    texts = [str(feature.example), *feature.categories]
    forms = (form for form in TIME_FORMS if all(_has_form(text, form) for text in texts))
    write = f"strftime({next(forms, 'FORMAT')!r})"
    name = feature.name
    return (
        f". The reference has it as text, such as {short_value(feature.example)!r}: send texts in the same "
        f"form, in pandas with frame[{name!r}] = frame[{name!r}].dt.{write}"
    )


def _has_form(text: str, form: str) -> bool:
    try:
        return datetime.strptime(text, form).strftime(form) == text  # noqa: DTZ007 - only its form matters
    except ValueError:
        return False


def is_time_type(value_type: Any) -> bool:
    """Return whether an Arrow type has dates or timestamps."""
    from pyarrow import types

    return bool(types.is_timestamp(value_type) or types.is_date(value_type))


def _fits(kind: Kind, arrow_type: Any) -> bool:
    """Return whether a column of an Arrow type can hold a feature."""
    from pyarrow import types

    value_type = value_type_of(arrow_type)
    if types.is_null(value_type):
        return True
    if is_time_type(value_type):
        return kind is Kind.DATETIME  # which JSON has as a text
    return _python_type(value_type) in RULES[kind].types


def _python_type(value_type: Any) -> type:
    """Return the Python type of a column's values: as JSON has them, if JSON has them."""
    from pyarrow import types

    if is_text_type(value_type):
        return str
    if types.is_boolean(value_type):
        return bool
    return float if is_number_type(value_type) else object


def value_type_of(arrow_type: Any) -> Any:
    """Return the type of a column's values, also where they are dictionary-encoded."""
    from pyarrow import types

    return arrow_type.value_type if types.is_dictionary(arrow_type) else arrow_type


def is_number_type(value_type: Any) -> bool:
    """Return whether an Arrow type has numbers."""
    from pyarrow import types

    return bool(types.is_integer(value_type) or types.is_floating(value_type) or types.is_decimal(value_type))


def is_text_type(value_type: Any) -> bool:
    """Return whether an Arrow type has texts."""
    from pyarrow import types

    return bool(types.is_string(value_type) or types.is_large_string(value_type) or _is_view(value_type))


def _is_view(value_type: Any) -> bool:
    return str(value_type) == "string_view"  # pyarrow before 16 has no function for it


def _null_problems(feature: Feature, mask: NDArray[np.bool_]) -> RowProblems:
    problem = find_problem(feature, None)
    return [(mask, problem)] if problem and mask.any() else []


def _read_numbers(feature: Feature, chunk: Any) -> tuple[Column, RowProblems]:
    from pyarrow import types

    chunk = decoded(chunk)
    if types.is_null(chunk.type):
        numbers = np.full(len(chunk), np.nan)
    elif types.is_decimal(chunk.type):
        # through texts: the direct cast multiplies by a power of ten that is rounded itself
        numbers = chunk.cast("string").cast("float64").to_numpy(zero_copy_only=False)
    elif is_integer(feature.dtype) and types.is_signed_integer(chunk.type) and not chunk.null_count:
        return chunk.to_numpy(zero_copy_only=False).astype(np.int64), []
    else:
        numbers = chunk.to_numpy(zero_copy_only=False).astype(np.float64)
    nulls = _is_null(chunk)
    problems = _null_problems(feature, nulls)
    if has_integers(feature.dtype) and types.is_integer(chunk.type) and (np.abs(numbers) >= MAX_EXACT).any():
        return feature_column(feature, chunk.to_pylist()), problems
    infinite = ~(np.abs(numbers) <= MAX_NUMBER) & ~nulls
    problem = find_problem(feature, np.inf)
    if problem and infinite.any():
        problems.append((infinite, problem))
    return numbers, problems


def _read_booleans(feature: Feature, chunk: Any) -> tuple[Column, RowProblems]:
    column = _objects(decoded(chunk).to_pylist())
    return column, _null_problems(feature, _is_none(column))


def _read_texts(feature: Feature, chunk: Any) -> tuple[Column, RowProblems]:
    """Read texts through their dictionary, so that each distinct text is checked once."""
    from pyarrow import types

    if types.is_null(chunk.type) or types.is_null(value_type_of(chunk.type)):
        column = _objects([None] * len(chunk))
        return column, _null_problems(feature, _is_none(column))
    if not types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_encode()
    values = chunk.dictionary.to_pylist()
    null_index = len(values)
    indices = chunk.indices.fill_null(null_index).to_numpy(zero_copy_only=False).astype(np.intp)
    column = _objects([*values, None])[indices]
    problems = _null_problems(feature, _is_none(column))
    value_problems = [find_problem(feature, value) if value is not None else None for value in values]
    is_invalid = np.array([problem is not None for problem in [*value_problems, None]])
    mask = is_invalid[indices]
    if mask.any():  # all invalid texts of a feature have the same message
        problems.append((mask, next(problem for problem in value_problems if problem)))
    return column, problems


def _read_datetimes(feature: Feature, chunk: Any) -> tuple[Column, RowProblems]:
    """Read dates and timestamps as ISO 8601 texts; a timestamp with a time zone is converted to UTC."""
    from pyarrow import types

    if is_text_type(value_type_of(chunk.type)) or types.is_null(value_type_of(chunk.type)):
        return _read_texts(feature, chunk)
    chunk = decoded(chunk)
    nulls = _is_null(chunk)
    is_date = types.is_date(chunk.type)
    suffix = "" if is_date or chunk.type.tz is None else "+00:00"
    seconds, microseconds = _split_seconds(chunk)
    outside = ((seconds < MIN_SECONDS) | (seconds > MAX_SECONDS)) & ~nulls
    total = np.where(outside, 0, seconds) * 1_000_000 + microseconds
    times = total.astype("datetime64[us]").tolist()
    if not is_date and chunk.type.unit == "ns":
        rest = (chunk.cast("int64").fill_null(0).to_numpy(zero_copy_only=False) % 1000).tolist()
        texts = [_nanosecond_text(t, n) + suffix for t, n in zip(times, rest, strict=True)]
    else:
        texts = [t.date().isoformat() if is_date else t.isoformat() + suffix for t in times]
    column = _objects([None if null else text for null, text in zip(nulls.tolist(), texts, strict=True)])
    problems = _null_problems(feature, nulls)
    if outside.any():
        problems.append((outside, wrong_type(feature, "")))
    return column, problems


def _nanosecond_text(time: datetime, nanoseconds: int) -> str:
    """Return a time with nanoseconds beside its microseconds as ISO 8601."""
    return f"{time.isoformat(timespec='microseconds')}{nanoseconds:03}" if nanoseconds else time.isoformat()


def _split_seconds(chunk: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return whole seconds since 1970 and the remaining microseconds of dates or timestamps; null gives 0."""
    from pyarrow import types

    if types.is_date(chunk.type):
        days = chunk.cast("date32", safe=False).cast("int32").fill_null(0)
        seconds = days.to_numpy(zero_copy_only=False).astype(np.int64) * SECONDS_PER_DAY
        return seconds, np.zeros_like(seconds)
    counts = chunk.cast("int64").fill_null(0).to_numpy(zero_copy_only=False)
    units_per_second = UNITS_PER_SECOND[chunk.type.unit]
    seconds, rest = np.divmod(counts, units_per_second)
    return seconds, rest * 1_000_000 // units_per_second


_READERS: dict[Kind, Callable[[Feature, Any], tuple[Column, RowProblems]]] = {
    Kind.NUMERIC: _read_numbers,
    Kind.BOOLEAN: _read_booleans,
    Kind.CATEGORICAL: _read_texts,
    Kind.DATETIME: _read_datetimes,
}


def decoded(chunk: Any) -> Any:
    """Return a chunk without its dictionary."""
    from pyarrow import types

    return chunk.dictionary_decode() if types.is_dictionary(chunk.type) else chunk


def _is_null(chunk: Any) -> NDArray[np.bool_]:
    return np.asarray(chunk.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)


def _is_none(column: Column) -> NDArray[np.bool_]:
    return np.array([value is None for value in column.tolist()], dtype=np.bool_)


def _objects(values: list[Any]) -> Column:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def text_size_of(chunk: Any) -> int:
    """Return the bytes of all rows' texts; a text that several rows refer to counts in each of them."""
    from pyarrow import types

    if not types.is_dictionary(chunk.type):
        return int(_lengths(chunk).sum())
    indices = chunk.indices.fill_null(0).to_numpy(zero_copy_only=False)
    lengths = _lengths(chunk.dictionary)
    return int(lengths[indices].sum()) if len(lengths) else 0


def _lengths(texts: Any) -> NDArray[np.int64]:
    """Return the length of each text in bytes; 0 for null."""
    from pyarrow import compute

    if _is_view(texts.type):
        # several views may share one buffer, so its size is no bound; each view starts with its length
        end = 4 * (texts.offset + len(texts))
        views = np.frombuffer(texts.buffers()[1] or b"", dtype=np.int32, count=end)
        lengths = views[4 * texts.offset :: 4]
        return np.where(_is_null(texts), 0, lengths).astype(np.int64)
    return np.asarray(
        compute.binary_length(texts).fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64
    )
