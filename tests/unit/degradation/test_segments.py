"""The rows that an alarm names: only those that lose more than the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy
from tests.degradation_tasks import answers, evidence, table

from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.segments import Group, _p_values, worst_segment

Table = dict[str, Any]
EVERY_FOURTH = np.arange(1000) % 4 == 0


def charts() -> CusumCharts:
    return evidence("labelled", 2000)


def segment(seed: int, change: Callable[[Table], Table] = lambda t: t, rows: int = 500) -> str:
    """Return the segment of a block, with a change of its features after the model has answered or before."""
    block = change(table(rows, seed)[0])
    examined = charts().examine(block, answers(block))
    columns = {name: column[examined.examined] for name, column in block.items()}
    return worst_segment(charts(), examined, columns)


def replaced(column: str, value: Any) -> Callable[[Table], Table]:
    def change(block: Table) -> Table:
        rows = EVERY_FOURTH[: len(block["a"])]
        values = np.where(rows, value, block[column])
        return block | {column: values.astype(object) if column == "d" else values.astype(float)}

    return change


@pytest.mark.parametrize("rows", [200, 500, 1000])
def test_no_segment_is_named_where_no_rows_lose_more_than_the_others(rows: int) -> None:
    named = [segment(1000 + seed, rows=rows) for seed in range(100)]
    assert sum(map(bool, named)) <= 2, named  # 1 % of them by chance


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t | {"d": np.where(t["d"] == "z", "Z", t["d"]).astype(object)}, "d is 'Z' ("),
        (replaced("d", "new"), "d is 'new' (25% of the rows)"),
        (replaced("a", np.nan), "a is null (25% of the rows)"),
        (replaced("a", 10.0), "a is 10 (25% of the rows)"),
    ],
)
def test_the_broken_rows_that_are_the_loss_are_named(change: Callable[[Table], Table], words: str) -> None:
    named = [segment(seed, change) for seed in range(50, 60)]
    assert sum(words in text for text in named) >= 9, named
    assert all(words in text for text in named if text)


def test_new_categories_are_named_together_if_they_are_many() -> None:
    plans = np.char.add("plan ", (np.arange(500) % 30).astype(str))

    def change(block: Table) -> Table:
        return block | {"d": np.where(EVERY_FOURTH[:500], plans, block["d"]).astype(object)}

    assert segment(50, change) == "d is a new category (25% of the rows)"


def test_values_outside_the_reference_are_named() -> None:
    assert segment(50, replaced("a", 40.0)).startswith("a is ")


def test_a_group_that_loses_is_named_by_two_conditions_at_most() -> None:
    """In another unit, all rows are broken; those whose class was the other one lose most."""
    named = segment(50, lambda t: t | {"a": 100 * t["a"]})
    assert named.startswith("b ≤ ")
    assert named.count(" and ") <= 1


def test_a_condition_that_another_one_implies_is_not_named() -> None:
    rows = np.arange(20)
    above, far, other = (
        Group(words, of, of)
        for words, of in (("a > 3", rows > 3), ("a > 9", rows > 9), ("b is 'x'", rows % 2 == 0))
    )
    assert above.both(far).words == "a > 9"
    assert above.both(other).words == "a > 3 and b is 'x'"


def test_too_few_rows_have_no_segment() -> None:
    assert segment(50, replaced("d", "new"), rows=55) == ""


def welch(a: np.ndarray, b: np.ndarray, usual_a: np.ndarray, usual_b: np.ndarray) -> float:
    """Return the p-value of one group, from the means and variances of each part."""
    loss, other = a.mean() - usual_a.mean(), b.mean() - usual_b.mean()
    error = np.sqrt(sum(part.var() / len(part) for part in (a, b, usual_a, usual_b)))
    return float(scipy.stats.norm.sf((loss - other) / error)) if loss > max(0, other) else 1.0


@pytest.mark.parametrize("seed", range(20))
def test_the_p_values_of_all_groups_are_those_of_each(seed: int) -> None:
    rng = np.random.default_rng(seed)
    errors, usual = rng.random(500) ** 2, 0.8 * rng.random(3000) ** 2
    among = rng.random(500) < rng.uniform(0.5, 1)
    rows = [among & (rng.random(500) < rng.uniform(0.2, 0.8)) for _ in range(30)]
    groups = [Group("x > 1", part, rng.random(3000) < rng.uniform(0.02, 0.98)) for part in rows]
    expected = [
        welch(errors[g.rows], errors[among & ~g.rows], usual[g.usual], usual[~g.usual]) for g in groups
    ]
    assert _p_values(groups, errors, usual, among) == pytest.approx(expected, rel=1e-6)
    few = Group("x > 2", rows[0], np.arange(3000) < 20)  # all rows of the reference take their place
    expected = [welch(errors[rows[0]], errors[among & ~rows[0]], usual, usual[20:])]
    assert _p_values([few], errors, usual, among) == pytest.approx(expected, rel=1e-6)
