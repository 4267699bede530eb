"""Notification and alarm that follow from a check."""

from __future__ import annotations

from dataclasses import replace

from driftbell.alarms.lifecycle import alarm_after
from driftbell.alarms.notifications import (
    NotificationRules,
    labels_notification,
    larger_loss_notification,
    notification_after,
    same_state,
)
from driftbell.ports import Store
from driftbell.publish.report_folder import own_first
from driftbell.records import Alarm, Check, Notification, Verdict
from driftbell.records.operation import LARGER_LOSS, NEEDS_LABELS


def notification_of(check: Check, store: Store, rules: NotificationRules | None) -> Notification | None:
    """Return the notification about a check; None without a change of state, or if the alarm is silenced.

    Args:
        check: the check, before it is saved.
        store: the prediction store.
        rules: which changes are notified; None if notifications are off.

    Raises:
        StoreError: the store cannot be read.
    """
    if rules is None:
        return None
    served = {"model": check.model, "version": check.version}
    last = store.notifications.last(**served)
    check = replace(check, reports=tuple(own_first(check.reports)))
    notification = notification_after(check, last, cooldown=rules.cooldown)
    if notification is None and last is not None and last.verdict is Verdict.ALARM:
        notification = _larger_loss(check, store, last, rules)
    if notification is None and rules.needs_labels:
        need = store.notifications.last(**served, event=NEEDS_LABELS)
        notification = labels_notification(check, need, last, cooldown=rules.cooldown)
    if notification is None:
        return None
    if notification.verdict is Verdict.ALARM or notification.event:
        silent_until = store.alarms.silent_until(**served)
        if silent_until and check.time < silent_until:
            return None
    if notification.event:
        return notification
    since = store.checks.state_since(same_state(notification.verdict), **served)
    return replace(notification, since=since) if since else notification


def _larger_loss(
    check: Check, store: Store, alarm: Notification, rules: NotificationRules
) -> Notification | None:
    """Return the notification of a loss that has doubled since the last one about an open alarm."""
    larger = store.notifications.last(model=check.model, version=check.version, event=LARGER_LOSS)
    last = larger if larger and larger.time >= alarm.time else alarm
    notified = store.checks.get(last.check_id)
    degradation = notified.judgement.degradation if notified else None
    loss = degradation.stated_loss if degradation else None
    return larger_loss_notification(check, last, loss, cooldown=rules.cooldown)


def alarm_of(check: Check, store: Store) -> Alarm | None:
    """Return the alarm that a check opens, changes or closes; None if it changes none.

    Raises:
        StoreError: the store cannot be read.
    """
    served = {"model": check.model, "version": check.version}
    degradation = check.judgement.degradation
    alarms = degradation is not None and degradation.verdict is Verdict.ALARM
    change = degradation.change_point if degradation and alarms else None
    first = store.predictions.first_since(change.time, **served) if change else None
    current = store.alarms.current(**served)
    if current is None and store.alarms.annotated_after(check.state.annotated, **served):
        return None  # annotated while this check ran: the next one applies it
    return alarm_after(check, current, first=first)
