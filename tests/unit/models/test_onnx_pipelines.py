"""Ordinary pipelines with nulls, and regressions, in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from driftbell.errors import ModelError
from driftbell.models.convert import convert
from driftbell.models.native import NativeModel
from driftbell.models.onnx_file import load_onnx
from driftbell.models.onnx_nulls import NULL_TEXT
from driftbell.models.sklearn import loaded_estimator
from driftbell.records import Task
from driftbell.tabular.columns import as_columns
from driftbell.tabular.schema import Schema, infer_schema

ROWS = 400
RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 3, ROWS)
HOLES = RNG.random(ROWS) < 0.15
AMOUNT = RNG.normal(50, 10, ROWS)
NUMBERS = np.round(RNG.normal(size=(ROWS, 3)), 1)
TARGET = NUMBERS @ [3.0, -1.0, 0.5] + 100


def table(null: Any) -> Any:
    plan = np.array(["a", "b", "c"], dtype=object)[CODES]
    return pd.DataFrame(
        {
            "age": np.where(HOLES, np.nan, CODES * 10 + 20.1),
            "fee": AMOUNT,
            "plan": np.where(RNG.random(ROWS) < 0.15, null, plan),
            "city": np.array(["x", "y"], dtype=object)[CODES % 2],
        }
    )


LABELS = np.where((CODES > 0) == (AMOUNT > 45), "yes", "no")


def pipeline(texts: Any, last: Any) -> Any:
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    steps = [("number", numbers, ["age", "fee"]), ("text", texts, ["plan", "city"])]
    return make_pipeline(ColumnTransformer(steps), last)


def native(estimator: Any, rows: Any, null: str = "nan") -> NativeModel:
    from dataclasses import replace

    schema = infer_schema(rows)
    schema = Schema(tuple(replace(f, null=null) for f in schema.features))
    return NativeModel(loaded_estimator(estimator), name="m", version="v", schema=schema)


ENCODERS: dict[str, Any] = {
    "imputed": lambda: make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    ),
    "constant": lambda: make_pipeline(
        SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder(handle_unknown="ignore")
    ),
    "null is a category": lambda: OneHotEncoder(handle_unknown="ignore"),
    "none imputed": lambda: make_pipeline(
        SimpleImputer(missing_values=None, strategy="constant", fill_value="none"),
        OneHotEncoder(handle_unknown="ignore"),
    ),
}


@pytest.mark.parametrize("last", [LogisticRegression(), RandomForestClassifier(20, random_state=0)], ids=str)
@pytest.mark.parametrize("null", [np.nan, None], ids=["NaN", "None"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_pipeline_with_nulls_predicts_as_in_scikit_learn(encoder: str, null: Any, last: Any) -> None:
    if encoder == "none imputed" and null is not None:
        pytest.skip("an imputer of None is for None")
    rows = table(null)
    estimator = pipeline(ENCODERS[encoder](), last).fit(rows, LABELS)
    model = native(estimator, rows, "none" if null is None else "nan")
    result = convert(model, as_columns(rows))
    assert result.model, result.reason
    outputs = result.model.predict(as_columns(rows))
    np.testing.assert_allclose(outputs.probabilities, estimator.predict_proba(rows), atol=2e-6)
    cells = model.schema.rows(as_columns(rows))[:30]
    assert result.model.answer(cells)[0] == model.answer(cells)[0]
    answers = [model.classes[i] for i in model.answer(cells)[0]]
    assert answers == estimator.predict(rows[:30]).tolist()


def test_a_pipeline_that_onnx_would_answer_otherwise_stays_in_scikit_learn() -> None:
    rows = table(np.nan)
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    result = convert(
        native(pipeline(encoder, LogisticRegression()).fit(rows, LABELS), rows), as_columns(rows)
    )
    assert result.model is None
    assert "rows differ, the first is a row of the reference" in result.reason


NAMES = [
    ("Site 0", "Sensor 1", "Sensor_1"),
    ("a b", "a_b", "a-b"),
    ("a/b", "a.b", "(a)"),
    ("größe", "日本", "u(b)"),
    ("1", "2", "1 2"),
    ("variable", "label", "probabilities"),
    (" ", "  ", "_"),
]
"""Names of columns that the converter replaces, or that are equal after it did."""


@pytest.mark.parametrize(
    "last", [LogisticRegression(), RandomForestClassifier(9, random_state=0), Ridge()], ids=str
)
@pytest.mark.parametrize("names", NAMES, ids=repr)
def test_features_of_any_name_are_fed_to_their_inputs(names: tuple[str, str, str], last: Any) -> None:
    category, second, third = names
    plans = np.array(["a", "b", "c"], dtype=object)[CODES]
    rows = pd.DataFrame({category: plans, second: NUMBERS[:, 0], third: 3 * NUMBERS[:, 1]})
    steps = [
        ("numbers", StandardScaler(), [third, second]),
        ("text", ENCODERS["null is a category"](), [category]),
    ]
    truth = TARGET if isinstance(last, Ridge) else np.where(TARGET + 5 * CODES > 105, "yes", "no")
    scikit = native(make_pipeline(ColumnTransformer(steps), last).fit(rows, truth), rows)
    result = convert(scikit, as_columns(rows))
    assert result.model, result.reason
    mixed = as_columns(rows.assign(**{category: plans[::-1], third: NUMBERS[:, 2]}))
    expected, answer = scikit.predict(mixed), result.model.predict(mixed)
    np.testing.assert_allclose(answer.values, expected.values, rtol=1e-5)
    if expected.probabilities is not None:
        np.testing.assert_allclose(answer.probabilities, expected.probabilities, atol=1e-5)


def test_a_feature_without_a_name_stays_in_scikit_learn() -> None:
    rows = pd.DataFrame({"": np.array(["a", "b"], dtype=object)[CODES % 2], "x": AMOUNT})
    steps = [("text", OneHotEncoder(handle_unknown="ignore"), [""])]
    estimator = make_pipeline(ColumnTransformer(steps, remainder="passthrough"), LogisticRegression())
    result = convert(native(estimator.fit(rows, LABELS), rows), as_columns(rows))
    assert result.model is None
    assert "a feature has an empty name" in result.reason


def test_the_text_for_null_cannot_be_sent_by_a_client() -> None:
    rows = table(None)
    estimator = pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(rows, LABELS)
    result = convert(native(estimator, rows, "none"), as_columns(rows))
    assert result.graph
    assert result.graph.signature.null_text == NULL_TEXT
    assert NULL_TEXT not in {str(v) for v in rows["plan"]}


@pytest.mark.parametrize(
    "estimator",
    [
        LinearRegression(),
        make_pipeline(StandardScaler(), Ridge()),
        RandomForestRegressor(20, random_state=0),
        ExtraTreesRegressor(20, random_state=0),
        DecisionTreeRegressor(criterion="absolute_error", max_depth=8),
        GradientBoostingRegressor(random_state=0, n_estimators=30),
        GradientBoostingRegressor(random_state=0, n_estimators=30, loss="huber"),
        make_pipeline(StandardScaler(), GradientBoostingRegressor(random_state=0, n_estimators=30)),
        HistGradientBoostingRegressor(max_iter=30),
        HistGradientBoostingRegressor(max_iter=30, loss="quantile", quantile=0.9),
        make_pipeline(StandardScaler(), HistGradientBoostingRegressor(max_iter=30)),
        make_pipeline(StandardScaler(), RandomForestRegressor(20, random_state=0)),
    ],
    ids=lambda e: type(e).__name__,
)
def test_a_regression_predicts_as_in_scikit_learn(estimator: Any) -> None:
    estimator.fit(NUMBERS, TARGET)
    columns = {f"x{i}": NUMBERS[:, i] for i in range(3)}
    model = native(estimator, columns)
    result = convert(model, columns)
    assert result.model, result.reason
    assert result.model.task is Task.REGRESSION
    expected = estimator.predict(NUMBERS)
    np.testing.assert_allclose(result.model.predict(columns).values, expected, rtol=1e-6)
    for count in (1, 7, 100):
        values, probabilities = result.model.answer(NUMBERS[:count].tolist())
        assert probabilities is None
        np.testing.assert_allclose(values, expected[:count], rtol=1e-6)


@pytest.mark.parametrize(
    "final", [RandomForestRegressor(60, random_state=0), GradientBoostingRegressor(random_state=0)]
)
def test_a_regression_on_scaled_numbers_and_texts_is_converted(final: Any) -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "area": rng.gamma(9, 12, 2000).round(1),
            "rooms": rng.integers(1, 7, 2000),
            "city": rng.choice(["Oslo", "Rome", "Bonn"], 2000),
        }
    )
    price = rows.area * 3000 + (rows.city == "Oslo") * 60000 + rng.normal(0, 20000, 2000)
    steps = [
        ("numbers", StandardScaler(), ["area", "rooms"]),
        ("texts", OneHotEncoder(handle_unknown="ignore"), ["city"]),
    ]
    estimator = make_pipeline(ColumnTransformer(steps), final).fit(rows[:1000], price[:1000])
    columns = as_columns(rows)
    result = convert(native(estimator, rows), columns)
    assert result.model, result.reason
    np.testing.assert_allclose(result.model.predict(columns).values, estimator.predict(rows), rtol=1e-6)


def graph(output_shape: list[Any], batch: Any = None, metadata: str = "") -> Any:
    """Return a model that adds three numbers and squeezes the sum between 0 and 1."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["sum"]), helper.make_node("Sigmoid", ["sum"], ["y"])]
    if len(output_shape) == 1:
        nodes[-1] = helper.make_node("Sigmoid", ["sum"], ["squeezed"])
        nodes.append(helper.make_node("Squeeze", ["squeezed", "axes"], ["y"]))
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 1], [1.0, 1.0, 1.0])
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    body = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)],
        [weights, axes],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if metadata:
        onnx.helper.set_model_props(model, {"classes": metadata})
    return model


def opened(path: Path, model: Any) -> Any:
    path.write_bytes(model.SerializeToString())
    columns = {f"x{i}": NUMBERS[:, i] for i in range(3)}
    return load_onnx(path, name="m", schema=infer_schema(columns), features=columns, sha256=None).model


EXPECTED = 1 / (1 + np.exp(-NUMBERS.sum(axis=1)))


@pytest.mark.parametrize("shape", [[None, 1], [None]], ids=["n x 1", "n"])
def test_an_onnx_file_of_one_number_a_row_is_a_regression(tmp_path: Path, shape: list[Any]) -> None:
    model = opened(tmp_path / "m.onnx", graph(shape))
    assert (model.task, model.classes) == (Task.REGRESSION, ())
    np.testing.assert_allclose(
        model.predict(as_columns({f"x{i}": NUMBERS[:, i] for i in range(3)})).values, EXPECTED, rtol=1e-5
    )
    np.testing.assert_allclose(model.answer(NUMBERS[:5].tolist())[0], EXPECTED[:5], rtol=1e-5)


@pytest.mark.parametrize("shape", [[None, 1], [None]], ids=["n x 1", "n"])
def test_one_number_is_the_probability_of_the_second_of_two_named_classes(
    tmp_path: Path, shape: list[Any]
) -> None:
    model = opened(tmp_path / "m.onnx", graph(shape, metadata='["no", "yes"]'))
    assert model.classes == ("no", "yes")
    values, probabilities = model.answer(NUMBERS[:50].tolist())
    np.testing.assert_allclose(np.array(probabilities)[:, 1], EXPECTED[:50], rtol=1e-5)
    assert values == (EXPECTED[:50] > 0.5).astype(int).tolist()


@pytest.mark.parametrize("metadata", ["", '["no", "yes"]'])
def test_a_fixed_batch_of_one_row_is_served(tmp_path: Path, metadata: str) -> None:
    model = opened(tmp_path / "m.onnx", graph([1, 1], batch=1, metadata=metadata))
    values, probabilities = model.answer(NUMBERS[:20].tolist())
    results = values if not metadata else np.array(probabilities)[:, 1]
    np.testing.assert_allclose(results, EXPECTED[:20], rtol=1e-5)


def test_several_numbers_a_row_without_classes_are_refused(tmp_path: Path) -> None:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [1.0] * 6)
    body = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [weights],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(ModelError, match="not probabilities"):
        opened(tmp_path / "m.onnx", model)
