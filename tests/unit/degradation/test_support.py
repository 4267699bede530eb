"""A regression outside its reference: an estimate without labels does not tell the error there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from driftbell.degradation.detector import CusumDetector, fit_detector
from driftbell.records import (
    Columns,
    Degradation,
    EvidenceState,
    LabelledPrediction,
    Outputs,
    Prediction,
    Verdict,
    Window,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
BLOCK = 200


def table(rows: int, shift: float, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return features and labels; beyond 10, trees do not know how `x` goes on."""
    rng = np.random.default_rng(seed)
    columns = {"x": rng.uniform(0, 10, rows) + shift, "z": rng.normal(size=rows)}
    return columns, columns["x"] ** 2 + columns["z"] + rng.normal(size=rows)


def matrix(columns: Columns) -> np.ndarray:
    return np.column_stack(list(columns.values()))


COLUMNS, LABELS = table(1000, 0, 1)
MODEL = RandomForestRegressor(20, random_state=0).fit(matrix(table(1000, 0, 0)[0]), table(1000, 0, 0)[1])


@pytest.fixture(scope="module")
def detector() -> CusumDetector:
    labels = np.empty(1000, dtype=object)
    labels[:] = LABELS.tolist()
    outputs = Outputs(MODEL.predict(matrix(COLUMNS)))
    return fit_detector(COLUMNS, outputs, labels, classes=(), checks_per_alarm=200, block_rows=BLOCK)


def advance(
    detector: CusumDetector,
    state: EvidenceState,
    block: int,
    shift: float,
    *,
    far: int = 0,
    labelled: bool = False,
) -> tuple[EvidenceState, Degradation]:
    """Send a block of rows, some of them far outside the reference."""
    columns, truth = table(BLOCK, shift, 100 + block)
    columns["x"][np.linspace(0, BLOCK - 1, far, dtype=int)] = 40.0
    answers = MODEL.predict(matrix(columns))
    first = BLOCK * block + 1
    predictions = tuple(
        Prediction(
            f"p{block}-{i}",
            START + timedelta(minutes=first + i),
            "m",
            "v",
            {name: float(cells[i]) for name, cells in columns.items()},
            repr(float(answers[i])),
            {},
            1.0,
        )
        for i in range(BLOCK)
    )
    labels = [
        LabelledPrediction(p, repr(float(truth[i])), p.time, first + i) for i, p in enumerate(predictions)
    ]
    window = Window(predictions, first, first + BLOCK - 1)
    return detector.advance(state, window, labels if labelled else [])


def test_a_loss_outside_the_reference_is_an_alarm_of_unknown_size(detector: CusumDetector) -> None:
    state, degradation = advance(detector, EvidenceState(), 0, 0)
    assert degradation.verdict is Verdict.OK
    assert degradation.performance is not None
    assert degradation.performance.estimated is not None
    for block in (1, 2):
        state, degradation = advance(detector, state, block, 6)
    assert degradation.verdict is Verdict.ALARM
    assert degradation.estimated_loss is None
    assert degradation.performance is not None
    assert degradation.performance.estimated is None
    share = float((table(BLOCK, 6, 102)[0]["x"] > COLUMNS["x"].max()).mean())
    blind = state.estimate.blocks[-1].blind
    assert blind is not None
    assert blind.share == pytest.approx(share, abs=0.02)
    assert "the estimate without labels cannot tell how much: 5" in degradation.sentence
    assert "outside the reference's range, most in x, and only labels show the error there" in (
        degradation.sentence
    )


def test_no_evidence_outside_the_reference_is_unknown(detector: CusumDetector) -> None:
    state, degradation = advance(detector, EvidenceState(), 0, 0, far=8)
    assert (degradation.verdict, degradation.waiting) == (Verdict.UNKNOWN, False)
    assert degradation.sentence.startswith("Cannot tell whether the model performs worse: 4% of the 200 rows")
    assert degradation.performance is not None
    assert degradation.performance.estimated is None
    _, degradation = advance(detector, state, 1, 0)
    assert degradation.verdict is Verdict.OK


def test_few_rows_that_are_far_outside_are_too_many(detector: CusumDetector) -> None:
    learned = detector.charts.learned
    columns, _ = table(BLOCK, 0, 100)
    for count, share in ((4, 0.0), (8, 0.04)):
        columns["x"][:count] = 40.0
        blind = detector.charts.blind_spots.outside(learned.encoder(columns, BLOCK))
        assert (blind.share if blind else 0.0) == pytest.approx(share, abs=0.011)
        assert (blind.column if blind else "") == ("x" if share else "")


def test_labels_of_the_newest_rows_decide(detector: CusumDetector) -> None:
    state = EvidenceState()
    for block in range(3):
        state, degradation = advance(detector, state, block, 6, labelled=True)
    assert degradation.verdict is Verdict.ALARM
    assert degradation.estimated_loss is not None
    assert degradation.estimated_loss.value > 20
    assert "cannot tell" not in degradation.sentence


def test_rows_of_the_reference_and_classifiers_are_never_outside(detector: CusumDetector) -> None:
    charts = detector.charts
    for seed in range(200):
        columns, _ = table(BLOCK, 0, 1000 + seed)
        assert charts.blind_spots.outside(charts.learned.encoder(columns, BLOCK)) is None
    classes = np.where(COLUMNS["x"] > 5, 1, 0)
    labels = np.where(classes == 1, "b", "a").astype(object)
    classifier = fit_detector(
        COLUMNS, Outputs(classes), labels, classes=("a", "b"), checks_per_alarm=200, block_rows=BLOCK
    )
    moved = table(BLOCK, 50, 1)[0]
    learned = classifier.charts.learned
    assert classifier.charts.blind_spots.outside(learned.encoder(moved, BLOCK)) is None
