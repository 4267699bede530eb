"""Performance of a classifier, from predictions and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftbell.records import Interval

NORMAL_95 = 1.6448536269514722
"""The 95 % quantile of the normal distribution, for a two-sided 90 % interval."""


def mean_interval(rows: int, total: float, squares: float, *, low: float = -math.inf) -> Interval | None:
    """Return a mean with its 90 % interval (Student), from sums; None with fewer than 2 rows.

    Args:
        rows: number of values.
        total: their sum.
        squares: the sum of their squares.
        low: smallest possible mean.

    >>> interval = mean_interval(4, 10.0, 30.0)
    >>> round(interval.low, 2), interval.value
    (0.98, 2.5)
    """
    if rows < 2:
        return None
    import scipy  # takes long to import

    mean = total / rows
    variance = max(0.0, squares - total * mean) / (rows - 1)
    half = float(scipy.special.stdtrit(rows - 1, 0.95)) * math.sqrt(variance / rows)
    return Interval(mean, max(low, mean - half), mean + half)


def wilson(right: int, rows: int, z: float = NORMAL_95) -> Interval:
    """Return a share with its Wilson score interval, 90 % by default.

    Args:
        right: number of hits, 0 ≤ right ≤ rows.
        rows: number of rows, at least 1.
        z: quantile of the normal distribution.

    Raises:
        ValueError: there are no rows, or `right` is not between 0 and `rows`.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
    (1927); recommended for small samples by L. D. Brown, T. T. Cai, A. DasGupta, "Interval estimation for
    a binomial proportion", Statistical Science 16 (2001).

    >>> accuracy = wilson(45, 50)
    >>> accuracy.value, round(accuracy.low, 3), round(accuracy.high, 3)
    (0.9, 0.808, 0.95)
    """
    if not 0 <= right <= rows or rows < 1:
        raise ValueError(f"{right} of {rows} rows is not a share")
    share, square = right / rows, z * z / rows
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / rows + square / (4 * rows)) / (1 + square)
    # exact at both ends, without rounding errors
    low = 0.0 if right == 0 else middle - half
    high = 1.0 if right == rows else middle + half
    return Interval(share, low, high)


def confusion(labels: Sequence[str], outputs: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the confusion matrix.

    Args:
        labels: true classes, n of them.
        outputs: answered classes, n of them.
        classes: all k classes, each once.

    Returns:
        Counts, shape (k, k): one row for each true class, one column for each answered class.

    Raises:
        ValueError: the lengths differ, or a class is not among `classes`.

    >>> confusion(["a", "a", "b"], ["a", "b", "b"], ["a", "b"]).tolist()
    [[1, 1], [0, 1]]
    """
    if len(labels) != len(outputs):
        raise ValueError(f"{len(labels)} labels for {len(outputs)} outputs")
    place = {name: i for i, name in enumerate(classes)}
    unknown = {*labels, *outputs} - place.keys()
    if unknown:
        raise ValueError(f"{min(unknown)!r} is not among the classes")
    k = len(place)
    cells = [place[t] * k + place[o] for t, o in zip(labels, outputs, strict=True)]
    return np.bincount(np.array(cells, dtype=np.intp), minlength=k * k).reshape(k, k)


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Recall and precision of one class.

    Attributes:
        rows: rows labelled as this class.
        answered: rows that were predicted as this class.
        recall: share of its rows that were predicted correctly; None without rows.
        precision: share of its predictions that are correct; None without predictions.
    """

    rows: int
    answered: int
    recall: float | None
    precision: float | None


def class_scores(counts: NDArray[np.int64]) -> list[ClassScore]:
    """Return recall and precision of each class.

    Args:
        counts: confusion matrix, shape (k, k), see `confusion`.

    >>> class_scores(np.array([[1, 1], [0, 0]]))[1]
    ClassScore(rows=0, answered=1, recall=None, precision=0.0)
    """
    sums = (counts.sum(axis=1), counts.sum(axis=0), counts.diagonal())
    by_class = zip(*(s.tolist() for s in sums), strict=True)
    return [
        ClassScore(rows, answered, hits / rows if rows else None, hits / answered if answered else None)
        for rows, answered, hits in by_class
    ]


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Rows with a predicted probability between two edges.

    Attributes:
        low: lower edge, inclusive.
        high: upper edge, exclusive except in the last bin.
        rows: number of rows.
        probability: their mean probability; None without rows.
        right: share of correct predictions; None without rows.
    """

    low: float
    high: float
    rows: int
    probability: float | None
    right: float | None


def calibration(probability: ArrayLike, right: ArrayLike, bins: int = 10) -> list[CalibrationBin]:
    """Return a calibration curve: mean predicted probability against the share of correct predictions.

    Args:
        probability: of the predicted class, shape (n,), 0 to 1; rows with NaN are ignored.
        right: whether the prediction was correct, shape (n,), boolean.
        bins: number of bins of equal width.

    Raises:
        ValueError: the shapes differ.

    Source: M. H. DeGroot, S. E. Fienberg, "The comparison and evaluation of forecasters", The
    Statistician 32 (1983).

    >>> calibration([0.91, 0.99], [True, False])[-1]
    CalibrationBin(low=0.9, high=1.0, rows=2, probability=0.95, right=0.5)
    """
    p, hit = np.asarray(probability, dtype=float), np.asarray(right, dtype=float)
    if p.ndim != 1 or p.shape != hit.shape:
        raise ValueError(f"needs two vectors of the same length, got shapes {p.shape} and {hit.shape}")
    p, hit = p[~np.isnan(p)], hit[~np.isnan(p)]
    edges = np.arange(bins + 1) / bins
    place = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, bins - 1)
    rows = np.bincount(place, minlength=bins).tolist()
    sums = np.bincount(place, weights=p, minlength=bins).tolist()
    hits = np.bincount(place, weights=hit, minlength=bins).tolist()
    return [
        CalibrationBin(low, high, n, s / n if n else None, h / n if n else None)
        for low, high, n, s, h in zip(edges[:-1].tolist(), edges[1:].tolist(), rows, sums, hits, strict=True)
    ]
