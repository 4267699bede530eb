"""Score of a model on its reference, beside that of a constant answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftbell.records import Column, Interval, Outputs
from driftbell.stats.metrics import classification_metrics, regression_metrics

UNKNOWN_CLASS = -1


@dataclass(frozen=True, slots=True)
class MetricScore:
    """One metric of a model on its reference.

    Attributes:
        name: the metric, such as `accuracy` or `mae`.
        value: that of the model.
        baseline: that of the constant answer.
    """

    name: str
    value: float
    baseline: float


@dataclass(frozen=True, slots=True)
class Score:
    """Metrics of a model on its reference.

    Attributes:
        rows: number of labelled rows.
        constant: the constant answer of the baseline: the most frequent class, or the median of the labels.
        metrics: the metrics.
    """

    rows: int
    constant: str | float
    metrics: tuple[MetricScore, ...]


def classification_score(outputs: Outputs, labels: Column, classes: tuple[str, ...]) -> Score:
    """Return accuracy and balanced accuracy.

    Args:
        outputs: answers on n rows.
        labels: classes or other texts, with None for null, n rows.
        classes: classes of the model by id.
    """
    ids = {name: i for i, name in enumerate(classes)}
    truth = np.array([np.nan if v is None else ids.get(v, UNKNOWN_CLASS) for v in labels.tolist()])
    present = labels[~np.isnan(truth)]
    names, counts = np.unique(present.astype(str), return_counts=True)
    known = sum(name in ids for name in names.tolist())
    values = classification_metrics(outputs.values, truth, None, len(classes))
    baselines = {"accuracy": counts.max() / len(present), "balanced_accuracy": 1 / max(1, known)}
    return Score(len(present), str(names[counts.argmax()]), _scores(values, baselines))


def regression_score(outputs: Outputs, labels: Column) -> Score:
    """Return the mean absolute error and R².

    Args:
        outputs: answers on n rows.
        labels: numbers, with NaN for null, n rows.
    """
    present = labels[~np.isnan(labels)]
    median = float(np.median(present))
    constant = regression_metrics(np.full(len(labels), median), labels)
    baselines = {name: i.value for name in ("mae", "r2") if (i := constant[name]) is not None}
    return Score(len(present), median, _scores(regression_metrics(outputs.values, labels), baselines))


def _scores(values: dict[str, Interval | None], baselines: dict[str, float]) -> tuple[MetricScore, ...]:
    return tuple(
        MetricScore(name, interval.value, float(baseline))
        for name, baseline in baselines.items()
        if (interval := values[name]) is not None
    )
