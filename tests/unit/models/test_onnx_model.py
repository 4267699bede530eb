"""Models in ONNX Runtime predict as the native ones or are not served; formats of ONNX files."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import pandas as pd
import pytest
import xgboost
from onnx import TensorProto, helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from driftbell.errors import ModelError, PredictError
from driftbell.models import onnx_export
from driftbell.models.conversion_cache import Conversion
from driftbell.models.convert import convert
from driftbell.models.equivalence import TOLERANCE, check_equivalence
from driftbell.models.native import NativeModel
from driftbell.models.onnx_file import load_onnx
from driftbell.models.onnx_model import OnnxModel
from driftbell.models.sklearn import loaded_estimator
from driftbell.records import Columns, Value
from driftbell.tabular.columns import as_columns
from driftbell.tabular.schema import infer_schema

ROWS = 1200
RNG = np.random.default_rng(0)
GRID = np.round(RNG.normal(size=(ROWS, 5)) * 10) / 10
"""Values with one decimal: the middle of two is often a third, so thresholds lie on values."""

SCORE = GRID @ [1.0, -0.7, 0.4, 0.2, 0.0] + RNG.normal(scale=0.6, size=ROWS)
THREE = np.digitize(SCORE, [-0.6, 0.6])
TWO = (SCORE > 0).astype(int)
HOLES = np.where(RNG.random(GRID.shape) < 0.05, np.nan, GRID)
LARGE = GRID * 1000 + 1.7e9
"""Single precision tells these apart in steps of 128."""


def columns_of(values: np.ndarray) -> Columns:
    return {f"x{i}": column.copy() for i, column in enumerate(values.T)}


def native_of(estimator: Any, columns: Columns) -> NativeModel:
    return NativeModel(loaded_estimator(estimator), name="m", version="v", schema=infer_schema(columns))


def converted(estimator: Any, values: np.ndarray, labels: np.ndarray) -> tuple[NativeModel, Conversion]:
    native = native_of(estimator.fit(values, labels), columns_of(values))
    return native, convert(native, columns_of(values))


def beyond(values: np.ndarray, rows: int = 3000) -> Columns:
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    return columns_of(np.random.default_rng(9).uniform(2 * low - high, 2 * high - low, (rows, len(low))))


def booster(**more: Any) -> Any:
    return lightgbm.LGBMClassifier(n_estimators=12, verbose=-1, n_jobs=1, **more)


def xgb(**more: Any) -> Any:
    return xgboost.XGBClassifier(n_estimators=12, n_jobs=1, **more)


CASES = {
    "forest": (RandomForestClassifier(30, random_state=0), GRID, THREE),
    "forest of two": (RandomForestClassifier(30, random_state=0, min_samples_leaf=4), GRID, TWO),
    "forest with nulls": (RandomForestClassifier(20, random_state=0), HOLES, THREE),
    "extra trees": (ExtraTreesClassifier(20, random_state=0), GRID, THREE),
    "tree": (DecisionTreeClassifier(random_state=0), GRID, THREE),
    "names": (DecisionTreeClassifier(random_state=0), GRID, np.array(["lo", "mid", "up"])[THREE]),
    "logistic": (LogisticRegression(), GRID, THREE),
    "scaled": (make_pipeline(StandardScaler(), LogisticRegression()), GRID, TWO),
    "scaled large": (make_pipeline(StandardScaler(), LogisticRegression()), LARGE, TWO),
    "scaled forest": (
        make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)),
        GRID,
        THREE,
    ),
    "scaled booster": (make_pipeline(StandardScaler(), booster()), GRID, THREE),
    "gradient": (GradientBoostingClassifier(n_estimators=12, random_state=0), GRID, THREE),
    "histogram": (HistGradientBoostingClassifier(max_iter=8), GRID, THREE),
    "histogram of two": (HistGradientBoostingClassifier(max_iter=8), LARGE, TWO),
    "histogram with nulls": (HistGradientBoostingClassifier(max_iter=8), HOLES, THREE),
    "lightgbm": (booster(), GRID, THREE),
    "lightgbm of two": (booster(), GRID, TWO),
    "lightgbm with nulls": (booster(), HOLES, THREE),
    "lightgbm large": (booster(), LARGE, TWO),
    "xgboost": (xgb(), GRID, THREE),
    "xgboost with nulls": (xgb(), HOLES, TWO),
    "svc": (SVC(), GRID[:300], THREE[:300]),
    "linear svc": (LinearSVC(), GRID, TWO),
}


@cache
def once_converted(case: str) -> tuple[NativeModel, Conversion]:
    """Return a model of `CASES` and its conversion, for tests that only predict with them."""
    return converted(*CASES[case])


@pytest.mark.parametrize("case", CASES)
def test_a_converted_model_predicts_as_the_native_model(case: str) -> None:
    values = CASES[case][1]
    native, result = once_converted(case)
    assert result.model, result.reason
    assert result.rows_checked > len(values)
    assert result.max_difference <= TOLERANCE
    assert result.model.engine == "onnxruntime"
    assert result.model.classes == native.classes
    for table in (columns_of(values), beyond(values)):
        before, after = native.predict(table), result.model.predict(table)
        assert (before.values == after.values).mean() > 0.999  # rounding decides ties
        if before.probabilities is None or after.probabilities is None:
            assert before.probabilities is after.probabilities
        else:
            np.testing.assert_allclose(after.probabilities, before.probabilities, atol=TOLERANCE)


@pytest.mark.parametrize("labels", [TWO, THREE])
@pytest.mark.parametrize("rounded", [False, True])
def test_a_deep_forest_is_exact_at_its_thresholds(labels: np.ndarray, rounded: bool) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(ROWS, 3))
    values = np.round(values, 2) if rounded else values
    noise = rng.permutation(labels)  # nothing to learn: the trees grow until every leaf is pure
    forest = RandomForestClassifier(25, random_state=0, max_features=1).fit(values, noise)
    assert max(tree.get_depth() for tree in forest.estimators_) >= 20
    native = native_of(forest, columns_of(values))
    model = convert(native, columns_of(values)).model
    assert model
    table = rng.choice(values, 4000)
    for row in table:
        tree = forest.estimators_[rng.integers(25)].tree_
        node = rng.choice(np.flatnonzero(tree.feature >= 0))
        at = np.float32(tree.threshold[node])
        steps = [tree.threshold[node], at, np.nextafter(at, np.float32(9)), np.nextafter(at, np.float32(-9))]
        row[tree.feature[node]] = rng.choice(steps)
    before, after = native.predict(columns_of(table)), model.predict(columns_of(table))
    np.testing.assert_array_equal(after.values, before.values)
    np.testing.assert_array_equal(after.probabilities, before.probabilities)


@pytest.mark.parametrize("case", ["forest", "scaled", "svc", "linear svc", "forest with nulls", "lightgbm"])
@pytest.mark.parametrize("rows", [1, 7, 64, 65])
def test_quick_answers_are_those_of_tables(case: str, rows: int) -> None:
    native, result = once_converted(case)
    assert result.model
    table = {name: column[:rows] for name, column in columns_of(CASES[case][1]).items()}
    cells = [[None if np.isnan(v) else float(v) for v in row] for row in zip(*table.values(), strict=True)]
    outputs = result.model.predict(table)
    for model in (result.model, result.model, native):  # twice: the second time the buffers are there
        ids, probabilities = model.answer(cells)
        assert ids == outputs.values.tolist()
        if outputs.probabilities is None or probabilities is None:
            assert outputs.probabilities is None
            assert probabilities is None
        else:
            np.testing.assert_allclose(probabilities, outputs.probabilities, atol=TOLERANCE)


def test_a_forest_answers_shares_as_they_are() -> None:
    _, result = once_converted("forest")
    assert result.model
    _, probabilities = result.model.answer(GRID[:20].tolist())
    assert probabilities
    shares = np.array(probabilities) * 30
    np.testing.assert_array_equal(shares.round() / 30, probabilities)  # 0.7, not 0.699999988079071


def test_one_row_costs_little() -> None:
    native, result = once_converted("scaled")
    assert result.model
    assert result.model.inline
    assert not native.inline


def test_a_model_that_no_converter_knows_runs_natively() -> None:
    vote = VotingClassifier([("a", LogisticRegression()), ("b", DecisionTreeClassifier())], voting="soft")
    _, result = converted(vote, GRID, THREE)
    assert result.model is None
    assert result.reason.startswith("cannot be converted: ")
    assert "\n" not in result.reason


def frame(**more: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {"a": GRID[:, 0], "b": GRID[:, 1], "city": np.where(THREE > 1, "Rome", "Oslo"), **more}
    )


def mixed(rows: pd.DataFrame, last: Any, **unknown: str) -> NativeModel:
    names = [n for n in rows if n not in ("a", "b")]
    steps = [("n", StandardScaler(), ["a", "b"]), ("c", OneHotEncoder(**unknown), names)]
    fitted = make_pipeline(ColumnTransformer(steps), last).fit(rows, THREE)
    return native_of(fitted, as_columns(rows))


@pytest.mark.parametrize("last", [LogisticRegression(), RandomForestClassifier(10, random_state=0)])
def test_a_table_of_numbers_and_names_can_be_converted(last: Any) -> None:
    rows = frame()
    native = mixed(rows, last, handle_unknown="ignore")
    result = convert(native, as_columns(rows))
    assert result.model, result.reason
    cells: list[list[Value]] = [[1.5, -0.3, "Rome"], [0.0, 0.0, "Paris"]]
    assert result.model.answer(cells)[0] == native.answer(cells)[0]


def test_a_category_that_the_native_model_refuses_is_not_predicted() -> None:
    rows = frame()
    result = convert(mixed(rows, LogisticRegression()), as_columns(rows))
    assert result.model is None
    assert result.reason.startswith("a random row cannot be predicted: ValueError: Found unknown categories")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"day": pd.Timestamp("2026-01-31")}, "'day' is a date, which ONNX does not support"),
        (
            {"town": [None, *[True] * (ROWS - 1)]},
            "'town' may be null, which ONNX supports for numbers and texts only",
        ),
    ],
)
def test_a_feature_that_onnx_does_not_support_is_named(more: Any, reason: str) -> None:
    rows = frame(**more)
    result = convert(mixed(rows, LogisticRegression(), handle_unknown="ignore"), as_columns(rows))
    assert result.model is None
    assert result.reason == f"cannot be converted: {reason}"


def test_single_precision_at_a_threshold_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "set_double_thresholds", lambda *_: False)
    _, result = converted(booster(), GRID, TWO)
    assert result.model is None
    assert "rows differ, the first is a row at a threshold of 'x" in result.reason


def test_a_wrong_conversion_is_caught() -> None:
    native = native_of(RandomForestClassifier(10, random_state=0).fit(GRID, THREE), columns_of(GRID))
    other = native_of(RandomForestClassifier(10, random_state=1).fit(GRID, THREE), columns_of(GRID))
    wrong = convert(other, columns_of(GRID)).model
    assert wrong
    result = check_equivalence(native, wrong, columns_of(GRID), {})
    assert result.problem.startswith(f"{result.problem.split()[0]} of {result.rows:,} rows differ")
    assert result.max_difference > 0.1


def test_tied_classes_are_equivalent_only_for_models_that_predict_the_most_probable_class() -> None:
    native = native_of(DecisionTreeClassifier(max_depth=1, random_state=0).fit(GRID, TWO), columns_of(GRID))
    native.loaded.estimator.tree_.value[:] = 0.5
    contrary = loaded_estimator(Contrary(native.loaded.estimator))
    other = NativeModel(contrary, name="m", version="v", schema=native.schema)
    assert check_equivalence(native, other, columns_of(GRID), {}).problem == ""
    assert "rows differ" in check_equivalence(native, other, columns_of(GRID), {}, argmax=False).problem


class Contrary:
    """Answers the last class of those that are tied."""

    def __init__(self, estimator: Any) -> None:
        self.classes_ = estimator.classes_
        self.predict_proba = estimator.predict_proba

    def predict(self, table: Any) -> Any:
        return np.ones(len(table), dtype=int)


def test_nothing_is_converted_without_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "skl2onnx", None)
    _, result = converted(LogisticRegression(), GRID, TWO)
    assert result == Conversion(None, None, "install driftbell[onnx]")


def saved(tmp_path: Path, model: Any) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def load(path: Path, values: np.ndarray = GRID, **more: Any) -> OnnxModel:
    columns = columns_of(values)
    result = load_onnx(
        path, **{"name": "m", "schema": infer_schema(columns), "features": columns, "sha256": None, **more}
    )
    assert result.model
    return result.model


@pytest.mark.parametrize("zipmap", [False, True])
@pytest.mark.parametrize("labels", [TWO, np.array(["lo", "mid", "up"])[THREE]])
def test_an_onnx_file_is_served(tmp_path: Path, zipmap: bool, labels: np.ndarray) -> None:
    from skl2onnx import to_onnx

    fitted = LogisticRegression().fit(GRID, labels)
    path = saved(tmp_path, to_onnx(fitted, GRID[:1].astype(np.float32), options={"zipmap": zipmap}))
    model = load(path)
    assert model.classes == tuple(str(c) for c in fitted.classes_)
    outputs = model.predict(columns_of(GRID))
    assert [model.classes[i] for i in outputs.values] == [str(v) for v in fitted.predict(GRID)]
    assert outputs.probabilities is not None
    np.testing.assert_allclose(outputs.probabilities, fitted.predict_proba(GRID), atol=TOLERANCE)
    assert model.answer(GRID[:3].tolist())[0] == outputs.values[:3].tolist()


def graph(nodes: list[Any], outputs: list[Any], weights: Any = None) -> Any:
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 5])],
        outputs,
        [] if weights is None else [onnx.numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def soft(classes: int = 3, last: Any = 3) -> Any:
    weights = np.random.default_rng(0).normal(size=(5, classes)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["p"])]
    return graph(nodes, [helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, last])], weights)


def test_an_onnx_file_may_give_probabilities_only(tmp_path: Path) -> None:
    assert load(saved(tmp_path, soft())).classes == ("0", "1", "2")


def test_an_onnx_file_may_name_its_classes(tmp_path: Path) -> None:
    model = soft(last="k")
    helper.set_model_props(model, {"classes": json.dumps(["low", "mid", "high"])})
    assert load(saved(tmp_path, model)).classes == ("low", "mid", "high")


def hidden() -> Any:
    model = soft()
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([True] * 3), "all"))
    model.graph.node[1].output[0] = "q"
    model.graph.node.append(helper.make_node("Compress", ["q", "all"], ["p"], axis=1))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "k"
    return model


FLOATS = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 5])
ONE = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])
WHOLE = helper.make_tensor_value_info("y", TensorProto.INT64, [None])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (graph([helper.make_node("Neg", ["x"], ["y"])], [FLOATS]), "they do not sum to 1"),
        (
            graph([helper.make_node("ReduceSum", ["x"], ["y"])], [ONE]),
            "returns 1 numbers for 1200 rows",
        ),
        (
            graph([helper.make_node("ArgMax", ["x"], ["y"], axis=1, keepdims=0)], [WHOLE]),
            "returns classes but does not name them: set model.classes, or write them",
        ),
        (hidden(), "does not declare its number of classes"),
    ],
)
def test_an_onnx_file_that_is_no_model_is_refused(tmp_path: Path, model: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load(saved(tmp_path, model))


def test_an_onnx_file_with_another_hash_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not the pinned model"):
        load(saved(tmp_path, soft()), sha256="0" * 64)


def test_an_onnx_file_that_is_broken_or_takes_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match="not a valid ONNX graph; it is cut off or damaged"):
        load(tmp_path / "broken.onnx")
    with pytest.raises(ModelError, match="its reference has 3 features"):
        load(saved(tmp_path, soft()), GRID[:, :3])
    with pytest.raises(ModelError, match="cannot read"):
        load(tmp_path / "missing.onnx")


def test_a_label_that_is_not_a_class_is_an_error(tmp_path: Path) -> None:
    model = graph([helper.make_node("ArgMax", ["x"], ["y"], axis=1, keepdims=0)], [WHOLE])
    helper.set_model_props(model, {"classes": '["0", "1", "2", "3", "4"]'})
    served = load(saved(tmp_path, model))
    assert served.answer([[0.0, 9.0, 0.0, 0.0, 0.0]]) == ([1], None)
    with pytest.raises(PredictError):
        served.answer([[0.0, 9.0]])
    helper.set_model_props(model, {"classes": '["0", "1"]'})
    with pytest.raises(ModelError, match="cannot predict"):
        load(saved(tmp_path, model))
