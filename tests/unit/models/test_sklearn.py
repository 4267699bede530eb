from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from skops import io as skops_io

from driftbell.errors import ModelError, PredictError
from driftbell.models import sklearn
from driftbell.models.load import load_model
from driftbell.models.native import NativeModel, check_example_row
from driftbell.models.reference import build_reference, match_labels, memorization_warning
from driftbell.models.sklearn import loaded_estimator
from driftbell.records import Task
from driftbell.tabular.columns import as_column, as_columns
from driftbell.tabular.schema import Schema, infer_schema

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
Y = np.where(X[:, 0] > 0, "yes", "no")
TABLE = {"a": X[:, 0], "b": X[:, 1]}
SCHEMA = infer_schema(TABLE)


def logistic() -> Any:
    return LogisticRegression().fit(X, Y)


def served(estimator: Any, schema: Schema = SCHEMA, **more: Any) -> NativeModel:
    return NativeModel(loaded_estimator(estimator, **more), name="m", version="v", schema=schema)


def file_of(estimator: Any, path: Path) -> Path:
    if path.suffix == ".skops":
        skops_io.dump(estimator, path)
    else:
        joblib.dump(estimator, path)
    return path


def loaded(path: Path, sha256: str | None = None) -> NativeModel:
    model, version = load_model(path, sha256)
    return NativeModel(model, name="m", version=version, schema=SCHEMA)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("suffix", [".joblib", ".pkl", ".pickle"])
def test_a_pickle_is_refused_without_its_hash_and_the_message_gives_it(tmp_path: Path, suffix: str) -> None:
    path = file_of(logistic(), tmp_path / f"model{suffix}")
    with pytest.raises(ModelError, match=f'set sha256 = "{sha256_of(path)}"'):
        loaded(path)


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return exec, ("raise SystemExit('the pickle was run')",)


@pytest.mark.parametrize("sha256", [None, "0" * 64])
def test_a_pickle_that_is_refused_was_never_run(tmp_path: Path, sha256: str | None) -> None:
    path = tmp_path / "bomb.pkl"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelError):
        loaded(path, sha256)


def test_a_pickle_with_another_hash_is_refused(tmp_path: Path) -> None:
    path = file_of(logistic(), tmp_path / "model.pkl")
    with pytest.raises(ModelError, match="is not the pinned model"):
        loaded(path, "0" * 64)


@pytest.mark.parametrize("suffix", [".joblib", ".pkl", ".skops", ".SKOPS"])
def test_a_file_with_its_hash_is_loaded_and_the_hash_is_its_version(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    (skops_io.dump if suffix.lower() == ".skops" else joblib.dump)(logistic(), path)
    model = loaded(path, sha256_of(path).upper())
    assert model.version == sha256_of(path)[:12]
    assert model.predict(TABLE).values.tolist() == logistic().predict_proba(X).argmax(axis=1).tolist()


def test_a_skops_file_of_known_types_needs_no_hash(tmp_path: Path) -> None:
    assert loaded(file_of(logistic(), tmp_path / "m.skops")).classes == ("no", "yes")


def test_a_skops_file_with_unknown_types_needs_its_hash(tmp_path: Path) -> None:
    path = file_of(RandomForestClassifier(5, random_state=0).fit(X, Y), tmp_path / "m.skops")
    with pytest.raises(ModelError, match="skops does not trust"):
        loaded(path)
    assert loaded(path, sha256_of(path)).classes == ("no", "yes")


def test_a_skops_file_that_unpacks_to_far_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sklearn, "MAX_UNPACKED_BYTES", 1024**2)
    path = file_of(logistic(), tmp_path / "m.skops")
    with ZipFile(path, "a", ZIP_DEFLATED) as archive:
        archive.writestr("more.npy", b"\0" * 10 * 1024**2)
    with pytest.raises(
        ModelError, match=r"m\.skops unpacks to 10 MiB, \d{3} times its size: if you trust it"
    ):
        loaded(path)
    assert loaded(path, sha256_of(path)).classes == ("no", "yes")


@pytest.mark.parametrize("name", ["m.skops", "m.pkl"])
def test_a_broken_file_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"broken")
    with pytest.raises(ModelError, match=name):
        loaded(path, sha256_of(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read model\.path .*none\.skops"):
        loaded(tmp_path / "none.skops")


@pytest.mark.parametrize(
    "estimator",
    [LinearRegression(), LogisticRegression(), StandardScaler().fit(X), {"no": "model"}],
    ids=["unfitted regressor", "unfitted classifier", "transformer", "dict"],
)
def test_an_object_that_is_not_a_fitted_model_is_refused(estimator: Any) -> None:
    with pytest.raises(ModelError, match="not a fitted scikit-learn classifier or regressor"):
        served(estimator)


@pytest.mark.parametrize("targets", [X[:, 0], X[:, :1]], ids=["n", "n x 1"])
def test_a_regressor_predicts_the_numbers_of_its_own_predict(targets: np.ndarray) -> None:
    fitted = LinearRegression().fit(X, targets)
    model = served(fitted)
    assert model.task is Task.REGRESSION
    assert model.classes == ()
    outputs = model.predict(TABLE)
    assert outputs.values.tolist() == fitted.predict(X).ravel().tolist()
    assert outputs.probabilities is None
    assert model.answer(X[:2].tolist()) == (fitted.predict(X[:2]).ravel().tolist(), None)


def test_a_model_of_several_numbers_a_row_fails_by_name() -> None:
    with pytest.raises(PredictError, match="model 'm' failed with AnswerError") as caught:
        served(LinearRegression().fit(X, X)).predict(TABLE)
    assert "an array of shape (60, 2) for 60 rows" in str(caught.value.__cause__)


def test_a_reference_with_another_number_of_features_is_refused() -> None:
    with pytest.raises(ModelError, match=r"takes 2 features, its reference has 3 .*model\.target"):
        served(logistic(), infer_schema({**TABLE, "label": Y}))


def test_a_reference_with_other_names_than_the_model_was_fitted_with_is_refused() -> None:
    fitted = LogisticRegression().fit(pd.DataFrame(TABLE), Y)
    with pytest.raises(
        ModelError, match=r"missing \['b'\].*model \['c'\] .*model\.target; .*= \[\"c\"\] under"
    ):
        served(fitted, infer_schema({"a": [1.0], "c": [1.0]}))


def test_columns_that_are_no_features_are_to_be_left_out_where_the_label_is_named() -> None:
    fitted, schema = LogisticRegression().fit(pd.DataFrame(TABLE), Y), infer_schema({**TABLE, "id": Y})
    with pytest.raises(ModelError) as named:
        NativeModel(loaded_estimator(fitted), name="m", version="v", schema=schema, label_known=True)
    assert str(named.value).endswith(
        """not known to the model ['id'] (leave them out with exclude = ["id"] under [columns])"""
    )
    with pytest.raises(ModelError) as unnamed:
        NativeModel(loaded_estimator(logistic()), name="m", version="v", schema=schema, label_known=True)
    assert str(unnamed.value).endswith("has 3 (leave them out with exclude under [columns])")
    with pytest.raises(ModelError, match=r"takes 2 features, its reference has 1 \(use a table with"):
        served(logistic(), infer_schema({"a": TABLE["a"]}))


def test_features_come_in_the_order_the_model_was_fitted_with() -> None:
    fitted = LogisticRegression().fit(pd.DataFrame(TABLE), Y)
    model = served(fitted, infer_schema(dict(reversed(TABLE.items()))))
    assert model.schema.names == ("a", "b")
    assert (model.predict(dict(reversed(TABLE.items()))).values == (fitted.predict(X_FRAME) == "yes")).all()


X_FRAME = pd.DataFrame(TABLE)


def test_a_pipeline_over_a_dataframe_with_a_category_is_served() -> None:
    table = {"size": X[:, 0], "plan": ["free", "paid", None] * 20}
    columns = ColumnTransformer(
        [("plan", OneHotEncoder(handle_unknown="ignore"), ["plan"]), ("size", StandardScaler(), ["size"])]
    )
    fitted = make_pipeline(columns, LogisticRegression()).fit(pd.DataFrame(table), Y)
    schema = infer_schema(table)
    model = served(fitted, schema)
    rows = [schema.validate(row) for row in ({"size": 9, "plan": None}, {"size": -9.0, "plan": "unseen"})]
    assert [model.classes[i] for i in model.predict(schema.columns(rows)).values] == ["yes", "no"]


def test_a_pipeline_over_an_array_with_a_category_is_served() -> None:
    table = {"plan": ["free", "paid"] * 30, "size": X[:, 0]}
    encoder = ColumnTransformer(
        [("plan", OneHotEncoder(handle_unknown="ignore"), [0])], remainder="passthrough"
    )
    array = np.array([table["plan"], table["size"]], dtype=object).T
    schema = infer_schema(table)
    model = served(make_pipeline(encoder, LogisticRegression()).fit(array, Y), schema)
    assert model.predict(schema.columns([["free", 9.0], ["paid", -9.0]])).values.tolist() == [1, 0]


def test_one_row_is_answered_by_one_thread() -> None:
    forest = RandomForestClassifier(3, n_jobs=-1, random_state=0).fit(X, Y)
    piped = make_pipeline(StandardScaler(), RandomForestClassifier(3, n_jobs=4, random_state=0)).fit(X, Y)
    served(forest)
    served(piped)
    assert forest.n_jobs == 1
    assert piped[-1].n_jobs == 1


def test_a_classifier_without_probabilities_is_served() -> None:
    fitted = SVC().fit(X, Y)
    outputs = served(fitted).predict(TABLE)
    assert outputs.probabilities is None
    assert [("no", "yes")[i] for i in outputs.values] == fitted.predict(X).tolist()


@pytest.mark.parametrize(
    ("cells", "classes", "labels"),
    [
        (["no", None, "yes"], ("no", "yes"), ["no", None, "yes"]),
        ([1.0, 0.0, np.nan], ("0", "1"), ["1", "0", None]),
        ([1.0, 0.0], ("0.0", "1.0"), ["1.0", "0.0"]),
        ([True, False], ("False", "True"), ["True", "False"]),
        ([True, False], ("false", "true"), ["true", "false"]),
        (["a", "z"], ("a", "b"), ["a", "z"]),
    ],
)
def test_labels_are_read_as_the_models_classes(
    cells: list[bool | float | str | None], classes: tuple[str, str], labels: list[str | None]
) -> None:
    assert match_labels(as_column(cells), classes).tolist() == labels


def test_labels_of_which_none_is_a_class_are_refused() -> None:
    with pytest.raises(ModelError, match="no label of the reference is a class"):
        match_labels(as_column(["2", "3"]), ("0", "1"))


def test_a_reference_that_the_model_was_fitted_on_causes_a_warning() -> None:
    model = served(logistic())
    answers = build_reference(model, TABLE).columns["prediction"]
    wrong = answers.copy()
    wrong[:2] = ["no" if label == "yes" else "yes" for label in wrong[:2]]
    unknown = wrong.copy()
    unknown[:2] = None
    out_of_sample = model.predict(TABLE)
    assert memorization_warning(build_reference(model, TABLE)) == ""
    assert memorization_warning(build_reference(model, TABLE, labels=wrong)) == ""
    assert (
        memorization_warning(build_reference(model, TABLE, labels=answers, out_of_sample=out_of_sample)) == ""
    )
    for labels in (answers, unknown):
        assert "accuracy on its reference is 100.0%" in memorization_warning(
            build_reference(model, TABLE, labels=labels)
        )


def test_the_reference_of_a_classifier_without_probabilities_has_its_classes_alone() -> None:
    result = build_reference(served(SVC().fit(X, Y)), TABLE)
    assert result.roles == {"a": "feature", "b": "feature", "prediction": "prediction"}


def test_classes_that_are_numbers_become_texts() -> None:
    assert served(LogisticRegression().fit(X, X[:, 0] > 0)).classes == ("False", "True")


def test_a_model_that_fails_is_named_with_its_reason_as_the_cause() -> None:
    with pytest.raises(PredictError, match="model 'm' failed with ValueError") as caught:
        served(logistic()).predict(as_columns({"a": [np.nan], "b": [1.0]}))
    assert isinstance(caught.value.__cause__, ValueError)


def test_the_reference_version_is_of_its_content() -> None:
    model = served(logistic())
    changed = {**TABLE, "b": TABLE["b"] + 1e-9}
    assert build_reference(model, TABLE).version == build_reference(model, dict(TABLE)).version
    assert build_reference(model, TABLE).version != build_reference(model, changed).version


def test_a_feature_with_the_name_of_an_answer_is_refused() -> None:
    table = {"prediction": X[:, 0], "b": X[:, 1]}
    with pytest.raises(ModelError, match=r"rename the features \['prediction'\]"):
        build_reference(served(logistic(), infer_schema(table)), table)


def frame_model(frame: Any, label: list[str], *steps: Any) -> tuple[Any, NativeModel]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    fitted = make_pipeline(*steps, LogisticRegression()).fit(frame, label)
    return fitted, NativeModel(loaded_estimator(fitted), name="m", version="v", schema=infer_schema(frame))


def test_a_frame_model_gets_nulls_and_dates_as_pandas_reads_them() -> None:
    pd = pytest.importorskip("pandas")
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

    frame = pd.DataFrame(
        {
            "city": ["Rome", np.nan, "Oslo", "Rome", np.nan, "Oslo"] * 20,
            "at": pd.date_range("2026-01-01", periods=120, freq="h"),
        }
    )
    label = ["yes" if i % 3 else "no" for i in range(120)]
    hour = FunctionTransformer(lambda x: x.apply(lambda c: c.dt.hour))
    fitted, model = frame_model(
        frame, label, make_column_transformer((OneHotEncoder(), ["city"]), (hour, ["at"]))
    )
    check_example_row(model)
    for i in (0, 1, 2):
        row = {"city": None if i == 1 else frame["city"][i], "at": frame["at"][i].isoformat()}
        result = model.predict(model.schema.columns([model.schema.validate(row)]))
        np.testing.assert_allclose(result.probabilities, fitted.predict_proba(frame.iloc[[i]]))


def test_the_class_is_that_of_the_estimators_own_predict() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import FixedThresholdClassifier

    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1))
    y = np.where(x[:, 0] + rng.normal(size=200) > 1, "yes", "no")
    fitted = FixedThresholdClassifier(LogisticRegression(), threshold=0.1, pos_label="yes").fit(x, y)
    model = NativeModel(loaded_estimator(fitted), name="m", version="v", schema=infer_schema({"x": x[:, 0]}))
    result = model.predict({"x": x[:, 0]})
    assert [model.classes[i] for i in result.values] == fitted.predict(x).tolist()
    assert (result.values != result.probabilities.argmax(axis=1)).any()


def test_tied_classes_are_predicted_as_by_the_estimator() -> None:
    """Unscaled numbers give scores of hundreds, so several classes have the probability 1."""
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import GridSearchCV

    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2)) * 100
    sgd = SGDClassifier(loss="log_loss", random_state=0).fit(x, np.digitize(x[:, 0], [-40, 40]))
    schema = infer_schema({"a": x[:, 0], "b": x[:, 1]})
    model = NativeModel(loaded_estimator(sgd), name="m", version="v", schema=schema)
    result = model.predict({"a": x[:, 0], "b": x[:, 1]})
    assert [int(model.classes[i]) for i in result.values] == sgd.predict(x).tolist()
    assert (result.values != result.probabilities.argmax(axis=1)).any()
    search = GridSearchCV(RandomForestClassifier(3), {"max_depth": [2]}, cv=2).fit(x, x[:, 0] > 0)
    assert NativeModel(loaded_estimator(search), name="m", version="v", schema=schema).predicts_argmax


def test_a_model_that_cannot_predict_its_example_fails_at_start() -> None:
    class Broken:
        classes_ = np.array(["a", "b"])

        def predict(self, table: np.ndarray) -> None:
            raise ValueError("no such luck")

    model = served(Broken(), infer_schema({"x": [1.0, 2.0]}))
    with pytest.raises(
        ModelError, match=r"cannot predict a row like the first one of its reference.*no such luck"
    ):
        check_example_row(model)
