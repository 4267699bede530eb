"""Decision whether a check is notified: changes of state, larger losses, and the cooldown between them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from driftbell.records import Check, Interval, Notification, Verdict
from driftbell.records.operation import LARGER_LOSS, NEEDS_LABELS

LARGER = 2.0
"""An open alarm is notified again if its loss is so many times the loss that was notified."""


@dataclass(frozen=True, slots=True)
class NotificationRules:
    """Rules of notifications.

    Attributes:
        cooldown: the shortest time between two notifications, except alarms; zero notifies every change.
        needs_labels: whether the begin and the end of a need for labels are notified.
    """

    cooldown: timedelta
    needs_labels: bool = False


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
    cannot judge yet. Where only labels can tell, nothing is over: an open alarm stays open.

    Args:
        check: the new check; its time is the present.
        last: the last notification about the same model and version.
        cooldown: see above; zero notifies every change.

    Returns:
        The notification, with the check's own time as `since`; None if there is nothing to send.
    """
    verdict, degradation = check.judgement.verdict, check.judgement.degradation
    is_open = verdict is not Verdict.ALARM and degradation is not None and degradation.needs_labels
    if is_open or verdict in same_state(last.verdict if last else Verdict.OK):
        return None
    # the last notification lies in the future if the clock was set back: ignore the cooldown
    cooling_down = last is None or timedelta() <= check.time - last.time < cooldown
    if cooling_down and verdict is not Verdict.ALARM:
        return None
    return _notification(check, last, verdict)


def larger_loss_notification(
    check: Check, last: Notification, notified: Interval | None, *, cooldown: timedelta
) -> Notification | None:
    """Decide whether to notify that the loss of an open alarm is much larger, such as by a second fault.

    It is at least twice the loss that was notified last, and its 90 % interval lies above that. So the number
    of such notifications is the logarithm of the loss, and a loss that scatters sends none.

    Args:
        check: the new check; its time is the present.
        last: the newest notification of the alarm, or of its larger loss.
        notified: the loss of that check; None if it was unknown, which nothing exceeds.
        cooldown: see `NotificationRules`; since the last of them.

    Returns:
        The notification; None if there is nothing to send.
    """
    degradation = check.judgement.degradation
    loss = degradation.stated_loss if degradation else None
    if degradation is None or degradation.verdict is not Verdict.ALARM or degradation.closing:
        return None
    if loss is None or notified is None or not notified.is_positive:
        return None
    if loss.low <= notified.value or loss.value < LARGER * notified.value:
        return None
    if timedelta() <= check.time - last.time < cooldown:
        return None
    return _notification(check, last, Verdict.ALARM, event=LARGER_LOSS)


def labels_notification(
    check: Check, last: Notification | None, last_state: Notification | None, *, cooldown: timedelta
) -> Notification | None:
    """Decide whether to notify that only labels tell whether the model performs worse, or that this is over.

    Each is notified once, after the cooldown since the last one. An alarm in between, which is notified
    itself, ends the need without another notification.

    Args:
        check: the new check; its time is the present.
        last: the last such notification about the same model and version.
        last_state: the last notification of a change of state.
        cooldown: see `NotificationRules`.

    Returns:
        The notification, with the check's own time as `since`; None if there is nothing to send.
    """
    degradation = check.judgement.degradation
    if degradation is None or degradation.waiting:
        return None
    has_alarm = last_state is not None and Verdict.ALARM in (last_state.verdict, last_state.before)
    is_over = last is None or (last_state is not None and has_alarm and last_state.time >= last.time)
    was_needed = last is not None and last.verdict is Verdict.UNKNOWN and not is_over
    is_known = degradation.verdict is not Verdict.UNKNOWN
    if degradation.needs_labels == was_needed or not (degradation.needs_labels or is_known):
        return None
    if last is not None and timedelta() <= check.time - last.time < cooldown:
        return None
    return _notification(check, last, degradation.verdict, event=NEEDS_LABELS)


def _notification(
    check: Check, last: Notification | None, verdict: Verdict, *, event: str = ""
) -> Notification:
    """Return a notification of a check.

    It names the suspects of an alarm or of a need for labels, else the drifted columns.
    """
    judgement, degradation = check.judgement, check.judgement.degradation
    has_suspects = bool(event) or verdict is Verdict.ALARM
    return Notification(
        check_id=check.id,
        time=check.time,
        model=check.model,
        version=check.version,
        before=last.verdict if last else None,
        verdict=verdict,
        since=check.time,
        sentence=degradation.sentence if degradation and event == NEEDS_LABELS else judgement.sentence,
        columns=degradation.suspect_columns if degradation and has_suspects else judgement.drifted_columns,
        report=next(iter(check.reports), ""),
        event=event,
    )
