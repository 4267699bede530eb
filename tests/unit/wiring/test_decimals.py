"""Decimals of Parquet reach a model as pandas reads them, and the golden answers see the difference."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from driftbell.models.frame import with_stored_types, without_decimals
from driftbell.models.golden import golden_problem, golden_rows
from driftbell.models.native import NativeModel
from driftbell.models.sklearn import loaded_estimator
from driftbell.tabular.features import read_feature_table
from driftbell.tabular.schema import infer_schema
from driftbell.wiring.examined_model import InitOptions
from driftbell.wiring.init_model import init_model
from driftbell.wiring.init_result import InitResult

ROWS = 200
RNG = np.random.default_rng(0)
RATES = RNG.choice(["0.10", "0.25", "1.10", "19.00"], ROWS)
LABELS = np.where((RATES == "1.10") ^ (RNG.random(ROWS) < 0.05), "yes", "no")


def encoder() -> Any:
    encode = ColumnTransformer([("code", OneHotEncoder(handle_unknown="ignore"), ["rate"])])
    return make_pipeline(encode, LogisticRegression())


MODELS = {
    "encoder of decimals": (encoder(), False, "decimal(2)"),
    "encoder of floats": (encoder(), True, "float64"),
    "forest": (RandomForestClassifier(10, random_state=0), False, "decimal(2)"),
    "booster": (LGBMClassifier(n_estimators=5, verbose=-1), True, "float64"),
}


def run(**options: Any) -> InitResult:
    return init_model(InitOptions(Path("m.joblib"), "t.parquet", force=True, **options), lambda _: True)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_gets_decimals_as_it_was_fitted_on_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    estimator, as_floats, dtype = MODELS[name]
    amounts = [Decimal(int(cents)) / 100 for cents in RNG.integers(100, 10_000, ROWS)]
    frame = pd.DataFrame({"rate": [Decimal(rate) for rate in RATES], "amount": amounts, "label": LABELS})
    frame.to_parquet("t.parquet")
    table = pd.read_parquet("t.parquet")[["rate", "amount"]]
    fitted = table.astype("float64") if as_floats else table
    joblib.dump(estimator.fit(fitted, LABELS), "m.joblib")
    result = run()
    assert (result.features[0].type, result.golden_rows) == (dtype, ROWS)
    assert result.score is not None
    expected = float((estimator.predict(fitted) == LABELS).mean())
    assert result.score.metrics[0].value == pytest.approx(expected)


def test_golden_answers_see_decimals_that_reach_an_encoder_as_floats(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame({"rate": [Decimal(rate) for rate in RATES]}).to_parquet(path)
    spelled = make_pipeline(
        FunctionTransformer(np.vectorize(str)), OneHotEncoder(handle_unknown="ignore"), LogisticRegression()
    )
    loaded = loaded_estimator(spelled.fit(pd.read_parquet(path), LABELS))
    table = read_feature_table(path)
    schema = with_stored_types(infer_schema(table.columns, table.dtypes), path)
    model = NativeModel(loaded, name="m", version="v", schema=schema)
    rows = golden_rows(model, table.columns, path)
    assert rows
    assert golden_problem(model, rows) == ""
    floats = NativeModel(loaded, name="m", version="v", schema=without_decimals(schema))
    assert "rows of the reference are answered otherwise" in golden_problem(floats, rows)
