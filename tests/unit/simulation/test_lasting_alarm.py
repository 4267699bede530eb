"""An alarm of an unlabelled regression lasts as long as a feature is in another unit, and closes after."""

from __future__ import annotations

import numpy as np
import pytest

import driftbell

Table = dict[str, np.ndarray]


def taxi(rng: np.random.Generator, rows: int, factor: float = 1.0) -> Table:
    """Return trips, and the fare that a model predicts from distances that are too large by a factor."""
    distance = rng.gamma(2.2, 4, rows) + 0.5
    traffic = rng.normal(1.1, 0.2, rows).clip(0.5, 3)
    minutes = 2.1 * distance * traffic + rng.normal(3, 2, rows).clip(-4)
    fare = 3 + 1.4 * distance + 0.35 * minutes + rng.normal(0, 1.2, rows)
    distance *= factor
    prediction = 3 + 1.4 * distance + 0.35 * minutes
    return {
        "distance": distance,
        "minutes": minutes,
        "traffic": traffic,
        "prediction": prediction,
        "fare": fare,
    }


@pytest.mark.parametrize("seed", range(3))
def test_an_estimate_that_cannot_tell_closes_no_alarm(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference = taxi(rng, 3000)
    parts = [taxi(rng, 1500), taxi(rng, 4500, 1.25), taxi(rng, 2500)]
    stream = {name: np.concatenate([part[name] for part in parts]) for name in reference if name != "fare"}
    checks = driftbell.backtest(
        reference, stream, prediction="prediction", label="fare", task="regression", window_rows=500
    )
    verdicts = [check.verdict.value for check in checks]
    assert verdicts[:3] == ["ok"] * 3
    assert set(verdicts[3:5]) <= {"warning", "alarm"}
    assert verdicts[5:12] == ["alarm"] * 7
    assert verdicts[-1] == "ok"
