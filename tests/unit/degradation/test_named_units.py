"""The named change of the unit: the simplest that fits, and the same one in all checks of a change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.datasets import load_iris

from driftbell.degradation.moved_values import (
    FACTOR,
    FUNCTION,
    OFFSET,
    SHIFTED_FUNCTION,
    Move,
    Unit,
    conversions,
    describe_unit,
)

Vector = np.ndarray
Draw = Callable[[np.random.Generator, int], Vector]
IRIS = load_iris().data[:, 2]

SAMPLES: dict[str, Draw] = {
    "weights": lambda rng, n: rng.normal(79, 10, n),
    "temperatures": lambda rng, n: rng.normal(18, 7, n),
    "kelvin": lambda rng, n: rng.normal(300, 8, n),
    "amounts": lambda rng, n: rng.lognormal(3, 1, n),
    "shares": lambda rng, n: rng.beta(2, 5, n),
    "ages": lambda rng, n: rng.integers(18, 90, n).astype(float),
    "petals": lambda rng, n: rng.choice(IRIS, n),
    "narrow": lambda rng, n: rng.normal(55, 1.5, n),
}
BLOCKS = 8


def drawn(sample: str, seed: int, rows: int) -> Vector:
    return SAMPLES[sample](np.random.default_rng(seed), rows)


def named_in_turn(sample: str, unit: Unit, rows: int, seed: int) -> list[str]:
    """Describe blocks of one change, each with the words of the block before."""
    reference, words = drawn(sample, 10_000 + seed, 2000), ""
    named = []
    for i in range(BLOCKS):
        changed = unit.change(np.sort(drawn(sample, 100 * seed + i, rows)))
        words = describe_unit(reference, changed, named=words)
        named.append(words)
    return named


@pytest.mark.parametrize("rows", [50, 200, 500, 1000])
@pytest.mark.parametrize("sample", list(SAMPLES))
def test_each_change_keeps_its_name_and_is_mistaken_only_for_a_simpler_one(sample: str, rows: int) -> None:
    kinds = {unit.words: unit.kind for unit in conversions(np.sort(drawn(sample, 0, 2000)))}
    for seed, unit in enumerate(conversions(np.sort(drawn(sample, 0, 2000)))):
        named = named_in_turn(sample, unit, rows, seed)
        units = [words for words in named if words in kinds]
        assert len(set(units)) <= 1, (unit.words, named)
        assert named[len(named) - len(units) :] == units, (unit.words, named)  # never lost again
        assert not units or units[0] == unit.words or kinds[units[0]] < unit.kind, (unit.words, named)
        is_large = unit.factor and not 0.1 < unit.factor < 10
        if is_large and (
            rows > 50 or sample not in ("amounts", "shares")
        ):  # in which 60 and 100 times are alike
            assert units == [unit.words] * BLOCKS


WEIGHTS = drawn("weights", 10_000, 2000)
POUNDS = "values look 2.2 times as large: perhaps another unit (kg → lb)"
FAHRENHEIT = "values look 1.8 times as large plus 32: perhaps another unit (°C → °F)"


def test_a_factor_is_named_before_a_summand_that_fits_as_well() -> None:
    named = []
    for seed in range(20):
        now = drawn("weights", seed, 200)
        named += [describe_unit(WEIGHTS, 2.20462 * now), describe_unit(WEIGHTS, 1.8 * now + 32)]
    assert FAHRENHEIT not in named
    assert named.count(POUNDS) > 20  # the others are factors near it


def test_another_change_that_fits_clearly_better_is_named() -> None:
    rng = np.random.default_rng(5)
    light, now = rng.normal(60, 10, 2000), rng.normal(60, 10, 2000)
    assert describe_unit(light, 1.8 * now + 32) == FAHRENHEIT
    assert describe_unit(light, 1.8 * now + 32, named=POUNDS) == FAHRENHEIT
    assert describe_unit(light, 1.8 * now[:60] + 32, named=FAHRENHEIT) == FAHRENHEIT
    assert describe_unit(light, 2.20462 * now[:60], named=POUNDS) == POUNDS
    assert describe_unit(light, 1000 * now[:200], named=FAHRENHEIT).endswith("(kg → g)")
    assert describe_unit(light, now[:200], named=FAHRENHEIT) == ""


def test_a_factor_without_a_name_stays_the_same_number() -> None:
    named = {words := describe_unit(WEIGHTS, 4.0 * drawn("weights", 0, 200))}
    for seed in range(1, 20):
        words = describe_unit(WEIGHTS, 4.0 * drawn("weights", seed, 200), named=words)
        named.add(words)
    assert named == {"values look about 4 times as large"}


def test_two_changes_of_one_kind_that_fit_alike_are_not_named() -> None:
    wide, now = drawn("amounts", 0, 2000), drawn("amounts", 1, 50)
    assert "unit" not in describe_unit(wide, 80 * now)  # 60 and 100 times both fit


def test_a_move_that_the_other_features_confirm_may_fit_less_well() -> None:
    now = 2.20462 * (drawn("weights", 3, 200) + 1.6)  # the people are heavier as well
    assert describe_unit(WEIGHTS, now, move=Move(2.21, 1.5)) == POUNDS
    assert describe_unit(WEIGHTS, now, move=Move(1.0, 95.0)) == describe_unit(WEIGHTS, now)


def test_kinds_of_changes_are_ordered_by_simplicity() -> None:
    assert FACTOR < OFFSET < FUNCTION < SHIFTED_FUNCTION
    incomes = drawn("amounts", 0, 2000) * 1000
    now = np.log1p(drawn("amounts", 1, 500) * 1000)
    assert describe_unit(incomes, now) == "values look like the logarithms of those of the reference"


@pytest.mark.parametrize(("rows", "least"), [(50, 0.95), (100, 1.0), (300, 1.0)])
def test_a_summand_is_no_unit_if_related_features_moved_too(rows: int, least: float) -> None:
    """Related features that have moved as well make 3 more look like 1.6 times as large."""
    move, rng = Move(1.6, 0.0), np.random.default_rng(0)
    words = [describe_unit(IRIS, rng.choice(IRIS, rows) + 3, move=move) for _ in range(40)]
    assert words.count("") >= least * len(words)
    miles = [describe_unit(IRIS, 1.609344 * rng.choice(IRIS, rows), move=move) for _ in range(40)]
    assert sum("mi → km" in w for w in miles) >= least * len(miles)
