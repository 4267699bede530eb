from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from copy import copy
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from tests.degradation_tasks import FAULTS, Stream, answers, evidence, some, table

from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.data_faults import (
    DataFaultDetector,
    Diagnosis,
    overdispersion,
)
from driftbell.degradation.moved_values import describe_move
from driftbell.degradation.reference_models import Answers, ReferenceModels, fit_reference_models, one_thread
from driftbell.degradation.samples import ks_distance
from driftbell.records import Verdict


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def learned() -> ReferenceModels:
    return evidence().learned


def diagnosed(learned: ReferenceModels, columns: dict[str, np.ndarray]) -> Diagnosis | None:
    matrix = learned.encoder(columns, len(columns["c"]))
    return DataFaultDetector(learned).diagnose(columns, matrix, answers(columns))


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("seed", [7, 8])
def test_a_fault_is_detected_named_and_its_loss_estimated(
    learned: ReferenceModels, name: str, seed: int
) -> None:
    column, words, change = FAULTS[name]
    columns, truth = table(500, seed)
    columns = change(columns)
    diagnosis = diagnosed(learned, columns)
    words_by_feature = {learned.encoder.names[f.place]: f.words for f in diagnosis.faults}
    assert words in " ".join(f.words for f in diagnosis.faults if learned.encoder.names[f.place] == column), (
        words_by_feature
    )
    lost = np.mean(answers(columns).values != truth)
    assert diagnosis.errors.mean() == pytest.approx(lost, abs=0.06 if name != "missing column" else 0.2)


def test_values_of_one_bucket_are_not_frozen(learned: ReferenceModels) -> None:
    columns, _ = table(500, 7)
    columns["a"] = np.where(np.arange(500) % 3 == 0, 2 * columns["a"].max(), columns["a"])
    assert "frozen at" in " ".join(f.words for f in diagnosed(learned, columns).faults)
    coarse = copy(learned)
    coarse.bucketed = frozenset({"a"})
    words = " ".join(f.words for f in diagnosed(coarse, columns).faults)
    assert "frozen" not in words
    assert "outside" in words


@pytest.mark.parametrize("name", ["unit change", "other scale", "shift"])
def test_a_repair_inverts_the_move(learned: ReferenceModels, name: str) -> None:
    column, _, change = FAULTS[name]
    columns, _ = table(500, 7)
    (fault,) = diagnosed(learned, change(columns)).faults
    undone = (change(columns)[column] - fault.offset) / fault.scale
    assert np.median(undone) == pytest.approx(np.median(columns[column]), abs=0.4)
    assert undone.std() == pytest.approx(columns[column].std(), rel=0.2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: 100 * a, "values look 100 times as large: perhaps another unit (m → cm)"),
        (lambda a: a / 1000, "values look 1/1,000 as large: perhaps another unit (g → kg)"),
        (lambda a: a + 50, "values look about 50 larger"),
    ],
)
def test_a_move_is_described_in_plain_words(
    learned: ReferenceModels, change: Callable[[Any], Any], words: str
) -> None:
    columns, _ = table(500, 7)
    (fault,) = diagnosed(learned, columns | {"a": change(columns["a"])}).faults
    number = re.compile(r"[\d,./]+")
    assert number.sub("#", fault.words) == number.sub("#", words)
    near, exact = (float(Fraction(number.findall(text)[0].replace(",", ""))) for text in (fault.words, words))
    assert near == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize(
    ("scale", "offset", "words"),
    [
        (99.2, 12.0, "values look 100 times as large: perhaps another unit (m → cm)"),
        (2.2046, 0.0, "values look 2.2 times as large: perhaps another unit (kg → lb)"),
        (1.8, 32.0, "values look about 1.8 times as large plus 32: perhaps another unit (°C → °F)"),
        (
            0.5556,
            -17.8,
            "values look about 0.56 times as large minus 17.8: perhaps another unit (°F → °C)",
        ),
        (1.0, -273.0, "values look about 273 smaller: perhaps another unit (K → °C)"),
        (3.0, -40.0, "values look about 3 times as large minus 40"),
    ],
)
def test_a_unit_with_an_offset_is_named(scale: float, offset: float, words: str) -> None:
    assert describe_move(scale, offset, 20.0) == words
    assert describe_move(2.0, 5.0, 0.0) == "values look about 2 times as large plus 5"


def test_moves_of_the_smallest_and_largest_numbers_have_words() -> None:
    numbers = [5e-324, 1e-310, 1e-20, 2.0, 1e300, 1.7e308, np.inf, np.nan]
    signed = [0.0, *numbers, *(-n for n in numbers)]
    for scale, offset, middle in product(numbers, signed, signed):
        assert describe_move(scale, offset, middle).startswith("values look ")


def test_control_characters_in_categories_are_replaced(learned: ReferenceModels) -> None:
    columns = some(table(500, 7)[0], "\0\ud800\nis ü" + "x" * 99, "d", every=5)
    words = " ".join(f.words for f in diagnosed(learned, columns).faults)
    assert "new category '\ufffd\ufffd\ufffdis ü" in words
    assert words.isprintable()
    assert words.endswith("xxx' (100%); all known ones are gone")
    assert len(words) < 100


def test_unchanged_rows_have_no_fault(learned: ReferenceModels) -> None:
    assert [diagnosed(learned, table(500, seed)[0]) for seed in range(20, 50)] == [None] * 30


def test_a_feature_that_moves_with_the_others_has_no_fault(learned: ReferenceModels) -> None:
    columns, _ = table(4000, 9)
    hard = np.flatnonzero(columns["a"] > 11)[:500]
    assert diagnosed(learned, {k: v[hard] for k, v in columns.items()}) is None


@pytest.mark.parametrize(("of_a", "of_b"), [(2.0, -1.8), (-2.0, 1.8)])
def test_related_features_that_move_apart_are_not_one_feature_that_moved_twice_as_far(
    learned: ReferenceModels, of_a: float, of_b: float
) -> None:
    for seed in range(60, 66):
        columns, _ = table(500, seed)
        diagnosis = diagnosed(learned, columns | {"a": columns["a"] + of_a, "b": columns["b"] + of_b})
        assert diagnosis is None or not diagnosis.repairs


@pytest.mark.parametrize("value", [np.nan, 99.0])
def test_a_few_broken_rows_are_no_fault(learned: ReferenceModels, value: float) -> None:
    assert diagnosed(learned, some(table(500, 7)[0], value, of=100, every=1)) is None


def test_nulls_that_the_reference_has_too_are_no_fault() -> None:
    columns, truth = table(500, 0)
    columns = some(columns, np.nan, of=10, every=2)
    known = fit_reference_models(columns, answers(columns), truth, classes=2, seed=0)
    assert diagnosed(known, some(table(500, 3)[0], np.nan, of=10, every=2)) is None
    diagnosis = diagnosed(known, some(table(500, 3)[0], np.nan, of=10, every=6))
    assert [f.words for f in diagnosis.faults] == ["null 20.0% → 60.0%"]


def test_broken_values_and_moved_features_are_distinguished(learned: ReferenceModels) -> None:
    moved = diagnosed(learned, FAULTS["shift"][2](table(500, 7)[0]))
    assert moved.broken == ()
    assert moved.unrepaired is None
    broken = diagnosed(learned, FAULTS["range"][2](table(500, 7)[0]))
    assert broken.repairs == ()
    assert all(f.excess > 0.3 and f.chance < 1e-6 for f in broken.broken)


def test_infinite_values_are_out_of_range(learned: ReferenceModels) -> None:
    diagnosis = diagnosed(learned, some(table(500, 7)[0], np.inf))
    assert "outside" in diagnosis.faults[0].words


def test_overdispersion_is_one_for_independent_rows_and_larger_for_autocorrelated_ones() -> None:
    rng = np.random.default_rng(0)
    assert [overdispersion(rng.normal(0, 1, 1000)) for _ in range(20)].count(1.0) >= 17
    walk = np.repeat(rng.normal(0, 1, 100), 50) + rng.normal(0, 1, 5000)
    assert overdispersion(walk) > 5
    assert overdispersion(np.where(np.arange(5000) % 7 == 0, np.nan, walk)) > 5
    assert (
        overdispersion(np.zeros(100))
        == overdispersion(np.array([]))
        == overdispersion(np.arange(30.0))
        == 1.0
    )


def test_ks_distance_is_the_largest_gap() -> None:
    assert ks_distance(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 1
    assert ks_distance(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 0
    assert ks_distance(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 3.0])) == pytest.approx(0.25)


def test_broken_values_of_a_model_that_uses_no_feature_raise_no_alarm() -> None:
    """A model of rare events may answer "no" to all rows: broken values cost nothing then."""
    columns, _ = table(1000, 0)
    truth = (np.random.default_rng(1).random(1000) < 0.03).astype(float)
    given = Answers(np.zeros(1000), np.tile([0.97, 0.03], (1000, 1)))
    learned = fit_reference_models(columns, given, truth, classes=2, seed=0)
    assert learned.top == ()
    stream = Stream(CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=100))
    for seed in range(6):
        block, labels = table(500, seed + 2)
        block["a"] = np.where(np.arange(500) % 2 == 0, np.nan, 100 * block["a"])
        degradation = stream.see(block, labels, given.take(np.arange(500)))
        assert degradation.verdict is not Verdict.ALARM
