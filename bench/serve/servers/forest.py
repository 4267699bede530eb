"""The forest of all services: 100 trees on Iris, fitted once in each Python and kept in a file.

python -m serve.servers.forest FILE
"""

from __future__ import annotations

import os
import sys
from typing import Any

NAMES = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
CLASSES = ("setosa", "versicolor", "virginica")
FILE_VARIABLE = "FOREST"


def fit(file: str) -> None:
    """Fit the forest and write it."""
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    data: Any = load_iris()
    joblib.dump(RandomForestClassifier(n_estimators=100, random_state=0).fit(data.data, data.target), file)


def load() -> Any:
    """Give the forest that the environment names."""
    import joblib

    return joblib.load(os.environ[FILE_VARIABLE])


def answer(probabilities: Any) -> dict[str, Any]:
    """Say in words and numbers what the forest found for one row."""
    best = int(probabilities.argmax())
    return {
        "class": CLASSES[best],
        "class_id": best,
        "probabilities": dict(zip(CLASSES, probabilities.tolist(), strict=True)),
    }


if __name__ == "__main__":
    fit(sys.argv[1])
