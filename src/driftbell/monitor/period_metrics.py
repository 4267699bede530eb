"""Metrics of periods of the prediction log: performance, and each column beside the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from driftbell.alarms.metric import AlarmMetric
from driftbell.degradation.cusum import MIN_ROWS
from driftbell.degradation.detector import CusumDetector
from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.labelled_metrics import prediction_metrics, reference_metrics
from driftbell.degradation.update import update
from driftbell.drift.column_stats import column_stats
from driftbell.drift.compare import compare
from driftbell.drift.judge import judge
from driftbell.drift.logged_columns import typed_columns
from driftbell.drift.prepared import PreparedReference
from driftbell.models.reference import reference_outputs
from driftbell.monitor.window import window_columns
from driftbell.ports import Model, Store
from driftbell.records import (
    Alarm,
    ColumnStats,
    EvidenceState,
    Interval,
    Judgement,
    LabelledPrediction,
    Period,
    Reference,
    Verdict,
    Window,
)

MAX_ROWS = 50_000
"""Predictions of a period that are read; of more, every n-th."""

MAX_ALARMS = 10_000


@dataclass(frozen=True, slots=True)
class PeriodMetrics:
    """Metrics of periods of one model version.

    The verdict of a period is `alarm` if an alarm was open in it, else that of its drift: one comparison of
    its rows with the reference. The performance without labels is estimated on the period's rows, together
    with the period before, which has to confirm moved features. So a period has the same values when it is
    computed again, except for labels that arrived since.

    Attributes:
        store: store of predictions, labels and alarms.
        model: the served model.
        reference: its reference.
        prepared: the reference, prepared for comparisons.
        detector: degradation detector of the model.
        minimum_rows: see `judge`.
        false_discovery_rate: see `judge`.
        smallest_effect: see `judge`.
    """

    store: Store
    model: Model
    reference: Reference
    prepared: PreparedReference
    detector: CusumDetector
    minimum_rows: int
    false_discovery_rate: float
    smallest_effect: float | Mapping[str, float]

    @property
    def _served(self) -> dict[str, str]:
        return {"model": self.model.name, "version": self.model.version}

    @property
    def _metric(self) -> AlarmMetric:
        return self.detector.charts.learned.loss.metric

    def periods(self, start: datetime, every: timedelta, now: datetime) -> Iterator[Period]:
        """Yield the periods from a time until now, also those without predictions.

        Args:
            start: start of the first period.
            every: length of a period.
            now: the current time; a period that contains it is not complete.

        Raises:
            StoreError: the store cannot be read.
        """
        alarms = self.store.alarms.newest(MAX_ALARMS, version=self.model.version)
        before = self._read(start - every, start)[1]
        while start <= now:
            end = start + every
            count, window = self._read(start, end)
            yield self._period(start, end, now, alarms, count, window, before)
            start, before = end, window

    def reference_metrics(self) -> dict[str, Interval]:
        """Return the metrics on the reference; empty without labels."""
        classes = self.model.classes
        outputs = self.reference.out_of_sample or reference_outputs(self.reference, classes)
        return reference_metrics(outputs, self.reference.labels, classes, self._metric)[0]

    def _read(self, start: datetime, end: datetime) -> tuple[int, Window]:
        return self.store.predictions.between(start, end, MAX_ROWS, **self._served)

    def _period(
        self,
        start: datetime,
        end: datetime,
        now: datetime,
        alarms: Sequence[Alarm],
        count: int,
        window: Window,
        before: Window,
    ) -> Period:
        judgement, columns = self._compare(window, count)
        labels = self.store.labels.between(start, end, **self._served)
        estimated, needs_labels = self._estimated(before, window, labels)
        is_alarm = any(a.opened < end and (a.closed is None or a.closed > start) for a in alarms)
        return Period(
            start,
            end,
            count,
            len(labels),
            Verdict.ALARM if is_alarm else judgement.verdict,
            end <= now,
            None,
            estimated,
            self._realized(window, labels),
            columns,
            needs_labels,
        )

    def _compare(self, window: Window, count: int) -> tuple[Judgement, tuple[ColumnStats, ...]]:
        cells = typed_columns(window_columns(window, self.model, self.reference), self.prepared.decided)
        comparisons = compare(self.prepared, cells)
        judgement = judge(
            comparisons,
            rows=count,
            minimum_rows=self.minimum_rows,
            false_discovery_rate=self.false_discovery_rate,
            smallest_effect=self.smallest_effect,
        )
        decisions = {c.column: c for c in judgement.columns}
        stats = [column_stats(c, decisions.get(c.column), cells.get(c.column)) for c in comparisons]
        return judgement, tuple(
            replace(s, null_share=1.0) if window.predictions and s.column not in cells else s for s in stats
        )

    def _estimated(
        self, before: Window, window: Window, labels: Mapping[str, str]
    ) -> tuple[dict[str, Interval], bool | None]:
        """Estimate the performance of a period without labels.

        Returns:
            The performance, empty with fewer than 50 rows; and whether neither the estimate nor the labels
            tell if the model performs worse, None with fewer than 50 rows.
        """
        if len(window.predictions) < MIN_ROWS:
            return {}, None
        charts, detector = self.detector.charts, self.detector
        state, _ = update(charts, EvidenceState(), detector.rows(before), LabelRows())
        rows = detector.rows(window)
        degradation = update(charts, state, rows, LabelRows())[1]
        interval = degradation.performance.estimated if degradation.performance else None
        needs_labels = degradation.needs_labels
        if needs_labels and labels:
            arrived = [
                LabelledPrediction(p, labels[p.id], p.time, seq)
                for seq, p in enumerate(window.predictions)
                if p.id in labels
            ]
            needs_labels = update(charts, state, rows, detector.label_rows(arrived))[1].needs_labels
        return {charts.learned.loss.metric.name: interval} if interval else {}, needs_labels

    def _realized(self, window: Window, labels: Mapping[str, str]) -> dict[str, Interval]:
        """Return the metrics of the rows that have a label."""
        labelled = [p for p in window.predictions if p.id in labels]
        texts = [labels[p.id] for p in labelled]
        return prediction_metrics(labelled, texts, self.model.classes, self._metric)[0]
