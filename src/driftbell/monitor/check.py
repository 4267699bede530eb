"""One check, from the window to the report: the only orchestration."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from driftbell.alarms.lifecycle import alarm_after
from driftbell.alarms.notifications import notification_after, same_state
from driftbell.alarms.verdict import whole
from driftbell.drift.compare import Prepared, compare, prepare
from driftbell.drift.judge import carry, held_columns, judge
from driftbell.errors import DriftbellError, ReportError, StoreError
from driftbell.monitor import state as memory
from driftbell.monitor.state import BASE, DEGRADATION, DRIFT, Standing, State
from driftbell.ports import DegradationDetector, Model, Sink, Store
from driftbell.publish.report_folder import ReportFolder
from driftbell.records import (
    Alarm,
    Baseline,
    Check,
    CheckKind,
    Column,
    ColumnComparison,
    Degradation,
    Judgement,
    Kind,
    Lease,
    Notification,
    Reference,
    Value,
    Verdict,
    Window,
    probability_column,
)
from driftbell.tabular.columns import as_column

MOST_ROWS = 10_000
"""Predictions, and labels, that one check takes in as evidence; and the most that make a reference."""

logger = structlog.get_logger()

NEWEST_ROWS, NEWEST_PART = 50, 10
"""The newest tenth of a window is compared on its own too, but no fewer rows than these."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What a check has found.

    Attributes:
        check: the verdict, and the state for the next one.
        columns: the window as a table.
        reference: what it was compared with.
    """

    check: Check
    columns: Mapping[str, Column]
    reference: Reference


@dataclass(frozen=True, slots=True)
class Checker:
    """Everything that a check needs.

    Attributes:
        log: where predictions are read and checks are saved.
        model: whose predictions.
        reference: what they are compared with.
        folder: where reports go.
        sinks: who makes a report, by file name prefix, the main one first.
        window_rows: how many of the last predictions.
        minimum_rows: with fewer, the verdict is unknown.
        false_discovery_rate: see `judge`.
        clock: tells the time (UTC).
        cooldown: see `notification_after`; None where nobody is told.
        strong: see `judge`.
        watch: who looks for degradation; None where nobody does.
        promise: what the watch was made for (budget, smallest loss), in words.
        warnings: what is wrong with the model or its reference, in words.
    """

    log: Store
    model: Model
    reference: Reference
    folder: ReportFolder
    sinks: Mapping[str, Sink]
    window_rows: int
    minimum_rows: int
    false_discovery_rate: float
    clock: Callable[[], datetime]
    cooldown: timedelta | None = None
    strong: float | None = None
    watch: DegradationDetector | None = None
    promise: str = ""
    warnings: tuple[str, ...] = ()
    _rebased: dict[str, tuple[Reference, DegradationDetector | None]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _prepared: dict[str, Prepared] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __call__(self, kind: CheckKind, occasion: str, lease: Lease) -> Check:
        """Run one check and save it, with the notification if there is one.

        A check that crashes is saved as `unknown` with its error; a report that cannot be made leaves
        the verdict as it is.

        Args:
            kind: why it runs.
            occasion: the scheduled time or the request that it answers; part of the check's identity.
            lease: the right to save it.

        Raises:
            StoreError: the log cannot be read or written.
            LeaseLostError: another monitor has taken over.
        """
        started, now = time.perf_counter(), self.clock()  # before the window is read: it has all from before
        check = self._blank(Window(), kind, occasion, now, {})
        try:
            state = self._state()
            check = self._blank(Window(), kind, occasion, now, state)
            window = self._window()
            check = self._blank(window, kind, occasion, now, state)
            found = self._judged(check, window)
            check = found.check
            if check.rows >= self.minimum_rows:
                check = self._reported(found)
        except StoreError:
            raise
        except Exception as error:  # whatever the data did, the next check must run
            logger.exception("drift check failed", check_id=check.id)
            check = replace(check, error=_described(error))
        check = replace(check, duration=time.perf_counter() - started)
        self.log.checks.save(check, lease, self._notification(check), self._alarm(check))
        _tell(check)
        return check

    def look(self) -> Looked:
        """Judge the current window without saving or reporting anything.

        Raises:
            StoreError: the log cannot be read.
        """
        window = self._window()
        return self._judged(self._blank(window, CheckKind.MANUAL, "", self.clock(), self._state()), window)

    @property
    def _whose(self) -> dict[str, Any]:
        return {"model": self.model.name, "version": self.model.version}

    def _state(self) -> State:
        """Read what the newest check left, and what people have said since."""
        newest = next(iter(self.log.checks.newest(1, version=self.model.version)), None)
        before = dict(newest.state) if newest else {}
        if newest and newest.baseline:
            before[BASE] = asdict(newest.baseline)
        state = memory.against(before, self.reference.version)
        annotated = self.log.alarms.decided(memory.newest_annotation(state), **self._whose)
        state = {**memory.with_annotations(state, annotated), "warnings": list(self.warnings)}
        if BASE in state and not state[BASE]["last"]:
            window = self.log.predictions.after(state[BASE]["first"] - 1, MOST_ROWS, **self._whose)
            if len(window.predictions) >= self._base_rows:
                state = memory.with_base(state, window)
        return state

    def _notification(self, check: Check) -> Notification | None:
        if self.cooldown is None:
            return None
        notification = notification_after(
            check, self.log.notifications.last(**self._whose), cooldown=self.cooldown
        )
        if notification is None:
            return None
        silent = (
            self.log.alarms.silent_until(**self._whose) if notification.verdict is Verdict.ALARM else None
        )
        if silent and check.time < silent:
            return None
        since = self.log.checks.state_since(same_state(notification.verdict), **self._whose)
        return replace(notification, since=since) if since else notification

    def _alarm(self, check: Check) -> Alarm | None:
        degradation = check.judgement.degradation
        change = degradation.change_point if degradation and degradation.verdict is Verdict.ALARM else None
        first = self.log.predictions.first_since(change.time, **self._whose) if change else None
        current = self.log.alarms.current(**self._whose)
        if current is None and self.log.alarms.decided(memory.newest_annotation(check.state), **self._whose):
            return None  # somebody has spoken while this check ran: the next one takes it in
        return alarm_after(check, current, first=first)

    @property
    def _base_rows(self) -> int:
        return max(self.minimum_rows, min(memory.BASE_ROWS, self.window_rows))

    def _window(self) -> Window:
        return self.log.predictions.window(self.window_rows, **self._whose)

    def _blank(self, window: Window, kind: CheckKind, occasion: str, now: datetime, state: State) -> Check:
        return Check(
            id=self._identity(window, occasion, state),
            time=now,
            kind=kind,
            model=self.model.name,
            version=self.model.version,
            reference=self.reference.version,
            rows=len(window.predictions),
            first=window.first,
            last=window.last,
            judgement=Judgement(Verdict.UNKNOWN, "Cannot judge: the check failed."),
            baseline=Baseline(**state[BASE]) if BASE in state else None,
            state={name: part for name, part in state.items() if name != BASE},
        )

    def _judged(self, check: Check, window: Window) -> Looked:
        standing = self._standing(check)
        check = replace(check, reference=standing.reference.version)
        columns = window_columns(window, self.model, standing.reference)
        if standing.waiting:
            judgement = Judgement(Verdict.UNKNOWN, standing.waiting)
            return Looked(replace(check, judgement=judgement), columns, standing.reference)
        check = self._drift(check, columns, standing.reference)
        try:
            counted, degradation = self._degradation(check.state.get(DEGRADATION, {}), standing.watch)
        except StoreError:
            raise
        except Exception as error:  # a fault of the watch costs neither the other answer nor what was counted
            logger.exception("drift check failed", check_id=check.id)
            degradation = Degradation(
                Verdict.UNKNOWN, "Cannot judge whether the model does worse: the check failed."
            )
            check = replace(check, error=_described(error))
        else:
            check = replace(check, state={**check.state, DEGRADATION: counted})
        check = replace(check, judgement=whole(check.judgement, degradation))
        return Looked(check, columns, standing.reference)

    def _drift(self, check: Check, columns: Mapping[str, Column], reference: Reference) -> Check:
        since = check.state.get(DRIFT, {})
        judgement = judge(
            self._compared(reference, columns) if check.rows >= self.minimum_rows else [],
            rows=check.rows,
            minimum_rows=self.minimum_rows,
            false_discovery_rate=self.false_discovery_rate,
            strong=self.strong,
            held=held_columns(since, check.first),
        )
        after = carry(since, judgement, last=check.last, false_discovery_rate=self.false_discovery_rate)
        return replace(check, judgement=judgement, state={**check.state, DRIFT: after})

    def _compared(self, reference: Reference, columns: Mapping[str, Column]) -> tuple[ColumnComparison, ...]:
        if reference.version not in self._prepared:
            self._prepared.clear()
            self._prepared[reference.version] = prepare(reference.columns, roles=reference.roles)
        rows = max(map(len, columns.values()), default=0)
        newest = max(NEWEST_ROWS, rows // NEWEST_PART)
        before = self._prepared[reference.version]
        return compare(before, columns, newest=newest if rows >= 2 * newest else 0)

    def _standing(self, check: Check) -> Standing:
        state = check.state
        base = asdict(check.baseline) if check.baseline else None
        if base is None:
            return Standing(state, self.reference, self.watch)
        if not base["last"]:
            since = self.log.predictions.after(base["first"] - 1, self._base_rows, **self._whose)
            waiting = (
                f"Cannot judge: the new reference needs {self._base_rows} predictions since the change that "
                f"is expected, has {len(since.predictions)}."
            )
            return Standing(state, self.reference, None, waiting)
        reference, watch = self._on(base)
        return Standing(state, reference, watch)

    def _on(self, base: Mapping[str, Any]) -> tuple[Reference, DegradationDetector | None]:
        """Make a reference of logged predictions, once."""
        key = json.dumps(base)
        if key not in self._rebased:
            window = self.log.predictions.after(
                base["first"] - 1, MOST_ROWS, last=base["last"], **self._whose
            )
            columns = window_columns(window, self.model, self.reference)
            made = memory.base_reference(self.reference, columns, base)
            self._rebased.clear()
            self._rebased[key] = made, self.watch.rebased(window) if self.watch else None
        return self._rebased[key]

    def _degradation(
        self, counted: State, watch: DegradationDetector | None
    ) -> tuple[State, Degradation | None]:
        if watch is None:
            return counted, None
        new = self.log.predictions.after(counted.get("seq", 0), MOST_ROWS, **self._whose)
        labels = self.log.labels.after(counted.get("label_seq", 0), MOST_ROWS, **self._whose)
        state, degradation = watch.advance(counted, new, labels)
        json.dumps(state)  # what cannot be written is a fault of the watch, not of the log
        return dict(state), degradation

    def _reported(self, found: Looked) -> Check:
        check = found.check
        made: dict[str, bytes] = {}
        errors = [check.error] if check.error else []
        for prefix, sink in self.sinks.items():
            try:
                made[prefix] = sink.write(check, found.reference, found.columns)
            except Exception as error:  # one report's failure costs neither the verdict nor the other report
                logger.exception("drift report failed", check_id=check.id, report=prefix)
                errors.append(_described(error))
        try:
            names = (
                self.folder.save(made, time=check.time, manual=check.kind is CheckKind.MANUAL) if made else ()
            )
        except ReportError as error:
            logger.error("drift report not written", check_id=check.id, error=str(error))
            return replace(check, error="; ".join([*errors, str(error)]))
        return replace(check, reports=names, error="; ".join(errors))

    def _identity(self, window: Window, occasion: str, state: State) -> str:
        looked_at = [
            self.model.name,
            self.model.version,
            [self.reference.version, state.get(BASE)],
            [window.first, window.last, len(window.predictions)],
            [self.window_rows, self.minimum_rows, self.false_discovery_rate, self.promise],
            occasion,
        ]
        return hashlib.sha256(json.dumps(looked_at).encode()).hexdigest()[:16]


def window_columns(window: Window, model: Model, reference: Reference) -> dict[str, Column]:
    """Make a table of logged predictions with the reference's columns.

    A feature that no row has is left out, so that the comparison can say so.
    """
    rows = window.predictions
    columns: dict[str, Column] = {}
    for feature in model.schema.features:
        if any(feature.name in p.features for p in rows):
            cells: list[Value] = [p.features.get(feature.name) for p in rows]
            numeric = feature.kind is Kind.NUMERIC
            columns[feature.name] = as_column(cells, Kind.NUMERIC if numeric else feature.kind)
    for name, role in reference.roles.items():
        if role == "prediction":
            columns[name] = as_column([p.output for p in rows], Kind.CATEGORICAL)
    for label in model.classes:
        if probability_column(label) in reference.columns:
            cells = [p.probabilities.get(label) for p in rows]
            columns[probability_column(label)] = as_column(cells, Kind.NUMERIC)
    return columns


def _described(error: Exception) -> str:
    """Name an error; the words of a foreign one may hold feature values, so they are left out."""
    return str(error) if isinstance(error, DriftbellError) else f"{type(error).__name__} in the check"


def _tell(check: Check) -> None:
    judgement = check.judgement
    degradation = judgement.degradation
    notable = judgement.drifted_columns or judgement.verdict in (Verdict.ALARM, Verdict.UNKNOWN)
    (logger.warning if notable else logger.info)(
        "drift check",
        verdict=check.judgement.verdict.value,
        sentence=check.judgement.sentence,
        drifted_columns=list(check.judgement.drifted_columns),
        rows=check.rows,
        kind=check.kind.value,
        check_id=check.id,
        reports=list(check.reports),
        duration_s=round(check.duration, 3),
        degradation=degradation.verdict.value if degradation else None,
        degradation_score=round(degradation.score, 3) if degradation else None,
        estimated_loss=round(degradation.estimated_loss.value, 4)
        if degradation and degradation.estimated_loss
        else None,
        suspects=[s.column for s in degradation.suspects] if degradation else [],
    )
