"""Files of CatBoost are answered as by CatBoost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

from driftbell.config.settings import load
from driftbell.errors import ModelError
from driftbell.models.conversion_cache import file_sha256
from driftbell.models.load import load_model
from driftbell.records import Task
from driftbell.wiring.native_model import open_native

catboost = pytest.importorskip("catboost")

ROWS = 240
RNG = np.random.default_rng(3)
FRAME = pd.DataFrame(
    {
        "customer age": RNG.integers(18, 80, ROWS),
        "plan": RNG.choice(["größer", "basic", "pro"], ROWS),
        "store": RNG.choice([3, 5, 9], ROWS),
        "member": RNG.random(ROWS) > 0.5,
        "income": np.where(RNG.random(ROWS) < 0.2, np.nan, RNG.normal(size=ROWS)),
    }
)
SCORE = FRAME["customer age"] / 30 + (FRAME["plan"] == "pro") * 2 + (FRAME["store"] == 5)
BINARY = np.where(SCORE.median() < SCORE, "yes", "no")
TERNARY = np.digitize(SCORE, np.quantile(SCORE, [0.3, 0.7]))
OPTIONS = {"iterations": 8, "verbose": 0, "allow_writing_files": False}
CATEGORIES = ["plan", "store", "member"]
FITTED = {
    "binary": lambda: catboost.CatBoostClassifier(**OPTIONS).fit(FRAME, BINARY, CATEGORIES),
    "ternary": lambda: catboost.CatBoostClassifier(**OPTIONS).fit(FRAME, TERNARY, CATEGORIES),
    "one against all": lambda: catboost.CatBoostClassifier(loss_function="MultiClassOneVsAll", **OPTIONS).fit(
        FRAME, TERNARY, CATEGORIES
    ),
    "regression": lambda: catboost.CatBoostRegressor(**OPTIONS).fit(FRAME, SCORE, CATEGORIES),
    "poisson": lambda: catboost.CatBoostRegressor(loss_function="Poisson", **OPTIONS).fit(
        FRAME, TERNARY, CATEGORIES
    ),
    "quantile": lambda: catboost.CatBoostRegressor(loss_function="Quantile:alpha=0.9", **OPTIONS).fit(
        FRAME, SCORE, CATEGORIES
    ),
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("file", ["m.cbm", "m.joblib"])
@pytest.mark.parametrize("name", FITTED)
def test_rows_are_answered_as_by_the_library(name: str, file: str, suffix: str, tmp_path: Path) -> None:
    estimator, path, reference = FITTED[name](), tmp_path / file, tmp_path / f"past{suffix}"
    if file == "m.cbm":
        estimator.save_model(path)
    else:
        joblib.dump(estimator, path)
    write = FRAME.to_csv if suffix == ".csv" else FRAME.to_parquet
    write(reference, index=False)
    overrides = {"model.path": path, "model.sha256": file_sha256(path), "model.reference": reference}
    model: Any = open_native(load(environment={}, overrides=overrides).settings, path, reference, "m").model
    rows = json.loads(FRAME.to_json(orient="records", double_precision=15))
    values, probabilities = model.answer([model.schema.validate(row) for row in rows])
    if model.task is Task.REGRESSION:
        np.testing.assert_allclose(values, estimator.predict(FRAME), rtol=1e-9)
    else:
        np.testing.assert_allclose(probabilities, estimator.predict_proba(FRAME), atol=1e-9)
        assert [model.classes[v] for v in values] == [str(v) for v in estimator.predict(FRAME).ravel()]


def test_a_model_of_an_array_takes_numbers(tmp_path: Path) -> None:
    table = RNG.normal(size=(ROWS, 2))
    labels = (table[:, 0] > 0).astype(int)
    catboost.CatBoostClassifier(**OPTIONS).fit(table, labels).save_model(tmp_path / "m.cbm")
    loaded, _ = load_model(tmp_path / "m.cbm", None, ["no", "yes"])
    assert (loaded.takes_frame, loaded.feature_count, loaded.classes) == (False, 2, ("no", "yes"))


@pytest.mark.parametrize("content", [b"", b"no model", b"CBM1"])
def test_another_file_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.cbm").write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.cbm(: it is empty| is not a CatBoost model \(save one with)"):
        load_model(tmp_path / "m.cbm", None)


@pytest.mark.parametrize("wrap", [lambda model: model, make_pipeline])
def test_a_model_that_is_not_fitted_is_refused(tmp_path: Path, wrap: Callable[[Any], Any]) -> None:
    joblib.dump(wrap(catboost.CatBoostClassifier()), tmp_path / "m.joblib")
    with pytest.raises(ModelError, match="not fitted"):
        load_model(tmp_path / "m.joblib", file_sha256(tmp_path / "m.joblib"))
