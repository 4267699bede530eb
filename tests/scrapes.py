"""Checks for tests of the metrics, and the values of a scrape by name and labels."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from driftbell.publish.prometheus import CheckCollector
from driftbell.records import (
    Check,
    CheckKind,
    ColumnComparison,
    ColumnVerdict,
    Degradation,
    Judgement,
    Kind,
    Result,
    ResultKind,
    Verdict,
)
from driftbell.store.sql import SqlStore

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
SERVED: dict[str, Any] = {"model": "m", "version": "v", "engine": "native"}
NAME = 'a "strange"\\name\nwith é'


def column(name: str, verdict: Verdict, *results: Result) -> ColumnVerdict:
    comparison = ColumnComparison(
        name, "feature", Kind.NUMERIC, 0.01, results, None, null_shares=(0.0, 0.25) if results else None
    )
    return ColumnVerdict(comparison, verdict, 0.02, 0.05, "", drifted=verdict is Verdict.WARNING)


def check(
    check_id: str,
    verdict: Verdict,
    *columns: ColumnVerdict,
    error: str = "",
    degradation: Degradation | None = None,
) -> Check:
    return Check(
        id=check_id,
        time=NOON,
        kind=CheckKind.AUTOMATIC,
        model="m",
        version="v",
        reference="r",
        rows=120,
        first=1,
        last=120,
        judgement=Judgement(verdict, "a sentence", columns, degradation),
        duration=0.5,
        error=error,
    )


P_VALUE = Result("Kolmogorov–Smirnov", 0.01, ResultKind.P_VALUE, 0.05, 150, 120)
DISTANCE = Result("PSI", 0.3, ResultKind.DISTANCE, None, 150, 120)
UNDEFINED = Result("Wasserstein", None, ResultKind.DISTANCE, None, 150, 0)


def scraped(
    log: SqlStore, window_rows: int = 500, **settings: Any
) -> dict[tuple[str, tuple[str, ...]], float]:
    """Values by name and label values (in the labels' order), read back from the text of a scrape."""
    registry = CollectorRegistry()
    registry.register(
        CheckCollector(
            log,
            **SERVED,
            window_rows=window_rows,
            clock=lambda: NOON,
            **settings,
        )
    )
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (s.name, tuple(v for _, v in sorted(s.labels.items()))): s.value for f in families for s in f.samples
    }
