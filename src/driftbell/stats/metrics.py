"""Performance metrics of classifiers and regressions, each with its 90 % confidence interval."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftbell.records import Interval
from driftbell.stats.effects import wilson_limits
from driftbell.stats.performance import NORMAL_95, wilson

Vector = NDArray[np.float64]
Counts = NDArray[np.intp]

CLASSIFICATION_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "log_loss",
    "roc_auc",
)
REGRESSION_METRICS = ("mae", "rmse", "r2")

TAIL = 0.05
"""Probability that the true value is beyond one end of an interval."""

UNKNOWN_CLASS = -1
"""The label of a row with a true class that the model does not know."""


def classification_metrics(
    predicted: ArrayLike, labels: ArrayLike, probabilities: ArrayLike | None, classes: int
) -> dict[str, Interval | None]:
    """Return the metrics of a classifier with their 90 % intervals.

    - `accuracy`: Wilson's interval. An unknown class counts as wrong.
    - `balanced_accuracy`: mean recall r of the K classes that have labels, as scikit-learn's
      `balanced_accuracy_score`. Its limits combine Wilson's limits l and u of the recalls (MOVER, method of
      variance estimates recovery): mean(r) - sqrt(Σ (r - l)²) / K and mean(r) + sqrt(Σ (u - r)²) / K.
    - `precision`: mean precision of the classes among labels and predictions (macro), also of two classes, as
      scikit-learn's `precision_score(average="macro", zero_division=0)`; 0 for a class that was never
      predicted. An unknown class is a false positive of the predicted class. Limits as above.
    - `recall`: the same of the recall; 0 for a class without labels. It is the balanced accuracy if every
      predicted class has labels.
    - `f1`: the same of the F1 score, as `f1_score(average="macro")`.
    - `log_loss`: mean of -ln p of the true class, natural logarithm, p at least 2.2e-16, rows scaled to the
      sum 1; Student's interval of a mean.
    - `roc_auc`: of the second class of two, as scikit-learn's `roc_auc_score`; of more than two, the mean of
      each class against the others (`multi_class="ovr"`). DeLong's variance.

    Intervals of F1 and ROC AUC use the delta method with influence functions; the variance then becomes an
    effective number of rows for Wilson's interval, which stays between 0 and 1. Where the variance is 0,
    because every row is right, that number is the number of rows (of the smallest class for ROC AUC).

    Args:
        predicted: index of the predicted class, shape (n,).
        labels: index of the true class, shape (n,); NaN without a label, -1 for a class that is unknown to
            the model, which only `accuracy`, `precision` and `f1` count.
        probabilities: of each class, shape (n, classes); None without.
        classes: number of classes.

    Returns:
        One entry for each of `CLASSIFICATION_METRICS`; None if it cannot be computed: without labels; for
        `log_loss` without probabilities or with fewer than 2 labels; for `roc_auc` without probabilities, or
        if a class has fewer than 2 labels.

    Raises:
        ValueError: the shapes differ.

    Source: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the areas under two or more
    correlated receiver operating characteristic curves", Biometrics 44 (1988); G. Y. Zou, A. Donner,
    "Construction of confidence limits about effect measures: a general approach", Statistics in Medicine 27
    (2008); E. L. Korn, B. I. Graubard, "Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data", Survey Methodology 24 (1998) for the effective number of
    rows.

    >>> metrics = classification_metrics([0, 1] * 45 + [0] * 10, [0, 1] * 50, None, classes=2)
    >>> {name: round(interval.value, 3) for name, interval in metrics.items() if interval}
    {'accuracy': 0.95, 'balanced_accuracy': 0.95, 'precision': 0.955, 'recall': 0.95, 'f1': 0.95}
    """
    answers, truth = np.asarray(predicted, dtype=float), np.asarray(labels, dtype=float)
    matrix = None if probabilities is None else np.asarray(probabilities, dtype=float)
    if answers.ndim != 1 or answers.shape != truth.shape:
        raise ValueError(f"needs two vectors of one length, got shapes {answers.shape} and {truth.shape}")
    if matrix is not None and matrix.shape != (len(answers), classes):
        raise ValueError(f"needs probabilities of shape {(len(answers), classes)}, got {matrix.shape}")
    labelled = ~np.isnan(truth)
    a, t = answers[labelled].astype(np.intp), truth[labelled].astype(np.intp)
    known = t != UNKNOWN_CLASS
    p = None if matrix is None else matrix[labelled][known]
    rows, predicted_rows = (np.bincount(ids, minlength=classes) for ids in (t[known], a))
    hits = np.bincount(t[a == t], minlength=classes)
    used = (rows > 0) | (predicted_rows > 0) if known.any() else rows > 0
    return {
        "accuracy": wilson(int(np.count_nonzero(a == t)), len(t)) if len(t) else None,
        "balanced_accuracy": _mean_share(hits, rows, rows > 0),
        "precision": _mean_share(hits, predicted_rows, used),
        "recall": _mean_share(hits, rows, used),
        "f1": _f1(a, t, classes),
        "log_loss": None if p is None else _log_loss(p, t[known]),
        "roc_auc": None if p is None else _roc_auc(p, t[known]),
    }


def regression_metrics(predicted: ArrayLike, labels: ArrayLike) -> dict[str, Interval | None]:
    """Return the metrics of a regression with their 90 % intervals.

    With errors e = prediction - label, v = mean((y - mean(y))²) and n labels:

    - `mae`: mean absolute error, with Student's interval of a mean.
    - `rmse`: root of the mean squared error; influence function (e² - rmse²) / (2 rmse).
    - `r2`: 1 - mean(e²) / v, as scikit-learn's `r2_score`; influence function
      (mean(e²) (y - mean(y))² / v - e²) / v. At most 1, and below 0 if the mean would be the better
      prediction.

    The variance of a metric is that of its influence function divided by n (delta method); its interval has
    the quantile of Student's distribution with n - 1 degrees of freedom.

    Args:
        predicted: n numbers.
        labels: n numbers; NaN without a label.

    Returns:
        One entry for each of `REGRESSION_METRICS`; None with fewer than 2 labels, and `r2` if all labels are
        equal.

    Raises:
        ValueError: the shapes differ.

    Source: A. W. van der Vaart, "Asymptotic Statistics" (1998), chapters 3 and 20.

    >>> metrics = regression_metrics([1.0, 2.0, 3.0, 4.0], [1.5, 2.5, 2.5, 3.5])
    >>> {name: interval.value for name, interval in metrics.items() if interval}
    {'mae': 0.5, 'rmse': 0.5, 'r2': 0.5}
    """
    answers, y = np.asarray(predicted, dtype=float), np.asarray(labels, dtype=float)
    if answers.ndim != 1 or answers.shape != y.shape:
        raise ValueError(f"needs two vectors of one length, got shapes {answers.shape} and {y.shape}")
    labelled = ~np.isnan(y)
    error, y = np.abs(answers[labelled] - y[labelled]), y[labelled]
    if len(y) < 2:
        return dict.fromkeys(REGRESSION_METRICS)
    square = error * error
    mse = float(square.mean())
    rmse, spread = math.sqrt(mse), (y - y.mean()) ** 2
    variance = float(spread.mean()) if y.min() < y.max() else 0.0  # the rounded mean may differ from equal y
    influence = (mse * (spread / variance) - square) / variance if variance else None
    return {
        "mae": _student(float(error.mean()), error, low=0.0),
        "rmse": _student(rmse, square / (2 * rmse) if rmse else square, low=0.0),
        "r2": None if influence is None else _student(1 - mse / variance, influence, high=1.0),
    }


def metric_differences(
    before: Mapping[str, Interval | None], after: Mapping[str, Interval | None]
) -> dict[str, Interval | None]:
    """Return the difference after - before of each metric; None where one of them is None."""
    return {
        name: None if (a := before.get(name)) is None or b is None else interval_difference(a, b)
        for name, b in after.items()
    }


def interval_difference(before: Interval, after: Interval) -> Interval:
    """Return the difference after - before of two independent estimates with its 90 % interval.

    For after - before = d, the limits are d - sqrt((b - b_low)² + (a_high - a)²) and
    d + sqrt((b_high - b)² + (a - a_low)²), where a is before and b is after. For shares with Wilson's limits
    this is Newcombe's interval, for symmetric intervals the usual one of a difference.

    Source: G. Y. Zou, A. Donner, "Construction of confidence limits about effect measures: a general
    approach", Statistics in Medicine 27 (2008).

    >>> change = interval_difference(Interval(0.9, 0.87, 0.93), Interval(0.8, 0.76, 0.84))
    >>> round(change.value, 3), round(change.low, 3), round(change.high, 3)
    (-0.1, -0.15, -0.05)
    """
    value = after.value - before.value
    low = value - math.hypot(after.value - after.low, before.high - before.value)
    high = value + math.hypot(after.high - after.value, before.value - before.low)
    return Interval(value, low, high)


def _student(value: float, influence: Vector, *, low: float = -math.inf, high: float = math.inf) -> Interval:
    """Return value ± t s / sqrt(n), where s² is the variance of the influence function, within bounds."""
    n = len(influence)
    import scipy  # takes long to import

    half = float(scipy.special.stdtrit(n - 1, 1 - TAIL)) * float(influence.std(ddof=1)) / math.sqrt(n)
    return Interval(value, min(value, max(low, value - half)), max(value, min(high, value + half)))


def _effective_wilson(value: float, variance: float, rows: int) -> Interval:
    """Return Wilson's interval of the number of rows that gives a share this variance.

    Args:
        value: estimate between 0 and 1.
        variance: its variance.
        rows: number of rows if the variance is 0.
    """
    effective = value * (1 - value) / variance if variance > 0 and 0 < value < 1 else rows
    low, high = wilson_limits(value, effective, NORMAL_95)
    return Interval(value, min(low, value), max(high, value))


def _mean_share(hits: Counts, rows: Counts, used: NDArray[np.bool_]) -> Interval | None:
    """Return the mean share of hits of the used classes, 0 for one without rows; None without used classes.

    The shares of different classes are independent, given their numbers of rows.
    """
    k = int(np.count_nonzero(used))
    if not k:
        return None
    counts = zip(hits[used].tolist(), rows[used].tolist(), strict=True)
    shares = [wilson(hit, n) for hit, n in counts if n]
    value = sum(share.value for share in shares) / k
    below = math.sqrt(sum((share.value - share.low) ** 2 for share in shares)) / k
    above = math.sqrt(sum((share.high - share.value) ** 2 for share in shares)) / k
    return Interval(value, max(0.0, value - below), min(1.0, value + above))


def _f1(answers: NDArray[np.intp], truth: NDArray[np.intp], classes: int) -> Interval | None:
    """Return the macro F1 score; F1 of a class is a ratio of means, 2 hits / (labels + predictions)."""
    n, known = len(truth), truth != UNKNOWN_CLASS
    if not known.any():
        return None
    labels = np.bincount(truth[known], minlength=classes)
    sizes = labels + np.bincount(answers, minlength=classes)
    right = answers == truth
    used = sizes > 0
    scores = 2 * np.bincount(answers[right], minlength=classes) / np.where(used, sizes, 1)
    value = float(scores[used].mean())
    # influence of a row: 2 if it is a hit, less the score of each class that it counts for, over their sizes
    weight = n / np.where(used, sizes, 1) / np.count_nonzero(used)
    influence = weight[answers] * (2.0 * right - scores[answers])
    influence[known] -= (weight * scores)[truth[known]]
    return _effective_wilson(value, float(np.mean(influence**2)) / n, n)


def _log_loss(matrix: Vector, truth: NDArray[np.intp]) -> Interval | None:
    if len(truth) < 2:
        return None
    smallest = float(np.finfo(np.float64).eps)
    sums = matrix.sum(axis=1)
    own = matrix[np.arange(len(truth)), truth] / np.where(sums > 0, sums, 1.0)
    loss = -np.log(np.clip(own, smallest, 1 - smallest))
    return _student(float(loss.mean()), loss, low=0.0)


def _roc_auc(matrix: Vector, truth: NDArray[np.intp]) -> Interval | None:
    """Return the area under the ROC curve; of more than two classes, the mean of one against the others.

    The area is the mean over positive rows of the share of negative rows with a smaller probability (half of
    those with the same), its placement value; and the same the other way round. The influence of a row is its
    placement value less the area, over the share of its side. With two classes the variance is DeLong's.
    """
    n, classes = matrix.shape
    rows = np.bincount(truth, minlength=classes)
    if classes < 2 or rows.min() < 2:
        return None
    tested = (1,) if classes == 2 else range(classes)
    areas, influence = [], np.zeros(n)
    for k in tested:
        positive = truth == k
        up, down = matrix[positive, k], matrix[~positive, k]
        above, below = _share_below(up, down), 1 - _share_below(down, up)
        area = float(above.mean())
        influence[positive] += (above - area) * (n / len(up))
        influence[~positive] += (below - area) * (n / len(down))
        areas.append(area)
    value, influence = sum(areas) / len(areas), influence / len(areas)
    means = np.bincount(truth, weights=influence, minlength=classes) / rows
    within = np.bincount(truth, weights=(influence - means[truth]) ** 2, minlength=classes)
    variance = float((within * rows / (rows - 1) + rows * means**2).sum()) / n**2
    return _effective_wilson(value, variance, int(rows.min()))


def _share_below(values: Vector, others: Vector) -> Vector:
    """Return for each value the share of others below it, and half of those equal to it."""
    ordered = np.sort(others)
    both = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    return np.asarray(both / (2 * len(others)))
