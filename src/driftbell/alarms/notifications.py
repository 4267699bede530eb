"""Decide who is notified about a check, and when."""

from __future__ import annotations

from datetime import timedelta

from driftbell.records import Check, Judgement, Notification, Verdict


def same_state(verdict: Verdict) -> frozenset[Verdict]:
    """Give every verdict that is the same state for whoever is told: `ok` and `warning` are both calm."""
    calm = frozenset({Verdict.OK, Verdict.WARNING})
    return calm if verdict in calm else frozenset({verdict})


def notification_after(
    check: Check, told: Notification | None, *, cooldown: timedelta
) -> Notification | None:
    """Decide whether somebody is told about a check.

    Only a change of what was told is told, so a state that lasts is told once. An alarm is told at once;
    every other change once the cooldown has passed since the last message, by the first check after it that
    still finds it. So nothing that lasts is lost, and a verdict that flaps rings once a cooldown at most:
    between two alarms there is a message that waited that long. Before anything was told only an alarm is,
    since a fresh service cannot judge yet.

    Args:
        check: the new check; its time is the present.
        told: the last notification about the same model and version.
        cooldown: see above; zero tells every change.

    Returns:
        The notification, with the check's own time as `since`; None where nobody is told.
    """
    verdict = check.judgement.verdict
    if verdict in same_state(told.verdict if told else Verdict.OK):
        return None
    # a message from the future is one from before the clock was set back: it damps nothing
    damped = told is None or timedelta() <= check.time - told.time < cooldown
    if damped and verdict is not Verdict.ALARM:
        return None
    return Notification(
        check_id=check.id,
        time=check.time,
        model=check.model,
        version=check.version,
        before=told.verdict if told else None,
        verdict=verdict,
        since=check.time,
        sentence=check.judgement.sentence,
        columns=_told_columns(check.judgement, verdict),
        report=next(iter(check.reports), ""),
    )


def _told_columns(judgement: Judgement, verdict: Verdict) -> tuple[str, ...]:
    """Name the suspects of an alarm, else what has changed."""
    if judgement.degradation and verdict is Verdict.ALARM:
        return tuple(s.column for s in judgement.degradation.suspects)
    return judgement.drifted_columns
