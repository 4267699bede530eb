"""The contract of `driftbell.ports.Model`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from driftbell.models.convert import convert
from driftbell.models.native import NativeModel
from driftbell.models.sklearn import loaded_estimator
from driftbell.models.threshold import ThresholdModel, with_threshold
from driftbell.ports import Model
from driftbell.records import Task
from driftbell.tabular.columns import as_columns
from driftbell.tabular.schema import infer_schema
from driftbell.testing import FakeModel

RNG = np.random.default_rng(0)
VALUES = np.round(RNG.normal(size=(300, 2)), 1)
COLUMNS = as_columns({"x": VALUES[:, 0], "y": VALUES[:, 1]})
LABELS = np.where(VALUES.sum(axis=1) > 0, "high", "low")


def sklearn_model(estimator: Any) -> NativeModel:
    fitted = estimator.fit(VALUES, LABELS)
    return NativeModel(loaded_estimator(fitted), name="m", version="v", schema=infer_schema(COLUMNS))


MODELS: dict[str, Callable[[], Model]] = {
    "fake": lambda: FakeModel(infer_schema(COLUMNS), ("high", "low"), lambda c: c["x"] + c["y"] <= 0),
    "scikit-learn": lambda: sklearn_model(LogisticRegression()),
    "threshold": lambda: with_threshold(sklearn_model(LogisticRegression()), {"low": 0.7}),
    "ONNX Runtime": lambda: convert(sklearn_model(DecisionTreeClassifier(max_depth=4)), COLUMNS).model,
}


AMOUNTS = 3 * VALUES[:, 0] - VALUES[:, 1]


def regression(estimator: Any) -> NativeModel:
    loaded = loaded_estimator(estimator.fit(VALUES, AMOUNTS))
    return NativeModel(loaded, name="m", version="v", schema=infer_schema(COLUMNS))


REGRESSIONS: dict[str, Callable[[], Model]] = {
    "fake": lambda: FakeModel(infer_schema(COLUMNS), (), lambda c: 3 * c["x"] - c["y"]),
    "scikit-learn": lambda: regression(LinearRegression()),
}


@pytest.fixture(scope="module", params=REGRESSIONS)
def numbers(request: pytest.FixtureRequest) -> Model:
    return REGRESSIONS[request.param]()


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Model:
    return MODELS[request.param]()


def test_a_model_describes_itself(model: Model) -> None:
    assert model.name
    assert model.version
    assert model.schema.names == ("x", "y")
    assert model.classes == ("high", "low")
    assert model.engine in ("onnxruntime", "native")
    assert isinstance(model.engine_reason, str)
    assert isinstance(model.inline, bool)


def test_outputs_have_one_row_for_each_row(model: Model) -> None:
    outputs = model.predict(COLUMNS)
    assert outputs.values.shape == (300,)
    assert set(outputs.values) == {0, 1}
    assert outputs.probabilities.shape == (300, 2)
    assert outputs.probabilities.sum(axis=1) == pytest.approx(np.ones(300), abs=1e-6)
    if isinstance(model, ThresholdModel):
        assert list(outputs.probabilities[:, 1] >= 0.7) == list(outputs.values)
    else:
        assert list(outputs.probabilities.argmax(axis=1)) == list(outputs.values)


def test_answer_returns_the_same_as_predict(model: Model) -> None:
    outputs = model.predict(COLUMNS)
    class_ids, probabilities = model.answer(VALUES.tolist())
    assert class_ids == outputs.values.tolist()
    assert np.array(probabilities) == pytest.approx(outputs.probabilities, abs=1e-6)


def test_a_row_has_the_same_outputs_alone_and_in_a_table(model: Model) -> None:
    class_ids, probabilities = model.answer(VALUES.tolist())
    for row in range(0, 300, 60):
        alone = model.answer([VALUES[row].tolist()])
        assert alone[0] == [class_ids[row]]
        assert alone[1][0] == pytest.approx(probabilities[row], abs=1e-6)


def test_a_regression_has_no_classes_and_predicts_numbers(numbers: Model) -> None:
    assert numbers.task is Task.REGRESSION
    assert numbers.classes == ()
    outputs = numbers.predict(COLUMNS)
    assert outputs.values.dtype == np.float64
    assert outputs.values.shape == (300,)
    assert outputs.probabilities is None
    assert outputs.values == pytest.approx(AMOUNTS, abs=1e-9)


def test_answers_of_a_regression_are_those_of_predict(numbers: Model) -> None:
    values, probabilities = numbers.answer(VALUES.tolist())
    assert probabilities is None
    assert set(map(type, values)) == {float}
    assert values == numbers.predict(COLUMNS).values.tolist()
    alone = [numbers.answer([row])[0][0] for row in VALUES[:5].tolist()]
    assert alone == pytest.approx(values[:5], rel=1e-12)
