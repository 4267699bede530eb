"""Simulated months judge only checks that may raise an alarm, and have the alarms of the detector."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from alarm.months import STEPS, Arrivals, Month, charts_of, check_scores
from alarm.worlds import BLOCK, CHANGE, CHANGE_SIZE, DAYS, WORLDS, classes, worse

MONTHS = 3


@pytest.mark.parametrize("name", ["bursts", "10 % labels", "labels two days late"])
def test_checks_that_are_not_judged_have_no_alarm(name: str) -> None:
    world, rng = WORLDS[name], np.random.default_rng(3)
    arrivals = Arrivals(world)
    charts = charts_of(world, *(rows[0] for rows in world.draw(rng, 1, world.reference)))
    expected, errors = world.draw(rng, MONTHS, BLOCK * DAYS)
    loss = CHANGE_SIZE * charts.smallest_loss
    expected[-1:], errors[-1:] = worse(world, rng, expected[-1:], errors[-1:], loss)
    opened = 0
    for step, scores in zip(STEPS, check_scores(charts, arrivals, expected, errors), strict=True):
        for month in range(MONTHS):
            checks = Month(charts, arrivals, expected[month], errors[month])
            some = list(checks.alarms(step, scores[month] >= 1))
            checks = Month(charts, arrivals, expected[month], errors[month])
            assert some == list(checks.alarms(step))
            opened += any(alarm for _, alarm in some)
    assert opened >= len(STEPS)


def test_chances_of_errors_have_their_mean() -> None:
    for mean in (0.005, 0.1, 0.3):
        chances, errors = classes(mean)(np.random.default_rng(0), 10, CHANGE * 10)
        assert chances.mean() == pytest.approx(mean, rel=0.05)
        assert errors.mean() == pytest.approx(mean, rel=0.05)
