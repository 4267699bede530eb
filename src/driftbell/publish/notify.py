"""Notifications: their text, the delivery of the outbox, and targets (Slack, e-mail, webhooks, …) by apprise.

The outbox is durable: the store keeps every notification with the time of its next attempt (`next_try`) until
all targets have it, so delivery survives a restart and hours of outage. Its backoff schedule is therefore its
own, different from the short retries of one-shot commands.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import unquote

import structlog

from driftbell.error_capture import ErrorCapture
from driftbell.errors import ConfigError, MissingExtraError, StoreError
from driftbell.phrases import join_names, printable
from driftbell.ports import NotificationTarget, Store
from driftbell.publish.alarm_texts import alarm_facts
from driftbell.publish.wording import describe_suspects, format_change_point, format_daily_cost, format_loss
from driftbell.records import Alarm, Degradation, Delivery, Judgement, Lease, Notification, Verdict
from driftbell.records.operation import LARGER_LOSS, NEEDS_LABELS, ROLLBACK

CONNECT_SECONDS, READ_SECONDS = 5.0, 10.0
"""Socket timeouts of one connection, unless the URL sets `cto` and `rto`."""

SEND_SECONDS = 30.0
"""Maximum duration of one delivery, regardless of the number of connections."""

MIN_DELAY, MAX_DELAY = timedelta(seconds=10), timedelta(minutes=10)
"""Shortest and longest delay between two attempts to deliver a notification."""

MAX_AGE = timedelta(days=1)
"""Age of a notification after which its delivery fails for good."""

POLL_SECONDS = 1.0
MAX_ALARMS = 20
"""Newest alarms among which the one that a notification resolves is looked for."""

MAX_COLUMN_NAMES = 20
MAX_REASON = 240

logger = structlog.get_logger()


def format_message(
    notification: Notification,
    link: str | None,
    judgement: Judgement | None = None,
    alarm_id: str = "",
    reports: Sequence[str] = (),
    closed: Alarm | None = None,
) -> tuple[str, str]:
    """Return the title and the text of a notification.

    Args:
        notification: the change of state.
        link: public URL of the service, for the addresses of reports and label sheets; None omits the report.
        judgement: judgement of the notification's check; without degradation in it, the text is the
            notification's own sentence.
        alarm_id: id of the open alarm; "" without one.
        reports: names of the reports of the notification's check.
        closed: the alarm that the notification resolves.
    """
    states = {Verdict.ALARM: "ALARM", Verdict.UNKNOWN: "cannot judge"}
    state = states.get(notification.verdict, "resolved")
    if notification.event == NEEDS_LABELS:
        state = "needs labels" if notification.verdict is Verdict.UNKNOWN else "needs no labels any more"
    elif notification.event == LARGER_LOSS:
        state = "ALARM, larger loss"
    title = f"driftbell: {notification.model} {'rollback' if notification.event == ROLLBACK else state}"
    degradation = judgement.degradation if judgement else None
    since = f"{notification.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if degradation and notification.verdict is Verdict.ALARM:
        lines = [
            degradation.sentence,
            f"Since: {format_change_point(degradation) or since}",
            *_alarm_lines(degradation, link, alarm_id),
        ]
    else:
        is_judged = degradation and (notification.event or notification.verdict is not Verdict.UNKNOWN)
        lines = [
            degradation.sentence if degradation and is_judged else notification.sentence,
            f"Since: {since}",
        ]
        if closed:
            lines += [f"{title}: {text}" for title, text in alarm_facts(closed) if text not in lines]
        if notification.columns:
            lines.append(f"Columns: {join_names(notification.columns, max_names=MAX_COLUMN_NAMES)}")
        if degradation and degradation.needs_labels and notification.event == NEEDS_LABELS:
            line = _label_line(degradation, link, f"checks/{notification.check_id}")
            lines.append(f"To settle it, {line}")
    if degradation and judgement and judgement.drifted_columns:
        lines.append(f"Drifted columns: {join_names(judgement.drifted_columns, max_names=MAX_COLUMN_NAMES)}")
    if degradation and judgement and judgement.exceeded_limits:
        limits = (
            f"{printable(limit.column)}: {printable(limit.reason, MAX_REASON)}"
            for limit in judgement.exceeded_limits
        )
        lines.append(f"Limits exceeded: {'; '.join(islice(limits, MAX_COLUMN_NAMES))}")
    lines.append(f"Model: {notification.model}, version {notification.version}")
    if link and notification.report:
        lines.append(f"Report: {link.rstrip('/')}/reports/{notification.report}")
        others = [name for name in reports if name != notification.report]
        lines += [f"Evidently: {link.rstrip('/')}/reports/{name}" for name in others]
    return title, "\n".join(lines)


def _alarm_lines(degradation: Degradation, link: str | None, alarm_id: str) -> Iterator[str]:
    yield f"Estimated loss: {format_loss(degradation)}"
    if degradation.daily_cost:
        yield f"Cost: {format_daily_cost(degradation.daily_cost)}"
    if degradation.suspects:
        yield f"Suspect columns: {'; '.join(describe_suspects(degradation))}"
    if degradation.segment:
        yield f"Most affected segment: {degradation.segment}"
    if degradation.to_label and alarm_id:
        yield f"To confirm or refute it, {_label_line(degradation, link, f'alarms/{alarm_id}')}"


def _label_line(degradation: Degradation, link: str | None, path: str) -> str:
    sheet = f"{(link or '').rstrip('/')}/monitor/{path}/label-sheet"
    return f"label these {len(degradation.to_label)} predictions: {sheet}"


def backoff_delay(attempts: int) -> timedelta:
    """Return the delay after a number of failed attempts: doubling, from `MIN_DELAY` to `MAX_DELAY`.

    >>> [backoff_delay(n).total_seconds() for n in (1, 2, 3, 7, 100)]
    [10.0, 20.0, 40.0, 600.0, 600.0]
    """
    doublings = min(attempts - 1, 10)
    return min(MIN_DELAY * (1 << doublings), MAX_DELAY)


class NotificationSender:
    """Sender of the outbox: delivers each notification at least once while its monitor holds the lease.

    Each target receives its notifications in order: while one cannot be delivered, later ones wait.

    Args:
        store: store with the outbox.
        targets: targets that receive every notification.
        holder: name of the monitor in the lease.
        link: public URL of the service; see `format_message`.
        clock: returns the current time (UTC).
    """

    def __init__(
        self,
        store: Store,
        targets: Sequence[NotificationTarget],
        *,
        holder: str,
        link: str | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._targets = targets
        self._holder = holder
        self._link = link
        self._clock = clock
        self._sent: set[tuple[str, str]] = set()  # (check id, target key), also if saving the delivery failed

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set; errors are logged, and the next pass tries again."""
        failing = False
        while not stop.wait(POLL_SECONDS):
            with ErrorCapture() as captured:  # a defect must not end the thread
                self.deliver()
                failing = False
            if isinstance(captured.error, StoreError):
                if not failing:  # one line per outage
                    error = str(captured.error)
                    logger.warning("drift notifications cannot use the prediction log", error=error)
                failing = True
            elif captured.error:
                logger.error("drift notifications failed", exc_info=captured.error)

    def deliver(self) -> None:
        """Send all notifications that are due.

        Raises:
            StoreError: the log cannot be read or written.
        """
        pending = self._store.notifications.pending()
        lease = self._store.coordination.lease() if pending else None
        if lease is None or lease.holder != self._holder or lease.expires <= self._clock():
            return
        blocked: set[str] = set()
        for delivery in pending:
            self._attempt(delivery, lease, blocked)

    def _attempt(self, delivery: Delivery, lease: Lease, blocked: set[str]) -> None:
        notification = delivery.notification
        missing = [t for t in self._targets if not self._is_delivered(t, delivery)]
        # a wait beyond MAX_DELAY means that the clock was set back: try at once
        if missing and timedelta() < delivery.next_try - self._clock() <= MAX_DELAY:
            blocked |= {t.key for t in missing}
            return
        check = self._store.checks.get(notification.check_id)
        alarm = self._store.alarms.current(model=notification.model, version=notification.version)
        judgement = check.judgement if check else None
        title, body = format_message(
            notification,
            self._link,
            judgement,
            alarm.id if alarm else "",
            check.reports if check else (),
            self._closed_alarm(notification),
        )
        failures = {}
        for target in [t for t in missing if t.key not in blocked]:
            failure = target.send(title, body, notification.verdict)
            if failure:
                failures[target.name] = failure
                blocked.add(target.key)
                continue
            logger.info(
                "drift notification sent", title=title, target=target.name, check_id=notification.check_id
            )
            self._sent.add((notification.check_id, target.key))
            missing.remove(target)
            delivery = replace(delivery, delivered=delivery.delivered | {target.key})
            self._store.notifications.save_delivery(delivery, lease)
        if failures or not missing:
            self._store.notifications.save_delivery(self._after_attempt(delivery, failures), lease)

    def _closed_alarm(self, notification: Notification) -> Alarm | None:
        """Return the alarm that a notification resolves; None if it resolves none."""
        if notification.event or notification.verdict not in (Verdict.OK, Verdict.WARNING):
            return None
        newest = self._store.alarms.newest(MAX_ALARMS, version=notification.version)
        closed = [
            a for a in newest if a.model == notification.model and a.closed and a.closed <= notification.time
        ]
        last = max(closed, key=lambda a: a.closed or a.opened, default=None)
        if last and last.closed and notification.before is not Verdict.ALARM:
            return last if last.closed >= notification.since else None
        return last

    def _is_delivered(self, target: NotificationTarget, delivery: Delivery) -> bool:
        return target.key in delivery.delivered or (delivery.notification.check_id, target.key) in self._sent

    def _after_attempt(self, delivery: Delivery, failures: Mapping[str, str]) -> Delivery:
        """Return the delivery after an attempt: sent, pending with its next attempt, or failed."""
        if not failures:
            no_target = not delivery.delivered and not self._targets
            error = "no notification target is set any more" if no_target else ""
            return replace(delivery, state="failed" if no_target else "sent", error=error)
        now, attempts = self._clock(), delivery.attempts + 1
        expired = now - delivery.notification.time >= MAX_AGE
        next_try = now + backoff_delay(attempts)
        for target, reason in failures.items():
            (logger.error if expired else logger.warning)(
                "drift notification not sent",
                target=target,
                reason=reason,
                check_id=delivery.notification.check_id,
                attempts=attempts,
                next_try=None if expired else next_try.isoformat(timespec="seconds"),
            )
        error = "; ".join(f"{target}: {reason}" for target, reason in failures.items())
        state = "failed" if expired else "pending"
        return replace(delivery, state=state, attempts=attempts, next_try=next_try, error=error)


def apprise_targets(urls: Sequence[tuple[str, str]]) -> list[NotificationTarget]:
    """Return one target per distinct URL, in order.

    Args:
        urls: pairs of the setting that contains the URL, and the URL.

    Raises:
        ConfigError: apprise is missing or does not accept a URL; the message contains only its scheme.
    """
    targets: dict[str, NotificationTarget] = {}
    for setting, url in urls:
        scheme = url.partition("://")[0]
        name = f"target {len(targets) + 1} ({scheme})"
        service = _apprise_service(url, setting)
        if service is None:
            raise ConfigError(
                f"{setting}: {name} is not a URL that apprise accepts, or it is incomplete: "
                "see https://appriseit.com/services/ for the form of each service's URL"
            )
        targets.setdefault(url, AppriseTarget(name, url, service))
    return list(targets.values())


class AppriseTarget:
    """Notification target behind an apprise URL; see `driftbell.ports.NotificationTarget`."""

    def __init__(self, name: str, url: str, service: Any) -> None:
        self.name = name
        self.key = hashlib.sha256(url.encode()).hexdigest()[:8]
        self._url = url
        self._service = service
        self._thread: threading.Thread | None = None

    def send(self, title: str, body: str, verdict: Verdict) -> str:
        """Send a message in a thread of its own, which is abandoned after `SEND_SECONDS`."""
        if self._thread and self._thread.is_alive():
            return "the previous attempt has not ended yet"
        failures: list[str] = []
        self._thread = threading.Thread(
            target=lambda: failures.append(self._send(title, body, verdict)), name="notification", daemon=True
        )
        self._thread.start()
        self._thread.join(SEND_SECONDS)
        return failures[0] if failures else f"no answer within {SEND_SECONDS:g} s"

    def _send(self, title: str, body: str, verdict: Verdict) -> str:
        severities = {Verdict.ALARM: "failure", Verdict.UNKNOWN: "warning"}
        severity, sent = severities.get(verdict, "success"), False
        with _captured_log() as lines, ErrorCapture() as captured:  # plugins may raise errors of any type
            sent = self._service.notify(body=body, title=title, notify_type=severity, body_format="text")
        if captured.error:
            return type(captured.error).__name__  # without the message, which may contain secrets
        if sent:
            return ""
        return redact(lines[-1], self._url) if lines else "apprise could not deliver it"


def redact(text: str, url: str) -> str:
    r"""Return the first line of an apprise error without any part of the URL but its scheme.

    >>> redact("No access to https://example.org/T0/ for bob:\nsecret", "slack://bob@T0/x")
    'No access to … for …:'
    """
    line = re.sub(r"\S+://\S+", "…", text.strip().partition("\n")[0])
    parts = {p for p in re.split(r"[:/?&=@,;+\s]+", url.partition("://")[2]) if p}
    for part in sorted(parts | {unquote(p) for p in parts}, key=len, reverse=True):
        edge = "" if len(part) > 3 else r"\b"
        line = re.sub(f"{edge}{re.escape(part)}{edge}", "…", line, flags=re.IGNORECASE)
    return line[:200]


def _apprise_service(url: str, setting: str) -> Any:
    """Return apprise's object for a URL; None if apprise does not accept it."""
    with warnings.catch_warnings(), _captured_log():
        warnings.simplefilter("ignore")  # apprise loads more than a hundred plugins
        try:
            from apprise import Apprise, AppriseAsset
        except ImportError as error:
            raise MissingExtraError(setting, "notifications") from error
        options: dict[str, Any] = {"app_id": "driftbell", "app_desc": "driftbell", "app_url": ""}
        options |= {"image_url_mask": None, "image_url_logo": None, "async_mode": False}
        if "service_timeout" in inspect.signature(AppriseAsset).parameters:
            options["service_timeout"] = 0  # SEND_SECONDS applies, in a thread that does not block the exit
        asset = AppriseAsset(**options)
        plugin = Apprise.instantiate(url, asset=asset)
        if not plugin:
            return None
        for name, seconds in (("connect", CONNECT_SECONDS), ("read", READ_SECONDS)):
            short = f"{name[0]}to="
            if short not in url:
                setattr(plugin, f"socket_{name}_timeout", seconds)
        service = Apprise(asset=asset)
        service.add(plugin)
        return service


_capture = threading.local()


class _CaptureHandler(logging.Handler):
    """Collector of apprise's log lines of the current thread, which may contain secrets."""

    def emit(self, record: logging.LogRecord) -> None:
        lines = getattr(_capture, "lines", None)
        if lines is not None:
            lines.append(record.getMessage())


@contextmanager
def _captured_log() -> Iterator[list[str]]:
    apprise = logging.getLogger("apprise")
    apprise.handlers, apprise.propagate = [_CaptureHandler()], False
    apprise.setLevel(logging.WARNING)
    _capture.lines = lines = list[str]()
    try:
        yield lines
    finally:
        _capture.lines = None
