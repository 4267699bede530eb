"""Check and convert the columns of an Arrow table, with the same errors as single rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from driftbell.errors import InputError
from driftbell.records import Column, Feature, FieldProblem, Kind
from driftbell.server.batch.parquet_pages import Limit
from driftbell.server.http.problems import Refused
from driftbell.tabular.schema import LARGEST, SHOWN, Schema, problem_with, wrong_type

Wrong: TypeAlias = list[tuple[NDArray[np.bool_], FieldProblem]]
"""Which rows of a column are wrong, and what to say of each."""

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
EARLIEST, LATEST = -62_135_596_800, 253_402_300_799
"""Seconds since 1970 at which the years 1 and 9999 begin and end: ISO 8601 has words for no others."""


def check_header(schema: Schema, fields: Sequence[tuple[str, Any]]) -> None:
    """Check names and types.

    Args:
        schema: what the columns must be.
        fields: name and type of each column; a type is Arrow's, or words for what no feature can be, or
            "" where it does not matter.

    Raises:
        InputError: columns are missing, unknown, or can never be what the feature is.
        Refused: 400, a column is there twice.
    """
    types = dict(fields)
    if len(types) < len(fields):
        names = [name for name, _ in fields]
        twice = next(name for name in names if names.count(name) > 1)
        raise Refused(400, "duplicate", f"the field '{twice[:SHOWN]}' is there more than once")
    problems = schema.misnamed(list(types))
    for feature in schema.features:
        found = types.get(feature.name, "")
        told = found if isinstance(found, str) else _told(found)
        if told and (isinstance(found, str) or not _fits(feature.kind, found)):
            problems.append(wrong_type(feature, told))
    if problems:
        raise InputError(problems)


def checked_columns(table: Any, schema: Schema, limit: Limit, most_problems: int) -> dict[str, Column]:
    """Convert a table to the model's rows.

    Args:
        table: an Arrow table whose header has been checked.
        schema: what it must be.
        limit: its texts may not be larger, each row's counted.
        most_problems: with so many, the rest is not told.

    Raises:
        InputError: with what is wrong by row.
        Refused: 413, the texts are too large.
    """
    found: dict[str, Column] = {}
    told: list[tuple[int, int, FieldProblem]] = []
    size = 0
    for place, feature in enumerate(schema.features):
        parts = []
        start = 0
        for chunk in table.column(feature.name).chunks:
            if _is_text(_plain(chunk.type)):
                size += _text_size(chunk)
                limit.check(rows=0, columns=1, size=size)
            column, wrong = _READERS[feature.kind](feature, chunk)
            parts.append(column)
            for rows, problem in wrong:
                for row in np.flatnonzero(rows)[:most_problems].tolist():
                    numbered = FieldProblem(problem.field, problem.reason, problem.message, start + row)
                    told.append((start + row, place, numbered))
            start += len(chunk)
        found[feature.name] = np.concatenate(parts)
    if told:
        told.sort(key=lambda one: one[:2])
        raise InputError([problem for _, _, problem in told[:most_problems]])
    return found


def _told(kind: Any) -> str:
    from pyarrow import types

    plain = _plain(kind)
    if _is_text(plain):
        return "a string"
    if types.is_boolean(plain):
        return "a boolean"
    if _is_number(plain):
        return "a number"
    if types.is_struct(plain) or types.is_map(plain):
        return "an object"
    name = str(plain)
    return "an array" if "list" in name.partition("<")[0] else name[:SHOWN]


def _fits(feature_kind: Kind, kind: Any) -> bool:
    from pyarrow import types

    plain = _plain(kind)
    if types.is_null(plain):
        return True
    match feature_kind:
        case Kind.NUMERIC:
            return _is_number(plain)
        case Kind.BOOLEAN:
            return bool(types.is_boolean(plain))
        case Kind.DATETIME:
            return _is_text(plain) or bool(types.is_timestamp(plain) or types.is_date(plain))
        case Kind.CATEGORICAL:
            return _is_text(plain)


def _plain(kind: Any) -> Any:
    from pyarrow import types

    return kind.value_type if types.is_dictionary(kind) else kind


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or _is_view(kind))


def _is_view(kind: Any) -> bool:
    return str(kind) == "string_view"  # older pyarrow has no test for it


def _nulls(feature: Feature, rows: NDArray[np.bool_]) -> Wrong:
    problem = problem_with(feature, None)
    return [(rows, problem)] if problem and rows.any() else []


def _numbers(feature: Feature, chunk: Any) -> tuple[Column, Wrong]:
    from pyarrow import types

    chunk = _decoded(chunk)
    if types.is_null(chunk.type):
        numbers = np.full(len(chunk), np.nan)
    elif types.is_decimal(chunk.type):
        numbers = chunk.cast("float64", safe=False).to_numpy(zero_copy_only=False)
    else:
        numbers = chunk.to_numpy(zero_copy_only=False).astype(np.float64)
    nulls = _is_null(chunk)
    infinite = ~(np.abs(numbers) <= LARGEST) & ~nulls
    problem = problem_with(feature, np.inf)
    return numbers, _nulls(feature, nulls) + ([(infinite, problem)] if problem and infinite.any() else [])


def _flags(feature: Feature, chunk: Any) -> tuple[Column, Wrong]:
    column = _objects(_decoded(chunk).to_pylist())
    return column, _nulls(feature, _missing(column))


def _texts(feature: Feature, chunk: Any) -> tuple[Column, Wrong]:
    from pyarrow import types

    if types.is_null(chunk.type) or types.is_null(_plain(chunk.type)):
        column = _objects([None] * len(chunk))
        return column, _nulls(feature, _missing(column))
    if not types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_encode()
    values = chunk.dictionary.to_pylist()
    found = _objects([*values, None])  # the last one is what nulls refer to
    places = chunk.indices.fill_null(len(values)).to_numpy(zero_copy_only=False).astype(np.intp)
    column = found[places]
    wrong = _nulls(feature, _missing(column))
    problems = [problem_with(feature, value) if value is not None else None for value in values]
    bad = np.array([problem is not None for problem in [*problems, None]])
    if (rows := bad[places]).any():  # one has the same words as the other
        wrong.append((rows, next(problem for problem in problems if problem)))
    return column, wrong


def _moments(feature: Feature, chunk: Any) -> tuple[Column, Wrong]:
    from pyarrow import types

    if _is_text(_plain(chunk.type)) or types.is_null(_plain(chunk.type)):
        return _texts(feature, chunk)
    chunk = _decoded(chunk)
    nulls = _is_null(chunk)
    is_date, zone = types.is_date(chunk.type), ""
    if is_date:
        unit = 24 * 3600  # seconds of each step, else steps a second
        days = chunk.cast("date32", safe=False).cast("int32")
        seconds = days.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64) * unit
        micros = np.zeros_like(seconds)
    else:
        zone = "" if chunk.type.tz is None else "+00:00"
        steps = chunk.cast("int64").fill_null(0).to_numpy(zero_copy_only=False)
        seconds, rest = np.divmod(steps, UNITS[chunk.type.unit])
        micros = rest * 1_000_000 // UNITS[chunk.type.unit]
    outside = ((seconds < EARLIEST) | (seconds > LATEST)) & ~nulls
    fine = np.where(outside, 0, seconds) * 1_000_000 + micros
    moments = fine.astype("datetime64[us]").tolist()
    told = [m.date().isoformat() if is_date else m.isoformat() + zone for m in moments]
    column = _objects([None if null else text for null, text in zip(nulls.tolist(), told, strict=True)])
    wrong = _nulls(feature, nulls)
    return column, [*wrong, (outside, wrong_type(feature, ""))] if outside.any() else wrong


_READERS: dict[Kind, Callable[[Feature, Any], tuple[Column, Wrong]]] = {
    Kind.NUMERIC: _numbers,
    Kind.BOOLEAN: _flags,
    Kind.CATEGORICAL: _texts,
    Kind.DATETIME: _moments,
}


def _decoded(chunk: Any) -> Any:
    from pyarrow import types

    return chunk.dictionary_decode() if types.is_dictionary(chunk.type) else chunk


def _is_null(chunk: Any) -> NDArray[np.bool_]:
    return np.asarray(chunk.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)


def _missing(column: Column) -> NDArray[np.bool_]:
    return np.array([value is None for value in column.tolist()], dtype=np.bool_)


def _objects(values: list[Any]) -> Column:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _text_size(chunk: Any) -> int:
    """Count the bytes of every row's text, however often it is stored."""
    from pyarrow import types

    if not types.is_dictionary(chunk.type):
        return int(_lengths(chunk).sum())
    places = chunk.indices.fill_null(0).to_numpy(zero_copy_only=False)
    lengths = _lengths(chunk.dictionary)
    return int(lengths[places].sum()) if len(lengths) else 0


def _lengths(texts: Any) -> NDArray[np.int64]:
    from pyarrow import compute

    if _is_view(texts.type):  # many may look at one piece of memory; the length stands first in each
        end = 4 * (texts.offset + len(texts))
        views = np.frombuffer(texts.buffers()[1] or b"", dtype=np.int32, count=end)
        lengths = views[4 * texts.offset :: 4]
        return np.where(_is_null(texts), 0, lengths).astype(np.int64)
    return np.asarray(
        compute.binary_length(texts).fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64
    )
