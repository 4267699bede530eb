"""Checks of a backtest, computed on demand, with the facts that they share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from driftbell.phrases import count_of
from driftbell.records import ColumnStats, Interval, Period, Verdict
from driftbell.simulation.backtest_windows import Moment


@dataclass(frozen=True, slots=True)
class BacktestCheck:
    """One check of a backtest.

    Attributes:
        index: index of the check, from 0.
        rows: number of rows in the period; of a window by rows, the number of new rows.
        verdict: the verdict that a user would have seen; see `Judgement`.
        score: evidence of degradation in units of its decision threshold; an alarm opens at 1.
        evidence: score by source of evidence.
        columns: suspect columns of an alarm, of a warning about the performance, and where only labels tell;
            otherwise the drifted columns.
        estimated_loss: estimated loss of the metric of the alarms (0.03 of accuracy is three points), or
            increase of an error or a cost; None if it cannot be estimated.
        interval: 90 % interval of the estimated loss.
        sentence: the reason of the verdict.
        reference_score: the metric of the alarms on the reference; None with fewer than 20 labels there.
        notes: contradictions between predictions, labels and probabilities of the tables.
        reference_metric: name of the metric of the alarms, such as `accuracy`; "" without predictions.
        start: start of the period (UTC); of a window by rows, the time or number of its first row.
        end: end of the period, exclusive; of a window by rows, the time of its last row, or the number of
            the row after it.
        complete: whether the period was over when the backtest ran.
        labelled: number of rows of the window with a label, whenever it arrives.
        estimated: the metric of the alarms, such as `accuracy` or `mae`, of the new rows, estimated without
            labels; empty if it cannot be estimated. Windows of fewer than 50 rows are collected for it.
        realized: each metric of the window's rows with a label; see `driftbell.stats.metrics`.
        change_point: time or row of the change behind an open alarm, and its 90 % interval; None without.
        needs_labels: whether the check cannot tell whether the model performs worse, and only labels do.
        column_stats: each column of the period; of windows of fewer than 500 rows, in the last 500 rows.
    """

    index: int
    rows: int
    verdict: Verdict
    score: float
    evidence: Mapping[str, float]
    columns: tuple[str, ...]
    estimated_loss: float | None
    interval: tuple[float, float] | None
    sentence: str
    reference_score: float | None = None
    notes: tuple[str, ...] = ()
    reference_metric: str = "accuracy"
    start: Moment = 0
    end: Moment = 0
    complete: bool = True
    labelled: int = 0
    estimated: Mapping[str, Interval] = field(default_factory=dict)
    realized: Mapping[str, Interval] = field(default_factory=dict)
    change_point: tuple[Moment, Moment, Moment] | None = None
    needs_labels: bool = False
    column_stats: tuple[ColumnStats, ...] = ()

    def to_json(self) -> str:
        """Return the check as a JSON object in one line; times are ISO 8601."""
        return json.dumps(asdict(self), ensure_ascii=False, allow_nan=False, default=_json_value)

    def period(self) -> Period | None:
        """Return the statistics of the check's period; None of a window by rows."""
        if not isinstance(self.start, datetime) or not isinstance(self.end, datetime):
            return None
        return Period(
            self.start,
            self.end,
            self.rows,
            self.labelled,
            self.verdict,
            self.complete,
            self.score,
            self.estimated,
            self.realized,
            self.column_stats,
            self.needs_labels,
        )


def _json_value(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@dataclass(frozen=True, slots=True)
class BacktestReference:
    """The reference of a backtest.

    Attributes:
        rows: number of rows.
        metric: metric of the alarms, such as `accuracy` or `mae`; "" without predictions.
        metrics: each metric on the reference's rows with a label; empty with fewer than 20.
        smallest_loss: smallest relevant loss: the threshold of performance is this far from the reference's.
        columns: mean, quantiles and nulls of each column.
    """

    rows: int
    metric: str
    metrics: Mapping[str, Interval]
    smallest_loss: float
    columns: tuple[ColumnStats, ...]


class Backtest:
    """A backtest: iterate over its checks; each is computed once, when it is needed.

    Args:
        start: returns an iterator that computes the checks on demand, from the first.
        reference: the reference.
        count: number of checks.
        every: length of the periods; None for windows by rows.
    """

    def __init__(
        self,
        start: Callable[[], Iterator[BacktestCheck]],
        reference: BacktestReference,
        *,
        count: int,
        every: timedelta | None = None,
    ) -> None:
        self.reference = reference
        self.every = every
        self._start = start
        self._remaining = start()
        self._checks: list[BacktestCheck] = []
        self._count = count

    def __iter__(self) -> Iterator[BacktestCheck]:
        """Yield the checks in order."""
        for index in range(self._count):
            while index >= len(self._checks):
                self._checks.append(self._compute())
            yield self._checks[index]

    def _compute(self) -> BacktestCheck:
        """Return the next check; after an interruption, the earlier ones are computed again."""
        try:
            return next(self._remaining)
        except BaseException:
            self._remaining = islice(self._start(), len(self._checks), None)
            raise

    def __len__(self) -> int:
        """Return the number of checks."""
        return self._count

    @property
    def checks(self) -> list[BacktestCheck]:
        """All checks."""
        return list(self)

    def to_html(self) -> str:
        """Return a page with performance and drift over time, alarms and checks; without scripts or links.

        Raises:
            ReportError: the smallest possible page is too large.
        """
        from driftbell.publish.backtest_report import backtest_report

        return backtest_report(self)

    def plot(self) -> Any:
        """Draw performance and drift over time, alarms and change points, with Matplotlib.

        Returns:
            A `matplotlib.figure.Figure`: the axes of performance, then those of the heat map.

        Raises:
            MissingExtraError: Matplotlib is not installed.
        """
        from driftbell.publish.backtest_plot import backtest_figure

        return backtest_figure(self)

    def __repr__(self) -> str:
        """Return the number of checks, without computing any."""
        computed = f"{len(self._checks):,} of {count_of(self._count, 'check')} computed"
        return f"<Backtest: {computed}>"

    def _repr_html_(self) -> str:
        from driftbell.publish.backtest_report import backtest_notebook

        return backtest_notebook(self)
