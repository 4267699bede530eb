"""From a model file to a service that answers as the model's own library does: `driftbell init`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tests.command_line import driftbell
from tests.conftest import running, starting

pytestmark = pytest.mark.service

ROWS = 300
RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "id": [f"C{i * 7919 % 100_003}" for i in range(ROWS)],
        "age": RNG.integers(18, 80, ROWS),
        "zip": RNG.choice(["10115", "20095", "80331"], ROWS),
        "plan": np.where(RNG.random(ROWS) < 0.1, None, RNG.choice(["basic", "pro"], ROWS)),
        "since": pd.date_range("2024-01-01", periods=ROWS)[RNG.integers(0, ROWS, ROWS)].strftime("%Y-%m-%d"),
    }
)
NOISE = RNG.normal(0, 9, ROWS)
FEATURES = ["age", "zip", "plan", "since"]


def encoded(last: Any) -> Any:
    codes = OneHotEncoder(handle_unknown="ignore")
    return make_pipeline(ColumnTransformer([("code", codes, FEATURES[1:])], remainder="passthrough"), last)


def binary() -> tuple[Any, Any, Any]:
    label = np.where((TABLE.age + NOISE > 50) ^ (TABLE["zip"] == "10115"), "yes", "no")
    table = TABLE[FEATURES].fillna(np.nan)
    return encoded(LogisticRegression(max_iter=2000)).fit(table, label), table, label


def ten_classes() -> tuple[Any, Any, Any]:
    label = ((TABLE.age + NOISE) // 10).clip(0, 9).astype(int)
    table = TABLE[FEATURES].fillna(np.nan)
    return encoded(RandomForestClassifier(10, random_state=0)).fit(table[:150], label[:150]), table, label


def categories() -> tuple[Any, Any, Any]:
    label = np.where((TABLE.age + NOISE > 50) ^ (TABLE["zip"] == "10115"), "yes", "no")
    table = TABLE[FEATURES].astype({"zip": "category", "plan": "category", "since": "category"})
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, min_child_samples=5)
    return model.fit(table, label), table, label


def regression() -> tuple[Any, Any, Any]:
    price = TABLE.age * 3.0 + (TABLE["zip"] == "10115") * 50 + NOISE
    table = TABLE[FEATURES].fillna(np.nan)
    return encoded(RandomForestRegressor(10, random_state=0)).fit(table[:150], price[:150]), table, price


@pytest.mark.parametrize("build", [binary, ten_classes, categories, regression])
def test_a_newcomer_serves_a_model_as_it_was_trained(tmp_path: Path, build: Any) -> None:
    model, table, label = build()
    joblib.dump(model, tmp_path / "own.joblib")
    TABLE.assign(truth=label).to_csv(tmp_path / "past.csv", index=False)
    config = tmp_path / "driftbell.toml"
    arguments = (
        *("init", str(tmp_path / "own.joblib"), "--reference", str(tmp_path / "past.csv")),
        *("-o", str(config), "--trust", "--json"),
    )
    done = driftbell(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    assert (facts["target"], list(facts["left_out"]), facts["golden_rows"]) == ("truth", ["id"], 200)
    expected = model.predict(table)
    quiet = {"CHECK__EVERY": "off", "REPORTS__EVIDENTLY": "off"}
    for _ in range(2 if build is binary else 1):  # the second start serves from the conversion cache
        with running("serve", tmp_path / "data", "--config", str(config), **quiet) as service:
            assert httpx.post(f"{service.url}/predict", json=facts["example"]).status_code == 200
            for i in range(0, ROWS, 29):
                row = json.loads(TABLE[FEATURES].iloc[[i]].to_json(orient="records"))[0]
                answer = httpx.post(f"{service.url}/predict", json=row).json()
                if facts["task"] == "regression":
                    assert answer["value"] == pytest.approx(expected[i], rel=1e-5)
                else:
                    assert answer["class"] == str(expected[i])


def test_other_golden_answers_stop_the_start(tmp_path: Path) -> None:
    model, _, label = binary()
    joblib.dump(model, tmp_path / "own.joblib")
    TABLE.assign(truth=label).to_csv(tmp_path / "past.csv", index=False)
    config = tmp_path / "driftbell.toml"
    done = driftbell(
        *("init", str(tmp_path / "own.joblib"), "--reference", str(tmp_path / "past.csv")),
        *("-o", str(config), "--trust"),
        cwd=tmp_path,
    )
    assert done.returncode == 0
    golden = json.loads((tmp_path / "golden.json").read_text())
    row = golden["rows"][0]
    row["probabilities"] = {name: 1 - share for name, share in row["probabilities"].items()}
    (tmp_path / "golden.json").write_text(json.dumps(golden))
    with starting("serve", tmp_path / "data", "--config", str(config)) as service:
        assert service.process.wait(60) == 2
        assert "is not served as it was trained" in service.output.read_text()
