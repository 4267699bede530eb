"""The answers to both questions as JSON for the API: does the model do worse, and has something changed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from driftbell.publish.wording import describe_drift
from driftbell.records import Alarm, Check, Degradation, Judgement, Notification


def degradation_shown(degradation: Degradation | None, *, brief: bool = False) -> dict[str, Any] | None:
    """Return the answer about degradation as JSON; None if it is not monitored.

    Args:
        degradation: the answer.
        brief: without the evidence, for long lists.
    """
    if degradation is None:
        return None
    shown: dict[str, Any] = {
        "verdict": degradation.verdict.value,
        "sentence": degradation.sentence,
        "score": degradation.score,
        "estimated_loss": degradation.estimated_loss and asdict(degradation.estimated_loss),
        "change_point": degradation.change_point
        and {k: v.isoformat() for k, v in asdict(degradation.change_point).items()},
        "suspects": [asdict(s) for s in degradation.suspects],
    }
    if brief:
        return shown
    return shown | {
        "rows": degradation.rows,
        "performance": degradation.performance and asdict(degradation.performance),
        "evidence": [asdict(p) for p in degradation.evidence],
        "segment": degradation.segment or None,
        "to_label": list(degradation.to_label),
    }


def drift_shown(judgement: Judgement) -> dict[str, Any]:
    """Return the answer about drift as JSON."""
    return {"columns": list(judgement.drifted_columns), "sentence": describe_drift(judgement)}


def check_shown(check: Check, *, columns: bool = False, brief: bool = False) -> dict[str, Any]:
    """Return a check as JSON for the API, with every column or, for lists, without the evidence."""
    shown: dict[str, Any] = {
        "id": check.id,
        "time": check.time.isoformat(),
        "kind": check.kind.value,
        "model": check.model,
        "version": check.version,
        "rows": check.rows,
        "verdict": check.judgement.verdict.value,
        "sentence": check.judgement.sentence,
        "degradation": degradation_shown(check.judgement.degradation, brief=brief),
        "drift": drift_shown(check.judgement),
        "drifted_columns": list(check.judgement.drifted_columns),
        "report_url": f"/reports/{check.reports[0]}" if check.reports else None,
        "reports": [f"/reports/{name}" for name in check.reports],
        "duration_seconds": round(check.duration, 3),
        "error": check.error or None,
    }
    if columns:
        shown["columns"] = [
            {
                "column": c.column,
                "role": c.comparison.role,
                "kind": c.comparison.kind.value,
                "verdict": c.verdict.value,
                "drifted": c.drifted,
                "adjusted_p_value": c.adjusted_p_value,
                "threshold": c.threshold,
                "reason": c.reason,
                "results": [asdict(r) for r in c.comparison.results],
            }
            for c in check.judgement.columns
        ]
    return shown


def notification_view(notification: Notification) -> dict[str, Any]:
    """Return a notification as JSON."""
    return {
        "check_id": notification.check_id,
        "time": notification.time.isoformat(),
        "before": notification.before.value if notification.before else None,
        "verdict": notification.verdict.value,
        "since": notification.since.isoformat(),
        "sentence": notification.sentence,
    }


def alarm_shown(alarm: Alarm) -> dict[str, Any]:
    """Return an alarm as JSON."""
    return {
        "id": alarm.id,
        "model": alarm.model,
        "version": alarm.version,
        "open": alarm.closed is None,
        "opened": alarm.opened.isoformat(),
        "closed": alarm.closed.isoformat() if alarm.closed else None,
        "sentence": alarm.sentence,
        "columns": list(alarm.columns),
        "annotation": alarm.annotation or None,
        "author": alarm.author or None,
        "reason": alarm.reason or None,
        "annotated": alarm.annotated.isoformat() if alarm.annotated else None,
        "until": alarm.until.isoformat() if alarm.until else None,
    }
