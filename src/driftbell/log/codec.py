"""Checks as JSON and back."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from driftbell.records import (
    Check,
    CheckKind,
    ColumnComparison,
    ColumnVerdict,
    Histogram,
    Judgement,
    Kind,
    Result,
    ResultKind,
    Verdict,
)


def check_to_json(check: Check) -> dict[str, Any]:
    """Make a check a JSON object."""
    return {**asdict(check), "time": check.time.isoformat()}


def judgement_to_json(judgement: Judgement) -> dict[str, Any]:
    """Make a judgement a JSON object."""
    return asdict(judgement)


def check_from_json(body: dict[str, Any]) -> Check:
    """Read back what `check_to_json` made."""
    judgement = body["judgement"]
    columns = tuple(_column(c) for c in judgement["columns"])
    return Check(
        **{
            **body,
            "time": datetime.fromisoformat(body["time"]),
            "kind": CheckKind(body["kind"]),
            "judgement": Judgement(Verdict(judgement["verdict"]), judgement["sentence"], columns),
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
    return ColumnVerdict(**{**body, "comparison": comparison, "verdict": Verdict(body["verdict"])})
