"""The window of a check as a table."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np

from driftbell.monitor.window import window_columns
from driftbell.records import Columns, Kind, Prediction, Reference, Task, Value, Window, probability_column
from driftbell.tabular.columns import as_columns
from driftbell.tabular.schema import infer_schema

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
FEATURES = as_columns({"age": [30.0, 50.0], "city": ["Rome", "Oslo"]})
MODEL: Any = SimpleNamespace(
    schema=infer_schema(FEATURES), classes=("old", "young"), task=Task.CLASSIFICATION
)
P_OLD = probability_column("old")


def table(*features: dict[str, Value]) -> Columns:
    predictions = [
        Prediction(f"p{i}", NOON, "m", "v1", f, "old", {"old": 0.75}, 1.0) for i, f in enumerate(features)
    ]
    answers = as_columns({"prediction": ["young", "old"], P_OLD: [0.25, 0.75]})
    roles = {"age": "feature", "city": "feature", "prediction": "prediction", P_OLD: "probability"}
    reference = Reference({**FEATURES, **answers}, roles, "r1")
    return window_columns(Window(tuple(predictions), 1, len(predictions)), MODEL, reference)


def test_the_columns_are_those_of_the_reference() -> None:
    columns = table({"age": 1.0, "city": "Rome"}, {"age": 2.0, "city": "Oslo"})
    assert {name: cells.tolist() for name, cells in columns.items()} == {
        "age": [1.0, 2.0],
        "city": ["Rome", "Oslo"],
        "prediction": ["old", "old"],
        P_OLD: [0.75, 0.75],
    }


def test_a_feature_missing_in_all_rows_is_left_out() -> None:
    columns = table({"age": 1.0}, {"age": 2.0})
    assert "city" not in columns
    assert columns["age"].tolist() == [1.0, 2.0]


def test_a_feature_missing_in_one_row_is_null_there() -> None:
    columns = table({"age": 1.0, "city": "Rome"}, {"city": None})
    assert np.isnan(columns["age"][1])
    assert columns["city"].tolist() == ["Rome", None]


def test_values_of_another_kind_become_null() -> None:
    columns = table({"age": "many", "city": "Rome"}, {"age": 3, "city": "x"})
    assert columns["age"].dtype == np.float64
    assert np.isnan(columns["age"][0])
    assert MODEL.schema.features[0].kind is Kind.NUMERIC
