"""Valid batches are checked by column; problems of invalid ones are reported by row."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftbell.errors import InputError
from driftbell.records import Feature, Kind
from driftbell.server.batch import arrow
from driftbell.server.batch.route import JSON, validated_rows, wanted_type
from driftbell.server.http.body import parse_json
from driftbell.server.http.problems import Refused
from driftbell.tabular.schema import Schema

SCHEMA = Schema(
    (
        Feature("age", Kind.NUMERIC),
        Feature("height", Kind.NUMERIC, nullable=True),
        Feature("plan", Kind.CATEGORICAL, nullable=True),
        Feature("active", Kind.BOOLEAN),
        Feature("since", Kind.DATETIME, nullable=True),
    )
)
numbers = st.integers(-(2**70), 2**70) | st.floats(-1e30, 1e30)
good_rows = st.fixed_dictionaries(
    {
        "age": numbers,
        "height": numbers | st.none(),
        "plan": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.none(),
        "active": st.booleans(),
        "since": st.sampled_from(["2026-01-31", "2026-01-31T12:00:00Z", None]),
    }
)
strange = st.sampled_from(
    [
        None,
        True,
        1,
        10**400,
        -1.5,
        float("nan"),
        float("inf"),
        3.5e38,
        "a",
        "\0",
        "\ud800",
        "2026-01-31",
        [],
        {},
    ]
)
bad_rows = (
    st.fixed_dictionaries(dict.fromkeys(SCHEMA.names, strange))
    | st.dictionaries(st.sampled_from([*SCHEMA.names, "x"]), strange)
    | strange
)


def row_by_row(rows: Any) -> Any:
    """Return the rows of a batch, or its problems, when each row is checked alone."""
    found: list[Any] = []
    problems: list[Any] = []
    for index, row in enumerate(rows):
        try:
            found.append(SCHEMA.validate(row, index))
        except InputError as error:
            problems += error.problems
    return tuple(problems) or found


def outcome(body: Any) -> Any:
    try:
        return validated_rows(SCHEMA, body)
    except InputError as error:
        return error.problems


@given(rows=st.lists(good_rows, min_size=1, max_size=6))
def test_good_rows_give_the_same_values_in_every_shape(rows: list[dict[str, Any]]) -> None:
    expected = row_by_row(rows)
    assert isinstance(expected, list)
    names = list(reversed(SCHEMA.names))
    table = {"columns": names, "data": [[row[name] for name in names] for row in rows]}
    for body in (rows, [dict(reversed(row.items())) for row in rows], table):
        found = outcome(parse_json(json.dumps(body).encode()))
        assert repr(found) == repr(expected)  # so that 1.0 is not True, and -0.0 not 0.0


@given(rows=st.lists(good_rows, min_size=1, max_size=6), data=st.data())
def test_nullable_features_that_rows_lack_are_null(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    nullable = ["height", "plan", "since"]
    left_out = [data.draw(st.sets(st.sampled_from(nullable))) for _ in rows]
    partial = [
        {k: v for k, v in row.items() if k not in out} for row, out in zip(rows, left_out, strict=True)
    ]
    full = [
        {k: None if k in out else v for k, v in row.items()} for row, out in zip(rows, left_out, strict=True)
    ]
    assert repr(outcome(partial)) == repr(row_by_row(full))
    assert repr(outcome([*partial, {**partial[0], "plans": 1}])) == repr(
        row_by_row([*full, {**full[0], "plans": 1}])
    )
    names = ["active", "plan", "age"]
    table = {"columns": names, "data": [[row[name] for name in names] for row in rows]}
    assert repr(outcome(table)) == repr(row_by_row([{name: row[name] for name in names} for row in rows]))


@given(rows=st.lists(good_rows | bad_rows, min_size=1, max_size=6))
@settings(max_examples=300)
def test_invalid_rows_get_the_messages_that_each_gets_alone(rows: list[Any]) -> None:
    assert repr(outcome(rows)) == repr(row_by_row(rows))


@given(value=strange, name=st.sampled_from(SCHEMA.names))
def test_one_strange_value_among_good_rows_is_reported_as_alone(value: Any, name: str) -> None:
    good = {"age": 1, "height": None, "plan": "a", "active": True, "since": None}
    rows = [good, {**good, name: value}, good]
    assert repr(outcome(rows)) == repr(row_by_row(rows))
    table = {"columns": list(good), "data": [list(row.values()) for row in rows]}
    assert repr(outcome(table)) == repr(row_by_row(rows))


@pytest.mark.parametrize(
    "body",
    [
        {"columns": ["age"], "data": []},
        {"columns": ["age"], "data": {}},
        {"columns": ["age", "age"], "data": [[1, 2]]},
        {"columns": [1], "data": [[1]]},
        {"columns": [["age"]], "data": [[1]]},
        {"age": [1, 2], "height": [1, 2]},
        {"data": [[1]]},
        [],
        "rows",
    ],
)
def test_a_body_of_another_shape_is_refused(body: Any) -> None:
    with pytest.raises(Refused) as caught:
        validated_rows(SCHEMA, body)
    assert caught.value.status == 422


@pytest.mark.parametrize(
    ("accept", "body", "answer"),
    [
        ("", arrow.STREAM, arrow.STREAM),
        ("*/*", arrow.FILE, arrow.FILE),
        ("application/json", arrow.FILE, JSON),
        ("application/vnd.apache.parquet", arrow.FILE, arrow.FILE),
        ("Application/JSON; charset=utf-8", arrow.FILE, JSON),
        ("application/json;q=0.5, */*", arrow.STREAM, arrow.STREAM),
        ("application/json, */*;q=0.1", arrow.STREAM, JSON),
        (f"{arrow.FILE};q=0.9, {arrow.STREAM};q=1.0", JSON, arrow.STREAM),
        ("application/json;q=0", arrow.STREAM, arrow.STREAM),
        ("application/json;q=much", arrow.STREAM, arrow.STREAM),
        ("text/html", arrow.STREAM, arrow.STREAM),
        ("text/html, application/xhtml+xml, */*;q=0.8", JSON, JSON),
        (",;=;q,,", JSON, JSON),
    ],
)
def test_accept_selects_the_format_of_the_answer(accept: str, body: str, answer: str) -> None:
    assert wanted_type(accept, body) == answer


def test_without_pyarrow_answers_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "can_read", lambda: False)
    assert wanted_type(arrow.STREAM, JSON) == JSON
