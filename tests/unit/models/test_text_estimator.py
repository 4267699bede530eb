"""Pipelines on texts take one column as a sequence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline

from driftbell.config.settings import load
from driftbell.errors import ConfigError
from driftbell.models.conversion_cache import file_sha256
from driftbell.wiring.model import open_model

pytestmark = pytest.mark.usefixtures("tried_here")

RNG = np.random.default_rng(0)
WORDS = np.array(["gut", "schlecht", "größer", "teuer", "schnell"])
TEXTS = [" ".join(RNG.choice(WORDS, 4)) for _ in range(80)]
LABELS = np.where(["gut" in text for text in TEXTS], "good", "bad")
BOTH = FeatureUnion([("words", TfidfVectorizer()), ("letters", CountVectorizer(analyzer="char"))])


def opened(folder: Path, estimator: Any, table: Any) -> Any:
    joblib.dump(estimator, folder / "m.joblib")
    table.to_csv(folder / "past.csv", index=False)
    overrides = {
        "data_dir": folder / "data",
        "model.path": folder / "m.joblib",
        "model.sha256": file_sha256(folder / "m.joblib"),
        "model.reference": folder / "past.csv",
    }
    return open_model(load(environment={}, overrides=overrides).settings).model


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(TfidfVectorizer(), LogisticRegression()),
        make_pipeline(BOTH, LogisticRegression()),
        GridSearchCV(
            make_pipeline(TfidfVectorizer(), LogisticRegression()), {"logisticregression__C": [1, 2]}
        ),
    ],
    ids=["pipeline", "union", "search"],
)
@pytest.mark.parametrize("fitted_on", [list, pd.Series])
def test_texts_are_answered_as_by_the_library(estimator: Any, fitted_on: Any, tmp_path: Path) -> None:
    estimator.fit(fitted_on(TEXTS), LABELS)
    model = opened(tmp_path, estimator, pd.DataFrame({"review": TEXTS}))
    new = [*TEXTS[:20], "gut und ganz neu"]
    values, probabilities = model.answer([model.schema.validate({"review": text}) for text in new])
    assert [model.classes[v] for v in values] == estimator.predict(new).tolist()
    np.testing.assert_allclose(probabilities, estimator.predict_proba(new), rtol=0, atol=1e-12)


def test_a_regression_on_texts_answers_numbers(tmp_path: Path) -> None:
    estimator = make_pipeline(TfidfVectorizer(), Ridge()).fit(TEXTS, np.arange(80.0))
    model = opened(tmp_path, estimator, pd.DataFrame({"review": TEXTS}))
    values, _ = model.answer([model.schema.validate({"review": text}) for text in TEXTS])
    np.testing.assert_allclose(values, estimator.predict(TEXTS))


def test_a_second_column_is_refused(tmp_path: Path) -> None:
    estimator = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, LABELS)
    table = pd.DataFrame({"review": TEXTS, "label": LABELS})
    with pytest.raises(ConfigError, match=r"takes 1 feature, its reference has 2 .*name it in model\.target"):
        opened(tmp_path, estimator, table)
