"""Arrow IPC bodies are read like JSON rows and refused with the same messages; broken bodies do no damage."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import compute, ipc

from driftbell.errors import InputError
from driftbell.records import Feature, Kind
from driftbell.server.batch import arrow
from driftbell.server.batch.arrow_columns import check_header
from driftbell.server.batch.limit import Limit
from driftbell.server.batch.route import validated_rows
from driftbell.server.http.problems import Refused
from driftbell.server.predict.answers import PredictedRow
from driftbell.tabular.schema import Schema

SCHEMA = Schema(
    (
        Feature("age", Kind.NUMERIC, example=31.0),
        Feature("height", Kind.NUMERIC, nullable=True, example=1.8),
        Feature("plan", Kind.CATEGORICAL, nullable=True, example="free"),
        Feature("active", Kind.BOOLEAN, example=True),
        Feature("since", Kind.DATETIME, example="2026-01-31T12:00:00+00:00"),
    )
)
ROWS = [
    {"age": 31, "height": 1.8, "plan": "free", "active": True, "since": "2026-01-31"},
    {"age": -2.5, "height": None, "plan": None, "active": False, "since": "2026-01-31T12:00:00+00:00"},
    {"age": 0, "height": 1e-3, "plan": "größer", "active": True, "since": "2026-01-31T12:00:00"},
]
LIMIT = Limit(cells=500_000, size=8_000_000)


def written(table: pa.Table, media_type: str, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    new = ipc.new_file if media_type == arrow.FILE else ipc.new_stream
    with new(sink, table.schema, options=ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def table(rows: list[dict[str, Any]] = ROWS, **columns: Any) -> pa.Table:
    """Return the rows as a table, with some columns replaced."""
    cells = {name: pa.array([row[name] for row in rows]) for name in SCHEMA.names}
    return pa.table({**cells, **columns})


def read(content: pa.Table | bytes, media_type: str = arrow.STREAM, limit: Limit = LIMIT) -> list[list[Any]]:
    body = content if isinstance(content, bytes) else written(content, media_type)
    return arrow.read_rows(body, media_type, SCHEMA, limit, 1000).rows


def problems_of(found: pa.Table, media_type: str = arrow.STREAM) -> list[tuple[str, str, int | None]]:
    with pytest.raises(InputError) as caught:
        read(found, media_type)
    return [(p.field, p.reason, p.row) for p in caught.value.problems]


@pytest.mark.parametrize("media_type", arrow.NAMES)
@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_a_table_is_read_like_json_rows(media_type: str, compression: str | None) -> None:
    assert read(written(table(), media_type, compression), media_type) == validated_rows(SCHEMA, ROWS)


@pytest.mark.parametrize("media_type", arrow.NAMES)
def test_many_record_batches_are_one_table(media_type: str) -> None:
    sink = pa.BufferOutputStream()
    whole = pa.concat_tables([table()] * 100).combine_chunks()
    new = ipc.new_file if media_type == arrow.FILE else ipc.new_stream
    with new(sink, whole.schema) as writer:
        for batch in whole.to_batches(max_chunksize=7):
            writer.write_batch(batch)
    assert read(bytes(sink.getvalue()), media_type) == validated_rows(SCHEMA, ROWS) * 100


NUMBERS = [1, 2, 3]
EXACT = {
    "int8": pa.array(NUMBERS, pa.int8()),
    "uint64": pa.array(NUMBERS, pa.uint64()),
    "float16": pa.array(np.array(NUMBERS, np.float16)),
    "float32": pa.array(NUMBERS, pa.float32()),
    "decimal128": pa.array([Decimal(n) for n in NUMBERS], pa.decimal128(10, 2)),
    "decimal256": pa.array([Decimal(n) for n in NUMBERS], pa.decimal256(60, 2)),
    "dictionary": pa.array(NUMBERS, pa.float64()).dictionary_encode(),
}


@pytest.mark.parametrize("media_type", arrow.NAMES)
@pytest.mark.parametrize("name", EXACT)
def test_every_number_type_is_accepted(name: str, media_type: str) -> None:
    assert [row[0] for row in read(table(age=EXACT[name]), media_type)] == [1.0, 2.0, 3.0]


def test_large_integers_are_rounded_as_in_json() -> None:
    large = 2**63 - 1
    rows = [{**row, "age": large} for row in ROWS]
    assert read(table(age=pa.array([large] * 3))) == validated_rows(SCHEMA, rows)


TEXTS = ["a text that is longer than twelve", None, "ü"]


@pytest.mark.parametrize("media_type", arrow.NAMES)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), "dictionary"], ids=str)
def test_every_text_type_is_accepted(kind: Any, media_type: str) -> None:
    column = pa.array(TEXTS).dictionary_encode() if kind == "dictionary" else pa.array(TEXTS, kind)
    assert [row[2] for row in read(table(plan=column), media_type)] == TEXTS


def test_a_null_inside_a_dictionary_is_null() -> None:
    column = pa.DictionaryArray.from_arrays([2, 1, 0], pa.array(TEXTS[::-1]))
    assert [row[2] for row in read(table(plan=column))] == TEXTS


@pytest.mark.parametrize("media_type", arrow.NAMES)
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_become_iso_8601(unit: str, media_type: str) -> None:
    moments = list(
        map(datetime.fromisoformat, ["2026-01-31T12:00:00", "1969-12-31T23:59:59", "2000-02-29T00:00:00"])
    )
    column = pa.array(moments, pa.timestamp(unit))
    assert [row[4] for row in read(table(since=column), media_type)] == [m.isoformat() for m in moments]
    aware = pa.array(moments, pa.timestamp(unit, "Europe/Berlin"))
    in_utc = [m.replace(tzinfo=UTC).isoformat() for m in moments]
    assert [row[4] for row in read(table(since=aware), media_type)] == in_utc


def test_dates_and_fractions_of_seconds_become_iso_8601() -> None:
    days = [date(2026, 1, 31), date(1, 1, 1), date(9999, 12, 31)]
    for kind in (pa.date32(), pa.date64()):
        found = read(table(since=pa.array(days, kind)))
        assert [row[4] for row in found] == [d.isoformat() for d in days]
    moments = ["2026-01-31T12:00:00.250000", "1969-12-31T23:59:59.000001", "0001-01-01T00:00:00.999999"]
    found = read(table(since=pa.array(list(map(datetime.fromisoformat, moments)))))
    assert [row[4] for row in found] == moments


def test_years_that_iso_8601_cannot_write_are_refused() -> None:
    seconds = pa.array([0, 2**60, -(2**60)]).cast(pa.timestamp("s"))
    assert problems_of(table(since=seconds)) == [("since", "type", 1), ("since", "type", 2)]
    assert problems_of(table(since=pa.array([2**31 - 1, 0, 0], pa.int32()).cast(pa.date32())))[0][2] == 0


def test_pandas_row_labels_are_no_feature() -> None:
    frame = pd.DataFrame(ROWS, index=["a", "b", "c"])
    with_index = pa.Table.from_pandas(frame)
    assert arrow.PANDAS_INDEX + "0__" in with_index.column_names
    assert len(read(with_index)) == 3


@pytest.mark.parametrize(
    ("columns", "json_value", "row"),
    [
        ({"age": pa.array([1.0, None, 3.0])}, None, 1),
        ({"age": pa.array([1.0, 2.0, math.nan])}, math.nan, 2),
        ({"age": pa.array([math.inf, 2.0, 3.0])}, math.inf, 0),
        ({"age": pa.array([1, 2, 3e39])}, 3e39, 2),
        ({"age": pa.array([1, 2, -math.inf])}, -math.inf, 2),
        ({"age": pa.array([1, -1e308, 3])}, -1e308, 1),
        ({"age": pa.array([1, None, 3], pa.int64())}, None, 1),
        ({"height": pa.array([1.0, math.nan, None])}, math.nan, 1),
        ({"plan": pa.array(["a", "b\0c", None])}, "b\0c", 1),
        ({"plan": pa.array(["a", "b\0c", None]).dictionary_encode()}, "b\0c", 1),
        ({"active": pa.array([True, False, None])}, None, 2),
        ({"since": pa.array(["2026-01-31", "yesterday", "2026-01-31"])}, "yesterday", 1),
        ({"since": pa.array([None, date(2026, 1, 1), date(2026, 1, 2)])}, None, 0),
    ],
)
@pytest.mark.parametrize("media_type", arrow.NAMES)
def test_an_invalid_cell_gets_the_message_that_json_gets(
    columns: dict[str, Any], json_value: Any, row: int, media_type: str
) -> None:
    (name,) = columns
    body = [{**r, name: json_value} if i == row else r for i, r in enumerate(ROWS)]
    with pytest.raises(InputError) as of_json:
        validated_rows(SCHEMA, body)
    with pytest.raises(InputError) as of_table:
        read(table(**columns), media_type)
    assert of_table.value.problems == of_json.value.problems


@pytest.mark.parametrize(
    ("column", "name", "json_value"),
    [
        (pa.array(["1", "2", "3"]), "age", "1"),
        (pa.array(["1", "2", "3"]).dictionary_encode(), "age", "1"),
        (pa.array([True, False, True]), "age", True),
        (pa.array([[1], [2], [3]]), "age", [1]),
        (pa.array([[1], [2], [3]], pa.large_list(pa.int64())), "age", [1]),
        (pa.array([[1], [2], [3]], pa.list_(pa.int64(), 1)), "age", [1]),
        (pa.array([{"a": 1}] * 3), "age", {"a": 1}),
        (pa.array([1, 2, 3]), "plan", 1),
        (pa.array([True, False, True]), "plan", True),
        (pa.array([1, 0, 1]), "active", 1),
        (pa.array([1, 2, 3]), "since", 1),
    ],
)
@pytest.mark.parametrize("media_type", arrow.NAMES)
def test_a_column_of_another_type_is_one_problem(
    column: pa.Array, name: str, json_value: Any, media_type: str
) -> None:
    with pytest.raises(InputError) as of_json:
        validated_rows(SCHEMA, [{**ROWS[0], name: json_value}])
    with pytest.raises(InputError) as of_table:
        read(table(**{name: column}), media_type)
    (problem,) = of_table.value.problems
    assert (problem.field, problem.reason, problem.message, problem.row) == (
        name,
        "type",
        of_json.value.problems[0].message,
        None,
    )


@pytest.mark.parametrize(
    ("column", "description"),
    [
        (pa.array([b"1", b"2", b"3"]), "got binary"),
        (pa.array([b"1", b"2", b"3"], pa.binary(1)), "got fixed_size_binary[1]"),
        (pa.array([1, 2, 3], pa.timestamp("us")), "got timestamp[us]"),
        (pa.array([1, 2, 3], pa.duration("s")), "got duration[s]"),
        (pa.array([bytes(16)] * 3, pa.uuid()), "got extension<arrow.uuid>"),
        (compute.run_end_encode(pa.array([1.0, 1.0, 1.0])), "got run_end_encoded"),
        (pa.array([[1], [2], [3]], pa.list_view(pa.int64())), "got an array"),
    ],
)
def test_types_that_json_does_not_have_are_described_by_arrow_s_name(
    column: pa.Array, description: str
) -> None:
    with pytest.raises(InputError, match="'age' must be a number") as caught:
        read(table(age=column))
    assert description in caught.value.problems[0].message


@pytest.mark.parametrize("media_type", arrow.NAMES)
def test_an_all_null_column_is_null_in_every_row(media_type: str) -> None:
    assert [row[1] for row in read(table(height=pa.nulls(3)), media_type)] == [None] * 3
    assert [row[2] for row in read(table(plan=pa.nulls(3)), media_type)] == [None] * 3
    found = problems_of(table(age=pa.nulls(3), active=pa.nulls(3), since=pa.nulls(3)), media_type)
    assert found == [(name, "null", row) for row in range(3) for name in ("age", "active", "since")]


@pytest.mark.parametrize("media_type", arrow.NAMES)
def test_a_nullable_column_that_is_left_out_is_null_in_every_row(media_type: str) -> None:
    assert read(table().drop_columns(["height", "plan"]), media_type) == read(
        table(height=pa.nulls(3), plan=pa.nulls(3)), media_type
    )


@pytest.mark.parametrize("media_type", arrow.NAMES)
def test_missing_and_unknown_columns_are_reported_with_a_suggestion(media_type: str) -> None:
    found = table().rename_columns(["agee", *SCHEMA.names[1:]])
    with pytest.raises(InputError, match="'age' is missing; unknown field 'agee': did you mean 'age'"):
        read(found, media_type)
    with pytest.raises(InputError, match="unknown field 'tags'"):
        read(table(tags=pa.array([["a"]] * 3)), media_type)
    many = pa.table({f"x{i}": [1.0] for i in range(500)})
    with pytest.raises(InputError, match="and 480 more unknown fields"):
        read(many, media_type)


@pytest.mark.parametrize("media_type", arrow.NAMES)
def test_a_duplicate_column_is_refused(media_type: str) -> None:
    names = ["age", "age", *SCHEMA.names[2:]]
    with pytest.raises(Refused, match="'age' is there more than once") as caught:
        read(table().rename_columns(names), media_type)
    assert caught.value.status == 400


@pytest.mark.parametrize("media_type", arrow.NAMES)
def test_a_table_without_rows_is_refused(media_type: str) -> None:
    with pytest.raises(Refused, match="no rows") as caught:
        read(table().slice(0, 0), media_type)
    assert (caught.value.status, caught.value.reason) == (422, "empty_batch")


METADATA = {"model": "iris", "version": "abc"}
READERS: dict[str, Callable[[Any], pa.Table]] = {
    arrow.STREAM: lambda buffer: ipc.open_stream(buffer).read_all(),
    arrow.FILE: lambda buffer: ipc.open_file(buffer).read_all(),
}


@pytest.mark.parametrize("media_type", arrow.NAMES)
def test_the_answer_is_a_table_of_the_same_type(media_type: str) -> None:
    sent = [PredictedRow("0199", 1, [0.25, 0.75]), PredictedRow("0200", 0, [0.5, 0.5])]
    body = arrow.write_answers(sent, ("no", "yes"), METADATA, media_type)
    found = READERS[media_type](io.BytesIO(body))
    assert found.to_pydict() == {
        "id": ["0199", "0200"],
        "class": ["yes", "no"],
        "class_id": [1, 0],
        "probability of no": [0.25, 0.5],
        "probability of yes": [0.75, 0.5],
    }
    assert found.schema.metadata[b"model"] == b"iris"
    assert found.schema.metadata[b"version"] == b"abc"


def test_a_model_without_probabilities_has_no_columns_for_them() -> None:
    body = arrow.write_answers([PredictedRow("0199", 1, ())], ("no", "yes"), METADATA, arrow.STREAM)
    assert ipc.open_stream(body).read_all().column_names == ["id", "class", "class_id"]


@pytest.mark.parametrize(
    ("texts", "form"),
    [
        (("2026-01-31", "2026-02-01"), "%Y-%m-%d"),
        (("2026-01-31 00:00:00", "2026-02-01 12:30:00"), "%Y-%m-%d %H:%M:%S"),
        (("03/04/2026", "31/01/2026"), "%d/%m/%Y"),
        (("Jan 2026", "Feb 2026"), "FORMAT"),
    ],
)
@pytest.mark.parametrize("kind", [pa.timestamp("us", "UTC"), pa.date32()])
def test_times_of_a_feature_of_dates_as_text_are_to_be_sent_as_text(
    texts: tuple[str, ...], form: str, kind: Any
) -> None:
    feature = Feature("day", Kind.CATEGORICAL, categories=texts, example=texts[0])
    with pytest.raises(InputError) as error:
        check_header(Schema((feature,)), [("day", kind)])
    assert str(error.value) == (
        f"'day' must be a string, got {kind}. The reference has it as text, such as '{texts[0]}': send texts "
        f"in the same form, in pandas with frame['day'] = frame['day'].dt.strftime('{form}')"
    )
