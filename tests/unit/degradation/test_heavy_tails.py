"""Errors far beyond those of the reference: a single one is no alarm, and those that last are."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from tests.degradation_tasks import START

from driftbell.degradation.blocks import add_labels, counted
from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.reference_models import Answers, ReferenceModels, fit_reference_models
from driftbell.records import EvidenceState

ROWS = 1000


def learned(classes: int) -> ReferenceModels:
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    answers, truth = Answers(x), x + rng.normal(size=60)
    if classes:
        answers, truth = Answers((x > 0).astype(float)), (x > 0).astype(float)
    return fit_reference_models({"x": x}, answers, truth, classes=classes, seed=0)


def heavy_charts(seed: int = 0, classes: int = 0) -> CusumCharts:
    """Return charts of a reference with absolute errors of Student's t with three degrees of freedom."""
    errors = np.abs(np.random.default_rng(seed).standard_t(3, ROWS))
    errors /= errors.mean()
    return CusumCharts(
        learned(classes), smallest_loss=0.1, checks_per_alarm=1000, baseline=(errors, errors, errors)
    )


def largest_score(charts: CusumCharts, errors: np.ndarray) -> float:
    """Return the largest score after blocks of 100 labels."""
    state, largest = EvidenceState(rows=len(errors)), 0.0
    for start in range(0, len(errors), 100):
        times = [START + timedelta(minutes=start + i) for i in range(100)]
        state, _ = add_labels(charts, state, LabelRows(errors[start : start + 100], times))
        largest = max(largest, state.labels.score or 0.0)
    return largest


def usual(rows: int, seed: int) -> np.ndarray:
    return np.minimum(np.abs(np.random.default_rng(seed).standard_t(3, rows)) / 1.1, 5.0)


@pytest.mark.parametrize("size", [30.0, 100.0, 300.0])
def test_one_error_far_beyond_the_reference_is_no_alarm(size: float) -> None:
    charts, errors = heavy_charts(), usual(300, 1)
    errors[150] = size
    assert largest_score(charts, errors) < 1


@pytest.mark.parametrize(("share", "size"), [(1.0, 1.5), (1.0, 100.0), (0.1, 10.0), (0.02, 1000.0)])
def test_errors_that_last_are_an_alarm(share: float, size: float) -> None:
    charts, errors = heavy_charts(), usual(600, 2)
    errors[:: round(1 / share)] *= size
    assert largest_score(charts, errors) >= 1


def test_the_stated_loss_has_every_error_in_full() -> None:
    charts, errors = heavy_charts(), np.full(100, 1.0)
    errors[0] = 1001.0
    state, _ = add_labels(charts, EvidenceState(rows=100), LabelRows(errors, [START] * 100))
    assert state.labels.blocks[0].loss == pytest.approx(10.0)


def test_errors_of_the_reference_and_bounded_ones_count_in_full() -> None:
    charts = heavy_charts()
    largest = max(charts.baselines["labels"].largest, 5.0)
    errors = np.array([0.0, 1.0, largest])
    np.testing.assert_array_equal(counted(charts, errors), errors)
    assert counted(charts, np.array([largest * np.e]))[0] == pytest.approx(2 * largest)
    np.testing.assert_array_equal(counted(heavy_charts(classes=2), errors * 10), errors * 10)


def test_parts_of_a_block_count_like_the_whole() -> None:
    charts, errors = heavy_charts(), usual(100, 3)
    errors[[10, 60]] = 200.0
    times = [START + timedelta(minutes=i) for i in range(100)]
    whole, _ = add_labels(charts, EvidenceState(rows=100), LabelRows(errors, times))
    state = EvidenceState(rows=100)
    for part in (slice(0, 40), slice(40, 100)):
        state, _ = add_labels(charts, state, LabelRows(errors[part], times[part]))
    assert state.labels.sums == pytest.approx(whole.labels.sums)
    assert state.labels.blocks[0].loss == pytest.approx(whole.labels.blocks[0].loss)
