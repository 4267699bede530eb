from __future__ import annotations

import numpy as np
import pytest
import scipy

from driftbell.stats.cusum import (
    MAX_RUN_LENGTH,
    MAX_THRESHOLD,
    MeanError,
    average_run_length,
    decision_threshold,
    markov_run_length,
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


@pytest.mark.parametrize("skew", [-1.0, -0.4, 0.0, 0.4, 1.0])
def test_the_run_length_of_skewed_steps_is_near_the_simulated_one(skew: float) -> None:
    rng = np.random.default_rng(1)
    sums, lengths = np.zeros(2000), []
    for step in range(1, 100_000):
        sums = np.maximum(0, sums + skewed(skew, len(sums), rng) - 0.5)
        alarmed = sums >= 3.0
        lengths += [step] * int(alarmed.sum())
        sums = sums[~alarmed]
        if not len(sums):
            break
    assert float(markov_run_length(np.array([0.5]), 3.0, skew)[0]) == pytest.approx(
        np.mean(lengths), rel=0.08
    )


def skewed(skew: float, size: int, rng: np.random.Generator) -> np.ndarray:
    if not skew:
        return rng.normal(0, 1, size)
    shape = 4 / skew**2
    return np.sign(skew) * (rng.gamma(shape, 1.0, size) - shape) / np.sqrt(shape)


def test_both_run_lengths_agree_for_normal_steps() -> None:
    allowances = np.array([-0.5, 0.1, 0.5])
    assert markov_run_length(allowances, 5.0) == pytest.approx(average_run_length(allowances, 5.0), rel=0.03)


def test_a_threshold_that_no_step_reaches_has_a_finite_run_length() -> None:
    assert markov_run_length(np.array([50.0]), 5.0) == pytest.approx(MAX_RUN_LENGTH, rel=0.01)


@pytest.mark.parametrize(("mean_error", "skew"), [(0.0, 0.0), (0.15, 0.0), (0.0, 0.4), (0.3, 0.4)])
def test_the_chance_of_a_false_alarm_is_kept_in_simulated_months(mean_error: float, skew: float) -> None:
    allowance, steps, chance = 0.4 + 1.645 * mean_error, 500, 0.2
    limit = decision_threshold(allowance, steps, chance, mean=MeanError(mean_error), skew=skew)
    rng = np.random.default_rng(1)
    offsets = rng.normal(0, mean_error, 4000)
    sums, alarmed = np.zeros(4000), np.zeros(4000, dtype=bool)
    for _ in range(steps):
        sums = np.maximum(0, sums + skewed(skew, 4000, rng) - offsets - allowance)
        alarmed |= sums >= limit
    assert alarmed.mean() == pytest.approx(chance, abs=0.03)


def test_an_uncertain_mean_and_a_smaller_budget_raise_the_threshold() -> None:
    by_doubt = [decision_threshold(0.3, 1000, 0.2, mean=MeanError(d)) for d in (0.0, 0.1, 0.3, 1.0)]
    assert by_doubt == sorted(by_doubt)
    assert by_doubt[0] < by_doubt[-1]
    by_budget = [decision_threshold(0.3, steps, 0.2) for steps in (1000, 10_000, 100_000)]
    assert by_budget[0] < by_budget[1] < by_budget[2]
    assert decision_threshold(0.3, 1000, 0.1) > decision_threshold(0.3, 1000, 0.4)


def test_the_threshold_is_limited() -> None:
    assert decision_threshold(0.1, 1e9, 1e-3, mean=MeanError(100.0)) == MAX_THRESHOLD
    assert decision_threshold(20.0, 10, 0.2) == 0.0


@pytest.mark.parametrize(("rate", "rows"), [(0.1, 200), (0.05, 500), (0.01, 2000)])
def test_the_upper_end_of_a_rate_of_errors_is_exceeded_in_one_of_twenty_samples(
    rate: float, rows: int
) -> None:
    counts = np.arange(1, rows // 3)
    rates = rate * np.linspace(0.8, 1.2, 41)[:, None]  # rates of so few errors are coarse
    chance = scipy.stats.binom.pmf(counts, rows, rates)

    def exceeded(correction: float) -> float:
        sample = counts / rows
        deviation = np.sqrt(sample * (1 - sample))
        skew = correction * (1 - 2 * sample) / deviation / np.sqrt(rows)
        ends = [
            float(MeanError(d / np.sqrt(rows), s).quantiles(1.645))
            for d, s in zip(deviation, skew, strict=True)
        ]
        return float((chance * (rates > sample + ends)).sum() / len(rates))

    assert exceeded(0.0) > 0.065
    assert 0.04 < exceeded(1.0) < 0.06
