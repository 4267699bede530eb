"""Performance metrics of labelled predictions and of the labelled rows of a reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.alarms.metric import COST, PINBALL, AlarmMetric
from driftbell.degradation.answers import Answers
from driftbell.degradation.model_columns import MIN_LABELS
from driftbell.degradation.row_losses import fit_row_loss
from driftbell.records import Column, Interval, Outputs, Prediction
from driftbell.stats.metrics import UNKNOWN_CLASS, classification_metrics, regression_metrics
from driftbell.stats.performance import mean_interval
from driftbell.tabular.outputs import output_values

DEFAULT_METRIC = AlarmMetric()


def answer_metrics(
    predicted: NDArray[Any],
    labels: NDArray[np.float64],
    probabilities: NDArray[np.float64] | None,
    classes: int,
    metric: AlarmMetric = DEFAULT_METRIC,
    names: Sequence[str] = (),
) -> dict[str, Interval]:
    """Return the metrics that can be computed, with finite intervals; see `driftbell.stats.metrics`.

    A pinball loss or a cost, which depends on settings, is a metric only if alarms are about it.

    Args:
        predicted: class ids, or numbers of a regression, shape (n,).
        labels: coded in the same way; NaN without a label, -1 for a class that is unknown to the model.
        probabilities: of each class, shape (n, classes); None without.
        classes: number of classes; 0 for a regression.
        metric: of the alarms.
        names: of the classes, for costs.
    """
    if classes:
        metrics = classification_metrics(predicted, labels, probabilities, classes)
    else:
        with np.errstate(over="ignore", invalid="ignore"):  # squares of enormous numbers
            metrics = regression_metrics(predicted, labels)
    if metric.name in (PINBALL, COST):
        answers = Answers(np.asarray(predicted, dtype=np.float64), probabilities)
        labelled = ~np.isnan(labels)
        loss = fit_row_loss(metric, answers, labels, classes, tuple(names))
        losses = loss.of_rows(labels[labelled], answers.take(labelled))
        metrics[metric.name] = mean_interval(
            len(losses), float(losses.sum()), float((losses**2).sum()), low=0.0
        )
    return {name: value for name, value in metrics.items() if value and _is_finite(value)}


def prediction_metrics(
    predictions: Sequence[Prediction],
    labels: Sequence[str],
    classes: Sequence[str],
    metric: AlarmMetric = DEFAULT_METRIC,
) -> tuple[dict[str, Interval], int]:
    """Return the metrics of labelled predictions, and the number of rows that they are measured on.

    Rows with an output that is no class of the model, or no number of a regression, are left out.

    Args:
        predictions: logged predictions, n of them.
        labels: the label of each.
        classes: the model's classes, by class id; none for a regression.
        metric: of the alarms.
    """
    predicted = output_values((p.output for p in predictions), classes)
    truth = output_values(labels, classes)
    usable = (predicted != UNKNOWN_CLASS) if classes else ~np.isnan(predicted) & ~np.isnan(truth)
    probabilities = None
    if classes and predictions and all(p.probabilities for p in predictions):
        cells = [[p.probabilities.get(name, 0.0) for name in classes] for p in predictions]
        probabilities = np.array(cells, dtype=np.float64)[usable]
        if not np.isfinite(probabilities).all():  # null in the log
            probabilities = None
    metrics = answer_metrics(predicted[usable], truth[usable], probabilities, len(classes), metric, classes)
    return metrics, int(np.count_nonzero(usable))


def reference_metrics(
    outputs: Outputs, labels: Column | None, classes: Sequence[str], metric: AlarmMetric = DEFAULT_METRIC
) -> tuple[dict[str, Interval], int]:
    """Return the metrics on a reference, and the number of its labels; none without enough labels.

    Args:
        outputs: the model's answers, n rows.
        labels: class names or numbers, null where unknown; None if no row has one.
        classes: the model's classes, by class id; none for a regression.
        metric: of the alarms.
    """
    rows = labelled_rows(labels)
    if labels is None or rows is None:
        return {}, 0
    truth = output_values(map(str, labels[rows].tolist()), classes)
    probabilities = None if outputs.probabilities is None else outputs.probabilities[rows]
    metrics = answer_metrics(
        outputs.values[rows].astype(np.float64), truth, probabilities, len(classes), metric, classes
    )
    return metrics, len(truth)


def labelled_rows(labels: Column | None) -> NDArray[np.bool_] | None:
    """Return which rows of a reference have a label; None if fewer than 20 have one among rows without.

    >>> labelled_rows(np.array(["a", "b"], dtype=object)), labelled_rows(np.array(["a", None], dtype=object))
    (array([ True,  True]), None)
    """
    if labels is None:
        return None
    rows = np.array([label is not None for label in labels.tolist()], dtype=bool)
    return rows if rows.all() or np.count_nonzero(rows) >= MIN_LABELS else None


def _is_finite(interval: Interval) -> bool:
    return all(map(math.isfinite, (interval.value, interval.low, interval.high)))
