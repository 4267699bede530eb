"""The usual error: earlier labels of the stream correct a reference that was lucky or unlucky by chance."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest
from tests.degradation_tasks import SMALLEST_LOSS, START, evidence

from driftbell.degradation.blocks import add_labels, without_ended
from driftbell.degradation.chart_limits import ALLOWANCES, MARGIN
from driftbell.degradation.cusum import LABELS, CusumCharts
from driftbell.degradation.error_baseline import ErrorBaseline
from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.usual_error import MAX_INCREASE, allowance_change
from driftbell.records import EvidenceState

ROWS = 4000
"""Rows of the reference."""

LAG = 2000
"""Newest labels, which do not count."""


def charts() -> CusumCharts:
    return evidence("labelled", ROWS)


def labelled(state: EvidenceState, loss: float, count: int, corrected: float = 0.0) -> EvidenceState:
    """Add labels with this loss in each hundred, as evenly as whole errors allow."""
    mean, done = charts().baselines[LABELS].mean + loss, state.labelled
    ends = np.floor(mean * np.arange(count + 1) + 0.5)
    times = [START + timedelta(seconds=done + i) for i in range(count)]
    return add_labels(charts(), state, LabelRows(np.diff(ends).tolist(), times, corrected=corrected))[0]


def test_the_change_is_that_of_the_pooled_mean_and_its_standard_error() -> None:
    baseline = ErrorBaseline(0.2, 0.4, 0.0, 5000, 1.0, 1.0)
    error = 0.4 / math.sqrt(5000)
    expected = 0.75 * 0.004 - MARGIN * error * (1 - math.sqrt(0.25)) / 2
    assert float(allowance_change(baseline, 15_000, 0.004, 0.02)) == pytest.approx(expected)
    assert float(allowance_change(baseline, 0, 0.5, 0.02)) == 0.0


@pytest.mark.parametrize("rows", [100, 5000, 10**6])
def test_the_allowance_stays_between_the_margin_and_the_smallest_loss(rows: int) -> None:
    baseline = ErrorBaseline(0.2, 0.4, 0.0, 5000, 1.0, 1.0)
    changes = allowance_change(baseline, rows, np.linspace(-1, 1, 101), 0.02)
    assert changes.min() >= -MARGIN * baseline.own_error
    assert changes.max() <= MAX_INCREASE * 0.02
    assert ALLOWANCES[0] + MAX_INCREASE == 1.0
    assert (np.diff(changes) >= 0).all()


def test_the_newest_labels_do_not_count() -> None:
    state = labelled(EvidenceState(), 0.01, LAG)
    assert state.labels.usual == (0, 0.0)
    assert charts().allowance_change(LABELS, state.labels) == 0.0
    state = labelled(state, -0.5, 700)  # the oldest are those with the loss of 0.01
    rows, loss = state.labels.usual
    assert rows == 700
    assert loss == pytest.approx(0.01, abs=0.5 / 700)


def test_many_labels_count_once_each_though_their_blocks_are_merged() -> None:
    state = labelled(EvidenceState(), 0.004, 20_000)
    rows, loss = state.labels.usual
    assert rows == 20_000 - LAG
    assert loss == pytest.approx(0.004, abs=1e-4)


def test_a_lucky_reference_raises_no_score_for_ever() -> None:
    baseline = charts().baselines[LABELS]
    loss = ALLOWANCES[0] * SMALLEST_LOSS + 1.2 * MARGIN * baseline.own_error
    assert loss < SMALLEST_LOSS + MARGIN * baseline.own_error
    state, scores = EvidenceState(), []
    for _ in range(100):
        state = labelled(state, loss, 500)
        scores.append(state.labels.score or 0.0)
    assert charts().allowance_change(LABELS, state.labels) > 0
    assert max(scores) < 1
    assert scores[-1] < max(scores)


def test_a_loss_is_found_sooner_after_labels_that_agree_with_the_reference() -> None:
    loss = 1.6 * SMALLEST_LOSS

    def blocks_until_alarm(before: int) -> int:
        state = labelled(EvidenceState(), 0.0, before)
        for count in range(1, 200):
            state = labelled(state, loss, 100)
            if (state.labels.score or 0.0) >= 1:
                return count
        return 200

    assert blocks_until_alarm(20_000) < blocks_until_alarm(0)


def test_a_loss_that_grows_slowly_is_still_raised() -> None:
    state = EvidenceState()
    for i in range(200):
        state = labelled(state, 0.02 * SMALLEST_LOSS * i, 500)
        if (state.labels.score or 0.0) >= 1:
            break
    assert (state.labels.score or 0.0) >= 1
    assert 0.02 * i <= 2.5  # smallest losses


def test_labels_of_a_raised_loss_do_not_count_and_those_before_it_do_after_its_end() -> None:
    state = labelled(EvidenceState(), 0.002, 6000)
    before = state.labels.usual
    raised = labelled(state, 0.2, 3000)
    assert raised.labels.raised
    rows, loss = raised.labels.usual
    assert rows == pytest.approx(6000 - LAG, abs=300)
    assert loss == pytest.approx(0.002, abs=0.002)
    ended = without_ended(charts(), labelled(raised, 0.0, 3000))
    assert not ended.labels.raised
    assert ended.labels.usual[0] >= before[0]
    assert ended.labels.usual[1] == pytest.approx(0.002, abs=0.002)


def test_corrected_labels_leave_the_usual_error() -> None:
    state = labelled(labelled(EvidenceState(), 0.2, 3000), 0.0, 3000)
    ended = labelled(without_ended(charts(), state), 0.0, 3000)
    corrected = labelled(ended, 0.0, 0, corrected=3.0)
    assert corrected.labels.usual == ended.labels.usual
