"""Label shift: the classes come in other shares than before, and each still looks as it did."""

from __future__ import annotations

import numpy as np
import scipy

from driftbell.degradation.encoder import Matrix
from driftbell.degradation.reference_models import Answers, Learned, Vector

CONFIDENCE_BINS = 5
FEATURE_BINS = 8
LEVEL = 1e-6
FIT_LEVEL = 0.01
ROUNDS = 200


class LabelShift:
    """Estimates the shares of the true classes from the answers (expectation maximisation).

    Source: M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the outputs of a classifier to new a priori
    probabilities", Neural Computation 14 (2002), on bins of answer and confidence instead of probabilities.

    Args:
        learned: from the reference; a classification with labels.
    """

    def __init__(self, learned: Learned) -> None:
        self._learned = learned
        classes = learned.classes
        self._cuts = np.zeros((classes, 0))
        if learned.answers.probabilities is not None:
            top = learned.answers.probabilities.max(axis=1)
            points = np.arange(1, CONFIDENCE_BINS) / CONFIDENCE_BINS
            self._cuts = np.array(
                [
                    np.quantile(top[learned.answers.values == c], points)
                    if np.any(learned.answers.values == c)
                    else np.zeros(len(points))
                    for c in range(classes)
                ]
            )
        self._present = [c for c in range(classes) if np.count_nonzero(learned.truth == c) >= 10]
        self._bins = classes * (self._cuts.shape[1] + 1)
        truth = learned.truth
        counts = np.array([np.count_nonzero(truth == c) for c in self._present], dtype=np.float64)
        self._before = counts / max(counts.sum(), 1)
        self._error = np.array([learned.errors[truth == c].mean() for c in self._present])
        own = self._score_bins(learned.answers)
        self._given = np.array([_shares(own[truth == c], self._bins) for c in self._present])
        self._rows = len(truth)
        usual = learned.usual_answers
        if usual is not learned.answers and self._present and np.all(usual.values >= 0):
            self._rows = len(usual)
            floored = np.maximum(self._fit(self._counts(usual)), 0.5 / len(usual))
            self._before = floored / floored.sum()
        self._edges = {}
        self._features = {}
        for j in learned.top:
            column = learned.matrix[:, j]
            edges = np.unique(np.nanquantile(column, np.arange(1, FEATURE_BINS) / FEATURE_BINS))
            self._edges[j] = edges
            at = np.searchsorted(edges, np.nan_to_num(column, nan=-np.inf), side="left")
            self._features[j] = np.array([_shares(at[truth == c], len(edges) + 1) for c in self._present])

    def loss(self, matrix: Matrix, answers: Answers) -> float | None:
        """Estimate the rise of the error if only the classes' shares have changed.

        Args:
            matrix: a block's features.
            answers: the model's.

        Returns:
            None where the shares have not changed beyond doubt, another change explains the block better, or
            an answer is of no class of the reference's model.
        """
        if len(self._present) < 2 or not len(answers) or np.any(answers.values < 0):
            return None
        counts = self._counts(answers)
        shares = self._fit(counts)
        n = self._rows
        thinned = 1 / (1 + len(answers) / n)  # the reference's own shares are uncertain too
        gain = _likelihood(counts, shares @ self._given) - _likelihood(counts, self._before @ self._given)
        if scipy.stats.chi2.sf(2 * thinned * gain, len(self._present) - 1) > LEVEL:
            return None
        tests = [_fits(counts, shares @ self._given, n)]
        for j, given in self._features.items():
            at = np.searchsorted(self._edges[j], np.nan_to_num(matrix[:, j], nan=-np.inf), side="left")
            found = np.bincount(at, minlength=given.shape[1]).astype(np.float64)
            tests.append(_fits(found, shares @ given, n))
        if min(tests) * len(tests) < FIT_LEVEL:
            return None
        return float((shares - self._before) @ self._error)

    def _counts(self, answers: Answers) -> Vector:
        return np.bincount(self._score_bins(answers), minlength=self._bins).astype(np.float64)

    def _fit(self, counts: Vector) -> Vector:
        shares: Vector = self._before.copy()
        for _ in range(ROUNDS):
            joint = shares[:, None] * self._given
            weights = joint / np.maximum(joint.sum(axis=0), 1e-12)
            new: Vector = (weights @ counts) / counts.sum()
            if np.abs(new - shares).max() < 1e-5:
                return new
            shares = new
        return shares

    def _score_bins(self, answers: Answers) -> np.ndarray:
        each = self._cuts.shape[1] + 1
        which = answers.values.astype(np.intp)
        if each == 1 or answers.probabilities is None:
            return which * each
        top = answers.probabilities.max(axis=1)
        return np.asarray(which * each + (top[:, None] > self._cuts[which]).sum(axis=1))


def _shares(bins: np.ndarray, size: int) -> Vector:
    counts = np.bincount(bins, minlength=size) + 0.5
    return np.asarray(counts / counts.sum())


def _likelihood(counts: Vector, shares: Vector) -> float:
    return float(counts @ np.log(np.maximum(shares, 1e-12)))


def _fits(counts: Vector, shares: Vector, reference: int) -> float:
    """Return the p-value of Pearson's test, including the noise of the reference."""
    total = counts.sum()
    wanted = np.maximum(shares * total, 1e-9)
    seen = wanted >= 3
    if np.count_nonzero(seen) < 2:
        return 1.0
    statistic = float((((counts - wanted) ** 2 / wanted)[seen]).sum() / (1 + total / reference))
    return float(scipy.stats.chi2.sf(statistic, np.count_nonzero(seen) - 1))
