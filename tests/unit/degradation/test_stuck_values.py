"""A moved distribution is not frozen, and a frozen value is detected, for many shapes of whole numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.degradation_tasks import answers, table

from driftbell.degradation.data_faults import DataFaultDetector
from driftbell.degradation.reference_models import fit_reference_models, one_thread
from driftbell.degradation.stuck_values import Expected, cut_off_side, is_stuck

Vector = np.ndarray
Draw = Callable[[np.random.Generator, int], Vector]
YEARS = np.arange(2015, 2021)


def heaped(mean: float, deviation: float, share: float) -> Draw:
    """Draw ages, of which a share is rounded to tens."""

    def draw(rng: np.random.Generator, rows: int) -> Vector:
        ages = rng.normal(mean, deviation, rows)
        return np.where(rng.random(rows) < share, np.round(ages, -1), np.round(ages))

    return draw


def rating(*shares: float) -> Draw:
    return lambda rng, rows: rng.choice(len(shares), rows, p=shares) + 1.0


def sparse(share: float) -> Draw:
    return lambda rng, rows: rng.poisson(4, rows) * (rng.random(rows) < share)


SHAPES: dict[str, tuple[Draw, Draw]] = {
    "fewer counts": (lambda r, n: r.poisson(2, n), lambda r, n: r.poisson(1, n)),
    "more counts": (lambda r, n: r.poisson(3, n), lambda r, n: r.poisson(5, n)),
    "rare counts": (lambda r, n: r.poisson(1, n), lambda r, n: r.poisson(0.4, n)),
    "waiting": (lambda r, n: r.geometric(0.2, n), lambda r, n: r.geometric(0.4, n)),
    "ages": (
        lambda r, n: np.round(r.uniform(0, 90, n)),
        lambda r, n: np.where(r.random(n) < 0.6, r.integers(18, 22, n), np.round(r.uniform(0, 90, n))),
    ),
    "heaped ages": (heaped(45, 15, 0.4), heaped(33, 7, 0.4)),
    "more heaped ages": (heaped(45, 8, 0.1), heaped(45, 8, 0.8)),
    "years": (
        lambda r, n: r.choice(YEARS, n),
        lambda r, n: YEARS[5] - np.minimum(r.geometric(0.6, n) - 1, 5),
    ),
    "fewer values": (sparse(0.6), sparse(0.35)),
    "better ratings": (rating(0.1, 0.15, 0.25, 0.3, 0.2), rating(0.03, 0.05, 0.12, 0.25, 0.55)),
    "worse ratings": (rating(0.1, 0.15, 0.25, 0.3, 0.2), rating(0.45, 0.25, 0.15, 0.1, 0.05)),
    "yes and no": (lambda r, n: r.random(n) < 0.3, lambda r, n: r.random(n) < 0.7),
    "loan lengths": (
        lambda r, n: np.round(np.clip(r.normal(15, 6, n), 1, 21)),
        lambda r, n: np.round(np.clip(r.normal(18, 5, n), 1, 21)),
    ),
    "rooms": (
        lambda r, n: np.clip(np.round(r.normal(3, 1, n)), 1, 8),
        lambda r, n: np.clip(np.round(r.normal(2, 0.8, n)), 1, 8),
    ),
}


def mode(before: Vector, now: Vector) -> float:
    """Return the value that is more frequent than before by the largest share."""
    values, counts = np.unique(now, return_counts=True)
    usual = [np.mean(before == value) for value in values]
    return float(values[np.argmax(counts / len(now) - usual)])


@pytest.mark.parametrize("rows", [500, 1000])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_moved_distribution_is_not_frozen(shape: str, rows: int) -> None:
    usual, moved = SHAPES[shape]
    rng = np.random.default_rng(1)
    results = []
    for _ in range(20):
        before, now = usual(rng, 2000).astype(float), moved(rng, rows).astype(float)
        results.append(is_stuck(before, now, mode(before, now)))
    assert not any(results)


@pytest.mark.parametrize("rows", [200, 500, 1000])
@pytest.mark.parametrize("shape", sorted(set(SHAPES) - {"yes and no"}))
def test_a_value_that_a_fifth_of_the_rows_have_is_frozen(shape: str, rows: int) -> None:
    usual, _ = SHAPES[shape]
    rng = np.random.default_rng(2)
    results = []
    for _ in range(20):
        before, now = usual(rng, 2000).astype(float), usual(rng, rows).astype(float)
        inner = np.unique(before)[1:-1]  # an end may become more frequent by itself
        value = float(rng.choice(inner))
        results.append(is_stuck(before, np.where(rng.random(rows) < 0.2, value, now), value))
    assert np.mean(results) >= 0.95


def test_a_value_is_frozen_although_the_other_rows_drift() -> None:
    rng = np.random.default_rng(6)
    before, now = rng.normal(20, 3, 2000).round(1), rng.normal(24, 2, 500).round(1)
    assert not is_stuck(before, now, mode(before, now))
    assert is_stuck(before, np.where(rng.random(500) < 0.2, 21.5, now), 21.5)


def test_an_end_of_the_range_is_frozen_if_its_rows_lost_their_relation_to_the_other_features() -> None:
    rng = np.random.default_rng(3)
    rate, rate_now = rng.gamma(2, 1, 2000), rng.gamma(2, 1, 500)
    before, now = rng.poisson(rate).astype(float), rng.poisson(rate_now).astype(float)
    frozen = np.where(rng.random(500) < 0.25, 0.0, now)
    assert not is_stuck(before, frozen, 0.0)
    assert is_stuck(before, frozen, 0.0, Expected(rate, rate_now))
    fewer = rng.gamma(2, 0.5, 500)
    assert not is_stuck(before, rng.poisson(fewer).astype(float), 0.0, Expected(rate, fewer))


def test_a_feature_that_moved_with_the_others_and_by_another_relation_is_not_frozen() -> None:
    rng = np.random.default_rng(7)
    wealth, wealth_now = rng.normal(5, 1, 5000), rng.normal(4, 1, 1000)
    lengths = np.clip(np.round(12 + 2 * (wealth - 5) + rng.normal(0, 4, 5000)), 6, 22)
    lengths_now = np.clip(np.round(18 + 2 * (wealth_now - 4) + rng.normal(0, 2, 1000)), 6, 22)
    value = mode(lengths, lengths_now)
    assert not is_stuck(lengths, lengths_now, value, Expected(wealth, wealth_now))
    assert is_stuck(lengths, np.where(rng.random(1000) < 0.2, 12.0, lengths[:1000]), 12.0)


def test_a_feature_that_is_rounded_now_is_frozen_only_if_a_value_is_repeated() -> None:
    rng = np.random.default_rng(8)
    before, now = rng.normal(1.7, 0.5, 2000), rng.normal(1.7, 0.5, 500).round(1)
    assert not is_stuck(before, now, mode(before, now))
    assert is_stuck(before, np.where(rng.random(500) < 0.2, 1.25, now), 1.25)


def test_a_constant_feature_is_frozen() -> None:
    before = np.random.default_rng(4).choice([0.0, 1.0], 1000)
    assert is_stuck(before, np.ones(500), 1.0)
    assert not is_stuck(before, (np.arange(500) % 10 > 0).astype(float), 1.0)


def test_the_detector_names_the_frozen_value_even_if_another_is_more_frequent() -> None:
    columns, truth = table(2000, 0)
    rng = np.random.default_rng(5)
    columns["visits"] = rng.poisson(1.0, 2000).astype(float)
    now, _ = table(500, 1)
    visits = rng.poisson(1.0, 500).astype(float)
    with one_thread():
        learned = fit_reference_models(columns, answers(columns), truth, classes=2, seed=0)
        detector = DataFaultDetector(learned)
        for values, words in (
            (visits, []),
            (np.where(np.arange(500) % 4, visits, 3.0), ["frozen at 3 in 2"]),
        ):
            block = now | {"visits": values}
            diagnosis = detector.diagnose(block, learned.encoder(block, 500), answers(block))
            assert [f.words[:16] for f in diagnosis.faults] == words if words else diagnosis is None


@pytest.mark.parametrize(("side", "share"), [(1, 0.2), (1, 0.7), (-1, 0.2), (-1, 0.7)])
def test_a_source_that_saturates_cuts_its_values_off(side: int, share: float) -> None:
    rng = np.random.default_rng(9)
    before, now = rng.normal(20, 3, 2000).round(1), rng.normal(20, 3, 500).round(1)
    limit = float(np.quantile(before, 1 - share if side > 0 else share).round(1))
    cut = np.minimum(now, limit) if side > 0 else np.maximum(now, limit)
    assert cut_off_side(before, cut, limit) == side
    assert cut_off_side(before, np.where(rng.random(500) < share, limit, now), limit) == 0
    assert cut_off_side(before, np.full(500, limit), limit) == 0  # constant


def test_values_that_have_moved_with_a_frequent_one_are_not_cut_off() -> None:
    rng = np.random.default_rng(11)
    savings = [np.where(rng.random(n) < 0.5, 0.0, rng.exponential(10, n)) for n in (2000, 500)]
    assert cut_off_side(savings[0], savings[1] + 6, 6.0) == 0
    assert cut_off_side(savings[0], np.maximum(savings[1], 6.0), 6.0) == -1


def test_a_value_at_an_end_of_the_reference_cuts_nothing_off() -> None:
    rng = np.random.default_rng(10)
    before, now = rng.poisson(2.0, 2000).astype(float), rng.poisson(1.0, 500).astype(float)
    assert cut_off_side(before, now, 0.0) == 0
    assert cut_off_side(before, np.where(rng.random(500) < 0.3, 0.0, now), 0.0) == 0


@pytest.mark.parametrize("side", [1, -1])
def test_the_loss_of_values_that_are_cut_off_is_estimated_with_the_values_beyond(side: int) -> None:
    def cut(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        limit = 10.0 - 0.5 * side
        return columns | {
            "a": np.minimum(columns["a"], limit) if side > 0 else np.maximum(columns["a"], limit)
        }

    columns, truth = table(2000, 0)
    with one_thread():
        learned = fit_reference_models(columns, answers(columns), truth, classes=2, seed=0)
        detector = DataFaultDetector(learned)
        expected = []
        for seed in range(1, 5):
            now = cut(table(500, seed)[0])
            diagnosis = detector.diagnose(now, learned.encoder(now, 500), answers(now))
            (fault,) = diagnosis.faults
            assert fault.words.startswith(f"cut off at {10.0 - 0.5 * side} in ")
            assert fault.words.endswith(f"rows, no {'larger' if side > 0 else 'smaller'} ones")
            expected.append(float(diagnosis.errors.mean() - learned.by_features.mean()))
    many, labels = table(50_000, 9)
    loss = np.mean(answers(cut(many)).values != labels) - np.mean(answers(many).values != labels)
    assert loss > 0.02
    assert np.mean(expected) == pytest.approx(loss, abs=0.02)


@pytest.mark.parametrize("digits", [0, 1])
@pytest.mark.parametrize("rows", [50, 200])
def test_rounded_values_of_a_small_block_are_not_frozen(rows: int, digits: int) -> None:
    """Their most frequent value has about a tenth of the rows."""
    deviation, frozen = {0: 5.0, 1: 0.5}[digits], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        before, now = rng.normal(20, deviation, 1000), rng.normal(20, deviation, rows).round(digits)
        values, counts = np.unique(now, return_counts=True)
        assert counts.max() >= 0.08 * rows
        frozen.append(is_stuck(before, now, float(values[counts.argmax()])))
    assert not any(frozen)


def test_few_values_that_fine_rounding_repeats_are_not_frozen() -> None:
    frozen = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        before, now = rng.normal(0, 1, 5000), (rng.normal(0, 1, 50) * 20).round() / 20
        values, counts = np.unique(now, return_counts=True)
        if counts.max() >= 4:
            frozen.append(is_stuck(before, now, float(values[counts.argmax()])))
    assert len(frozen) > 20
    assert not any(frozen)


@pytest.mark.parametrize(("rows", "digits"), [(50, None), (200, None), (200, 1)])
def test_a_frozen_value_of_a_small_block_is_found(rows: int, digits: int | None) -> None:
    """Also where the values of the reference are rounded as those of the block are."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        before, now = rng.normal(20, 5, 1000), rng.normal(20, 5, rows)
        if digits is not None:
            before, now = before.round(digits), now.round(digits)
        now[: rows // 5] = now[0]
        assert is_stuck(before, now, float(now[0]))


FEW_VALUES = {
    "accidents": (rating(0.4, 0.25, 0.2, 0.1, 0.05), rating(0.3, 0.25, 0.2, 0.15, 0.1), 4.0),
    "doors": (rating(0.1, 0.15, 0.4, 0.35), rating(0.05, 0.25, 0.3, 0.4), 2.0),
}


@pytest.mark.parametrize("name", FEW_VALUES)
def test_a_moved_distribution_of_few_values_is_not_frozen(name: str) -> None:
    """The other values have other shares too, which a Kolmogorov–Smirnov distance shows less well."""
    draw, draw_moved, value = FEW_VALUES[name]
    before, frozen, planted = draw(np.random.default_rng(0), 20_000), [], []
    for seed in range(400):
        rng = np.random.default_rng(1 + seed)
        now = draw_moved(rng, 500)
        if np.mean(now == value) > np.mean(before == value) + 0.08:  # as by chance in 10⁻⁶ of the blocks
            frozen.append(is_stuck(before, now, value))
        stuck = np.where(rng.random(500) < 0.2, value, draw(rng, 500))
        planted.append(is_stuck(before, stuck, value))
    assert len(frozen) > 20
    assert np.mean(frozen) < 0.02
    assert np.mean(planted) > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_repeated_values_of_few_moved_rows_are_not_frozen(seed: int) -> None:
    """Two decimals: a moved block repeats values that the reference lacks."""
    rng = np.random.default_rng(seed)
    before, now = rng.normal(0.36, 0.1, 2000).round(2), (rng.normal(0.36, 0.1, 50).round(2) + 0.063)
    values, counts = np.unique(now, return_counts=True)
    assert counts.max() >= 4
    assert not is_stuck(before, now, float(values[counts.argmax()]))
    frozen = np.where(rng.random(50) < 0.3, 0.3, rng.normal(0.36, 0.1, 50).round(2))
    assert is_stuck(before, frozen, 0.3)
