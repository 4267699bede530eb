"""The margin of a small reference: the error of its mean, and not that of its cross-fitted models."""

from __future__ import annotations

import numpy as np
from tests.degradation_tasks import SMALLEST_LOSS, answers, table

from driftbell.degradation.cusum import ESTIMATE, CusumCharts
from driftbell.degradation.error_baseline import error_baseline
from driftbell.degradation.reference_models import fit_reference_models
from driftbell.degradation.samples import without_group_means


def test_halves_with_other_models_are_no_autocorrelation() -> None:
    raw, ratios = [], []
    for seed in range(12):
        columns, truth = table(600, seed=100 + seed)
        learned = fit_reference_models(columns, answers(columns), truth, classes=2, seed=0)
        charts = CusumCharts(learned, smallest_loss=SMALLEST_LOSS, checks_per_alarm=1000)
        independent = float(learned.by_confidence.std()) / 600**0.5
        raw.append(error_baseline(learned.by_confidence).own_error / independent)
        ratios.append(charts.baselines[ESTIMATE].own_error / independent)
        mean = float(learned.by_confidence.mean())
        assert abs(charts.baselines[ESTIMATE].mean - mean) < 1e-12
    assert sum(ratio < 1.05 for ratio in ratios) >= 10
    assert sum(ratio > 1.05 for ratio in raw) > sum(ratio > 1.05 for ratio in ratios)


def test_autocorrelation_within_halves_stays() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=100), 20)
    half = np.arange(2000) // 200 % 2
    assert error_baseline(without_group_means(values, half)).overdispersion > 5
