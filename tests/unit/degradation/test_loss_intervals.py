"""Intervals of the loss since a change cover it, with labels of all rows, of some, and of other rows."""

from __future__ import annotations

import math
from copy import copy
from datetime import timedelta

import msgspec
import numpy as np
import pytest
import scipy
from tests.degradation_tasks import START, evidence

from driftbell.degradation.cusum import ESTIMATE, LABELS, CusumCharts
from driftbell.degradation.error_baseline import error_baseline
from driftbell.degradation.loss_intervals import (
    labels_since_suspicion,
    loss_interval,
    measured_loss,
    newest_labels,
    newest_level,
    newest_loss,
)
from driftbell.records import (
    BlockSummary,
    ColumnCondition,
    EvidenceState,
    Interval,
    SourceState,
    Suspicion,
)

HOUR = timedelta(hours=1)


def blocks(*losses: float, rows: int = 500, first: int = 0) -> tuple[BlockSummary, ...]:
    return tuple(
        BlockSummary(rows, loss, START + (first + i) * HOUR, START + (first + i + 1) * HOUR)
        for i, loss in enumerate(losses)
    )


def with_reference(charts: CusumCharts, errors: np.ndarray) -> CusumCharts:
    """Return charts with the errors of another reference as baseline of the labels."""
    other = copy(charts)
    other.baselines = {**charts.baselines, LABELS: error_baseline(errors)}
    return other


def test_the_sampling_error_is_that_of_the_error_rate_after_the_change() -> None:
    """A rate of 10 % becomes 50 %: the errors scatter by 0.5 instead of 0.3."""
    charts = with_reference(evidence(), np.resize([1.0] + [0.0] * 9, 10_000))
    loss = loss_interval(charts, LABELS, blocks(0.4))
    error = 1.645 * math.sqrt(0.5**2 / 500 + 0.1 * 0.9 / 10_000)
    assert (loss.low, loss.high) == pytest.approx((0.4 - error, 0.4 + error), abs=2e-4)
    none_wrong = loss_interval(charts, LABELS, blocks(-0.1, rows=100))
    assert none_wrong.low == pytest.approx(-0.1)
    assert none_wrong.high > -0.085


@pytest.mark.parametrize("rate", [0.03, 0.045, 0.1])
def test_the_lower_end_of_few_errors_is_too_high_in_one_of_twenty_samples(rate: float) -> None:
    """Rare errors are skewed: around the mean itself, the lower end is too high in fewer than one of 35."""
    charts = with_reference(evidence(), np.resize([1.0] + [0.0] * 199, 20_000))
    rows, usual = 100, 1 / 200
    counts = np.arange(31)
    lows = [loss_interval(charts, LABELS, blocks(k / rows - usual, rows=rows)).low for k in counts]
    rates = rate * np.linspace(0.8, 1.2, 41)[:, None]  # shares of so few errors are coarse
    too_high = scipy.stats.binom.pmf(counts, rows, rates) * (np.array(lows) > rates - usual)
    assert 0.03 < too_high.sum() / len(rates) < 0.07


def test_larger_errors_of_a_regression_scatter_more() -> None:
    charts = evidence("regression")
    usual = charts.baselines[LABELS]
    small, large = (loss_interval(charts, LABELS, blocks(x * usual.mean)) for x in (0.0, 3.0))
    own = 1.645 * usual.own_error
    widths = [math.sqrt(((i.high - i.low) / 2) ** 2 - own**2) for i in (small, large)]
    assert widths[1] == pytest.approx(4 * widths[0], rel=1e-6)


@pytest.mark.parametrize(("rate", "rows"), [(0.12, 500), (0.15, 200), (0.3, 50), (0.5, 500)])
def test_the_interval_covers_a_loss_since_a_change_of_unknown_time(rate: float, rows: int) -> None:
    """Ten blocks before and five after it; the reference of 2,000 rows is drawn anew each time."""
    rng, hits, best = np.random.default_rng(3), [], []
    charts = evidence()
    for _ in range(300):
        drawn = with_reference(charts, (rng.random(2000) < 0.1).astype(float))
        mean = drawn.baselines[LABELS].mean
        rates = [rng.binomial(rows, p) / rows for p in [0.1] * 10 + [rate] * 5]
        series = blocks(*(r - mean for r in rates), rows=rows)
        interval = measured_loss(drawn, newest_level(drawn, series))
        hits.append(interval.low <= rate - 0.1 <= interval.high)
        chosen = max((series[i:] for i in range(15)), key=_gain)
        plain = loss_interval(drawn, LABELS, chosen)
        best.append(plain.low <= rate - 0.1 <= plain.high)
        assert interval.low <= interval.value <= interval.high
    assert np.mean(hits) >= 0.86  # 0.9 less two standard errors of 300 draws
    assert np.mean(hits) >= np.mean(best) - 0.01  # both are wide against few references


def _gain(since: tuple[BlockSummary, ...]) -> float:
    return sum(b.rows * b.loss for b in since) ** 2 / sum(b.rows for b in since)


def test_a_loss_of_another_size_before_is_no_part_of_it() -> None:
    charts = evidence()
    series = blocks(0.0, 0.01, 0.3, 0.32, 0.05, 0.08, 0.06, 0.05)
    assert newest_level(charts, series) == series[4:]
    loss = measured_loss(charts, newest_level(charts, series))
    assert loss.low < 0.06 < loss.high
    assert loss.high < 0.12
    over = blocks(0.3, 0.3, 0.0, 0.0, 0.0)
    assert newest_level(charts, over) == over[2:]
    noise = blocks(0.0, 0.01, -0.02, 0.02, 0.05, 0.04, 0.06)
    assert newest_level(charts, noise) == noise


def state(estimate: float, labels: tuple[BlockSummary, ...], *, at: int = 3) -> EvidenceState:
    return EvidenceState(
        estimate=SourceState(blocks=blocks(*[0.0] * at, estimate)), labels=SourceState(blocks=labels)
    )


def test_without_labels_the_newest_loss_is_the_estimate() -> None:
    charts = evidence()
    found = newest_loss(charts, state(0.01, ()))
    assert found == loss_interval(charts, ESTIMATE, blocks(0.01))
    assert newest_loss(charts, EvidenceState()) is None
    stale = state(0.01, blocks(0.3, 0.3, first=-9))
    assert newest_loss(charts, stale) == found


def test_labels_of_the_newest_rows_state_the_loss_if_they_are_more_certain() -> None:
    charts = with_reference(evidence(), np.resize([1.0] + [0.0] * 9, 10_000))
    many = blocks(0.16, 0.15, 0.17, 0.16)
    found = newest_loss(charts, state(0.0, many))
    assert found == measured_loss(charts, many)
    assert found
    assert found.low > 0.1


def test_few_or_late_labels_extend_the_interval_of_the_estimate() -> None:
    charts = evidence()
    estimated = newest_loss(charts, state(0.0, ()))
    few = blocks(0.1, 0.12, rows=50)
    found = newest_loss(charts, state(0.0, few))
    measured = measured_loss(charts, few)
    assert estimated
    assert found
    assert found.low == estimated.low
    assert found.high == pytest.approx(measured.value + (measured.high - measured.value) / 1.645)
    assert estimated.value < found.value < measured.value


def test_labels_of_other_rows_than_the_suspected_ones_do_not_count() -> None:
    charts = evidence()
    suspicion = Suspicion(START + 2 * HOUR, (ColumnCondition("a", "null"),), labels=20)
    few = msgspec.structs.replace(state(0.0, blocks(0.2, 0.2)), suspicion=suspicion)
    assert newest_loss(charts, few) == newest_loss(charts, state(0.0, ()))
    assert labels_since_suspicion(few) == few.labels.blocks
    later = blocks(0.2, 0.2, 0.05, 0.04)
    enough = msgspec.structs.replace(
        state(0.0, later), suspicion=msgspec.structs.replace(suspicion, labels=100)
    )
    assert labels_since_suspicion(enough) == later[2:]
    found = newest_loss(charts, enough)
    assert isinstance(found, Interval)
    assert found.high < 0.12


def test_a_level_lasts_for_a_block_of_predictions() -> None:
    """A file of labels may be sorted by class, so the newest 200 labels of 500 may be all right."""
    charts = evidence()
    at = tuple(START + i * HOUR / 5 for i in range(11))
    losses = [0.9, 0.0, 0.0, -0.1, -0.1] * 2
    series = tuple(
        BlockSummary(100, loss, first, last) for loss, first, last in zip(losses, at, at[1:], strict=False)
    )
    assert len(newest_level(charts, series)) < 5
    sorted_twice = EvidenceState(
        estimate=SourceState(blocks=blocks(0.0, 0.0)), labels=SourceState(blocks=series)
    )
    assert len(newest_labels(charts, sorted_twice)) >= 5
