"""The causes that an alarm names, through `update`: units, categories, groups, and the same one as before."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cache

import numpy as np
import pytest
from sklearn.datasets import load_iris
from tests.degradation_tasks import START, answers, table

from driftbell.degradation.cause_texts import describe_cause
from driftbell.degradation.causes import find_suspects
from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.moved_values import describe_unit
from driftbell.degradation.reference_models import Answers, fit_reference_models
from driftbell.degradation.update import Rows, update
from driftbell.records import Degradation, EvidenceState, Suspect, Verdict

Table = dict[str, np.ndarray]
GROUP = tuple(f"s{i}" for i in range(6))


def wide(rows: int, seed: int) -> Table:
    """Draw a table with a feature that depends on no other, and six related sensors."""
    columns, _ = table(rows, seed)
    rng = np.random.default_rng(1000 + seed)
    columns["c"] = rng.normal(1.7, 0.1, rows)
    common = rng.normal(size=rows)
    return columns | {name: 5 + common + 0.3 * rng.normal(size=rows) for name in GROUP}


def odds(columns: Table) -> Table:
    """Return the columns that the model uses: its score with the height and the sensors."""
    sensors = sum(np.nan_to_num(columns[name], nan=5.0) - 5 for name in GROUP) / 6
    return columns | {"c": 2 * (20 * (np.nan_to_num(columns["c"], nan=1.7) - 1.7) + 1.5 * sensors)}


@cache
def charts() -> CusumCharts:
    columns = wide(2000, 0)
    given = answers(odds(columns))
    truth = (np.random.default_rng(0).random(2000) < given.probabilities[:, 1]).astype(float)
    learned = fit_reference_models(columns, given, truth, classes=2, seed=0)
    return CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=200.0)


def checks(count: int, *changes: Callable[[Table], Table], rows: int = 500) -> list[Degradation]:
    """Check blocks of rows, each with the next of some changes, and the last one from then on."""
    state, results = EvidenceState(), []
    for i in range(count):
        block = changes[min(i, len(changes) - 1)](wide(rows, 50 + i))
        times = [START + timedelta(minutes=rows * i + k) for k in range(rows)]
        state, result = update(charts(), state, Rows(block, answers(odds(block)), times), LabelRows())
        results.append(result)
    return results


def changed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Table], Table]:
    return lambda block: block | {name: change(block[name])}


@pytest.mark.parametrize(
    ("column", "change", "words"),
    [
        ("c", lambda x: 100 * x, "values look 100 times as large: perhaps another unit (m → cm)"),
        ("c", lambda x: x / 1000, "values look 1/1,000 as large: perhaps another unit (g → kg)"),
        ("c", lambda x: 3.28084 * x, "values look 3.3 times as large: perhaps another unit (m → ft)"),
        ("c", np.exp, "values look as if the logarithm was left out"),
        ("c", lambda x: 3.0 * x, "values look about 3 times as large"),
        (
            "a",
            lambda x: 1.8 * x + 32,
            "values look 1.8 times as large plus 32: perhaps another unit (°C → °F)",
        ),
        ("a", lambda x: 2.20462 * x, "values look 2.2 times as large: perhaps another unit (kg → lb)"),
    ],
)
def test_the_first_check_after_another_unit_names_it(
    column: str, change: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    (first,) = checks(1, changed(column, change))
    assert first.verdict in (Verdict.ALARM, Verdict.UNKNOWN)
    assert (first.suspects[0].column, first.suspects[0].words) == (column, words)
    assert f"suspect columns: {column} ({words})" in first.sentence


def test_the_opposite_sign_is_named() -> None:
    for column in ("a", "c"):
        (first,) = checks(1, changed(column, np.negative))
        words = "values look like those of the reference with the opposite sign"
        assert (first.suspects[0].column, first.suspects[0].words) == (column, words)


def test_two_exchanged_features_are_named() -> None:
    named = {s.column: s.words for s in suspects(lambda t: t | {"a": t["c"], "c": t["a"]})}
    assert named == {
        "a": "values look like those of c: exchanged?",
        "c": "values look like those of a: exchanged?",
    }


def test_three_features_of_which_two_look_like_one_are_not_called_exchanged() -> None:
    words = [s.words for s in suspects(lambda t: t | {"s0": t["c"], "s1": t["c"], "c": t["s0"]})]
    assert words
    assert not any("exchanged" in text for text in words)


def test_values_of_other_rows_are_a_cause_though_no_distribution_has_moved() -> None:
    noisy = {s.column: s.words for s in suspects(lambda t: t | {"a": np.roll(t["a"], 3)})}
    words = "does not fit the other features any more: noise, another sign, or values of other rows?"
    assert set(noisy) <= {"a", "b"}  # they are related to each other only
    assert set(noisy.values()) == {words}


def test_another_unit_in_some_rows_is_named_with_their_share() -> None:
    (first,) = checks(1, lambda t: t | {"c": np.where(np.arange(500) % 4 == 0, 100 * t["c"], t["c"])})
    words = "in 25% of the newest 500 rows, values look 100 times as large: perhaps another unit (m → cm)"
    assert [(s.column, s.words) for s in first.suspects] == [("c", words)]


def patients(rows: int, seed: int) -> Table:
    """Draw weights that look alike in pounds and as temperatures in °F, and related heights."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(79, 10, rows)
    return {
        "weight": weight,
        "height": 1.3 + 0.005 * weight + rng.normal(0, 0.05, rows),
        "age": rng.normal(40, 10, rows),
    }


def risks(columns: Table) -> Answers:
    yes = 1 / (1 + np.exp(-0.15 * (columns["weight"] - 79) - 0.05 * (columns["age"] - 40)))
    return Answers((yes > 0.5).astype(float), np.column_stack([1 - yes, yes]))


@pytest.mark.parametrize("rows", [100, 500])
def test_all_checks_of_a_change_name_the_same_unit(rows: int) -> None:
    columns = patients(2000, 0)
    given = risks(columns)
    assert given.probabilities is not None
    truth = (np.random.default_rng(0).random(2000) < given.probabilities[:, 1]).astype(float)
    learned = fit_reference_models(columns, given, truth, classes=2, seed=0)
    charts = CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=200.0)
    state, words = EvidenceState(), set()
    for i in range(10):
        block = patients(rows, 100 + i)
        block["weight"] = 2.20462 * block["weight"]
        times = [START + timedelta(minutes=rows * i + k) for k in range(rows)]
        state, result = update(charts, state, Rows(block, risks(block), times), LabelRows())
        words |= {s.words for s in result.suspects if s.column == "weight"}
    assert words == {"values look 2.2 times as large: perhaps another unit (kg → lb)"}


def suspects(change: Callable[[Table], Table]) -> list[Suspect]:
    block = change(wide(500, 50))
    examined = charts().examine(block, answers(odds(block)))
    return find_suspects(charts(), examined)


EVEN, FIFTH = np.arange(500) % 2 == 0, np.arange(500) % 5 == 0
PLANS = np.char.add("plan ", (np.arange(500) % 10).astype(str))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda d: np.where(d == "y", "Y", d),
            "new category 'Y' (32%), 'y' is gone (32% in the reference): renamed?",
        ),
        (
            lambda d: np.where(d == "y", "other", d),
            "new category 'other' (32%), 'y' is gone (32% in the reference): renamed?",
        ),
        (
            lambda d: np.where(EVEN, np.char.add(d.astype(str), " "), d),
            "new categories 'x ' (18%), 'y ' (16%) and 'z ' (16%)",
        ),
        (
            lambda d: np.char.add(d.astype(str), " "),
            "new categories 'x ' (36%), 'z ' (32%) and 'y ' (32%): "
            "renamed ('x' → 'x ', 'z' → 'z ', 'y' → 'y ')?",
        ),
        (
            lambda d: np.where(FIFTH, "x ", d),
            "new category 'x ' (20%), which is 'x' but for spaces at the ends",
        ),
        (lambda d: np.where(FIFTH, "N/A", d), "new category 'N/A' (20%)"),
        (
            lambda d: np.where(EVEN, PLANS, d),
            "new categories 'plan 0' (10%), 'plan 2' (10%), 'plan 4' (10%) and 2 more",
        ),
        (lambda d: np.where(d == "y", None, d), "null 0.0% → 32.0%"),
        (lambda d: np.where(d == "y", "x", d), "'x' 34% → 68%, 'y' is gone (32% in the reference)"),
    ],
)
def test_changes_of_categories_are_named(change: Callable[[np.ndarray], np.ndarray], words: str) -> None:
    named = {s.column: s.words for s in suspects(lambda t: t | {"d": change(t["d"]).astype(object)})}
    assert named == {"d": words}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: np.where(np.arange(500) % 5 < 2, np.nan, x), "null 0.0% → 40.0%"),
        (lambda x: 1000 * x, "values look 1,000 times as large: perhaps another unit (kg → g)"),
        (lambda x: x + 3, "s0: median 4.97 → "),
        (lambda x: x - 0.7, "s0: median 4.97 → "),
    ],
)
def test_features_that_changed_together_are_one_cause(
    change: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    (cause,) = suspects(lambda t: t | {name: change(t[name]) for name in GROUP})
    assert set(cause.columns) == set(GROUP)
    assert words in cause.words
    assert cause.share == 1
    assert describe_cause(cause).startswith("6 features changed together: ")


def test_a_moved_feature_with_the_same_median_is_named_by_another_quantile() -> None:
    (cause,) = suspects(lambda t: t | {"c": np.where(t["c"] > 1.73, t["c"] + 0.15, t["c"])})
    assert cause.column == "c"
    assert cause.words.startswith("75% quantile 1.77 → 1.934"), cause.words


@pytest.mark.parametrize(
    ("change", "words", "least"),
    [(lambda x: x + 2.5, "", 0.9), (lambda x: 1.4 * x, "values look about 1.4 times as large", 0.6)],
)
def test_a_summand_and_a_factor_are_told_apart_in_fifty_rows(
    change: Callable[[np.ndarray], np.ndarray], words: str, least: float
) -> None:
    before, rng = load_iris().data[:, 0], np.random.default_rng(0)
    results = [describe_unit(before, change(rng.choice(before, 50))) for _ in range(100)]
    assert results.count(words) >= 100 * least


def test_features_that_changed_at_once_but_for_different_reasons_are_no_group() -> None:
    def change(block: Table) -> Table:
        nulls = np.arange(500) % 5 < 2
        return block | {
            "s0": np.where(nulls, np.nan, block["s0"]),
            "c": 100 * block["c"],
            "s1": block["s1"] + 5,
        }

    found = suspects(change)
    assert {s.column for s in found} == {"s0", "c", "s1"}
    assert not any(s.together for s in found)


def test_an_alarm_names_a_group_in_its_sentence() -> None:
    for result in checks(2, lambda t: t | {name: t[name] + 3 for name in GROUP}):
        assert result.verdict is Verdict.ALARM
        first = result.suspects[0].column
        assert f"; suspect columns: 6 features changed together: {first}, " in result.sentence
        assert result.suspect_columns[0] == first
        assert set(result.suspect_columns) == set(GROUP)


def test_the_named_cause_stays_the_first_until_another_is_clearly_better() -> None:
    def broken(name: str, share: float) -> Callable[[Table], Table]:
        def change(block: Table) -> Table:
            rows = np.random.default_rng(7).random(500) < share
            return block | {name: np.where(rows, np.nan, block[name])}

        return change

    def both(of_a: float, of_b: float) -> Callable[[Table], Table]:
        return lambda block: broken("b", of_b)(broken("a", of_a)(block))

    importance = dict(zip(charts().learned.encoder.names, charts().learned.importance, strict=True))
    ratio = importance["b"] / importance["a"]
    alike, less = 0.5 * ratio, 0.15 * ratio
    results = checks(6, both(alike, 0.3), both(alike, 0.55), both(alike, 0.45), both(less, 0.6))
    assert [result.suspects[0].column for result in results] == ["a", "a", "a", "b", "b", "b"]


def debtors(rows: int, seed: int, *, income: float = 0.0, debt: float = 0.0) -> Table:
    """Draw a table with two related features, each shifted by an amount."""
    rng = np.random.default_rng(seed)
    incomes = rng.normal(50, 12, rows)
    debts = 0.5 * incomes + rng.normal(10, 6, rows)
    return {"income": incomes + income, "debt": debts + debt, "age": rng.normal(40, 10, rows)}


def test_a_move_is_described_by_the_own_values_if_a_related_feature_moved_too() -> None:
    """Given the debts, which are 8.5 smaller, the incomes look 21 larger than they should be; they are 12."""

    def given_of(columns: Table) -> Answers:
        score = 0.2 * (columns["income"] - 50) - 0.3 * (columns["debt"] - 35)
        yes = 1 / (1 + np.exp(-score))
        return Answers((yes > 0.5).astype(float), np.column_stack([1 - yes, yes]))

    columns = debtors(3000, 0)
    given = given_of(columns)
    assert given.probabilities is not None
    truth = (np.random.default_rng(0).random(3000) < given.probabilities[:, 1]).astype(float)
    learned = fit_reference_models(columns, given, truth, classes=2, seed=0)
    charts = CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=200.0)
    words: dict[str, str] = {}
    for seed in range(1, 6):
        moved = debtors(500, seed, income=12.0, debt=-8.5)
        block = charts.examine(moved, given_of(moved))
        words |= {s.column: s.words for s in find_suspects(charts, block)}
        assert "larger" not in words["income"], words
        assert "plus" not in words["income"], words
    assert words["income"].startswith("median ")
