from __future__ import annotations

import numpy as np
import pytest

from driftbell.degradation.screening import MAX_FEATURES, screen
from driftbell.records import Columns
from driftbell.tabular.columns import as_columns

RNG = np.random.default_rng(0)
ROWS = 600


def noise(count: int) -> dict[str, np.ndarray]:
    return {f"noise{i}": RNG.normal(size=ROWS) for i in range(count)}


def test_few_features_stay_as_they_are() -> None:
    columns = noise(MAX_FEATURES)
    assert screen(columns, [columns["noise0"]]) is columns


@pytest.mark.parametrize("kind", ["linear", "square", "categorical", "nulls", "second target"])
def test_the_feature_that_the_answers_depend_on_is_kept(kind: str) -> None:
    signal = RNG.normal(size=ROWS)
    cells: dict[str, object] = {
        "linear": signal,
        "square": signal,
        "categorical": np.where(signal > 1, "high", np.where(signal > 0, "mid", "low")),
        "nulls": np.where(signal > 1, np.nan, 1.0),
        "second target": signal,
    }
    columns: Columns = as_columns({**noise(400), "signal": cells[kind]})
    target = signal**2 if kind == "square" else signal
    targets = [RNG.normal(size=ROWS), target] if kind == "second target" else [target]
    kept = screen(columns, targets)
    assert len(kept) == MAX_FEATURES
    assert "signal" in kept
    assert list(kept) == [name for name in columns if name in kept]


def test_constant_targets_and_empty_columns_are_no_error() -> None:
    columns = {**noise(MAX_FEATURES), "null": np.full(ROWS, np.nan), "one": np.ones(ROWS)}
    assert len(screen(columns, [np.zeros(ROWS)])) == MAX_FEATURES
