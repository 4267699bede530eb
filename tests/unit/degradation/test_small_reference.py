"""A large loss is detected however few labels the reference has, and however small the smallest loss is."""

from __future__ import annotations

import pytest
from tests.degradation_tasks import Stream, evidence

from driftbell.degradation.cusum import CusumCharts
from driftbell.records import Verdict


@pytest.mark.parametrize(("rows", "smallest"), [(60, 0.02), (60, 0.005), (800, 0.001)])
def test_a_large_loss_is_an_alarm_though_the_smallest_one_cannot_be_seen(rows: int, smallest: float) -> None:
    charts = CusumCharts(evidence(rows=rows).learned, smallest_loss=smallest, checks_per_alarm=200)
    assert charts.smallest_detectable(500, 1) < 0.4
    results = Stream(charts, labelled=True).run(6, wrong=0.5)
    assert results[-1].verdict is Verdict.ALARM, results[-1].sentence


@pytest.mark.parametrize("rows", [60, 800])
def test_unchanged_rows_raise_no_alarm(rows: int) -> None:
    charts = CusumCharts(evidence(rows=rows).learned, smallest_loss=0.001, checks_per_alarm=200)
    results = Stream(charts, labelled=True).run(20)
    assert not any(result.verdict is Verdict.ALARM for result in results)
