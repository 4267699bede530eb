"""Train a classifier on numbers, categories and flags, and save it with its reference and settings.

python examples/own_model.py FOLDER
driftbell up --config FOLDER/driftbell.toml --data-dir FOLDER/data
"""

from __future__ import annotations

import csv
import hashlib
import sys
from pathlib import Path

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skops import io as skops_io

if len(sys.argv) != 2:
    sys.exit("usage: python examples/own_model.py FOLDER, which is created")
folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)

rng = np.random.default_rng(0)
age = rng.normal(45, 12, 2000).round()
plan = rng.choice(["basic", "family", "pro"], 2000, p=[0.5, 0.3, 0.2])
late = rng.random(2000) < 0.1
stays = rng.random(2000) < 1 / (1 + np.exp(-(0.05 * (age - 45) + (plan == "pro") - 2.0 * late + 0.5)))
label = np.where(stays, "stays", "leaves")

table = np.array([age, plan, late], dtype=object).T
encode = make_column_transformer((StandardScaler(), [0]), (OneHotEncoder(handle_unknown="ignore"), [1, 2]))
model = make_pipeline(encode, LogisticRegression()).fit(table[:1000], label[:1000])

path = folder / "churn.skops"
skops_io.dump(model, path)
with (folder / "reference.csv").open("w", newline="") as file:  # the half that the model was not fitted on
    writer = csv.writer(file)
    writer.writerow(["age", "plan", "late", "label"])
    writer.writerows(zip(age[1000:], plan[1000:], late[1000:], label[1000:], strict=True))

(folder / "driftbell.toml").write_text(
    f"""[model]
path = "{path}"
sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"
reference = "{folder / "reference.csv"}"
target = "label"
"""
)
print(f"driftbell up --config {folder}/driftbell.toml --data-dir {folder}/data")
