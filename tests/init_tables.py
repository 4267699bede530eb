"""A table with strings, nulls and postcodes, a model of it, and calls of `init_model`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from driftbell.config.settings import load
from driftbell.wiring.examined_model import InitOptions
from driftbell.wiring.init_model import init_model
from driftbell.wiring.init_result import InitResult
from driftbell.wiring.model import open_model

ROWS = 300
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "customer": [f"C{i * 7919 % 100_003}" for i in range(ROWS)],
        "tenure": RNG.integers(0, 72, ROWS),
        "plan": RNG.choice(["basic", "family", "pro"], ROWS),
        "zip": RNG.choice(["10115", "20095", "80331"], ROWS),
        "city": np.where(RNG.random(ROWS) < 0.1, None, RNG.choice(["Rome", "Oslo"], ROWS)),
    }
)
FRAME["churned"] = np.where((FRAME.tenure > 35) ^ (RNG.random(ROWS) < 0.15), "yes", "no")
FEATURES = ["tenure", "plan", "zip", "city"]


def churn() -> Any:
    encode = ColumnTransformer(
        [
            ("scale", StandardScaler(), ["tenure"]),
            ("code", OneHotEncoder(handle_unknown="ignore"), ["plan", "zip"]),
            (
                "fill",
                make_pipeline(
                    SimpleImputer(missing_values=None, strategy="most_frequent"),
                    OneHotEncoder(handle_unknown="ignore"),
                ),
                ["city"],
            ),
        ]
    )
    return make_pipeline(encode, LogisticRegression()).fit(FRAME[FEATURES], FRAME.churned)


def run(reference: Path | str, model: str = "churn.joblib", **options: Any) -> InitResult:
    trust = options.pop("trust", True)
    source = model if ":" in model else Path(model)
    return init_model(InitOptions(source, str(reference), **options), lambda error: trust)


def served(result: InitResult, rows: Sequence[Mapping[Any, Any]]) -> list[Any]:
    """Return the answers of the configuration that was written, to rows as JSON."""
    settings = load(result.output, environment={}, overrides={"data_dir": result.output.parent / "data"})
    model = open_model(settings.settings).model
    values = [model.schema.validate(json.loads(json.dumps(row))) for row in rows]
    answers = model.answer(values)[0]
    return [model.classes[i] for i in answers] if model.classes else answers
