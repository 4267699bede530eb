"""Models of the label with soft labels: paired losses of broken values on small references."""

from __future__ import annotations

import numpy as np
import pytest
from tests.degradation_tasks import answers, table

from driftbell.degradation.reference_models import Answers, ReferenceModels, fit_reference_models
from driftbell.degradation.row_mix import RowMix
from driftbell.degradation.small_models import MAX_BINS, binned
from driftbell.degradation.soft_labels import SoftLabels, soft_labels

ROWS = 1000


def learned_from(rows: int, seed: int, *, labelled: bool = True) -> ReferenceModels:
    columns, truth = table(rows, seed)
    return fit_reference_models(columns, answers(columns), truth if labelled else None, classes=2, seed=0)


def increases(learned: ReferenceModels, name: str) -> tuple[float, float, float]:
    """Return the loss of rows with a null by soft labels, by labels alone, and the true one."""
    columns, truth = table(ROWS, 77)
    null = columns | {name: np.full(ROWS, np.nan)}
    matrix, given = learned.encoder(null, ROWS), answers(null)
    without = frozenset({learned.encoder.names.index(name)})
    by_labels = learned.error_by_features(matrix, given, without) - RowMix(learned, 1.0).usual(
        matrix, without
    )
    many, _ = table(50_000, 78)
    true = expected_error(many, answers(many | {name: np.full(50_000, np.nan)})) - expected_error(
        many, answers(many)
    )
    soft = SoftLabels(learned).increase(matrix, given, without)
    assert soft.shape == truth.shape
    return float(soft.mean()), float(by_labels.mean()), true


def expected_error(columns: dict[str, np.ndarray], given: Answers) -> float:
    """Return the mean error of answers by the true probabilities."""
    probabilities = answers(columns).probabilities
    assert probabilities is not None
    return float(1 - probabilities[np.arange(len(given)), given.values.astype(int)].mean())


def test_on_small_references_the_loss_scatters_less_than_by_labels_alone() -> None:
    soft: list[float] = []
    alone: list[float] = []
    for seed in range(12):
        by_soft, by_labels, true = increases(learned_from(500, seed), "b")
        soft.append(by_soft - true)
        alone.append(by_labels - true)
    assert np.sqrt(np.mean(np.square(soft))) < 0.9 * np.sqrt(np.mean(np.square(alone)))
    assert np.mean(soft) == pytest.approx(0.0, abs=0.015)


def test_a_large_loss_is_right() -> None:
    by_soft, _, true = increases(learned_from(2000, 3), "a")
    assert true > 0.03
    assert by_soft == pytest.approx(true, abs=0.012)


def test_soft_labels_are_half_label_and_half_calibrated_confidence() -> None:
    """A model that says 0.9 and is right in 60 % of the rows has the soft labels 0.8 and 0.3."""
    rng = np.random.default_rng(0)
    n = 4000
    right = rng.random(n) < 0.6
    given = Answers(np.ones(n), np.column_stack([np.full(n, 0.1), np.full(n, 0.9)]))
    columns = {"x": rng.normal(size=n)}
    learned = fit_reference_models(columns, given, right.astype(float), classes=2, seed=0)
    targets = soft_labels(learned)
    np.testing.assert_allclose(targets.sum(axis=1), 1)
    np.testing.assert_allclose(targets[right, 1], 0.8, atol=0.02)
    np.testing.assert_allclose(targets[~right, 1], 0.3, atol=0.02)


def test_a_label_that_is_no_class_has_its_own_weight() -> None:
    columns, truth = table(200, 1)
    labels = np.where(np.arange(200) < 40, -1.0, truth)
    learned = fit_reference_models(columns, answers(columns), labels, classes=2, seed=0)
    targets = soft_labels(learned)
    np.testing.assert_allclose(targets[:40, -1], 0.5)
    np.testing.assert_allclose(targets[40:, -1], 0.0)


def test_they_need_labels_probabilities_and_few_classes() -> None:
    assert SoftLabels.apply_to(learned_from(200, 0))
    assert not SoftLabels.apply_to(learned_from(200, 0, labelled=False))
    columns, truth = table(200, 0)
    without = fit_reference_models(columns, answers(columns, probabilities=False), truth, classes=2, seed=0)
    assert not SoftLabels.apply_to(without)


def test_bins_keep_the_order_and_nulls_of_many_values() -> None:
    rng = np.random.default_rng(3)
    values = np.column_stack([rng.lognormal(size=4000), rng.integers(0, 200, 4000), np.full(4000, np.nan)])
    values[::7, 0] = np.nan
    bins = binned(values)
    assert np.array_equal(bins[:, 1:], values[:, 1:], equal_nan=True)  # few values stay
    assert np.array_equal(np.isnan(bins[:, 0]), np.isnan(values[:, 0]))
    known = ~np.isnan(values[:, 0])
    order = np.argsort(values[known, 0])
    assert (np.diff(bins[known, 0][order]) >= 0).all()
    counts = np.unique(bins[known, 0], return_counts=True)[1]
    assert len(counts) == MAX_BINS
    assert 12 <= counts.min() <= counts.max() <= 15  # of 3,428 values in 255 bins
