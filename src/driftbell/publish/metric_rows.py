"""Rows of the metrics table: one for each period and measure, so that new columns change no schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from math import isfinite
from pathlib import PurePath
from typing import Any, NamedTuple

from driftbell.records import ColumnStats, Interval, Kind, Period
from driftbell.records.periods import QUANTILES

SMALLEST_NORMAL = 2.3e-308
"""Smaller values become 0: PostgreSQL refuses them."""


class MetricRow(NamedTuple):
    """One measure of one period.

    Attributes:
        source: model, or table of a backtest.
        start: start of the period (UTC).
        end: its end, exclusive.
        rows: number of rows in the period.
        verdict: verdict of the period.
        complete: whether the period was over.
        column_name: the column; "" for measures of the whole period.
        metric: the measure.
        value: its value; None if it cannot be computed.
        low: lower end of the 90 % interval; None without one.
        high: its upper end.
    """

    source: str
    start: datetime
    end: datetime
    rows: int
    verdict: str
    complete: bool
    column_name: str
    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None


def metric_rows(
    source: str, periods: Sequence[Period], reference: Mapping[str, Interval] | None = None
) -> list[MetricRow]:
    """Return the measures of periods, each in every period, so that quiet ones are gaps in a chart.

    The whole period has `rows`, `labelled`, `score`, `needs_labels` (0 or 1), `drifted_columns`, and each
    metric of performance as `estimated_…`, `realized_…` and `reference_…`. A column has `distance`,
    `p_value`, `drifted` (0 or 1), `null_share` and `unreadable`; a numeric one also `mean`, `q05`, `q25`,
    `q50`, `q75` and `q95`.

    Args:
        source: name of the model or table.
        periods: the periods.
        reference: metrics on the reference.
    """
    reference = reference or {}
    estimated = sorted({name for period in periods for name in period.estimated})
    realized = sorted({name for period in periods for name in period.realized})
    measures = [
        *((f"estimated_{name}", "estimated", name) for name in estimated),
        *((f"realized_{name}", "realized", name) for name in realized),
    ]
    rows: list[MetricRow] = []
    for period in periods:
        head = (
            source,
            period.start,
            period.end,
            period.rows,
            period.verdict.value,
            period.complete,
        )
        for name, value in _totals(period):
            rows.append(MetricRow(*head, "", name, _number(value)))
        for name, side, metric in measures:
            rows.append(MetricRow(*head, "", name, *_interval(getattr(period, side).get(metric))))
        for name, interval in reference.items():
            rows.append(MetricRow(*head, "", f"reference_{name}", *_interval(interval)))
        for column in period.columns:
            for name, value in _column(column, judged=bool(period.rows)):
                rows.append(MetricRow(*head, _text(column.column), name, _number(value)))
    return rows


def source_name(table: str) -> str:
    """Return the name of a table in the metrics: of a file without its folder, of a pattern as it is.

    >>> source_name("data/june.csv"), source_name("data/june/*.csv"), source_name("sqlite:///data/log.db")
    ('june.csv', 'data/june/*.csv', 'log.db')
    """
    return table if set(table) & set("*?[") else PurePath(table).name


def _totals(period: Period) -> Iterator[tuple[str, float | None]]:
    yield "rows", period.rows
    yield "labelled", period.labelled
    yield "score", period.score
    yield "needs_labels", None if period.needs_labels is None else float(period.needs_labels)
    compared = [column for column in period.columns if column.p_value is not None]
    yield "drifted_columns", sum(column.drifted for column in compared) if compared else None


def _column(column: ColumnStats, *, judged: bool) -> Iterator[tuple[str, float | None]]:
    yield "distance", column.distance
    yield "p_value", column.p_value
    yield "drifted", float(column.drifted) if column.p_value is not None else None
    yield "null_share", column.null_share
    yield "unreadable", column.unreadable if judged else None
    if column.kind is Kind.NUMERIC:
        yield "mean", column.mean
        values: Sequence[float | None] = column.quantiles or [None] * len(QUANTILES)
        for share, value in zip(QUANTILES, values, strict=True):
            yield f"q{round(100 * share):02}", value


def _interval(interval: Interval | None) -> tuple[float | None, float | None, float | None]:
    if interval is None:
        return None, None, None
    return _number(interval.value), _number(interval.low), _number(interval.high)


def _number(value: Any) -> float | None:
    if value is None or not isfinite(value):
        return None
    return float(value) if abs(value) >= SMALLEST_NORMAL else 0.0


def _text(name: str) -> str:
    """Return a name that every database can store."""
    return name.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
