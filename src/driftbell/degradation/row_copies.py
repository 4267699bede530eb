"""Copies of rows, such as retries of a client: they count once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.encoder import Matrix
from driftbell.degradation.reference_models import Answers, ReferenceModels

MIN_COPIES = 0.1
"""Smallest share of copies in a block, in addition to those that random order has."""

MAX_USUAL_COPIES = 0.02
"""If more rows of a block have an equal one by chance, as the reference shows, equal rows are no copies."""

MAX_DISTANCE, DISTANCE_SHARE = 25, 0.1
"""Largest number of rows from a row to its copy, and as a share of the block."""


class RowCopies:
    """Search for rows that follow an equal row at a short distance.

    Copies have the error of one row, so they are no independent evidence. A row that is m times among n rows
    in random order has on average

        (m - 1) (1 - (1 - d / n)^m)

    equal rows within d rows before the next one; only a clear excess are copies. Frozen values and rows drawn
    with replacement have none, since their order makes no difference.

    Args:
        learned: models fitted on the reference.
    """

    def __init__(self, learned: ReferenceModels) -> None:
        rows = len(learned.usual)
        counts = np.unique(_hashes(learned.usual, learned.usual_answers), return_counts=True)[1]
        self._equal_pairs = float((counts * (counts - 1.0)).sum()) / max(1, rows * (rows - 1))

    def __call__(self, matrix: Matrix, answers: Answers) -> NDArray[np.bool_] | None:
        """Return which rows of a block are copies, shape (n,); None if it has no more than by chance.

        Args:
            matrix: encoded features, n rows in the order of time.
            answers: the model's answers.
        """
        n = len(matrix)
        if not matrix.shape[1] or self._equal_pairs * (n - 1) / 2 > MAX_USUAL_COPIES:
            return None
        hashes = _hashes(matrix, answers)
        order = np.argsort(hashes, kind="stable")
        distance = min(MAX_DISTANCE, max(1, int(DISTANCE_SHARE * n)))
        is_near = (hashes[order][1:] == hashes[order][:-1]) & (np.diff(order) <= distance)
        near = order[1:][is_near]
        if len(near) < MIN_COPIES * n:
            return None
        counts = np.unique(hashes, return_counts=True)[1]
        by_chance = float(((counts - 1) * (1 - (1 - distance / n) ** counts)).sum())
        if len(near) - by_chance < MIN_COPIES * n:
            return None
        copies = np.zeros(n, dtype=bool)
        copies[near] = True
        return copies


def _hashes(matrix: Matrix, answers: Answers) -> NDArray[np.uint64]:
    """Return a hash of each row with its answer; nulls are equal."""
    rows = np.column_stack([np.nan_to_num(matrix, nan=np.pi), answers.values]).astype(np.float64) + 0.0
    weights = np.random.default_rng(0).integers(1, 2**62, rows.shape[1], dtype=np.uint64)
    return np.asarray((rows.view(np.uint64) * (2 * weights + 1)).sum(axis=1, dtype=np.uint64))
