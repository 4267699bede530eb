"""Every check derived from the definition of a valid value agrees with it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbell.records import Feature, Kind
from driftbell.tabular.feature_value import (
    MAX_NUMBER,
    RULES,
    find_problem,
    is_iso_time,
    json_schema,
    parsed_type,
    read_column,
)

FEATURES = [Feature("x", kind, nullable, (), None) for kind in RULES for nullable in (False, True)]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.lists(st.integers(), max_size=2),
    st.sampled_from(
        ["2026-01-31", "2026-01-31T12:00:00Z", "2026-13-01", "Bern", "", "\0", "\ud800", MAX_NUMBER, 10**400]
    ),
)


@given(st.sampled_from(FEATURES), VALUES)
def test_the_column_check_accepts_the_values_without_a_problem(feature: Feature, value: Any) -> None:
    assert (read_column(feature, [value]) is not None) == (find_problem(feature, value) is None)


@given(st.sampled_from(FEATURES), VALUES)
def test_the_parsed_type_accepts_every_valid_value_and_no_other_number(feature: Feature, value: Any) -> None:
    try:
        msgspec.json.decode(json.dumps(value).encode(), type=parsed_type(feature))
        parsed = True
    except (msgspec.DecodeError, UnicodeDecodeError):
        parsed = False
    valid = find_problem(feature, value) is None
    if isinstance(value, str):  # the text itself is checked after parsing
        assert parsed or not valid
    else:
        assert parsed == valid


@given(st.sampled_from(FEATURES), VALUES)
def test_the_json_schema_accepts_every_valid_value(feature: Feature, value: Any) -> None:
    schema = json_schema(feature)
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    names = {
        bool: "boolean",
        int: "number",
        float: "number",
        str: "string",
        list: "array",
        type(None): "null",
    }
    described = names[type(value)] in types
    if described and names[type(value)] == "number":
        described = schema["minimum"] <= value <= schema["maximum"]
    if find_problem(feature, value) is None:
        assert described
    elif not isinstance(value, str):
        assert not described


AT_MOST = "'x' must be a finite number of at most 3.4e38 in size, got"


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (Kind.NUMERIC, True, "'x' must be a number, got a boolean"),
        (
            Kind.NUMERIC,
            float("nan"),
            "'x' must be a finite number, got NaN: the reference has no missing values in it",
        ),
        (Kind.NUMERIC, float("inf"), f"{AT_MOST} Infinity or a number beyond 1.8e308"),
        (Kind.NUMERIC, -np.inf, f"{AT_MOST} -Infinity or a number beyond -1.8e308"),
        (Kind.NUMERIC, 1e308, f"{AT_MOST} 1e+308"),
        (Kind.NUMERIC, np.float64(-4e38), f"{AT_MOST} -4e+38"),
        (Kind.NUMERIC, 10**39, f"{AT_MOST} 1{'0' * 39}"),
        (Kind.BOOLEAN, 1, "'x' must be true or false, got a number"),
        (Kind.CATEGORICAL, "\0", "'x' must be valid Unicode text without NUL"),
        (Kind.CATEGORICAL, [1], "'x' must be a string, got an array"),
        (Kind.DATETIME, "noon", "'x' must be an ISO 8601 date and time such as '2026-01-31T12:00:00Z'"),
        (Kind.DATETIME, None, "'x' must not be null: the reference has no nulls in it"),
    ],
)
def test_a_problem_names_the_field_and_what_is_expected(kind: Kind, value: Any, message: str) -> None:
    problem = find_problem(Feature("x", kind), value)
    assert problem is not None
    assert problem.message == message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_of_a_nullable_feature_gets_the_hint_to_send_null(value: float) -> None:
    problem = find_problem(Feature("x", Kind.NUMERIC, nullable=True), value)
    assert problem is not None
    assert problem.message.endswith("send null for a missing value")


def test_numbers_and_texts_of_numpy_are_values() -> None:
    assert find_problem(Feature("x", Kind.NUMERIC), np.float64(1.5)) is None
    assert find_problem(Feature("x", Kind.CATEGORICAL), np.str_("a")) is None


def test_a_time_is_ascii_iso_8601() -> None:
    assert is_iso_time("2026-01-31T12:00:00+01:00")
    assert not is_iso_time("2026-01-31٠12:00:00")
    assert not is_iso_time("31.01.2026")
