"""Differences of two groups with values that arrive in turn, such as the errors of two served versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_BLOCK = 50
"""Most values of one group in a block."""

MAX_WAITING_BLOCKS = 20
"""Blocks that may wait for the other group; older values are dropped, so that both are of one time.

The lead of one group over the other is a random walk between two limits, so about one value in 2 L + 1 is
dropped at a limit of L blocks, whatever the share: 2.4 %, which delays a verdict by as much. A higher limit
would gain no more than that, and compare more values of different times: groups that came one after the other
give L blocks, which must not be enough for a verdict.
"""


def block_differences(values: ArrayLike, in_second: ArrayLike) -> NDArray[np.float64]:
    """Return differences of the second group's mean from the first group's, in blocks of one time.

    A block has m values of the group that gets more and one of the other; m is the ratio of their counts when
    the block is closed, rounded down or up so that the mean of m is the ratio: no value is left over for
    ever. The variance of the mean difference is at most 1.08 times that of the difference of both means, at
    shares from 2 % to 50 %. Values are taken in the order of their arrival. If both groups are random parts
    of a stream, each difference has the mean of the true difference at its time, given everything before it:
    a change that hits both groups cancels out.

    Args:
        values: shape (n,), in the order of their arrival.
        in_second: shape (n,); whether each belongs to the second group.

    Returns:
        One difference for each block, in the order in which they were closed. Values that still wait for the
        other group are left out.

    Raises:
        ValueError: the shapes differ.

    >>> block_differences([1, 0, 1, 1], [False, True, False, True]).tolist()
    [-1.0, 0.0]
    """
    x, second = np.asarray(values, dtype=np.float64), np.asarray(in_second, dtype=bool)
    if x.ndim != 1 or x.shape != second.shape:
        raise ValueError(f"needs two vectors of one length, got shapes {x.shape} and {second.shape}")
    return differences_of(x, blocks(second))


def differences_of(values: NDArray[np.float64], used: Sequence[Block]) -> NDArray[np.float64]:
    """Return the difference of each block; see `block_differences`."""
    cells = values.tolist()
    return np.array(
        [
            sum(map(cells.__getitem__, block.second)) / len(block.second)
            - sum(map(cells.__getitem__, block.first)) / len(block.first)
            for block in used
        ]
    )


@dataclass(frozen=True, slots=True)
class Block:
    """Places of the values of one block.

    Attributes:
        first: places of the first group's values.
        second: places of the second group's values.
        closed: number of values that had arrived when it was closed.
    """

    first: list[int]
    second: list[int]
    closed: int


def blocks(in_second: ArrayLike) -> list[Block]:
    """Return the blocks of `block_differences`.

    >>> [(block.first, block.second) for block in blocks([True, False, True, True])]
    [([1], [0])]
    """
    second = np.asarray(in_second, dtype=bool)
    places = [np.flatnonzero(second == group).tolist() for group in (False, True)]
    arrived, taken, carried = [0, 0], [0, 0], 0.0
    closed: list[Block] = []
    for place, group in enumerate(second.tolist()):
        arrived[group] += 1
        larger = 0 if arrived[0] >= arrived[1] else 1
        smaller = 1 - larger
        ratio = min(MAX_BLOCK, arrived[larger] / arrived[smaller]) if arrived[smaller] else 1.0
        size = max(1, min(MAX_BLOCK, int(ratio + carried)))
        is_waiting = arrived[larger] - taken[larger] >= size, arrived[smaller] > taken[smaller]
        if all(is_waiting):
            sizes = (size, 1) if larger == 0 else (1, size)
            first, other = (places[g][taken[g] : taken[g] + sizes[g]] for g in (0, 1))
            closed.append(Block(first, other, place + 1))
            taken[0] += sizes[0]
            taken[1] += sizes[1]
            carried = min(1.0, max(0.0, ratio + carried - size))
        elif arrived[group] - taken[group] > MAX_WAITING_BLOCKS * (size if group == larger else 1):
            taken[group] += 1
    return closed
