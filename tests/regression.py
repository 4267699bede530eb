"""A regression model on a table of houses, with its reference and settings, for tests."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

FEATURES = ("area", "rooms", "district")
DISTRICTS = {"harbor": 40.0, "hill": 90.0, "mill": 10.0}


def houses(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Draw houses and their prices in thousands; the noise of a price has the deviation 12."""
    rng = np.random.default_rng(seed)
    area = rng.normal(110, 30, rows).round(1)
    rooms = rng.integers(1, 7, rows)
    district = rng.choice(list(DISTRICTS), rows, p=[0.5, 0.2, 0.3])
    noise = rng.normal(0, 12, rows)
    price = 2.5 * area + 15 * rooms + np.array([DISTRICTS[d] for d in district]) + noise
    return pd.DataFrame({"area": area, "rooms": rooms, "district": district}), price.round(2)


ESTIMATORS: dict[str, Any] = {
    "pipeline": lambda: make_pipeline(
        make_column_transformer(
            (StandardScaler(), ["area", "rooms"]), (OneHotEncoder(handle_unknown="ignore"), ["district"])
        ),
        LinearRegression(),
    ),
    "trees": lambda: make_pipeline(
        make_column_transformer(
            (OneHotEncoder(sparse_output=False, handle_unknown="ignore"), ["district"]),
            remainder="passthrough",
        ),
        HistGradientBoostingRegressor(max_iter=60, random_state=0),
    ),
}


def write_model(folder: Path, kind: str = "pipeline", **alarms: str) -> Path:
    """Write a fitted regression, its reference and its settings; return the file of the settings."""
    folder.mkdir(parents=True, exist_ok=True)
    table, price = houses(3000, 0)
    estimator = ESTIMATORS[kind]().fit(table[:1500], price[:1500])
    path = folder / "price.joblib"
    joblib.dump(estimator, path)
    with (folder / "reference.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*FEATURES, "price"])
        writer.writerows([*row, label] for row, label in zip(table[1500:].values, price[1500:], strict=True))
    options = "".join(f"{name} = {value}\n" for name, value in alarms.items())
    section = f"\n[alarms]\n{options}" if options else ""
    (folder / "driftbell.toml").write_text(
        f"""[model]
path = "{path}"
sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"
reference = "{folder / "reference.csv"}"
target = "price"
{section}"""
    )
    return folder / "driftbell.toml"


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as JSON values."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
