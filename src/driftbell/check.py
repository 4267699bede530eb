"""One check, from the window to the report: the only orchestration."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from driftbell.columns import as_column
from driftbell.compare import compare
from driftbell.errors import DriftbellError, LogError, ReportError
from driftbell.judge import alert_after, carry, held_columns, judge, same_state
from driftbell.ports import Log, Model, Reference, Sink
from driftbell.publish.folder import ReportFolder
from driftbell.records import (
    Alert,
    Check,
    CheckKind,
    Column,
    ColumnComparison,
    Judgement,
    Kind,
    Lease,
    Value,
    Verdict,
    Window,
    probability_column,
)

logger = structlog.get_logger()

DRIFT = "drift"
"""Where a check's state has what `carry` gives."""

NEWEST_ROWS, NEWEST_PART = 50, 10
"""The newest tenth of a window is compared on its own too, but no fewer rows than these."""


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
        cooldown: see `alert_after`; None where nobody is told.
        strong: see `judge`.
    """

    log: Log
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

    def __call__(self, kind: CheckKind, occasion: str, lease: Lease) -> Check:
        """Run one check and save it, with the alert if there is one.

        A check that crashes is saved as `unknown` with its error; a report that cannot be made leaves
        the verdict as it is.

        Args:
            kind: why it runs.
            occasion: the scheduled time or the request that it answers; part of the check's identity.
            lease: the right to save it.

        Raises:
            LogError: the log cannot be read or written.
            LeaseLostError: another monitor has taken over.
        """
        started, now = time.perf_counter(), self.clock()  # before the window is read: it has all from before
        check = self._blank(Window(), kind, occasion, now)
        try:
            window = self._window()
            check = self._blank(window, kind, occasion, now)
            check, columns = self._judged(check, window)
            if check.rows >= self.minimum_rows:
                check = self._reported(check, columns)
        except LogError:
            raise
        except Exception as error:  # whatever the data did, the next check must run
            logger.exception("drift check failed", check_id=check.id)
            check = replace(check, error=_described(error))
        check = replace(check, duration=time.perf_counter() - started)
        self.log.save_check(check, lease, self._alert(check))
        _tell(check)
        return check

    def look(self) -> tuple[Check, dict[str, Column]]:
        """Judge the current window without saving or reporting anything; give its columns too.

        Raises:
            LogError: the log cannot be read.
        """
        window = self._window()
        return self._judged(self._blank(window, CheckKind.MANUAL, "", self.clock()), window)

    def _alert(self, check: Check) -> Alert | None:
        if self.cooldown is None:
            return None
        whose = {"model": check.model, "version": check.version}
        alert = alert_after(check, self.log.last_alert(**whose), cooldown=self.cooldown)
        if alert is None:
            return None
        since = self.log.state_since(same_state(alert.verdict), **whose)
        return replace(alert, since=since) if since else alert

    def _window(self) -> Window:
        return self.log.window(self.window_rows, model=self.model.name, version=self.model.version)

    def _blank(self, window: Window, kind: CheckKind, occasion: str, now: datetime) -> Check:
        return Check(
            id=self._identity(window, occasion),
            time=now,
            kind=kind,
            model=self.model.name,
            version=self.model.version,
            reference=self.reference.version,
            rows=len(window.predictions),
            first=window.first,
            last=window.last,
            judgement=Judgement(Verdict.UNKNOWN, "Cannot judge: the check failed."),
            state=self._state(),
        )

    def _state(self) -> Mapping[str, Any]:
        """Go on from the newest check, unless it looked at another reference."""
        before = next(iter(self.log.checks(1, version=self.model.version)), None)
        return before.state if before and before.reference == self.reference.version else {}

    def _judged(self, check: Check, window: Window) -> tuple[Check, dict[str, Column]]:
        columns = window_columns(window, self.model, self.reference)
        since = check.state.get(DRIFT, {})
        judgement = judge(
            self._compared(columns) if check.rows >= self.minimum_rows else [],
            rows=check.rows,
            minimum_rows=self.minimum_rows,
            false_discovery_rate=self.false_discovery_rate,
            strong=self.strong,
            held=held_columns(since, check.first),
        )
        after = carry(since, judgement, last=check.last, false_discovery_rate=self.false_discovery_rate)
        return replace(check, judgement=judgement, state={**check.state, DRIFT: after}), columns

    def _compared(self, columns: Mapping[str, Column]) -> tuple[ColumnComparison, ...]:
        rows = max(map(len, columns.values()), default=0)
        newest = max(NEWEST_ROWS, rows // NEWEST_PART)
        return compare(
            self.reference.columns,
            columns,
            roles=self.reference.roles,
            newest=newest if rows >= 2 * newest else 0,
        )

    def _reported(self, check: Check, columns: Mapping[str, Column]) -> Check:
        made: dict[str, bytes] = {}
        errors = []
        for prefix, sink in self.sinks.items():
            try:
                made[prefix] = sink.write(check, self.reference, columns)
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

    def _identity(self, window: Window, occasion: str) -> str:
        looked_at = [
            self.model.name,
            self.model.version,
            self.reference.version,
            [window.first, window.last, len(window.predictions)],
            [self.window_rows, self.minimum_rows, self.false_discovery_rate],
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
    harm = judgement.harm
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
        harm=harm.verdict.value if harm else None,
        harm_score=round(harm.score, 3) if harm else None,
        loss=round(harm.loss.value, 4) if harm and harm.loss else None,
        suspects=[s.column for s in harm.suspects] if harm else [],
    )
