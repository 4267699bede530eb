"""Differences of two groups with values that arrive in turn, such as the errors of two served versions."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_BLOCK = 50
"""Most values of one group in a block."""

MAX_WAITING_BLOCKS = 10
"""Blocks that may wait for the other group; older values are dropped, so that both are of one time."""


def block_differences(values: ArrayLike, in_second: ArrayLike) -> NDArray[np.float64]:
    """Return differences of the second group's mean from the first group's, in blocks of one time.

    A block has m values of the group that gets more and one of the other; m is the ratio of their counts when
    the block is closed. Values are taken in the order of their arrival. If both groups are random parts of a
    stream, each difference has the mean of the true difference at its time, given everything before it: a
    change that hits both groups cancels out.

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
    return np.array([x[block.second].mean() - x[block.first].mean() for block in blocks(second)])


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
    waiting: tuple[deque[int], deque[int]] = (deque(), deque())
    counts = [0, 0]
    closed: list[Block] = []
    for place, group in enumerate(np.asarray(in_second, dtype=bool).tolist()):
        counts[group] += 1
        waiting[group].append(place)
        sizes = _block_sizes(counts)
        if len(waiting[0]) >= sizes[0] and len(waiting[1]) >= sizes[1]:
            first, second = ([waiting[g].popleft() for _ in range(sizes[g])] for g in (0, 1))
            closed.append(Block(first, second, place + 1))
        elif len(waiting[group]) > MAX_WAITING_BLOCKS * sizes[group]:
            waiting[group].popleft()
    return closed


def _block_sizes(counts: list[int]) -> tuple[int, int]:
    """Return how many values of each group a block has."""
    first, second = counts
    if not (first and second):
        return (1, 1)
    ratio = min(MAX_BLOCK, max(1, round(max(first, second) / min(first, second))))
    return (ratio, 1) if first >= second else (1, ratio)
