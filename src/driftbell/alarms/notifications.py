"""Decision whether a check is notified: changes of state, and the cooldown between them."""

from __future__ import annotations

from datetime import timedelta

from driftbell.records import Check, Judgement, Notification, Verdict


def same_state(verdict: Verdict) -> frozenset[Verdict]:
    """Return the verdicts that count as the same state for notifications: `ok` and `warning` do."""
    calm = frozenset({Verdict.OK, Verdict.WARNING})
    return calm if verdict in calm else frozenset({verdict})


def notification_after(
    check: Check, last: Notification | None, *, cooldown: timedelta
) -> Notification | None:
    """Decide whether to send a notification about a check.

    Only a change of state is notified, so a lasting state is reported once. An alarm is sent at once; every
    other change after the cooldown since the last notification, by the first check that still has that state.
    So no lasting change is lost, and a flapping verdict sends one alarm per cooldown at most, since the
    notification between two alarms has to wait. The first notification is always an alarm: a new service
    cannot judge yet.

    Args:
        check: the new check; its time is the present.
        last: the last notification about the same model and version.
        cooldown: see above; zero notifies every change.

    Returns:
        The notification, with the check's own time as `since`; None if there is nothing to send.
    """
    verdict = check.judgement.verdict
    if verdict in same_state(last.verdict if last else Verdict.OK):
        return None
    # the last notification lies in the future if the clock was set back: ignore the cooldown
    cooling_down = last is None or timedelta() <= check.time - last.time < cooldown
    if cooling_down and verdict is not Verdict.ALARM:
        return None
    return Notification(
        check_id=check.id,
        time=check.time,
        model=check.model,
        version=check.version,
        before=last.verdict if last else None,
        verdict=verdict,
        since=check.time,
        sentence=check.judgement.sentence,
        columns=_columns(check.judgement, verdict),
        report=next(iter(check.reports), ""),
    )


def _columns(judgement: Judgement, verdict: Verdict) -> tuple[str, ...]:
    """Return the suspects of an alarm, else the drifted columns."""
    if judgement.degradation and verdict is Verdict.ALARM:
        return judgement.degradation.suspect_columns
    return judgement.drifted_columns
