"""How well a classifier does, from predictions and their labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftbell.records import Interval

NORMAL_95 = 1.6448536269514722
"""The 95 % quantile of the normal distribution: two tails of 5 % leave 90 %."""


def wilson(right: int, rows: int, z: float = NORMAL_95) -> Interval:
    """A share with its interval by Wilson's score, which is 90 % wide unless told otherwise.

    Args:
        right: rows that count, 0 ≤ right ≤ rows.
        rows: all rows, at least 1.
        z: quantile of the normal distribution.

    Raises:
        ValueError: there is no row, or `right` is no part of them.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
    (1927); recommended for small samples by L. D. Brown, T. T. Cai, A. DasGupta, "Interval estimation for
    a binomial proportion", Statistical Science 16 (2001).

    >>> found = wilson(45, 50)
    >>> found.value, round(found.low, 3), round(found.high, 3)
    (0.9, 0.808, 0.95)
    """
    if not 0 <= right <= rows or rows < 1:
        raise ValueError(f"{right} of {rows} rows is no share")
    share, square = right / rows, z * z / rows
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / rows + square / (4 * rows)) / (1 + square)
    # at both ends the bound is the share itself, but for rounding
    low = 0.0 if right == 0 else middle - half
    high = 1.0 if right == rows else middle + half
    return Interval(share, low, high)


def confusion(labels: Sequence[str], outputs: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Count rows by label and output.

    Args:
        labels: true classes, n of them.
        outputs: answered classes, n of them.
        classes: every class that occurs, each once, k of them.

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
    """How one class fares.

    Attributes:
        rows: that are of this class.
        answered: that were answered with it.
        recall: share of its rows that were answered with it; None where it has no rows.
        precision: share of these answers that are right; None where there are none.
    """

    rows: int
    answered: int
    recall: float | None
    precision: float | None


def class_scores(counts: NDArray[np.int64]) -> list[ClassScore]:
    """Return recall and precision of each class.

    Args:
        counts: what `confusion` gives, shape (k, k).

    >>> class_scores(np.array([[1, 1], [0, 0]]))[1]
    ClassScore(rows=0, answered=1, recall=None, precision=0.0)
    """
    sums = (counts.sum(axis=1), counts.sum(axis=0), counts.diagonal())
    found = zip(*(s.tolist() for s in sums), strict=True)
    return [
        ClassScore(rows, answered, hits / rows if rows else None, hits / answered if answered else None)
        for rows, answered, hits in found
    ]


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Rows whose probability is between two edges.

    Attributes:
        low: the lower edge, included.
        high: the upper edge, excluded but in the last bin.
        rows: how many.
        probability: their mean probability; None where there are none.
        right: the share that was right; None where there are none.
    """

    low: float
    high: float
    rows: int
    probability: float | None
    right: float | None


def calibration(probability: ArrayLike, right: ArrayLike, bins: int = 10) -> list[CalibrationBin]:
    """Compare what a model believes of its answers with how often they are right.

    Args:
        probability: of the answered class, shape (n,), 0 to 1; rows with NaN are left out.
        right: whether the answer was right, shape (n,), boolean.
        bins: of equal width.

    Raises:
        ValueError: the shapes differ.

    Source: M. H. DeGroot, S. E. Fienberg, "The comparison and evaluation of forecasters", The
    Statistician 32 (1983).

    >>> calibration([0.91, 0.99], [True, False])[-1]
    CalibrationBin(low=0.9, high=1.0, rows=2, probability=0.95, right=0.5)
    """
    p, hit = np.asarray(probability, dtype=float), np.asarray(right, dtype=float)
    if p.ndim != 1 or p.shape != hit.shape:
        raise ValueError(f"needs two rows of one length, got shapes {p.shape} and {hit.shape}")
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
