"""Outputs of models as texts and numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbell.errors import PredictError
from driftbell.records import Outputs
from driftbell.tabular.outputs import MAX_OUTPUT, output_texts, output_values, parse_number, row_errors


@given(st.lists(st.floats(-MAX_OUTPUT, MAX_OUTPUT)))
def test_numbers_are_read_as_they_were_written(numbers: list[float]) -> None:
    texts = output_texts(Outputs(np.array(numbers, dtype=np.float64)), (), "m")
    assert output_values(texts, ()).tolist() == numbers


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e101])
def test_a_prediction_that_is_no_number_is_an_error_of_the_model(value: float) -> None:
    with pytest.raises(PredictError, match=r"model 'm' predicted .* for row 1, but a prediction"):
        output_texts(Outputs(np.array([1.0, value])), (), "m")


@pytest.mark.parametrize(
    "value", ["", "n/a", "1_000", "nan", "inf", "1e101", True, None, [1], np.True_, 10**400]
)
def test_cells_that_are_no_number(value: object) -> None:
    assert parse_number(value) is None


def test_errors_by_task() -> None:
    assert row_errors(np.array([1.5, -1.0]), np.array([1.0, 1.0]), ()).tolist() == [0.5, 2.0]
    assert row_errors(np.array([1, 0]), np.array([1.0, -1.0]), ("a", "b")).tolist() == [0.0, 1.0]
