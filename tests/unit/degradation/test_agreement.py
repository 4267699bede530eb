"""Estimate and labels of the same rows: each counts by its certainty."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.degradation_tasks import START, evidence

from driftbell.degradation.cusum import ESTIMATE, LABELS
from driftbell.degradation.decision import decide
from driftbell.degradation.explain import DegradationEstimate
from driftbell.records import BlockSummary, EvidenceState, SourceState, Verdict

HOUR = timedelta(hours=1)
UNCHANGED = 4


def decided(estimated: float, measured: float, rows: int = 500) -> DegradationEstimate:
    """Return the decision after unchanged blocks and one with these losses, of which all rows have labels."""

    def blocks(loss: float, size: int) -> tuple[BlockSummary, ...]:
        sizes = [500] * UNCHANGED + [size]
        losses = [0.0] * UNCHANGED + [loss]
        return tuple(
            BlockSummary(n, x, START + i * HOUR, START + (i + 1) * HOUR)
            for i, (n, x) in enumerate(zip(sizes, losses, strict=True))
        )

    state = EvidenceState(
        estimate=SourceState((), 3.0, blocks(estimated, 500), raised=True, lasting=1),
        labels=SourceState((), 0.4, blocks(measured, rows)),
    )
    return decide(evidence(), state)


@pytest.mark.parametrize(
    ("estimated", "measured", "verdict", "source"),
    [
        (0.06, 0.015, Verdict.ALARM, ESTIMATE),  # their weighted mean is a loss that matters
        (0.06, 0.08, Verdict.ALARM, LABELS),  # the labels alone show it
        (0.06, 0.0, Verdict.WARNING, ESTIMATE),
        (0.06, -0.02, Verdict.WARNING, ESTIMATE),
        (0.4, 0.015, Verdict.WARNING, ESTIMATE),  # their intervals have no common loss
    ],
)
def test_labels_and_an_estimate_of_the_same_rows_are_weighed(
    estimated: float, measured: float, verdict: Verdict, source: str
) -> None:
    found = decided(estimated, measured)
    assert (found.verdict, found.source) == (verdict, source)
    assert (found.measured is None) == (source == LABELS)  # else both are stated
    assert found.contradicted == (verdict is Verdict.WARNING)


def test_more_labels_count_more() -> None:
    assert decided(0.06, 0.012, rows=500).verdict is Verdict.ALARM
    assert decided(0.06, 0.012, rows=5000).verdict is Verdict.WARNING
