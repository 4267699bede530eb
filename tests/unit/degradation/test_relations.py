"""Changed values are wrong if the features that are related to them stay as they were."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from driftbell.degradation.blind_spots import MAX_CHANCE
from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.reference_models import Answers, fit_reference_models
from driftbell.degradation.relations import MIN_FIT, Relations

NAMES = ("a", "b", "c", "d", "alone")
MIX = np.array([[1, 0.4, 0.5, 0.3], [0, 1, 0.4, 0.5], [0, 0, 1, 0.4], [0, 0, 0, 1]])
WEIGHTS = np.array([1.5, -1.2, 0.5, 0.0, 0.6])

Table = dict[str, np.ndarray]


def rows(count: int, seed: int) -> tuple[Table, np.ndarray]:
    """Draw four related features and one that is related to none, and labels."""
    rng = np.random.default_rng(seed)
    matrix = np.column_stack([rng.normal(size=(count, 4)) @ MIX, rng.normal(size=count)])
    chance = 1 / (1 + np.exp(-(matrix @ WEIGHTS)))
    columns = {name: matrix[:, j] for j, name in enumerate(NAMES)}
    return columns, (rng.random(count) < chance).astype(float)


def answered(columns: Table) -> Answers:
    one = 1 / (1 + np.exp(-(np.column_stack([columns[n] for n in NAMES]) @ WEIGHTS)))
    return Answers((one > 0.5).astype(float), np.column_stack([1 - one, one]))


@cache
def charts() -> CusumCharts:
    columns, truth = rows(2000, 0)
    learned = fit_reference_models(columns, answered(columns), truth, classes=2, seed=0)
    return CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=1000)


def tilted(seed: int, name: str, strength: float) -> tuple[Table, np.ndarray]:
    """Draw 500 rows of which those with large values of a feature come more often."""
    columns, truth = rows(20_000, seed)
    weights = np.exp(strength * np.clip(columns[name], -2, 2))
    chosen = np.random.default_rng(seed).choice(20_000, 500, p=weights / weights.sum())
    return {k: v[chosen] for k, v in columns.items()}, truth[chosen]


def moved(columns: Table, name: str, step: float) -> Table:
    return columns | {name: columns[name] + step}


def noisy(columns: Table, name: str) -> Table:
    noise = np.random.default_rng(1).normal(size=len(columns[name]))
    return columns | {name: columns[name] + 2.5 * noise}


def chance(columns: Table, *names: str) -> float | None:
    learned = charts().learned
    places = tuple(NAMES.index(name) for name in names)
    return Relations(learned, ()).chance(learned.encoder(columns, 500), places, places)


@pytest.mark.parametrize("seed", range(10, 15))
def test_moved_and_noisy_values_break_relations_and_other_rows_do_not(seed: int) -> None:
    columns, _ = rows(500, seed)
    for wrong in (moved(columns, "a", 1.5), moved(columns, "b", -2.0), noisy(columns, "b")):
        changed = next(n for n in NAMES if wrong[n] is not columns[n])
        broken = chance(wrong, changed)
        assert broken is not None
        assert broken < MAX_CHANCE
    both = chance(moved(moved(columns, "a", 1.0), "b", 1.0), "a", "b")
    assert both is not None
    assert both < MAX_CHANCE
    for name in ("a", "b"):
        for strength in (-1.0, 0.5, 1.5):
            real = chance(tilted(seed, name, strength)[0], name)
            assert real is None or real > MIN_FIT


def test_a_feature_that_is_related_to_none_says_nothing() -> None:
    columns, _ = rows(500, 20)
    assert chance(moved(columns, "alone", 2.0), "alone") is None
    few, learned = rows(60, 20)[0], charts().learned
    assert Relations(learned, ()).chance(learned.encoder(few, 60), (0,), (0,)) is None


def test_two_features_moved_together_have_the_loss_of_wrong_values() -> None:
    """A linear model is surer of them, and wrong more often."""
    fitted = charts()
    many, labels = rows(50_000, 30)

    def wrong(columns: Table) -> Table:
        return moved(moved(columns, "a", 2.0), "c", 2.0)

    loss = float(np.mean(answered(wrong(many)).values != labels) - np.mean(answered(many).values != labels))
    assert loss > 0.2
    for seed in range(31, 34):
        columns = wrong(rows(500, seed)[0])
        matrix, given = fitted.learned.encoder(columns, 500), answered(columns)
        assert fitted.learned.error_by_confidence(matrix, given).mean() < fitted.learned.errors.mean() - 0.1
        block = fitted.examine(columns, given)
        assert block.basis == "fault"
        assert block.loss == pytest.approx(loss, abs=0.05)


def test_a_repair_that_leaves_related_features_behind_may_be_real() -> None:
    """Where rows with other values come more often, related features go along: no value is wrong."""
    fitted = charts()
    for seed in range(50, 56):
        columns, truth = tilted(seed, "b", 1.5)
        given = answered(columns)
        block = fitted.examine(columns, given)
        true = float((given.values != truth).mean() - fitted.learned.errors.mean())
        assert block.loss < true + 0.05


def test_real_changes_are_estimated_by_confidence() -> None:
    fitted = charts()
    for seed in range(40, 44):
        columns, _ = tilted(seed, "a", 1.0)
        block = fitted.examine(columns, answered(columns))
        assert block.basis in ("confidence", "label shift")
