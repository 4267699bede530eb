"""A change within a block: where it is, and what is said about the rows on both sides."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.degradation_tasks import FAULTS, Stream, answers, evidence, table

from driftbell.degradation import block_split
from driftbell.degradation.cusum import MIN_ROWS
from driftbell.records import Verdict

ROWS = 500
Table = dict[str, np.ndarray]


def joined(first: Table, second: Table) -> Table:
    return {name: np.concatenate([first[name], second[name]]) for name in first}


def found_in(block: Table) -> int | None:
    charts = evidence()
    return charts.change_within(charts.learned.encoder(block, len(block["a"])))


def changed_at(place: int, change: Callable[[Table], Table], seed: int) -> tuple[Table, np.ndarray]:
    """Return the features of a block that change at a row, and the truth."""
    (before, first), (after, second) = table(place, seed), table(ROWS - place, seed + 1)
    return joined(before, change(after)), np.concatenate([first, second])


def test_the_tail_probability_is_that_of_simulated_sums() -> None:
    """The largest standardized difference of two means of independent rows, over all places of a change."""
    rng, least = np.random.default_rng(0), 50
    at = np.arange(least, ROWS - least + 1)
    largest = []
    for _ in range(40):
        sums = np.cumsum(rng.normal(size=(ROWS, 500)), axis=0)
        before, total = sums[at - 1], sums[-1]
        difference = (total - before) / (ROWS - at)[:, None] - before / at[:, None]
        largest.append(np.abs(difference / np.sqrt(1 / at + 1 / (ROWS - at))[:, None]).max(axis=0))
    for z in (2.7, 3.1, 3.5):
        simulated = float((np.concatenate(largest) > z).mean())
        chance = block_split._chance(z, 2 * math.log((ROWS - least) / least))
        assert (
            simulated <= chance <= 1.5 * simulated
        )  # rows are discrete, the formula is for a continuous time


def test_blocks_of_unchanged_rows_are_split_as_rarely_as_stated() -> None:
    blocks = 1500
    split = sum(found_in(table(ROWS, 1000 + seed)[0]) is not None for seed in range(blocks))
    assert split <= 3 + 2 * blocks * block_split.CHANCE


def split_of(usual: np.ndarray) -> block_split.BlockSplit:
    """Return the search that a reference of these numbers has."""
    ordered = np.sort(usual, axis=0)

    def ranks(matrix: np.ndarray, places: list[int]) -> np.ndarray:
        pairs = [(ordered[:, j], matrix[:, j]) for j in places]
        mid = [a.searchsorted(v, "left") + a.searchsorted(v, "right") for a, v in pairs]
        return np.column_stack(mid) / 2 / len(ordered) - 0.5

    tests: Any = SimpleNamespace(
        calendar=frozenset(), ranks=ranks, overdispersions=lambda places: np.ones(len(places))
    )
    learned: Any = SimpleNamespace(importance=np.ones(usual.shape[1]), usual=usual)
    return block_split.BlockSplit(learned, tests, MIN_ROWS)


RARE = {
    "rounded": lambda rng, rows: rng.normal(size=(rows, 10)).round(2),  # five rows have the same value
    "flags": lambda rng, rows: (rng.random((rows, 10)) < 0.006).astype(float),
}


@pytest.mark.parametrize("kind", RARE)
def test_few_rare_values_on_one_side_split_no_block(kind: str) -> None:
    """By a normal distribution, 0.4 % and 0.6 % of these blocks were split."""
    rng, blocks = np.random.default_rng(0), 2000
    search = split_of(RARE[kind](rng, 5000))
    split = sum(search(RARE[kind](rng, ROWS)) is not None for _ in range(blocks))
    assert split <= 3 + blocks * block_split.CHANCE


def test_rare_values_that_begin_within_a_block_split_it() -> None:
    rng = np.random.default_rng(0)
    block = rng.normal(size=(ROWS, 10))
    block[400::5, 3] = 0.0  # 20 rows
    found = split_of(rng.normal(size=(5000, 10)))(block)
    assert found is not None
    assert abs(found - 400) <= 12


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("place", [100, 260, 420])
def test_the_change_is_found_within_some_rows(kind: str, place: int) -> None:
    columns = ("a", "b", "c", "d")
    change = FAULTS[kind][2]
    block, _ = changed_at(
        place, lambda t: {n: change(t).get(n, np.full(len(t["a"]), np.nan)) for n in columns}, 7
    )
    found = found_in(block)
    assert found is not None
    assert abs(found - place) <= 12


def test_a_block_with_too_few_rows_on_one_side_is_not_split() -> None:
    block, _ = changed_at(ROWS - MIN_ROWS // 2, FAULTS["unit change"][2], 7)
    found = found_in(block)
    assert found is None or found <= ROWS - MIN_ROWS
    few = {name: column[: 2 * MIN_ROWS - 1] for name, column in block.items()}
    assert found_in(few) is None


def test_the_loss_is_that_of_the_rows_since_the_change() -> None:
    stream = Stream(evidence())
    stream.run(1)
    block, truth = changed_at(350, FAULTS["range"][2], 20)
    degradation = stream.see(block, truth, answers(block))
    wrong = answers(block).values != truth
    true = float(wrong[350:].mean() - wrong[:350].mean())
    assert degradation.verdict is Verdict.ALARM
    assert degradation.estimated_loss is not None
    assert degradation.estimated_loss.low <= true <= degradation.estimated_loss.high
    assert degradation.change_point is not None
    begin = stream.times(1)[0] - (stream.times(2)[1] - stream.times(1)[0]) * (ROWS - 350)
    assert abs((degradation.change_point.time - begin).total_seconds()) <= 12 * 60
    assert stream.state.rows == 2 * ROWS
    assert stream.state.estimate.blocks[0].rows == ROWS


def test_a_block_that_ends_well_is_still_one_with_broken_rows() -> None:
    stream = Stream(evidence())
    stream.run(1)
    (bad, first), (good, second) = table(300, 30), table(200, 31)
    block = joined(FAULTS["range"][2](bad), good)
    degradation = stream.see(block, np.concatenate([first, second]), answers(block))
    assert degradation.verdict is Verdict.ALARM
    assert "frozen at 99 in 40% of the newest" in degradation.sentence
    assert stream.run(3)[-1].verdict is Verdict.OK
