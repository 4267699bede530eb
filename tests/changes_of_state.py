"""A change of state to be notified."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from driftbell.records import Notification, Verdict

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def notification(number: int = 0, verdict: Verdict = Verdict.ALARM, time: datetime = NOON) -> Notification:
    return Notification(
        check_id=f"c{number}",
        time=time,
        model="iris",
        version="5f5f",
        before=None,
        verdict=verdict,
        since=NOON,
        sentence="Drift in sepal length (cm): 1 of 4 columns.",
        columns=("sepal length (cm)",),
        report="drift_report_20260131_120000.html",
    )
