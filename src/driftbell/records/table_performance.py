"""Performance of a model on two tables."""

from __future__ import annotations

from dataclasses import dataclass

from driftbell.records.degradation import Interval


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """One metric on the reference and on the current table, each with its 90 % interval.

    Attributes:
        name: `accuracy`, `balanced_accuracy`, `precision`, `recall`, `f1`, `log_loss` or `roc_auc`; or `mae`,
            `rmse` or `r2`.
        reference: on the reference; None if it cannot be computed.
        current: on the current table; None if it cannot be computed.
        change: current - reference; None if one of them is None.
    """

    name: str
    reference: Interval | None
    current: Interval | None
    change: Interval | None


@dataclass(frozen=True, slots=True)
class TablePerformance:
    """Performance of a model on a reference and on a current table, measured with labels.

    Attributes:
        task: `classification` or `regression`.
        metrics: every metric, the one that decides first.
        labelled: number of labels in the reference and in the current table.
        loss: loss of accuracy, or increase of the mean absolute error; None without labels on both sides.
        smallest_loss: smallest loss that raises an alarm; None if it is not known, without labels in the
            reference of a regression.
        p_value: of the hypothesis that there is no loss; None without labels on both sides.
        threshold: an alarm needs at most this p-value.
        notes: contradictions between predictions, labels and probabilities.
    """

    task: str
    metrics: tuple[MetricComparison, ...]
    labelled: tuple[int, int]
    loss: Interval | None = None
    smallest_loss: float | None = None
    p_value: float | None = None
    threshold: float = 0.001
    notes: tuple[str, ...] = ()
