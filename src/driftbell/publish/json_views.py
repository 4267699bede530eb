"""JSON views of records: checks, degradation, drift, alarms and notifications.

The HTTP API, the pages and the command line serialize these records with the functions of this module only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from driftbell.publish.alarm_texts import alarm_sentence
from driftbell.publish.limit_views import limit_view
from driftbell.publish.measured_metrics import metric_labels_view, metrics_view
from driftbell.publish.report_folder import own_first
from driftbell.publish.wording import describe_drift
from driftbell.records import (
    Alarm,
    ChangePoint,
    Check,
    ColumnVerdict,
    DailyCost,
    Degradation,
    Judgement,
    Notification,
    Performance,
    RefusedRows,
    Suspect,
)
from driftbell.records.alarms import LargestLoss
from driftbell.records.comparison import VersionComparison, VersionSummary


def check_view(check: Check, *, columns: bool = False, brief: bool = False) -> dict[str, Any]:
    """Return a check as JSON.

    Args:
        check: the check.
        columns: add every column with its statistics.
        brief: omit the evidence and the metrics, for long lists.
    """
    judgement = check.judgement
    view: dict[str, Any] = {
        "id": check.id,
        "time": check.time.isoformat(),
        "kind": check.kind.value,
        "occasion": check.occasion or None,
        "model": check.model,
        "version": check.version,
        "rows": check.rows,
        "verdict": judgement.verdict.value,
        "sentence": judgement.sentence,
        "degradation": degradation_view(judgement.degradation, brief=brief),
        "drift": drift_view(judgement),
        "drifted_columns": list(judgement.drifted_columns),
        "target_drift": asdict(judgement.target_drift) if judgement.target_drift else None,
        "refused": refused_view(judgement.refused),
        "limits": [limit_view(limit) for limit in judgement.limits],
        "report_url": f"/reports/{check.reports[0]}" if check.reports else None,
        "reports": [f"/reports/{name}" for name in own_first(check.reports)],
        "duration_seconds": round(check.duration, 3),
        "error": check.error or None,
    }
    if columns:
        view["columns"] = [column_view(c) for c in judgement.columns]
    if not brief:
        view["metrics"] = metrics_view(judgement)
        view["metric_labels"] = metric_labels_view(judgement.metrics)
    return view


def refused_view(refused: RefusedRows | None) -> dict[str, Any] | None:
    """Return the rows that were refused since the last check as JSON; None without any."""
    if refused is None:
        return None
    return {**asdict(refused), "share": refused.share, "exceeded": refused.exceeded}


def column_view(column: ColumnVerdict) -> dict[str, Any]:
    """Return the judgement of one column as JSON, with every statistic."""
    return {
        "column": column.column,
        "role": column.comparison.role,
        "kind": column.comparison.kind.value,
        "verdict": column.verdict.value,
        "drifted": column.drifted,
        "compared": column.compared,
        "adjusted_p_value": column.adjusted_p_value,
        "threshold": column.threshold,
        "smallest_effect": column.smallest_effect,
        "reason": column.reason,
        "null_shares": column.comparison.null_shares,
        "unreadable": column.comparison.unreadable,
        "unseen_rows": column.comparison.unseen_rows,
        "effects": [asdict(e) for e in column.comparison.effects],
        "results": [asdict(r) for r in column.comparison.results],
    }


def degradation_view(degradation: Degradation | None, *, brief: bool = False) -> dict[str, Any] | None:
    """Return the judgement of the model's performance as JSON; None if performance is not monitored.

    Args:
        degradation: the judgement.
        brief: omit the evidence, for long lists.
    """
    if degradation is None:
        return None
    loss, change_point, performance = (
        degradation.stated_loss,
        degradation.change_point,
        degradation.performance,
    )
    view: dict[str, Any] = {
        "verdict": degradation.verdict.value,
        "sentence": degradation.sentence,
        "needs_labels": degradation.needs_labels,
        "score": degradation.score,
        "estimated_loss": asdict(loss) if loss else None,
        "change_point": _change_point_view(change_point),
        "suspects": _suspects_view(degradation.suspects),
    }
    if brief:
        return view
    return view | {
        "smallest_loss": degradation.smallest_loss,
        "daily_cost": daily_cost_view(degradation.daily_cost),
        "closing": degradation.closing,
        "rows": degradation.rows,
        "performance": _performance_view(performance),
        "evidence": [asdict(e) for e in degradation.evidence],
        "segment": degradation.segment or None,
        "to_label": list(degradation.to_label),
    }


def _performance_view(performance: Performance | None) -> dict[str, Any] | None:
    if performance is None:
        return None
    until = performance.chosen_until
    return {**asdict(performance), "chosen_until": until.isoformat() if until else None}


def _change_point_view(change_point: ChangePoint | None) -> dict[str, str] | None:
    return {k: v.isoformat() for k, v in asdict(change_point).items()} if change_point else None


def _suspects_view(suspects: Sequence[Suspect]) -> list[dict[str, Any]]:
    return [
        {"column": s.column, "share": s.share, "description": s.words, "together": list(s.together)}
        for s in suspects
    ]


def daily_cost_view(daily: DailyCost | None) -> dict[str, Any] | None:
    """Return what a loss costs per day as JSON; None if it is not known."""
    if daily is None:
        return None
    return {"predictions": daily.predictions, "unit": daily.unit, **asdict(daily.loss)}


def drift_view(judgement: Judgement) -> dict[str, Any]:
    """Return the drifted columns as JSON."""
    return {"columns": list(judgement.drifted_columns), "sentence": describe_drift(judgement)}


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


def alarm_view(alarm: Alarm) -> dict[str, Any]:
    """Return an alarm and its annotation as JSON."""
    return {
        "id": alarm.id,
        "model": alarm.model,
        "version": alarm.version,
        "open": alarm.closed is None,
        "opened": alarm.opened.isoformat(),
        "closed": alarm.closed.isoformat() if alarm.closed else None,
        "sentence": alarm_sentence(alarm),
        "columns": list(alarm.columns),
        "change_point": _change_point_view(alarm.change_point),
        "estimated_loss": asdict(alarm.estimated_loss) if alarm.estimated_loss else None,
        "largest_loss": _largest_loss_view(alarm.largest_loss),
        "closing_reason": alarm.closing_reason or None,
        "annotation": alarm.annotation or None,
        "author": alarm.author or None,
        "reason": alarm.reason or None,
        "annotated": alarm.annotated.isoformat() if alarm.annotated else None,
        "until": alarm.until.isoformat() if alarm.until else None,
    }


def _largest_loss_view(largest: LargestLoss | None) -> dict[str, Any] | None:
    if largest is None:
        return None
    loss = asdict(largest.loss) if largest.loss else dict.fromkeys(("value", "low", "high"))
    return {
        **loss,
        "metric": largest.metric or None,
        "reference": largest.reference,
        "currency": largest.currency or None,
        "check_id": largest.check_id,
        "time": largest.time.isoformat(),
        "sentence": largest.sentence,
        "suspects": _suspects_view(largest.suspects),
        "segment": largest.segment or None,
    }


def version_comparison_view(comparison: VersionComparison) -> dict[str, Any]:
    """Return the comparison of two versions as JSON."""

    def side(summary: VersionSummary) -> dict[str, Any]:
        times = {
            name: time and time.isoformat()
            for name, time in (("first", summary.first), ("last", summary.last))
        }
        return asdict(summary) | times

    return asdict(comparison) | {
        "verdict": comparison.verdict.value,
        "before": side(comparison.before),
        "after": side(comparison.after),
    }
