from __future__ import annotations

import numpy as np
import pytest

from driftbell.stats.cusum import (
    MAX_THRESHOLD,
    average_run_length,
    decision_threshold,
    simulate_false_alarms,
)

# One-sided, allowance 0.5: NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.3.1. Two-sided it is
# half of it, 168 and 465: D. C. Montgomery, Introduction to Statistical Quality Control, 6th ed., table 9.3.
PUBLISHED = {4.0: 336.0, 5.0: 930.0}


def simulated(allowance: float, limit: float, mean: float = 0.0, streams: int = 2000, seed: int = 0) -> float:
    rng = np.random.default_rng(seed)
    sums, lengths = np.zeros(streams), []
    for step in range(1, 200_000):
        sums = np.maximum(0, sums + rng.normal(mean, 1, len(sums)) - allowance)
        alarmed = sums >= limit
        lengths += [step] * int(alarmed.sum())
        sums = sums[~alarmed]
        if not len(sums):
            break
    return float(np.mean(lengths))


@pytest.mark.parametrize(("limit", "published"), PUBLISHED.items())
def test_run_length_is_near_the_published_one(limit: float, published: float) -> None:
    assert float(average_run_length(0.5, limit)) == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize(
    ("allowance", "limit", "mean"), [(0.5, 3.0, 0), (0.25, 6.0, 0), (0.1, 8.0, 0), (0.5, 5.0, 1)]
)
def test_run_length_is_near_the_simulated_one(allowance: float, limit: float, mean: int) -> None:
    result = float(average_run_length(allowance - mean, limit))
    assert result == pytest.approx(simulated(allowance, limit, mean), rel=0.08)


def test_run_length_is_smooth_where_the_allowance_is_zero() -> None:
    around = average_run_length(np.array([-1e-4, -1e-7, 0.0, 1e-7, 1e-4]), 5.0)
    assert around == pytest.approx(6.166**2, rel=0.01)
    assert np.isfinite(average_run_length(np.array([-50.0, 50.0]), 1e5)).all()


@pytest.mark.parametrize("allowance", [0.02, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("steps", [100, 4000, 1e7])
def test_the_decision_threshold_inverts_the_run_length(allowance: float, steps: float) -> None:
    result = decision_threshold(allowance, steps)
    length = float(average_run_length(allowance, result))
    assert length == pytest.approx(steps, rel=0.05) or (result == 0.0 and length > steps)


def test_an_uncertain_mean_and_a_smaller_budget_raise_the_threshold() -> None:
    by_doubt = [decision_threshold(0.3, 1000, mean_error=d) for d in (0.0, 0.1, 0.3, 1.0)]
    assert by_doubt == sorted(by_doubt)
    assert by_doubt[0] < by_doubt[-1]
    assert decision_threshold(0.3, 1000) < decision_threshold(0.3, 10_000) < decision_threshold(0.3, 100_000)


def test_the_threshold_is_limited() -> None:
    assert decision_threshold(0.1, 1e9, mean_error=100.0) == MAX_THRESHOLD


@pytest.mark.parametrize(("mean_error", "skew"), [(0.0, 0.0), (0.15, 0.0), (0.0, 0.4)])
def test_the_false_alarm_rate_is_kept_in_simulated_months(mean_error: float, skew: float) -> None:
    allowance, steps = 0.4 + 1.645 * mean_error, 500
    limit = decision_threshold(allowance, steps, mean_error=mean_error)
    rng = np.random.default_rng(1)
    rate = simulate_false_alarms(
        [(1.0, skew, mean_error)], [[(allowance, limit)]], steps=steps, streams=2000, rng=rng
    )
    assert 0.75 < rate < (1.5 if skew else 1.2)


def test_two_charts_of_half_the_rate_keep_the_false_alarm_rate() -> None:
    steps = 400
    bank = [(a, decision_threshold(a, 2 * steps)) for a in (0.3, 1.0)]
    rng = np.random.default_rng(2)
    assert 0.5 < simulate_false_alarms([(1.0, 0.0, 0.0)], [bank], steps=steps, streams=2000, rng=rng) < 1.1


def test_skewed_errors_raise_more_false_alarms_than_normal_ones() -> None:
    def rate(skew: float) -> float:
        rng = np.random.default_rng(3)
        return simulate_false_alarms([(1.0, skew, 0.0)], [[(0.5, 4.0)]], steps=300, streams=1000, rng=rng)

    assert rate(-1.0) < rate(0.0) < rate(1.0)
