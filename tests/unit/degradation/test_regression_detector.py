"""The degradation detector of a served regression."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from driftbell.alarms.smallest_loss import SmallestLoss
from driftbell.degradation.detector import CusumDetector, fit_detector
from driftbell.errors import ConfigError
from driftbell.records import (
    Degradation,
    EvidenceState,
    LabelledPrediction,
    Outputs,
    Prediction,
    Verdict,
    Window,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
CONSTANT = 40.0


def table(rows: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return features, predictions and labels; the error of a prediction has the deviation 5."""
    rng = np.random.default_rng(seed)
    columns = {"a": rng.normal(10, 2, rows), "b": rng.normal(0, 1, rows)}
    predicted = CONSTANT + 8 * columns["a"] + 3 * columns["b"]
    return columns, predicted, predicted + rng.normal(0, 5, rows)


def fitted(
    noise: float = 1.0, smallest: SmallestLoss | None = None, *, labelled: bool = True
) -> CusumDetector:
    columns, predicted, truth = table(1000, 0)
    labels = np.empty(1000, dtype=object)
    labels[:] = (predicted + noise * (truth - predicted)).tolist()
    return fit_detector(
        columns,
        Outputs(predicted),
        labels if labelled else None,
        classes=(),
        smallest_loss=smallest or SmallestLoss(),
        checks_per_alarm=200,
        block_rows=200,
    )


def advance(detector: CusumDetector, seed: int, noise: float, checks: int = 3) -> Degradation:
    """Send labelled predictions whose error is `noise` times the usual one."""
    state = EvidenceState()
    for check in range(checks):
        columns, predicted, truth = table(200, seed + check)
        truth = predicted + noise * (truth - predicted)
        predictions = [
            Prediction(
                f"p{check}-{i}",
                START + timedelta(minutes=200 * check + i),
                "m",
                "v",
                {name: float(cells[i]) for name, cells in columns.items()},
                repr(float(predicted[i])),
                {},
                1.0,
            )
            for i in range(200)
        ]
        first = 200 * check + 1
        labels = [
            LabelledPrediction(p, repr(float(truth[i])), p.time, first + i) for i, p in enumerate(predictions)
        ]
        state, degradation = detector.advance(state, Window(tuple(predictions), first, first + 199), labels)
        if degradation.verdict is Verdict.ALARM:
            break
    return degradation


def test_the_default_is_a_tenth_of_the_error_on_the_reference() -> None:
    charts = fitted().charts
    error = float(charts.learned.errors.mean())
    assert error == pytest.approx(5 * np.sqrt(2 / np.pi), rel=0.1)
    assert charts.smallest_loss == pytest.approx(error / 10)
    assert fitted(smallest=SmallestLoss(share=0.5)).charts.smallest_loss == pytest.approx(error / 2)
    assert fitted(smallest=SmallestLoss(1.5)).charts.smallest_loss == 1.5


def test_without_labels_the_default_is_a_share_of_the_spread_of_the_predictions() -> None:
    """The features predict the answers nearly exactly, which says nothing about the error of the model."""
    charts = fitted(labelled=False).charts
    assert charts.learned.by_features.mean() / 10 < 0.02 * charts.learned.truth.std()
    assert charts.smallest_loss == pytest.approx(0.02 * np.std(table(1000, 0)[1]))
    assert fitted(smallest=SmallestLoss(0.1), labelled=False).charts.smallest_loss == 0.1


def test_unchanged_errors_are_ok_and_larger_ones_are_an_alarm() -> None:
    detector = fitted()
    quiet = advance(detector, 10, 1.0)
    assert quiet.verdict is Verdict.OK
    assert quiet.performance is not None
    assert quiet.performance.metric == "mean absolute error"
    worse = advance(detector, 20, 1.6)
    assert worse.verdict is Verdict.ALARM
    assert worse.estimated_loss is not None
    assert worse.estimated_loss.value == pytest.approx(0.6 * 4.0, abs=0.6)
    assert worse.smallest_loss == detector.charts.smallest_loss
    assert worse.sentence.startswith("The model performs worse: mean absolute error 3.99 → ")
    assert "by its labels, since 2026-01-01" in worse.sentence


@pytest.mark.parametrize("noise", [0.0, 1e-15])
def test_a_model_without_an_error_raises_no_alarm_about_rounding(noise: float) -> None:
    detector = fitted(noise)
    spread = float(detector.charts.learned.truth.std())
    assert detector.charts.smallest_loss == pytest.approx(1e-3 * spread)
    assert advance(detector, 10, 1e-12).verdict is Verdict.OK
    assert advance(detector, 20, 0.1).verdict is Verdict.ALARM


def test_a_correction_counts_as_the_change_of_the_error() -> None:
    detector = fitted()
    prediction = Prediction("p", START, "m", "v", {"a": 1.0, "b": 0.0}, "50.0", {}, 1.0)
    first = LabelledPrediction(prediction, "53.0", START, 1)
    again = LabelledPrediction(prediction, "49.5", START, 2, before="53.0")
    state, _ = detector.advance(EvidenceState(), Window(), [first])
    assert state.pending.errors == pytest.approx(3.0)
    state, _ = detector.advance(state, Window(), [again])
    assert state.pending.count == 1
    assert state.pending.errors == pytest.approx(0.5)


def test_an_accepted_baseline_keeps_the_meaning_of_the_error() -> None:
    detector = fitted()
    columns, predicted, _ = table(300, 5)
    rows: list[Any] = [
        Prediction(
            f"b{i}", START, "m", "v", {n: float(c[i]) for n, c in columns.items()}, repr(float(v)), {}, 1.0
        )
        for i, v in enumerate(predicted.tolist())
    ]
    accepted = detector.with_baseline(Window(tuple(rows), 1, 300))
    assert advance(accepted, 10, 1.0).verdict is Verdict.OK


def test_a_classifier_refuses_a_share_of_an_error() -> None:
    columns, predicted, _ = table(200, 0)
    with pytest.raises(ConfigError, match="but the metric is accuracy"):
        fit_detector(
            columns,
            Outputs((predicted > 120).astype(np.intp)),
            None,
            classes=("low", "high"),
            smallest_loss=SmallestLoss(share=0.1),
            checks_per_alarm=100,
        )


def test_without_labels_the_estimate_is_used() -> None:
    quiet = advance(fitted(labelled=False), 10, 1.0, checks=1)
    assert quiet.performance is not None
    assert quiet.performance.reference is None
    assert quiet.performance.estimated is not None


def test_the_interval_of_a_loss_grows_with_the_errors() -> None:
    loss = advance(fitted(), 20, 8.0, checks=1).estimated_loss
    assert loss is not None
    assert loss.value == pytest.approx(7 * 4.0, abs=4)
    standard_error = 8 * 5 * np.sqrt(1 - 2 / np.pi) / np.sqrt(200)
    assert loss.high - loss.value == pytest.approx(1.645 * standard_error, rel=0.25)
