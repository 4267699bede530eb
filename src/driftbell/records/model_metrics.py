"""Performance metrics of a model, measured with labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from driftbell.records.degradation import Interval


@dataclass(frozen=True, slots=True)
class ModelMetrics:
    """Performance metrics on the labels of the reference, and on the newest labelled predictions.

    The names of the metrics are `accuracy`, `precision`, `recall`, `f1`, `roc_auc` and `log_loss`, or `mae`
    and `rmse` of a regression. A metric that cannot be computed has no entry.

    Attributes:
        reference: each metric on the reference, or on the accepted baseline; empty without enough labels.
        reference_labels: number of labels behind `reference`.
        realized: each metric on the newest labelled predictions, at most as many as a window has; empty with
            fewer than 20.
        labels: number of labelled predictions behind `realized`, also if they are too few.
        in_window: number of them that are in the window of the check.
        first: time of the oldest one (UTC); None without labels.
        last: time of the newest one.
        newest_label: arrival time of the newest of their labels.
    """

    reference: dict[str, Interval] = field(default_factory=dict)
    reference_labels: int = 0
    realized: dict[str, Interval] = field(default_factory=dict)
    labels: int = 0
    in_window: int = 0
    first: datetime | None = None
    last: datetime | None = None
    newest_label: datetime | None = None
