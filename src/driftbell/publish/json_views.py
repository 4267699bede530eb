"""The answers to both questions as JSON for the API: does the model do worse, and has something changed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from driftbell.publish.wording import drift_words
from driftbell.records import Alarm, Alert, Check, Harm, Judgement


def harm_shown(harm: Harm | None, *, brief: bool = False) -> dict[str, Any] | None:
    """Make the answer to "does the model do worse?" JSON; None where it was not asked.

    Args:
        harm: the answer.
        brief: without the evidence, for long lists.
    """
    if harm is None:
        return None
    shown: dict[str, Any] = {
        "verdict": harm.verdict.value,
        "sentence": harm.sentence,
        "score": harm.score,
        "loss": harm.loss and asdict(harm.loss),
        "since": harm.since and {k: v.isoformat() for k, v in asdict(harm.since).items()},
        "suspects": [asdict(s) for s in harm.suspects],
    }
    if brief:
        return shown
    return shown | {
        "rows": harm.rows,
        "performance": harm.performance and asdict(harm.performance),
        "parts": [asdict(p) for p in harm.parts],
        "slice": harm.slice or None,
        "to_label": list(harm.to_label),
    }


def drift_shown(judgement: Judgement) -> dict[str, Any]:
    """Make the answer to "has something changed?" JSON."""
    return {"columns": list(judgement.drifted_columns), "sentence": drift_words(judgement)}


def check_shown(check: Check, *, columns: bool = False, brief: bool = False) -> dict[str, Any]:
    """Make a check JSON for the API, with every column or, for long lists, without the evidence of harm."""
    shown: dict[str, Any] = {
        "id": check.id,
        "time": check.time.isoformat(),
        "kind": check.kind.value,
        "model": check.model,
        "version": check.version,
        "rows": check.rows,
        "verdict": check.judgement.verdict.value,
        "sentence": check.judgement.sentence,
        "harm": harm_shown(check.judgement.harm, brief=brief),
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


def alert_shown(alert: Alert) -> dict[str, Any]:
    """Make an alert JSON for the API."""
    return {
        "check_id": alert.check_id,
        "time": alert.time.isoformat(),
        "before": alert.before.value if alert.before else None,
        "verdict": alert.verdict.value,
        "since": alert.since.isoformat(),
        "sentence": alert.sentence,
    }


def alarm_shown(alarm: Alarm) -> dict[str, Any]:
    """Make an alarm JSON for the API."""
    return {
        "id": alarm.id,
        "model": alarm.model,
        "version": alarm.version,
        "open": alarm.closed is None,
        "opened": alarm.opened.isoformat(),
        "closed": alarm.closed.isoformat() if alarm.closed else None,
        "sentence": alarm.sentence,
        "columns": list(alarm.columns),
        "mark": alarm.mark or None,
        "author": alarm.author or None,
        "reason": alarm.reason or None,
        "marked": alarm.marked.isoformat() if alarm.marked else None,
        "until": alarm.until.isoformat() if alarm.until else None,
    }
