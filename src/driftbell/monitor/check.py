"""One check: from the window to the verdict, the reports, the alarm and the notification."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec
import structlog

from driftbell.alarms.notifications import NotificationRules
from driftbell.alarms.refused_rows import MAX_SHARE, with_refused
from driftbell.alarms.verdict import combine, without_alarm
from driftbell.degradation.rows_to_label import most_to_label
from driftbell.drift.judge import PREDICTIONS, SMALLEST_EFFECT, judge, persistent_columns, update_persistence
from driftbell.drift.limits import apply_limits
from driftbell.error_capture import ErrorCapture
from driftbell.errors import StoreError
from driftbell.monitor.baseline_labels import BaselineLabels
from driftbell.monitor.check_changes import alarm_of, notification_of
from driftbell.monitor.check_log import log_check
from driftbell.monitor.check_reports import write_reports
from driftbell.monitor.compare_window import Compared, WindowComparer
from driftbell.monitor.daily_cost import with_daily_cost
from driftbell.monitor.failed_check import CHECK_FAILED, DETECTOR_FAILED, describe_error
from driftbell.monitor.model_metrics import MetricsReader, with_realized, with_unlabelled
from driftbell.monitor.refused_rows import refused_rows
from driftbell.monitor.state import (
    MIN_BASELINE_ROWS,
    ActiveBaseline,
    CarriedState,
    apply_annotations,
    baseline_reference,
    for_logged_values,
    for_reference,
    settle_baseline,
    with_warnings,
)
from driftbell.monitor.target_drift import target_drift
from driftbell.monitor.window import window_columns
from driftbell.ports import DegradationDetector, Model, Sink, Store
from driftbell.publish.report_folder import ReportFolder
from driftbell.records import (
    Baseline,
    Check,
    CheckKind,
    CheckState,
    Column,
    Degradation,
    EvidenceState,
    Judgement,
    Lease,
    Limit,
    Reference,
    RefusedCount,
    RefusedRows,
    Task,
    Verdict,
    Window,
)
from driftbell.records.versions import VersionRole

MAX_ROWS = 10_000
"""Largest number of predictions, and of labels, that one check counts; also of a baseline."""

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """A check and its data.

    Attributes:
        check: the check with its verdict.
        columns: the window as a table.
        reference: the baseline of the comparison.
    """

    check: Check
    columns: Mapping[str, Column]
    reference: Reference


@dataclass(frozen=True, slots=True)
class _Findings:
    """Results of a check before it becomes a record."""

    judgement: Judgement
    state: CheckState
    reference: Reference
    columns: Mapping[str, Column] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class Checker:
    """Checker of one model version: reads the window, judges it and saves the result.

    Attributes:
        store: store of predictions and checks.
        model: the served model.
        reference: reference of the model.
        folder: folder of the reports.
        sinks: report formats by file name prefix, the main one first.
        window_rows: number of newest predictions in a window.
        minimum_rows: with fewer predictions the verdict is unknown.
        false_discovery_rate: see `judge`.
        clock: returns the time (UTC).
        notifies: which changes are notified; None if notifications are off.
        strong: see `judge`.
        smallest_effect: see `judge`.
        limits: the user's own fixed limits.
        detector: degradation detector; None if degradation is not monitored.
        detector_settings: budget, smallest loss and interval that the detector was fitted for, as a text.
        metrics: measures the performance with labels, also by the metric of the alarms.
        warnings: problems of the model or its reference.
        refused_share: a larger share of refused rows since the last check is a warning.
        logged: what the log keeps of features, see `LoggedValues.id`; "" for everything.
        comparer: compares windows with the reference.
    """

    store: Store
    model: Model
    reference: Reference
    folder: ReportFolder
    sinks: Mapping[str, Sink]
    window_rows: int
    minimum_rows: int
    false_discovery_rate: float
    clock: Callable[[], datetime]
    notifies: NotificationRules | None = None
    strong: float | None = None
    smallest_effect: float | Mapping[str, float] = SMALLEST_EFFECT
    limits: tuple[Limit, ...] = ()
    detector: DegradationDetector | None = None
    detector_settings: str = ""
    warnings: tuple[str, ...] = ()
    refused_share: float = MAX_SHARE
    logged: str = ""
    comparer: WindowComparer = field(default_factory=WindowComparer, repr=False, compare=False)
    metrics: MetricsReader = field(default_factory=MetricsReader, repr=False, compare=False)
    _labels: BaselineLabels = field(default_factory=BaselineLabels, init=False, repr=False, compare=False)
    _baselines: dict[Baseline, ActiveBaseline] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __call__(
        self, kind: CheckKind, occasion: str, lease: Lease, role: VersionRole = VersionRole.CHAMPION
    ) -> Check:
        """Run one check and save it, with its notification and alarm.

        A check that crashes is saved as `unknown` with its error; a report that cannot be written does not
        change the verdict.

        Args:
            kind: reason of the check.
            occasion: the scheduled time, or the request that it answers; part of the check's identity.
            lease: proves the right to save it.
            role: only the champion's report becomes the latest one; a replaced version has no report, and
                raises no alarm.

        Raises:
            StoreError: the store cannot be read or written.
            LeaseLostError: another monitor has taken over.
        """
        started, now = time.perf_counter(), self.clock()  # the window contains every earlier prediction
        carried, window = CarriedState(), Window()
        findings = _Findings(CHECK_FAILED, carried.state, self.reference)
        refused: RefusedRows | None = None
        with ErrorCapture(StoreError) as captured:  # any data may cause an error
            carried = self._carried()
            findings = replace(findings, state=carried.state)
            window = self._window(carried.state.since)
            refused, counted = self._refused_rows(carried, window, now)
            findings = replace(findings, state=msgspec.structs.replace(carried.state, counted=counted))
            findings = self._examine(replace(carried, state=findings.state), window, occasion, lease)
        if captured.error:
            check_id = self._identity(carried, window, occasion)
            logger.error("drift check failed", check_id=check_id, exc_info=captured.error)
            findings = replace(findings, error=describe_error(captured.error))
        findings = replace(findings, judgement=with_refused(findings.judgement, refused))
        check = self._record(carried, window, findings, kind, occasion, now)
        serves = role is not VersionRole.REPLACED
        if serves and findings.columns and check.rows >= self.minimum_rows:
            check = write_reports(
                check,
                findings.reference,
                findings.columns,
                self.sinks,
                folder=self.folder,
                store=self.store,
                is_latest=role is VersionRole.CHAMPION,
            )
        check = replace(check, duration=time.perf_counter() - started)
        if serves:
            notification = notification_of(check, self.store, self.notifies)
            self.store.checks.save(check, lease, notification, alarm_of(check, self.store))
        else:
            check = replace(check, judgement=without_alarm(check.judgement))
            self.store.checks.save(check, lease)
        log_check(check)
        return check

    def preview(self) -> CheckOutcome:
        """Judge the current window without saving or reporting anything.

        Raises:
            StoreError: the store cannot be read.
        """
        carried, now = self._carried(), self.clock()
        window = self._window(carried.state.since)
        refused, _ = self._refused_rows(carried, window, now)
        findings = self._examine(carried, window, "")
        findings = replace(findings, judgement=with_refused(findings.judgement, refused))
        check = self._record(carried, window, findings, CheckKind.MANUAL, "", now)
        return CheckOutcome(check, findings.columns, findings.reference)

    @property
    def _served(self) -> dict[str, Any]:
        return {"model": self.model.name, "version": self.model.version}

    @property
    def _baseline_rows(self) -> int:
        return max(self.minimum_rows, min(MIN_BASELINE_ROWS, self.window_rows))

    def _window(self, since: int) -> Window:
        window = self.store.predictions.window(self.window_rows, **self._served)
        return self._after(since, self.window_rows) if window.first <= since else window

    def _carried(self) -> CarriedState:
        """Read the state of the newest check, and apply the annotations since."""
        newest = next(iter(self.store.checks.newest(1, version=self.model.version)), None)
        carried = CarriedState(newest.state if newest else CheckState(logged=self.logged))
        carried = replace(carried, baseline=newest.baseline if newest else None)
        carried = for_logged_values(carried, self.logged, lambda: self._window(0).last)
        carried = for_reference(carried, f"{self.reference.version} {self.metrics.metric.id}".strip())
        decided = self.store.alarms.annotated_after(carried.state.annotated, **self._served)
        carried = apply_annotations(carried, decided)
        if carried.baseline and not carried.baseline.last:
            window = self._after(carried.baseline.first - 1)
            if len(window.predictions) >= self._baseline_rows:
                carried = settle_baseline(carried, window)
        return with_warnings(carried, self.warnings, self._window, self.window_rows)

    def _after(self, seq: int, limit: int = MAX_ROWS, last: int | None = None) -> Window:
        return self.store.predictions.after(seq, limit, last=last, **self._served)

    def _examine(
        self, carried: CarriedState, window: Window, occasion: str, lease: Lease | None = None
    ) -> _Findings:
        active = self._active(carried.baseline)
        columns = window_columns(window, self.model, active.reference)
        if active.waiting:
            judgement = apply_limits(Judgement(Verdict.UNKNOWN, active.waiting), self.limits, rows=0)
            return _Findings(judgement, carried.state, active.reference, columns)
        drift = self._judge(carried, window, columns, active.reference, lease)
        persistence = update_persistence(
            carried.state.drift,
            drift,
            last=window.last,
            false_discovery_rate=self.false_discovery_rate,
        )
        evidence, error = carried.state.evidence, ""
        degradation: Degradation | None = DETECTOR_FAILED
        with ErrorCapture(StoreError) as captured:  # the drift verdict and the evidence must still be saved
            evidence, degradation = self._degradation(evidence, active.detector, window.last)
        if captured.error:
            check_id = self._identity(carried, window, occasion)
            logger.error("drift check failed", check_id=check_id, exc_info=captured.error)
            error = describe_error(captured.error)
        target = target_drift(
            self.store.labels,
            window,
            self.reference,
            carried.baseline,
            classes=self.model.classes,
            minimum_rows=self.minimum_rows,
            is_regression=self.model.task is Task.REGRESSION,
            **self._served,
        )
        metrics = self.metrics(
            self.store, self.model, self.reference, carried.baseline, window, min(self.window_rows, MAX_ROWS)
        )
        degradation = with_realized(degradation, metrics, self.metrics.deciding(self.model))
        degradation = with_unlabelled(degradation, metrics, min(len(window.predictions), MAX_ROWS))
        drift = replace(drift, target_drift=target, metrics=metrics)
        state = msgspec.structs.replace(carried.state, drift=persistence, evidence=evidence)
        return _Findings(combine(drift, degradation), state, active.reference, columns, error)

    def _refused_rows(
        self, carried: CarriedState, window: Window, now: datetime
    ) -> tuple[RefusedRows | None, RefusedCount]:
        counted = carried.state.counted
        return refused_rows(self.store, counted, window, now, self.refused_share, **self._served)

    def _judge(
        self,
        carried: CarriedState,
        window: Window,
        columns: Mapping[str, Column],
        reference: Reference,
        lease: Lease | None,
    ) -> Judgement:
        compared = Compared((), len(window.predictions), window.first)
        if compared.rows >= self.minimum_rows:
            after = max(carried.state.since, carried.baseline.last if carried.baseline else 0)
            compared = self.comparer(window, columns, reference, now=self.clock(), after=after, lease=lease)
        judgement = judge(
            compared.comparisons,
            rows=compared.rows,
            minimum_rows=self.minimum_rows,
            false_discovery_rate=self.false_discovery_rate,
            strong=self.strong,
            persistent=persistent_columns(carried.state.drift, compared.first),
            unit=PREDICTIONS,
            smallest_effect=self.smallest_effect,
        )
        return compared.complete(apply_limits(judgement, self.limits, rows=compared.rows))

    def _active(self, baseline: Baseline | None) -> ActiveBaseline:
        if baseline is None:
            return ActiveBaseline(self.reference, self.detector)
        if not baseline.last:
            rows = len(self._after(baseline.first - 1, self._baseline_rows).predictions)
            waiting = (
                f"Cannot judge: the new baseline needs {self._baseline_rows} predictions since the accepted "
                f"change, has {rows}."
            )
            return ActiveBaseline(self.reference, None, waiting)
        labels = self._labels(self.store, baseline, **self._served)
        if baseline not in self._baselines or self._baselines[baseline].labels != labels:
            window = self._after(baseline.first - 1, last=baseline.last)
            columns = window_columns(window, self.model, self.reference)
            reference = baseline_reference(self.reference, columns, baseline)
            detector = self.detector.with_baseline(window, labels) if self.detector else None
            self._baselines.clear()
            self._baselines[baseline] = ActiveBaseline(reference, detector, labels=labels)
        return self._baselines[baseline]

    def _degradation(
        self, evidence: EvidenceState, detector: DegradationDetector | None, last: int
    ) -> tuple[EvidenceState, Degradation | None]:
        """Count the predictions up to the last one of the window: later ones are those of the next check."""
        if detector is None:
            return evidence, None
        labels = self.store.labels.after(evidence.label_seq, MAX_ROWS, **self._served)
        evidence, degradation = detector.advance(evidence, self._after(evidence.seq, last=last), labels)
        if degradation.to_label:  # those that have a label say no more
            known = self.store.labels.labelled(degradation.to_label)
            left = tuple(i for i in degradation.to_label if i not in known)
            degradation = replace(degradation, to_label=left[: most_to_label(evidence.suspicion)])
        return evidence, with_daily_cost(degradation, self.store, self.clock(), **self._served)

    def _record(
        self,
        carried: CarriedState,
        window: Window,
        findings: _Findings,
        kind: CheckKind,
        occasion: str,
        now: datetime,
    ) -> Check:
        return Check(
            id=self._identity(carried, window, occasion),
            time=now,
            kind=kind,
            model=self.model.name,
            version=self.model.version,
            reference=findings.reference.version,
            rows=len(window.predictions),
            first=window.first,
            last=window.last,
            judgement=findings.judgement,
            error=findings.error,
            baseline=carried.baseline,
            state=findings.state,
            occasion=occasion,
        )

    def _identity(self, carried: CarriedState, window: Window, occasion: str) -> str:
        content = [
            self.model.name,
            self.model.version,
            [self.reference.version, carried.baseline and asdict(carried.baseline)],
            [window.first, window.last, len(window.predictions)],
            [self.window_rows, self.minimum_rows, self.false_discovery_rate, self.detector_settings],
            self.smallest_effect,
            *([self.logged] if self.logged else []),
            *map(asdict, self.limits),
            *([self.comparer.period.period.days] if self.comparer.period else []),
            occasion,
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
