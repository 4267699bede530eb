from __future__ import annotations

import numpy as np
import pytest

from driftbell.stats.confidence_sequence import confidence_sequence, first_exclusion
from driftbell.stats.paired_blocks import MAX_WAITING_BLOCKS, block_differences, blocks


def hedged_capital(values: list[float], mean: float, level: float) -> tuple[float, float]:
    """Return the largest capital of both gamblers, written as in the paper, without vectors."""
    alpha, total, squares = 1 - level, 0.5, 0.25
    up = down = largest_up = largest_down = 1.0
    variance = 0.25
    m = (mean + 1) / 2
    for i, value in enumerate(values, start=1):
        x = (value + 1) / 2
        stake = np.sqrt(2 * np.log(2 / alpha) / (variance * i * np.log(i + 1)))
        up *= 1 + min(stake, 0.5 / m) * (x - m)
        down *= 1 - min(stake, 0.5 / (1 - m)) * (x - m)
        total += x
        squares += (x - total / (i + 1)) ** 2
        variance = squares / (i + 1)
        largest_up, largest_down = max(largest_up, up), max(largest_down, down)
    return largest_up, largest_down


def test_the_limits_are_the_means_that_the_published_capital_process_excludes() -> None:
    values = np.random.default_rng(3).choice([-1.0, 0.0, 0.5, 1.0], 400).tolist()
    interval = confidence_sequence(values, level=0.95)
    for inside, outside, gambler in ((1e-6, -1e-6, 0), (-1e-6, 1e-6, 1)):
        limit = (interval.low, interval.high)[gambler]
        assert hedged_capital(values, limit + outside, 0.95)[gambler] >= 2 / 0.05
        assert hedged_capital(values, limit + inside, 0.95)[gambler] < 2 / 0.05
    assert interval.low < interval.value < interval.high


def test_values_are_checked() -> None:
    with pytest.raises(ValueError, match="between -1 and 1"):
        confidence_sequence([0.2, 1.01])
    with pytest.raises(ValueError, match="between -1 and 1"):
        confidence_sequence([])
    with pytest.raises(ValueError, match="between -1 and 1"):
        confidence_sequence([0.2, float("nan")])
    with pytest.raises(ValueError, match="level"):
        confidence_sequence([0.2], level=1.0)


def test_the_first_exclusion_agrees_with_the_interval() -> None:
    values = np.where(np.random.default_rng(1).random(900) < 0.65, 1.0, -1.0)
    exclusion = first_exclusion(values)
    assert exclusion is not None
    count, sign = exclusion
    assert sign == 1
    assert confidence_sequence(values[: count - 1]).low <= 0 < confidence_sequence(values[:count]).low
    assert first_exclusion(-values) == (count, -1)
    assert first_exclusion(values[: count - 1]) is None


def test_looking_after_every_value_keeps_the_error_rate() -> None:
    rng = np.random.default_rng(0)
    draws = rng.choice([-1.0, 0.0, 1.0], p=[0.16, 0.68, 0.16], size=(2000, 1000))
    wrong = sum(first_exclusion(row) is not None for row in draws)
    assert wrong <= 0.01 * len(draws)


def test_blocks_have_values_of_one_time_and_use_each_value_once() -> None:
    rng = np.random.default_rng(5)
    in_second = rng.random(3000) < 0.1
    used = blocks(in_second)
    places = [place for block in used for place in (*block.first, *block.second)]
    assert len(places) == len(set(places))
    assert len(used) > 0.9 * np.count_nonzero(in_second)
    assert all(np.ptp([*block.first, *block.second]) < 600 for block in used)
    values = rng.random(3000)
    expected = [values[block.second].mean() - values[block.first].mean() for block in used]
    assert block_differences(values, in_second) == pytest.approx(expected, abs=1e-12)


def test_groups_that_do_not_arrive_at_the_same_time_have_next_to_no_blocks() -> None:
    assert len(blocks([False] * 500 + [True] * 500)) <= MAX_WAITING_BLOCKS
    assert len(blocks([False] * 500)) == 0
    with pytest.raises(ValueError, match="one length"):
        block_differences([1.0], [True, False])


@pytest.mark.parametrize("share", [0.5, 0.4, 0.33, 0.1, 0.02])
def test_blocks_lose_little_information_at_any_share(share: float) -> None:
    in_second = np.random.default_rng(3).random(60_000) < share
    used = blocks(in_second)
    variance = sum(1 / len(block.first) + 1 / len(block.second) for block in used) / len(used) ** 2
    counts = np.bincount(in_second)
    assert (1 / counts).sum() / variance > 0.92


def test_groups_that_came_one_after_the_other_give_no_verdict() -> None:
    rng = np.random.default_rng(9)
    in_second = np.repeat([False, True], 2000)
    right = (rng.random(4000) < np.where(in_second, 0.55, 0.95)).astype(float)
    assert first_exclusion(block_differences(right, in_second)) is None


def test_a_change_that_hits_both_groups_does_not_look_like_a_difference() -> None:
    rng = np.random.default_rng(7)
    in_second = rng.random(6000) < 0.5
    falls = np.linspace(0.95, 0.55, 6000)
    right = (rng.random(6000) < falls).astype(float)
    assert first_exclusion(block_differences(right, in_second)) is None
    worse = (rng.random(6000) < falls - 0.1 * in_second).astype(float)
    exclusion = first_exclusion(block_differences(worse, in_second))
    assert exclusion is not None
    assert exclusion[1] == -1
