"""Predictions that another service has made: what is valid."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from driftbell.errors import InputError
from driftbell.records import Feature, Kind
from driftbell.tabular.logged_rows import LoggedRow, LoggedRowReader
from driftbell.tabular.schema import Schema

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SCHEMA = Schema((Feature("income", Kind.NUMERIC, nullable=True),))


def read(classes: tuple[str, ...] = ("low", "mid", "high"), **fields: Any) -> LoggedRow:
    return LoggedRowReader(SCHEMA, classes).read({"features": {}, "prediction": classes[0], **fields}, NOW)


def test_probabilities_sum_to_one_apart_from_rounding() -> None:
    assert read(probabilities={"low": 0.33, "mid": 0.33, "high": 0.33}).probabilities == [0.33, 0.33, 0.33]
    assert read(("no", "yes"), probabilities={"yes": 0.25}).probabilities == [0.75, 0.25]


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"low": 0.9, "mid": 0.9, "high": 0.9}, "must sum to 1, but their sum is 2.7"),
        ({"low": 0, "mid": 0, "high": 0}, "must sum to 1, but their sum is 0"),
        ({"low": 0.5, "LOW": 0.2, "mid": 0.2, "high": 0.3}, "must have one number from 0 to 1"),
    ],
)
def test_other_probabilities_are_refused(shares: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(probabilities=shares)


@pytest.mark.parametrize(
    ("row", "reason", "message"),
    [
        (
            {"features": {}},
            "missing",
            "'prediction' is missing: send the model's answer, one of the classes no and yes",
        ),
        (
            {"features": {}, "prediction": "maybe"},
            "unknown_class",
            "'prediction' must be one of the classes no and yes",
        ),
        (
            {"prediction": "no"},
            "missing",
            "'features' is missing: it must be an object of the features by name",
        ),
        (
            {"features": [1], "prediction": "no"},
            "type",
            "'features' must be an object of the features by name, got an array",
        ),
    ],
)
def test_a_missing_field_is_named_as_missing(row: dict[str, Any], reason: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        LoggedRowReader(SCHEMA, ("no", "yes")).read(row, NOW)
    (problem,) = error.value.problems
    assert (problem.reason, problem.message) == (reason, message)


def test_a_missing_number_of_a_regression_is_named_as_missing() -> None:
    reader = LoggedRowReader(SCHEMA, ())
    for row, words in (
        ({"features": {}}, "is missing: send the model's answer, a number"),
        ({"features": {}, "prediction": "x"}, "must be a number"),
    ):
        with pytest.raises(InputError, match=f"'prediction' {words} from -"):
            reader.read(row, NOW)
