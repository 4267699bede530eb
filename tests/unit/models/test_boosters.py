"""Files of LightGBM and XGBoost are answered as by the library that wrote them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost

from driftbell.config.settings import load
from driftbell.drift.compare import compare
from driftbell.errors import ConfigError, ModelError
from driftbell.models import missing_library
from driftbell.models.conversion_cache import file_sha256
from driftbell.models.load import load_model
from driftbell.records import Task
from driftbell.wiring.native_model import NativeReading, open_native

ROWS = 240
RNG = np.random.default_rng(5)
FRAME = pd.DataFrame(
    {
        "customer age": RNG.integers(18, 80, ROWS),
        "store": pd.Categorical(RNG.choice([3, 5, 9], ROWS)),
        "zip": pd.Categorical(RNG.choice(["01067", "10115", "80331"], ROWS)),
        "plan": pd.Categorical(RNG.choice(["größer", "basic", "pro"], ROWS), ["pro", "basic", "größer"]),
        "member": RNG.random(ROWS) > 0.5,
        "balance": RNG.normal(size=ROWS).astype("float32"),
        "income": np.where(RNG.random(ROWS) < 0.2, np.nan, RNG.normal(size=ROWS)),
    }
)
ASCII = FRAME.assign(plan=FRAME["plan"].cat.rename_categories({"größer": "plus"}))
"""For XGBoost, which cuts other texts."""

SCORE = (
    FRAME["customer age"] / 30
    + FRAME["zip"].cat.codes
    + (FRAME["plan"] == "pro") * 2
    + (FRAME["store"] == 5)
    + FRAME["balance"]
).to_numpy()
BINARY = (np.median(SCORE) < SCORE).astype(int)
TERNARY = np.digitize(SCORE, np.quantile(SCORE, [0.3, 0.7]))
NUMBERS = FRAME.select_dtypes(["number"]).astype("float64")

Predict = Callable[[Any], Any]


@dataclass
class Saved:
    """A file and what its own library answers: probabilities, shape (n, classes), or numbers, shape (n,)."""

    path: Path
    predict: Predict


def lightgbm_saved(folder: Path, labels: Any, frame: Any = FRAME, **parameters: Any) -> Saved:
    data = lightgbm.Dataset(frame, label=labels, free_raw_data=False)
    booster = lightgbm.train({"verbose": -1, "min_data_in_leaf": 5, **parameters}, data, 8)
    booster.save_model(folder / "m.txt")
    return Saved(folder / "m.txt", lambda table: both(booster.predict(table), parameters["objective"]))


def both(answers: Any, objective: str) -> Any:
    is_binary = objective in ("binary", "binary:logistic")
    return np.column_stack([1 - answers, answers]) if is_binary else answers


def xgboost_saved(
    folder: Path, labels: Any, frame: Any = ASCII, suffix: str = ".json", **parameters: Any
) -> Saved:
    matrix = xgboost.DMatrix(frame, label=labels, enable_categorical=True)
    booster = xgboost.train(parameters, matrix, 8)
    booster.save_model(folder / f"m{suffix}")

    def predict(table: Any) -> Any:
        return both(booster.predict(xgboost.DMatrix(table, enable_categorical=True)), parameters["objective"])

    return Saved(folder / f"m{suffix}", predict)


def wrapped(folder: Path, estimator: Any, labels: Any) -> Saved:
    estimator.fit(frame_of(estimator), labels)
    joblib.dump(estimator, folder / "m.joblib")
    return Saved(folder / "m.joblib", getattr(estimator, "predict_proba", estimator.predict))


def frame_of(model: Any) -> Any:
    """Return the table of a test for a model or a name of one."""
    return ASCII if "xgb" in repr(type(model) if not isinstance(model, str) else model).lower() else FRAME


LIGHTGBM = {"n_estimators": 8, "verbose": -1}
XGBOOST = {"n_estimators": 8, "enable_categorical": True}
MODELS: dict[str, Callable[[Path], Saved]] = {
    "lightgbm binary": lambda p: lightgbm_saved(p, BINARY, objective="binary"),
    "lightgbm multiclass": lambda p: lightgbm_saved(p, TERNARY, objective="multiclass", num_class=3),
    "lightgbm one against all": lambda p: lightgbm_saved(p, TERNARY, objective="multiclassova", num_class=3),
    "lightgbm regression": lambda p: lightgbm_saved(p, SCORE, objective="regression"),
    "lightgbm quantile": lambda p: lightgbm_saved(p, SCORE, objective="quantile", alpha=0.9),
    "xgboost binary": lambda p: xgboost_saved(p, BINARY, objective="binary:logistic"),
    "xgboost multiclass": lambda p: xgboost_saved(
        p, TERNARY, suffix=".ubj", objective="multi:softprob", num_class=3
    ),
    "xgboost regression": lambda p: xgboost_saved(p, SCORE, suffix=".ubj", objective="reg:squarederror"),
    "xgboost poisson": lambda p: xgboost_saved(p, TERNARY, objective="count:poisson"),
    "lightgbm classifier": lambda p: wrapped(p, lightgbm.LGBMClassifier(**LIGHTGBM), TERNARY),
    "lightgbm regressor": lambda p: wrapped(p, lightgbm.LGBMRegressor(**LIGHTGBM), SCORE),
    "xgboost classifier": lambda p: wrapped(p, xgboost.XGBClassifier(**XGBOOST), TERNARY),
    "xgboost regressor": lambda p: wrapped(p, xgboost.XGBRegressor(**XGBOOST), SCORE),
}


def reading(saved: Saved, frame: Any = FRAME, suffix: str = ".parquet", classes: Any = None) -> NativeReading:
    reference = saved.path.with_name(f"past{suffix}")
    if suffix == ".parquet":
        frame.to_parquet(reference, index=False)
    else:
        frame.to_csv(reference, index=False)
    overrides = {
        "model.path": saved.path,
        "model.sha256": file_sha256(saved.path),
        "model.reference": reference,
        **({"model.classes": classes} if classes else {}),
    }
    return open_native(load(environment={}, overrides=overrides).settings, saved.path, reference, "m")


def rows_of(frame: Any) -> list[Any]:
    """Return rows as a client sends them: JSON, with null for a missing value."""
    return list(json.loads(frame.to_json(orient="records", double_precision=15)))


def answers(model: Any, rows: list[Any]) -> Any:
    values, probabilities = model.answer([model.schema.validate(row) for row in rows])
    if model.task is Task.REGRESSION:
        return np.array(values)
    assert values == np.argmax(probabilities, axis=1).tolist()
    return np.array(probabilities)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("name", MODELS)
def test_rows_are_answered_as_by_the_library(name: str, suffix: str, tmp_path: Path) -> None:
    saved, frame = MODELS[name](tmp_path), frame_of(name)
    model = reading(saved, frame, suffix).model
    assert model.schema.names == tuple(frame.columns)  # with spaces, as in the reference
    expected = np.asarray(saved.predict(frame))
    assert np.ptp(expected, axis=0).min() > 0.1
    np.testing.assert_allclose(answers(model, rows_of(frame)), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["lightgbm binary", "xgboost binary"])
def test_a_category_that_the_reference_lacks_keeps_its_code(name: str, tmp_path: Path) -> None:
    saved = MODELS[name](tmp_path)
    frame = frame_of(name)
    part = frame[(frame["zip"] != "01067") & (frame["plan"] != "pro")]
    model = reading(saved, part, ".csv").model
    levels = {f.name: f.levels for f in model.schema.features if f.dtype == "category"}
    assert levels == {
        "store": (3, 5, 9),
        "zip": ("01067", "10115", "80331"),
        "plan": tuple(frame["plan"].cat.categories),
    }
    np.testing.assert_allclose(answers(model, rows_of(part)), saved.predict(part), atol=1e-7)


@pytest.mark.parametrize(
    "saved",
    [
        lambda p: lightgbm_saved(p, BINARY, NUMBERS.to_numpy(), objective="binary"),
        lambda p: xgboost_saved(p, BINARY, NUMBERS.to_numpy(), objective="binary:logistic"),
    ],
    ids=["lightgbm", "xgboost"],
)
def test_a_model_of_an_array_takes_the_reference_in_its_order(
    saved: Callable[[Path], Saved], tmp_path: Path
) -> None:
    file = saved(tmp_path)
    model = reading(file, NUMBERS, ".csv").model
    assert not model.loaded.takes_frame
    np.testing.assert_allclose(
        answers(model, rows_of(NUMBERS)), file.predict(NUMBERS.to_numpy()), rtol=0, atol=1e-7
    )


def test_softmax_without_probabilities_is_answered_with_them(tmp_path: Path) -> None:
    saved = xgboost_saved(tmp_path, TERNARY, objective="multi:softmax", num_class=3)
    model = reading(saved, ASCII).model
    probabilities = answers(model, rows_of(ASCII))
    assert model.classes == ("0", "1", "2")
    assert probabilities.argmax(axis=1).tolist() == saved.predict(ASCII).tolist()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_raw_scores_of_two_classes_become_probabilities(tmp_path: Path) -> None:
    saved = xgboost_saved(tmp_path, BINARY, objective="binary:logitraw")
    expected = 1 / (1 + np.exp(-saved.predict(ASCII)))
    np.testing.assert_allclose(
        answers(reading(saved, ASCII).model, rows_of(ASCII))[:, 1], expected, atol=1e-7
    )


def test_a_hinge_has_classes_without_probabilities(tmp_path: Path) -> None:
    saved = xgboost_saved(tmp_path, BINARY, objective="binary:hinge")
    model = reading(saved, ASCII).model
    rows = [model.schema.validate(row) for row in rows_of(ASCII)]
    assert model.answer(rows) == (saved.predict(ASCII).astype(int).tolist(), None)


def test_after_an_early_stop_the_best_iteration_predicts(tmp_path: Path) -> None:
    estimator = xgboost.XGBClassifier(
        n_estimators=60, enable_categorical=True, early_stopping_rounds=5, learning_rate=1.0
    )
    noise = RNG.integers(0, 2, ROWS)
    estimator.fit(ASCII[:120], noise[:120], eval_set=[(ASCII[120:], noise[120:])], verbose=False)
    estimator.save_model(tmp_path / "m.json")
    assert estimator.best_iteration + 1 < estimator.get_booster().num_boosted_rounds()
    saved = Saved(tmp_path / "m.json", estimator.predict_proba)
    np.testing.assert_allclose(
        answers(reading(saved, ASCII).model, rows_of(ASCII)), saved.predict(ASCII), atol=1e-7
    )


def test_the_classes_have_the_names_of_the_settings(tmp_path: Path) -> None:
    saved = MODELS["lightgbm binary"](tmp_path)
    assert reading(saved).model.classes == ("0", "1")
    assert reading(saved, classes=["no", "yes"]).model.classes == ("no", "yes")


@pytest.mark.parametrize(
    ("name", "classes", "problem"),
    [
        ("lightgbm binary", ["a", "b", "c"], r"has 3 names, .*m\.txt has 2 classes: 0, 1"),
        ("xgboost regression", ["a", "b"], r"m\.ubj is a regression, which has no classes"),
    ],
)
def test_class_names_that_do_not_fit_are_refused(
    name: str, classes: list[str], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=problem):
        reading(MODELS[name](tmp_path), classes=classes)


def test_names_of_classes_that_the_model_knows_must_be_the_same(tmp_path: Path) -> None:
    words = np.array(["no", "yes"])[BINARY]
    saved = wrapped(tmp_path, lightgbm.LGBMClassifier(**LIGHTGBM), words)
    assert reading(saved, classes="no, yes").model.classes == ("no", "yes")
    with pytest.raises(ModelError, match=r"is yes, no, the classes of .* are no, yes: write the same names"):
        reading(saved, classes="yes, no")


def test_an_objective_of_the_users_own_is_refused(tmp_path: Path) -> None:
    def objective(scores: Any, data: Any) -> tuple[Any, Any]:
        errors = scores - data.get_label()
        return errors, np.ones_like(errors)

    data = lightgbm.Dataset(NUMBERS, label=SCORE)
    lightgbm.train({"objective": objective, "verbose": -1}, data, 3).save_model(tmp_path / "m.txt")
    with pytest.raises(ModelError, match=r"an objective of its own.*module:function"):
        load_model(tmp_path / "m.txt", None)


def test_several_outputs_are_refused(tmp_path: Path) -> None:
    estimator = xgboost.XGBRegressor(n_estimators=2).fit(NUMBERS, np.column_stack([SCORE, SCORE]))
    estimator.save_model(tmp_path / "m.json")
    with pytest.raises(ModelError, match="predicts several outputs: only models with one are served"):
        load_model(tmp_path / "m.json", None)


def test_categories_that_xgboost_cuts_come_from_a_typed_reference(tmp_path: Path) -> None:
    saved = xgboost_saved(tmp_path, BINARY, FRAME, objective="binary:logistic")
    np.testing.assert_allclose(
        answers(reading(saved).model, rows_of(FRAME)), saved.predict(FRAME), rtol=0, atol=1e-7
    )
    with pytest.raises(
        ModelError, match=r"the categories of 'plan' .*set model\.reference to a Parquet file"
    ):
        reading(saved, suffix=".csv")  # their order in the training is not known


def test_categories_that_the_file_lacks_come_from_a_typed_reference(tmp_path: Path) -> None:
    frame = ASCII.astype({"store": "int64"})  # pandas reads categories of numbers as numbers from Parquet
    saved = xgboost_saved(tmp_path, BINARY, frame, objective="binary:logistic")
    content = json.loads(saved.path.read_text())
    del content["learner"]["gradient_booster"]["model"]["cats"]  # as versions before 3.1 write it
    saved.path.write_text(json.dumps(content))
    np.testing.assert_allclose(
        answers(reading(saved, frame).model, rows_of(frame)), saved.predict(frame), rtol=0, atol=1e-7
    )
    with pytest.raises(ModelError, match=r"the categories of 'zip' .*set model\.reference to a Parquet file"):
        reading(saved, frame, ".csv")


@pytest.mark.parametrize("name", ["m.txt", "m.json", "m.ubj"])
@pytest.mark.parametrize("content", [b"", b"no model", b"{}", b'{"learner": {}}', b"tree\n", b"\xff\xfe{"])
def test_another_file_is_refused_by_name(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{name}.*(save_model|seems to be)|cannot load .*{name}"):
        load_model(tmp_path / name, None)


def test_an_unknown_suffix_names_the_formats(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_bytes(b"x")
    with pytest.raises(
        ModelError, match=r"'\.h5' is no format of models\. Supported: .*\.skops.*\.txt.*\.ubj"
    ):
        load_model(tmp_path / "m.h5", None)


def test_a_missing_library_is_named_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = MODELS["lightgbm binary"](tmp_path)

    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(missing_library, "import_module", missing)
    with pytest.raises(ConfigError, match=r"m\.txt needs the extra .*pip install 'driftbell\[lightgbm\]'"):
        load_model(saved.path, None)


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_an_unseen_category_is_answered_and_counted_by_the_check(library: str, tmp_path: Path) -> None:
    saved = MODELS[f"{library} binary"](tmp_path)
    model = reading(saved, ASCII).model
    new = [row | {"plan": "gold"} for row in rows_of(ASCII)[:2]]
    null = ASCII[:2].assign(plan=pd.Categorical([None] * 2, ASCII["plan"].cat.categories))
    np.testing.assert_allclose(answers(model, new), saved.predict(null), atol=1e-7)
    plans = ASCII["plan"].astype(object).tolist()
    (column,) = compare({"plan": plans}, {"plan": ["gold", "gold"]})
    assert column.unseen_rows == 2
