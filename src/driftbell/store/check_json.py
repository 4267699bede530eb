"""Predictions as lines of JSON; checks as JSON and back."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from driftbell.records import (
    ChangePoint,
    Check,
    CheckKind,
    ColumnComparison,
    ColumnVerdict,
    Degradation,
    Evidence,
    Histogram,
    Interval,
    Judgement,
    Kind,
    Performance,
    Result,
    ResultKind,
    Suspect,
    Verdict,
)


def check_to_json(check: Check) -> dict[str, Any]:
    """Make a check a JSON object."""
    return {
        **asdict(check),
        "time": check.time.isoformat(),
        "judgement": judgement_to_json(check.judgement),
        "state": dict(check.state),
    }


def judgement_to_json(judgement: Judgement) -> dict[str, Any]:
    """Make a judgement a JSON object."""
    body = asdict(judgement)
    if judgement.degradation and judgement.degradation.change_point:
        body["degradation"]["change_point"] = {
            k: v.isoformat() for k, v in body["degradation"]["change_point"].items()
        }
    return body


def check_from_json(body: dict[str, Any]) -> Check:
    """Read back what `check_to_json` made."""
    judgement = body["judgement"]
    columns = tuple(_column(c) for c in judgement["columns"])
    return Check(
        **{
            **body,
            "time": datetime.fromisoformat(body["time"]),
            "kind": CheckKind(body["kind"]),
            "judgement": Judgement(
                Verdict(judgement["verdict"]),
                judgement["sentence"],
                columns,
                _degradation(judgement.get("degradation")),
            ),
            "reports": tuple(body["reports"]),
        }
    )


def _column(body: dict[str, Any]) -> ColumnVerdict:
    found = body["comparison"]
    comparison = ColumnComparison(
        **{
            **found,
            "kind": Kind(found["kind"]),
            "results": tuple(Result(**{**r, "kind": ResultKind(r["kind"])}) for r in found["results"]),
            "histogram": found["histogram"]
            and Histogram(**{k: tuple(v) for k, v in found["histogram"].items()}),
        }
    )
    verdict = Verdict(body["verdict"])
    drifted = body.get("drifted", verdict is Verdict.ALARM)  # before drift was told apart from degradation
    if verdict is Verdict.ALARM:
        verdict = Verdict.WARNING
    return ColumnVerdict(**{**body, "comparison": comparison, "verdict": verdict, "drifted": drifted})


def _degradation(body: dict[str, Any] | None) -> Degradation | None:
    if body is None:
        return None
    return Degradation(
        **{
            **body,
            "verdict": Verdict(body["verdict"]),
            "evidence": tuple(Evidence(**p) for p in body["evidence"]),
            "performance": body["performance"] and _performance(body["performance"]),
            "estimated_loss": _interval(body["estimated_loss"]),
            "change_point": body["change_point"]
            and ChangePoint(**{k: datetime.fromisoformat(v) for k, v in body["change_point"].items()}),
            "suspects": tuple(Suspect(**s) for s in body["suspects"]),
            "to_label": tuple(body["to_label"]),
        }
    )


def _performance(body: dict[str, Any]) -> Performance:
    intervals = {k: _interval(body[k]) for k in ("estimated", "realized")}
    return Performance(**{**body, **intervals})


def _interval(body: dict[str, Any] | None) -> Interval | None:
    return Interval(**body) if body else None
