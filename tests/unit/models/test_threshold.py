from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from driftbell.config.settings import load
from driftbell.errors import ModelError, PredictError
from driftbell.models.golden import golden_rows, write_golden
from driftbell.models.iris import iris_model
from driftbell.models.native import NativeModel
from driftbell.models.sklearn import loaded_estimator
from driftbell.models.threshold import ROUNDING, Threshold, ThresholdModel, with_threshold
from driftbell.ports import Model
from driftbell.records import Outputs
from driftbell.tabular.columns import as_columns
from driftbell.tabular.schema import infer_schema
from driftbell.testing import FakeModel
from driftbell.wiring.model import open_model, open_serving_model

pytestmark = pytest.mark.usefixtures("tried_here")

RNG = np.random.default_rng(0)
ROWS = 1000
TABLE = RNG.normal(size=(ROWS, 2)).round(2)
NOISE = RNG.logistic(size=ROWS)
TWO = np.where(3 * TABLE[:, 0] - 1 + NOISE > 0, "churn", "stay")
THREE = np.where(TABLE[:, 1] > 0.8, "pause", TWO)


def decided(probabilities: Any, place: int, threshold: float) -> np.ndarray:
    """Return the expected class ids: the literal rule of the setting."""
    others = np.array(probabilities, dtype=np.float64)
    others[:, place] = -1
    return np.where(np.array(probabilities)[:, place] >= threshold, place, others.argmax(axis=1))


def model_of(estimator: Any, labels: Any = TWO) -> NativeModel:
    fitted = estimator.fit(TABLE, labels)
    columns = as_columns({"x": TABLE[:, 0], "y": TABLE[:, 1]})
    return NativeModel(loaded_estimator(fitted), name="m", version="v", schema=infer_schema(columns))


SHARES = st.floats(0, 1) | st.sampled_from(
    [0.8, 0.5, 0.8 - ROUNDING / 2, 0.8 - 2 * ROUNDING, float(np.float32(0.8))]
)


@given(st.integers(2, 4).flatmap(lambda k: st.lists(st.lists(SHARES, min_size=k, max_size=k), min_size=1)))
def test_rows_are_decided_as_tables_are(rows: list[list[float]]) -> None:
    threshold = Threshold("b", 1, 0.8)
    outputs = threshold.decide(np.array(rows))
    class_ids = threshold.decide_rows(rows)
    assert class_ids == outputs.values.tolist()
    assert rows == outputs.probabilities.tolist()
    assert class_ids == decided(rows, 1, 0.8).tolist()  # the answered probabilities follow the literal rule


@pytest.mark.parametrize("share", [0.7, 0.1 * 7, float(np.float32(0.7)), np.nextafter(0.7, 0)])
def test_a_tie_is_the_class_in_each_precision(share: float) -> None:
    outputs = Threshold("b", 1, 0.7).decide(np.array([[1 - share, share]]))
    assert outputs.values.tolist() == [1]
    assert outputs.probabilities[0, 1] == max(share, 0.7)
    assert Threshold("b", 1, 0.7).decide(np.array([[0.3001, 0.6999]])).values.tolist() == [0]


@pytest.mark.parametrize("threshold", [0.8, 0.3, 0.001, 0.999])
@pytest.mark.parametrize("labels", [TWO, THREE])
def test_the_class_is_predicted_from_its_threshold_on(threshold: float, labels: Any) -> None:
    estimator = LogisticRegression()
    model = with_threshold(model_of(estimator, labels), {"churn": threshold})
    outputs = model.predict({"x": TABLE[:, 0], "y": TABLE[:, 1]})
    assert outputs.values.tolist() == decided(estimator.predict_proba(TABLE), 0, threshold).tolist()
    class_ids, probabilities = model.answer(TABLE.tolist())
    assert class_ids == outputs.values.tolist()
    assert np.array_equal(probabilities, outputs.probabilities)


def test_another_threshold_is_another_version() -> None:
    model = model_of(LogisticRegression())
    thresholds = [{"churn": 0.8}, {"churn": 0.81}, {"stay": 0.8}, {"churn": 0.30000000000000004}]
    assert [with_threshold(model, t).version for t in thresholds] == [
        *("v-churn-0.8", "v-churn-0.81", "v-stay-0.8", "v-churn-0.30000000000000004")
    ]
    assert with_threshold(model, None) is model


@pytest.mark.parametrize("name", ["a class of many words", "größer", "a/b", "x" * 25, "", '"'])
def test_a_version_has_room_in_the_log_and_in_names_of_files(name: str) -> None:
    version = "0123456789ab" + Threshold(name, 1, 5.551115123125783e-17).suffix
    assert version == "0123456789ab-~1-5.551115123125783e-17"
    assert len("0123456789ab" + Threshold("x" * 24, 1, 5.551115123125783e-17).suffix) <= 64


def test_a_model_with_a_threshold_is_described_as_before() -> None:
    model = model_of(LogisticRegression())
    model.engine_reason = "because"
    served = with_threshold(model, {"churn": 0.8})
    for name in ("engine", "engine_reason", "inline", "name", "schema", "task", "classes"):
        assert getattr(served, name) == getattr(model, name)


def test_what_has_no_threshold_is_refused_with_what_to_do() -> None:
    model = model_of(LogisticRegression())
    with pytest.raises(ModelError, match=r"'chrun', did you mean 'churn'\? \(classes: churn and stay\)"):
        with_threshold(model, {"chrun": 0.8})
    with pytest.raises(ModelError, match=r"has no class '1' \(classes: churn and stay\)"):
        with_threshold(model, {"1": 0.8})
    with pytest.raises(ModelError, match="'m' gives classes without probabilities: remove the setting, or"):
        with_threshold(model_of(LinearSVC()), {"churn": 0.8})
    with pytest.raises(ModelError, match="'m' is a regression, which has no classes: remove the setting"):
        with_threshold(model_of(LinearRegression(), TABLE[:, 0]), {"churn": 0.8})
    single = FakeModel(model.schema, ["a"], lambda c: np.zeros(len(c["x"])))
    with pytest.raises(ModelError, match="'fake' has only one class"):
        with_threshold(single, {"a": 0.8})


@pytest.mark.parametrize(
    ("classes", "name", "ids", "found"),
    [
        (["0", "1"], "1", False, "1"),
        (["0", "1"], "1.0", False, "1"),
        (["1.0", "2.0"], "2", False, "2.0"),
        (["False", "True"], "true", False, "True"),
        (["no", "yes"], "yes", True, "yes"),
        (["no", "yes"], "1", True, "yes"),  # as labels of a model whose classes the user has named
    ],
)
def test_a_class_is_named_as_labels_are(classes: list[str], name: str, ids: bool, found: str) -> None:
    fake = FakeModel(infer_schema({"x": [1.0]}), classes, lambda c: c["x"] > 0)
    model = with_threshold(fake, {name: 0.8}, ids=ids)
    assert isinstance(model, ThresholdModel)
    assert model.threshold.class_name == found


class Unsure(FakeModel):
    """Answers NaN where `x` is negative."""

    def predict(self, columns: Any) -> Outputs:
        share = np.where(columns["x"] < 0, np.nan, 0.9)
        return Outputs(np.zeros(len(share), dtype=np.intp), np.column_stack([1 - share, share]))


def test_a_probability_that_is_nan_is_an_error_of_its_row() -> None:
    model = with_threshold(Unsure(infer_schema({"x": [1.0]}), ["a", "b"], lambda c: c["x"]), {"b": 0.8})
    assert model.answer([[1.0]]) == ([1], [[pytest.approx(0.1), 0.9]])
    with pytest.raises(PredictError, match=r"'fake' cannot decide: a probability is NaN, so that model"):
        model.answer([[-1.0]])
    for failing in (lambda: model.answer([[1.0], [-1.0]]), lambda: model.predict({"x": np.array([1, -1.0])})):
        with pytest.raises(PredictError, match="a probability is NaN in row 1, so that"):
            failing()
    three = Threshold("a", 0, 0.5)
    with pytest.raises(ValueError, match="NaN"):
        three.decide_rows([[0.9, 0.1, float("nan")]])


def config(folder: Path, estimator: Any, frame: pd.DataFrame, **options: Any) -> Any:
    joblib.dump(estimator, folder / "own.joblib")
    frame.to_csv(folder / "past.csv", index=False)
    return load(
        environment={},
        overrides={
            "data_dir": folder / "data",
            "model.path": str(folder / "own.joblib"),
            "model.sha256": hashlib.sha256((folder / "own.joblib").read_bytes()).hexdigest(),
            "model.reference": str(folder / "past.csv"),
            "model.target": "label",
            **{name.replace("__", "."): value for name, value in options.items()},
        },
    ).settings


def leaves(labels: np.ndarray) -> tuple[Any, pd.DataFrame]:
    """Return a tree with leaves of ten rows, so that shares are 0, 0.1 and so on."""
    group = np.repeat(np.arange(ROWS // 10.0), 10)
    churned = np.tile(np.arange(10), ROWS // 10) < group % 11
    label = np.where(churned, "churn", np.where(labels == "churn", "stay", labels))
    frame = pd.DataFrame({"x": group, "label": label})
    return DecisionTreeClassifier(min_samples_leaf=10).fit(frame[["x"]], label), frame


def votes(labels: np.ndarray) -> tuple[Any, pd.DataFrame]:
    """Return a forest of ten trees, so that shares are 0, 0.1 and so on."""
    frame = pd.DataFrame({"x": TABLE[:, 0], "y": TABLE[:, 1], "label": labels})
    forest = RandomForestClassifier(10, random_state=0).fit(frame[["x", "y"]][::2], labels[::2])
    return forest, frame


@pytest.mark.parametrize("engine", ["auto", "native"])
@pytest.mark.parametrize("labels", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("build", [leaves, votes])
def test_engines_decide_the_same_also_at_the_threshold(
    tmp_path: Path, engine: str, labels: Any, build: Any
) -> None:
    estimator, frame = build(labels)
    features = frame.drop(columns="label")
    own = estimator.predict_proba(features)
    columns = {name: features[name].to_numpy() for name in features}
    rows = features.to_numpy().tolist()
    for threshold in (0.7, 0.6, 0.9):  # single precision has 0.7 and 0.9 as smaller numbers
        options = {"model__threshold": {"churn": threshold}, "model__engine": engine}
        settings = config(tmp_path, estimator, frame, **options)
        opened, serving = open_model(settings), open_serving_model(settings)
        assert opened.model.engine == {"auto": "onnxruntime", "native": "native"}[engine]
        assert (own[:, 0] == threshold).any()
        expected = decided(own, 0, threshold).tolist()
        for model in (opened.model, serving):
            assert model.predict(columns).values.tolist() == expected
            assert model.answer(rows)[0] == expected
            assert [model.answer([row])[0][0] for row in rows[::7]] == expected[::7]
        assert opened.reference.columns["prediction"].tolist() == [opened.model.classes[i] for i in expected]
        assert opened.model.version == serving.version
        assert serving.version.endswith(f"-churn-{threshold}")


def test_classes_that_the_user_named_and_numbers_have_thresholds(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": TABLE[:, 0], "y": TABLE[:, 1], "label": (TWO == "churn").astype(int)})
    estimator = LogisticRegression().fit(frame[["x", "y"]], frame.label)
    expected = decided(estimator.predict_proba(frame[["x", "y"]]), 1, 0.8).tolist()
    columns = {"x": TABLE[:, 0], "y": TABLE[:, 1]}
    for threshold, classes in ({"1": 0.8}, ()), ({"yes": 0.8}, ["no", "yes"]), ({"1": 0.8}, ["no", "yes"]):
        options = {"model__threshold": threshold, "model__classes": classes, "model__engine": "native"}
        model = open_serving_model(config(tmp_path, estimator, frame, **options))
        assert model.predict(columns).values.tolist() == expected
        assert model.version.endswith("-yes-0.8" if classes else "-1-0.8")
    options = {"model__threshold": {"yes": 0.8}, "model__engine": "native"}
    for open_any in open_model, open_serving_model:
        with pytest.raises(ModelError, match=r"'own' has no class 'yes' \(classes: 0 and 1\)"):
            open_any(config(tmp_path, estimator, frame, **options))


def test_golden_answers_are_those_of_the_library_under_each_threshold(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": TABLE[:, 0], "y": TABLE[:, 1], "label": TWO})
    estimator = LogisticRegression().fit(frame[["x", "y"]], frame.label)
    native = open_model(config(tmp_path, estimator, frame, model__engine="native")).model
    assert isinstance(native, NativeModel)
    rows = golden_rows(native, {"x": TABLE[:, 0], "y": TABLE[:, 1]}, tmp_path / "past.csv")
    write_golden(tmp_path / "golden.json", native, rows)
    for threshold in (0.8, 0.2):
        options = {"model__threshold": {"churn": threshold}, "model__golden": tmp_path / "golden.json"}
        assert open_serving_model(config(tmp_path, estimator, frame, **options)).version.endswith(
            f"{threshold}"
        )


def test_out_of_bag_answers_of_the_default_model_are_decided_too(tmp_path: Path) -> None:
    plain = open_model(load(environment={}, overrides={"data_dir": tmp_path}).settings)
    overrides = {"data_dir": tmp_path, "model.threshold": "versicolor=0.95"}
    opened = open_model(load(environment={}, overrides=overrides).settings)
    before, after = plain.reference.out_of_sample, opened.reference.out_of_sample
    assert before is not None
    assert after is not None
    assert after.values.tolist() == decided(after.probabilities, 1, 0.95).tolist()
    assert (after.values != before.values).sum() > 5
    model: Model = iris_model(tmp_path / "models" / "iris")[0]
    assert opened.model.version == f"{model.version}-versicolor-0.95"
