"""Noise in a feature: its loss is estimated, since the relation to the other features shows its size."""

from __future__ import annotations

import numpy as np
import pytest
from tests.degradation_tasks import Stream

from driftbell.degradation.column_changes import ColumnTests
from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.encoder import Matrix
from driftbell.degradation.reference_models import Answers, fit_reference_models
from driftbell.records import Verdict

NAMES = ("a", "b", "c", "d")


def rows(count: int, seed: int, spread: float = 1.0, own: float = 0.5) -> tuple[Matrix, np.ndarray]:
    """Draw three features that depend on one size, an independent one, and labels."""
    rng = np.random.default_rng(seed)
    size = spread * rng.normal(size=count)
    matrix = np.column_stack([*(size + own * rng.normal(size=count) for _ in "abc"), rng.normal(size=count)])
    score = 3 * matrix[:, 0] + matrix[:, 3]
    return matrix, (rng.random(count) < 1 / (1 + np.exp(-score))).astype(float)


def noisy(matrix: Matrix, size: float) -> Matrix:
    changed = matrix.copy()
    changed[:, 0] += size * np.random.default_rng(7).normal(size=len(matrix))
    return changed


def named(matrix: Matrix) -> dict[str, np.ndarray]:
    return dict(zip(NAMES, matrix.T, strict=True))


def answered(matrix: Matrix) -> Answers:
    one = 1 / (1 + np.exp(-(3 * matrix[:, 0] + matrix[:, 3])))
    return Answers((one > 0.5).astype(float), np.column_stack([1 - one, one]))


def charts(own: float = 0.5) -> CusumCharts:
    matrix, truth = rows(3000, 0, own=own)
    learned = fit_reference_models(named(matrix), answered(matrix), truth, classes=2, seed=0)
    return CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=1000)


@pytest.mark.parametrize("size", [1.0, 2.0])
def test_the_loss_by_noise_is_estimated(size: float) -> None:
    fitted, stream = charts(), Stream(charts())
    many, labels = rows(50_000, 9)
    wrong = (answered(noisy(many, size)).values != labels).mean()
    loss = float(wrong - (answered(many).values != labels).mean())
    estimates = []
    for seed in range(20, 24):
        matrix, truth = rows(500, seed)
        changed = noisy(matrix, size)
        estimates.append(fitted.examine(named(changed), answered(changed)).loss)
        degradation = stream.see(named(changed), truth, answered(changed))
    assert loss > 0.04
    assert float(np.mean(estimates)) == pytest.approx(loss, rel=0.25)
    assert degradation.verdict is Verdict.ALARM
    assert degradation.suspects[0].column == "a"


def test_a_move_explains_no_noise_since_it_keeps_the_ranks() -> None:
    """In two of these blocks the relation to the others fits a move, without any loss, as well."""
    fitted, own = charts(own=1.1), 1.1
    many, labels = rows(50_000, 9, own=own)
    wrong = (answered(noisy(many, 2.0)).values != labels).mean()
    loss = float(wrong - (answered(many).values != labels).mean())
    for seed in range(20, 28):
        changed = noisy(rows(500, seed, own=own)[0], 2.0)
        block = fitted.examine(named(changed), answered(changed))
        assert block.low == block.high == pytest.approx(loss, rel=0.2)


def test_little_noise_in_all_features_shows_in_all_residuals_together() -> None:
    """50 rows: no residual alone is wider than by chance."""

    def drawn(count: int, seed: int, noise: float = 0.0) -> Matrix:
        rng = np.random.default_rng(seed)
        own = rng.normal(size=(count, 10)) @ np.diag(np.linspace(0.5, 0.8, 10))
        return rng.normal(size=(count, 1)) + own + noise * rng.normal(size=(count, 10))

    matrix = drawn(2000, 0)
    given = Answers((matrix.sum(axis=1) > 0).astype(float), None)
    columns = {f"x{i}": matrix[:, i] for i in range(10)}
    tests = ColumnTests(fit_reference_models(columns, given, given.values, classes=2, seed=0))
    usual = [tests(drawn(50, seed)) for seed in range(100, 200)]
    assert not any(changes or changes.wider_together for changes in usual)
    noisy_blocks = [tests(drawn(50, seed, noise=0.6)) for seed in range(20)]
    assert sum(bool(changes.unrelated) for changes in noisy_blocks) <= 2
    assert sum(len(changes.wider_together) >= 5 for changes in noisy_blocks) >= 18


def test_a_real_change_of_all_related_features_is_no_noise() -> None:
    fitted = charts()
    matrix, _ = rows(500, 20, spread=1.6)
    block = fitted.examine(named(matrix), answered(matrix))
    assert block.basis == "confidence"
    assert block.loss < 0


def test_values_without_noise_are_drawn_from_their_distribution_given_the_others() -> None:
    """With normal distributions, their difference from the true values has the variance 2 w s²."""
    learned = charts().learned
    tests = ColumnTests(learned)
    matrix, _ = rows(5000, 21)
    assert set(tests(noisy(matrix, 2.0)).unrelated) == {0, 1, 2}  # it also hides how the others follow it
    changed = noisy(matrix, 1.0)
    changes = tests(changed)
    assert tests.cause(changed, changes) == 0
    restored = tests.without_noise(changed, changes, 0)
    residual = 0.25 + 1 / (1 / 1.0 + 2 / 0.25)  # variance of a given b and c, by their common size
    kept = residual / (residual + 1.0)
    difference = float((restored[:, 0] - matrix[:, 0]).var())
    assert difference == pytest.approx(2 * kept * 1.0, rel=0.15)
    assert float(restored[:, 0].var()) == pytest.approx(float(matrix[:, 0].var()), rel=0.1)


def test_a_frozen_feature_that_the_answers_do_not_depend_on_costs_nothing() -> None:
    fitted = charts()
    matrix, _ = rows(500, 20)
    frozen = matrix.copy()
    frozen[:, 1] = matrix[0, 1]
    assert fitted.learned.importance[1] < 0.01
    block = fitted.examine(named(frozen), answered(frozen))
    assert block.diagnosis
    assert block.diagnosis.broken[0].kind == "frozen"
    usual = fitted.examine(named(matrix), answered(matrix)).loss
    assert block.low is not None
    assert block.high is not None
    assert block.loss == block.low == pytest.approx(usual, abs=0.003)
    assert usual <= block.high
    assert block.blind is None


def by_median(matrix: Matrix) -> Answers:
    """Return the answers of a model that one noisy feature of three changes little."""
    one = 1 / (1 + np.exp(-(6 * np.median(matrix[:, :3], axis=1) + matrix[:, 3])))
    return Answers((one > 0.5).astype(float), np.column_stack([1 - one, one]))


@pytest.mark.parametrize("size", [1.0, 3.0])
def test_noise_that_the_answers_do_not_follow_costs_less_than_the_models_of_the_label_lose(
    size: float,
) -> None:
    def drawn(count: int, seed: int) -> tuple[Matrix, np.ndarray]:
        rng = np.random.default_rng(seed)
        common = rng.normal(size=count)
        matrix = np.column_stack(
            [*(common + 0.3 * rng.normal(size=count) for _ in "abc"), rng.normal(size=count)]
        )
        one = 1 / (1 + np.exp(-(6 * common + matrix[:, 3])))
        return matrix, (rng.random(count) < one).astype(float)

    matrix, truth = drawn(1000, 0)
    learned = fit_reference_models(named(matrix), by_median(matrix), truth, classes=2, seed=0)
    fitted = CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=1000)
    many, labels = drawn(50_000, 9)
    wrong = (by_median(noisy(many, size)).values != labels).mean()
    loss = float(wrong - (by_median(many).values != labels).mean())
    assert 0.01 < loss < 0.02
    blocks = []
    for seed in range(20, 26):
        changed = noisy(drawn(500, seed)[0], size)
        blocks.append(fitted.examine(named(changed), by_median(changed)))
    assert all(block.basis == "fault" for block in blocks)
    low, high = np.mean([block.low for block in blocks]), np.mean([block.high for block in blocks])
    assert low < loss < high
