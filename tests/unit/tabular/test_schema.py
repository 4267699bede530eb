from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbell.errors import InputError
from driftbell.records import Feature, Kind
from driftbell.tabular.schema import Schema, infer_schema

SCHEMA = Schema(
    (
        Feature("age", Kind.NUMERIC, example=31.0),
        Feature("plan", Kind.CATEGORICAL, nullable=True, categories=("free", "paid"), example="free"),
        Feature("active", Kind.BOOLEAN, example=True),
        Feature("since", Kind.DATETIME, example="2026-01-31T12:00:00+00:00"),
    )
)
ROW = {"age": 31, "plan": "free", "active": True, "since": "2026-01-31"}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def problems_of(
    row: dict[str, Any], schema: Schema = SCHEMA, index: int | None = None
) -> list[tuple[str, str, int | None]]:
    with pytest.raises(InputError) as caught:
        schema.validate(row, index)
    return [(p.field, p.reason, p.row) for p in caught.value.problems]


def test_kinds_are_inferred_from_the_values() -> None:
    schema = infer_schema(
        {
            "number": [1, 2.5, None],
            "text": ["a", "b", "b"],
            "flag": [True, False, None],
            "moment": [datetime(2026, 1, 1, tzinfo=UTC)] * 3,
            "mixed": [1, "a", True],
        }
    )
    assert [f.kind for f in schema.features] == [
        Kind.NUMERIC,
        Kind.CATEGORICAL,
        Kind.BOOLEAN,
        Kind.DATETIME,
        Kind.CATEGORICAL,
    ]


def test_a_column_with_a_null_is_nullable() -> None:
    schema = infer_schema({"a": [1.0, math.nan], "b": ["x", None], "c": [1.0, 2.0]})
    assert [f.nullable for f in schema.features] == [True, True, False]


def test_categories_come_most_frequent_first() -> None:
    feature, *_ = infer_schema({"plan": ["free", "paid", "paid", None]}).features
    assert feature.categories == ("paid", "free")


def test_the_example_is_a_valid_row_even_where_the_reference_has_values_that_are_refused() -> None:
    table = {
        "x": [None, math.inf, 1e300, 5],
        "t": ["\0", "\ud800", "fine", None],
        "m": [datetime(2026, 1, 1, tzinfo=UTC)] * 4,
        "b": [None, True, False, True],
    }
    schema = infer_schema(table)
    assert schema.example == {"x": 5.0, "t": "fine", "m": "2026-01-01T00:00:00+00:00", "b": True}
    assert schema.validate(json.loads(json.dumps(schema.example))) == list(schema.example.values())


def test_a_reference_without_columns_is_refused() -> None:
    with pytest.raises(InputError, match="no columns"):
        infer_schema({})


def test_every_column_without_values_is_named() -> None:
    with pytest.raises(InputError) as caught:
        infer_schema({"a": [None, None], "b": [math.nan, math.nan], "c": [1.0, 2.0]})
    assert [p.field for p in caught.value.problems] == ["a", "b"]


def test_a_reference_without_rows_is_refused() -> None:
    with pytest.raises(InputError, match="'a' of the reference has no values"):
        infer_schema({"a": []})


def test_unequal_lengths_are_refused_with_the_lengths() -> None:
    with pytest.raises(InputError, match="a has 2, b has 1"):
        infer_schema({"a": [1, 2], "b": [1]})


def test_a_valid_row_comes_back_in_the_order_of_the_schema() -> None:
    row = dict(reversed(ROW.items()))
    assert SCHEMA.validate(row) == [31.0, "free", True, "2026-01-31"]


def test_null_is_valid_where_the_reference_has_nulls() -> None:
    assert SCHEMA.validate({**ROW, "plan": None})[1] is None


def test_a_category_that_the_reference_has_not_is_valid_and_left_to_the_drift_check() -> None:
    assert SCHEMA.validate({**ROW, "plan": "gold"})[1] == "gold"


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("age", "31", "type"),
        ("age", True, "type"),
        ("age", [31], "type"),
        ("age", None, "null"),
        ("age", math.nan, "not_finite"),
        ("age", -math.inf, "not_finite"),
        ("age", 1e39, "not_finite"),
        ("age", 10**400, "not_finite"),
        ("plan", 3, "type"),
        ("plan", "a\0b", "type"),
        ("plan", "\ud800", "type"),
        ("active", 1, "type"),
        ("active", "true", "type"),
        ("since", 1769860800, "type"),
        ("since", "yesterday", "type"),
        ("since", "2026-01-31\x0012:00", "type"),
        ("since", "2026-01-31\ud80012:00", "type"),
    ],
)
def test_a_value_that_does_not_fit_is_one_problem_of_its_field(field: str, value: Any, reason: str) -> None:
    assert problems_of({**ROW, field: value}) == [(field, reason, None)]


def test_the_largest_single_precision_number_is_still_valid() -> None:
    largest = float(np.finfo(np.float32).max)
    assert SCHEMA.validate({**ROW, "age": largest})[0] == largest


def test_every_problem_of_a_row_is_reported_at_once() -> None:
    result = problems_of({"age": "x", "active": None, "extra": 1, "plan": "free"}, index=7)
    assert result == [
        ("age", "type", 7),
        ("active", "null", 7),
        ("since", "missing", 7),
        ("extra", "extra", 7),
    ]


def test_a_nullable_feature_that_a_row_lacks_is_null() -> None:
    schema = Schema((Feature("age", Kind.NUMERIC, nullable=True), Feature("plan", Kind.CATEGORICAL)))
    assert schema.validate({"plan": "free"}) == [None, "free"]
    with pytest.raises(InputError) as caught:
        schema.validate({"agee": 3})
    assert [(p.field, p.reason) for p in caught.value.problems] == [("plan", "missing"), ("agee", "extra")]


def test_an_unknown_field_gets_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"unknown field 'actve': did you mean 'active'\?"):
        SCHEMA.validate({**ROW, "actve": True})


def test_an_unknown_field_like_no_other_gets_all_names() -> None:
    with pytest.raises(InputError, match="the features are age, plan, active and since"):
        SCHEMA.validate({**ROW, "zzz": True})


def test_a_very_long_field_name_is_not_repeated_whole() -> None:
    with pytest.raises(InputError) as caught:
        SCHEMA.validate({**ROW, "x" * 10_000: 1})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("row", "words"), [([1], "an array"), ("x", "a string"), (None, "null"), (3, "a number")]
)
def test_a_row_that_is_no_object_says_what_it_is(row: Any, words: str) -> None:
    with pytest.raises(InputError, match=f"got {words}"):
        SCHEMA.validate(row)


@given(st.dictionaries(st.sampled_from([*SCHEMA.names, "other"]), json_values) | json_values)
def test_any_json_is_valid_or_an_input_error(row: dict[str, Any] | list[dict[str, Any]] | None) -> None:
    try:
        values = SCHEMA.validate(row)
    except InputError as error:
        problems = error.problems
    else:
        assert len(values) == len(SCHEMA.features)
        return
    assert all(problem.message for problem in problems)


def test_rows_become_columns_of_the_features_kinds() -> None:
    columns = SCHEMA.columns([SCHEMA.validate(ROW), SCHEMA.validate({**ROW, "plan": None})])
    assert columns["age"].tolist() == [31.0, 31.0]
    assert columns["plan"].tolist() == ["free", None]
    assert columns["age"].dtype == np.float64


def test_no_rows_become_empty_columns() -> None:
    columns = SCHEMA.columns([])
    assert {name: len(column) for name, column in columns.items()} == dict.fromkeys(SCHEMA.names, 0)


def test_thousands_of_unknown_fields_give_a_short_message() -> None:
    schema = infer_schema({"age": [1.0, 2.0]})
    row = {"age": 1.0} | {f"field {i}": 0 for i in range(20_000)}
    with pytest.raises(InputError) as refused:
        schema.validate(row)
    assert len(refused.value.problems) == 21
    assert refused.value.problems[-1].message == "and 19980 more unknown fields"


def test_a_column_of_lists_is_no_feature() -> None:
    with pytest.raises(InputError, match="column 'e' of the reference has lists or structures: exclude it"):
        infer_schema({"e": [[1], [2]], "x": [1, 2]})
