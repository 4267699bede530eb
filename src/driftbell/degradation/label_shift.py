"""Label shift: the shares of the classes have changed, the distribution within each class has not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from driftbell.degradation.encoder import Matrix
from driftbell.degradation.reference_models import Answers, ReferenceModels, Vector
from driftbell.records import ShiftTest
from driftbell.stats.special import chi_square_tail

CONFIDENCE_BINS = 5
FEATURE_BINS = 8
MAX_CHANCE = 1e-6
"""The shares have changed if the likelihood-ratio tests of some blocks have at most this p-value together."""

MAX_OWN_CHANCE = 0.05
"""A block counts together with those before if its own test and theirs have at most this p-value."""

MIN_FIT = 0.01
"""Label shift explains them if their tests of fit, Bonferroni-corrected, have at least this one together."""

MAX_BLOCKS = 5
"""Number of newest blocks that are tested together."""

MAX_ITERATIONS = 200

MAX_PAIRED_ROWS = 2000
"""Number of evenly spaced rows of the reference that measure how features depend on each other."""


Shifts = Sequence[ShiftTest]


class LabelShift:
    """Estimator of the shares of the true classes from the answers (expectation maximization).

    Source: M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the outputs of a classifier to new a priori
    probabilities", Neural Computation 14 (2002), on bins of answer and confidence instead of probabilities.

    Shares that have changed stay so for some blocks. The p-values of the newest ones are combined by Fisher's
    method, minus twice the sum of their logarithms, so that one block neither ends a shift nor fits one by
    chance that a block before has refuted (R. A. Fisher, "Statistical Methods for Research Workers", 1932).

    Args:
        learned: models fitted on the reference; of a classifier, with labels.
    """

    def __init__(self, learned: ReferenceModels) -> None:
        self._learned = learned
        classes = learned.classes
        self._confidence_edges = np.zeros((classes, 0))
        if learned.answers.probabilities is not None:
            top = learned.answers.confidence()
            points = np.arange(1, CONFIDENCE_BINS) / CONFIDENCE_BINS
            self._confidence_edges = np.array(
                [
                    np.quantile(top[learned.answers.values == c], points)
                    if np.any(learned.answers.values == c)
                    else np.zeros(len(points))
                    for c in range(classes)
                ]
            )
        self._frequent = [c for c in range(classes) if np.count_nonzero(learned.truth == c) >= 10]
        self._bins = classes * (self._confidence_edges.shape[1] + 1)
        truth = learned.truth
        counts = np.array([np.count_nonzero(truth == c) for c in self._frequent], dtype=np.float64)
        self._priors = counts / max(counts.sum(), 1)
        self._class_rows = counts
        self._error = np.array([learned.errors[truth == c].mean() for c in self._frequent])
        bins = self._score_bins(learned.answers)
        self._likelihoods = np.array([_shares(bins[truth == c], self._bins) for c in self._frequent])
        self._rows = len(truth)
        usual = learned.usual_answers
        if usual is not learned.answers and self._frequent and np.all(usual.values >= 0):
            self._rows = len(usual)
            floored = np.maximum(self._fit(self._counts(usual)), 0.5 / len(usual))
            self._priors = floored / floored.sum()
        self._edges = {}
        self._features = {}
        binned = []
        for j in learned.used:
            column = learned.matrix[:, j]
            edges = np.unique(np.nanquantile(column, np.arange(1, FEATURE_BINS) / FEATURE_BINS))
            self._edges[j] = edges
            places = np.searchsorted(edges, np.nan_to_num(column, nan=-np.inf), side="left")
            self._features[j] = np.array(
                [_shares(places[truth == c], len(edges) + 1) for c in self._frequent]
            )
            binned.append(places)
        self._dependence = _dependence(binned)
        self._known: dict[int, float] = {}

    def explain(
        self, matrix: Matrix, answers: Answers, before: Shifts = ()
    ) -> tuple[float | None, tuple[ShiftTest, ...]]:
        """Estimate the increase of the error if only the shares of the classes have changed.

        Args:
            matrix: features of a block, shape (n, d).
            answers: the model's answers, n of them.
            before: tests of the blocks before, oldest first.

        Returns:
            The increase, and the tests of the newest blocks. It is None if the shares have not changed
            significantly, label shift does not fit (by the answers, each feature, and all features together),
            or an answer is not a class of the reference's model.
        """
        if len(self._frequent) < 2 or not len(answers) or np.any(answers.values < 0):
            return None, ()
        counts = self._counts(answers)
        shares = self._fit(counts)
        n = self._rows
        discount = 1 / (1 + len(answers) / n)  # the reference's own shares are uncertain too
        gain = _log_likelihood(counts, shares @ self._likelihoods) - _log_likelihood(
            counts, self._priors @ self._likelihoods
        )
        chance = float(scipy.special.chdtrc(len(self._frequent) - 1, 2 * discount * max(0.0, gain)))
        if chance > MAX_OWN_CHANCE:
            return None, ()
        test = ShiftTest(max(chance, 1e-300), self._chance_of_fit(matrix, counts, shares))
        tests = (*before, test)[-MAX_BLOCKS:]
        if _together([t.chance for t in tests]) > MAX_CHANCE or _together([t.fit for t in tests]) < MIN_FIT:
            return None, tests
        return float((shares - self._priors) @ self._error), tests

    def largest_known(self, rows: int) -> float:
        """Return the largest increase in parts of the usual rows, in their order; 0 if the shares stay.

        A season in which the shares come and go, such as weekends, is no change if the reference has it too.

        Args:
            rows: of a part.
        """
        if rows not in self._known:
            usual, answers = self._learned.usual, self._learned.usual_answers
            largest, tests = 0.0, tuple[ShiftTest, ...]()
            for start in range(0, len(answers) - rows + 1, rows):
                part = slice(start, start + rows)
                increase, tests = self.explain(usual[part], answers.take(part), tests)
                largest = max(largest, increase or 0.0)
            self._known[rows] = largest
        return self._known[rows]

    def _chance_of_fit(self, matrix: Matrix, counts: Vector, shares: Vector) -> float:
        """Return the p-value of answers and features if only the shares have changed."""
        rows = 1 / float((shares**2 / self._class_rows).sum())  # more of a rare class is less certain
        misfits = [_misfit(counts, shares @ self._likelihoods, rows)]
        for j, likelihoods in self._features.items():
            places = np.searchsorted(self._edges[j], np.nan_to_num(matrix[:, j], nan=-np.inf), side="left")
            observed = np.bincount(places, minlength=likelihoods.shape[1]).astype(np.float64)
            misfits.append(_misfit(observed, shares @ likelihoods, rows))
        chances = [chi_square_tail(statistic, freedom) for statistic, freedom in misfits if freedom]
        chances.append(self._chance_of_all(misfits[1:]))
        return min(1.0, max(min(chances) * len(chances), 1e-300))

    def _chance_of_all(self, misfits: Sequence[tuple[float, int]]) -> float:
        """Return the p-value of the sum of the statistics of all features, see `_dependence`.

        The sum is c times a chi-square variable with the same mean and variance (Satterthwaite 1946).
        """
        statistic, freedom = (sum(values) for values in zip(*misfits, strict=True)) if misfits else (0.0, 0)
        if not freedom:
            return 1.0
        scale = 1 + self._dependence / freedom
        return float(chi_square_tail(statistic / scale, freedom / scale))

    def _counts(self, answers: Answers) -> Vector:
        return np.bincount(self._score_bins(answers), minlength=self._bins).astype(np.float64)

    def _fit(self, counts: Vector) -> Vector:
        """Return the most likely shares of the classes."""
        shares: Vector = self._priors.copy()
        for _ in range(MAX_ITERATIONS):
            joint = shares[:, None] * self._likelihoods
            weights = joint / np.maximum(joint.sum(axis=0), 1e-12)
            new: Vector = (weights @ counts) / counts.sum()
            if np.abs(new - shares).max() < 1e-5:
                return new
            shares = new
        return shares

    def _score_bins(self, answers: Answers) -> np.ndarray:
        """Return the bin of answered class and confidence of each row."""
        size = self._confidence_edges.shape[1] + 1
        classes = answers.values.astype(np.intp)
        if size == 1 or answers.probabilities is None:
            return classes * size
        top = answers.confidence()
        return np.asarray(classes * size + (top[:, None] > self._confidence_edges[classes]).sum(axis=1))


def _together(chances: Sequence[float]) -> float:
    """Return the p-value of independent tests together (Fisher's method)."""
    return chi_square_tail(-2 * sum(map(math.log, chances)), 2 * len(chances))


def _shares(bins: np.ndarray, size: int) -> Vector:
    counts = np.bincount(bins, minlength=size) + 0.5
    return np.asarray(counts / counts.sum())


def _log_likelihood(counts: Vector, shares: Vector) -> float:
    return float(counts @ np.log(np.maximum(shares, 1e-12)))


def _misfit(counts: Vector, shares: Vector, reference: float) -> tuple[float, int]:
    """Return Pearson's statistic, with the sampling error of the reference, and its degrees of freedom."""
    total = counts.sum()
    expected = np.maximum(shares * total, 1e-9)
    used = expected >= 3
    statistic = float((((counts - expected) ** 2 / expected)[used]).sum() / (1 + total / reference))
    return statistic, max(0, int(np.count_nonzero(used)) - 1)


def _dependence(binned: Sequence[NDArray[np.intp]]) -> float:
    """Return the sum of the mean square contingencies of all pairs of features, each pair twice.

    Pearson's statistics of two features have the covariance 2 φ² with φ² = Σ (p_ab - p_a p_b)² / (p_a p_b),
    as squares of normal variables with the correlation ρ have the covariance 2 ρ².

    Args:
        binned: the bin of each row of the reference, by feature.
    """
    if len(binned) < 2:
        return 0.0
    rows = np.linspace(0, len(binned[0]) - 1, min(len(binned[0]), MAX_PAIRED_ROWS)).astype(np.intp)
    indicators = [np.eye(int(places.max()) + 1)[places[rows]] for places in binned]
    indicators = [columns[:, columns.any(axis=0)] for columns in indicators]
    owner = np.repeat(np.arange(len(indicators)), [columns.shape[1] for columns in indicators])
    joined = np.hstack(indicators)
    shares = joined.mean(axis=0)
    by_chance = np.outer(shares, shares)
    squares: Vector = (joined.T @ joined / len(rows) - by_chance) ** 2 / by_chance
    freedoms = np.array([columns.shape[1] - 1 for columns in indicators], dtype=np.float64)
    bias = float(freedoms.sum() ** 2 - (freedoms**2).sum()) / len(rows)
    return max(0.0, float(squares[owner[:, None] != owner[None, :]].sum()) - bias)
