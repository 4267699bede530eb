"""Statistics of a period: performance of the model, and each column beside the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from driftbell.records.data import Kind
from driftbell.records.degradation import Interval
from driftbell.records.verdict import Verdict

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles of numeric columns."""


@dataclass(frozen=True, slots=True)
class ColumnStats:
    """One column in some rows, beside the reference.

    Attributes:
        column: its name.
        role: `feature`, `prediction` or `probability`.
        kind: kind of its values.
        verdict: `warning` if it drifted, `unknown` if it was not compared, else `ok`.
        drifted: whether it is listed as drifted.
        distance: size of the largest change as a share of the rows, from 0 to 1: Kolmogorov–Smirnov distance,
            total variation distance, or difference of two shares; None if it was not compared.
        p_value: p-value adjusted for all columns; None if it was not compared.
        null_share: share of nulls, without unreadable cells; None without rows.
        unreadable: number of cells that are not of the column's kind.
        mean: of the finite numbers; None for other kinds, and without numbers.
        quantiles: 5, 25, 50, 75 and 95 % quantile of the finite numbers; None as for the mean.
    """

    column: str
    role: str
    kind: Kind
    verdict: Verdict = Verdict.UNKNOWN
    drifted: bool = False
    distance: float | None = None
    p_value: float | None = None
    null_share: float | None = None
    unreadable: int = 0
    mean: float | None = None
    quantiles: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Period:
    """Statistics of one period of the calendar.

    Attributes:
        start: start of the period (UTC).
        end: its end, exclusive.
        rows: number of rows in it.
        labelled: number of rows with a label.
        verdict: verdict of the period; `unknown` with too few rows.
        complete: whether the period was over when it was computed.
        score: evidence of degradation in units of its decision threshold; None if it is not monitored.
        estimated: performance estimated without labels, by metric.
        realized: performance on the labels of the period's rows, by metric.
        columns: each column of the reference.
        needs_labels: whether nothing but labels shows if the model performs worse; None if it was not judged.
    """

    start: datetime
    end: datetime
    rows: int
    labelled: int
    verdict: Verdict
    complete: bool
    score: float | None = None
    estimated: Mapping[str, Interval] = field(default_factory=dict)
    realized: Mapping[str, Interval] = field(default_factory=dict)
    columns: tuple[ColumnStats, ...] = ()
    needs_labels: bool | None = None
