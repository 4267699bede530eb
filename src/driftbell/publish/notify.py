"""Notifications as messages to Slack, e-mail, webhooks and whatever else apprise knows."""

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
from typing import Any
from urllib.parse import unquote

import structlog

from driftbell.errors import ConfigError, LogError
from driftbell.ports import Log, Target
from driftbell.publish.wording import describe_suspects, format_change_point, format_loss
from driftbell.records import Degradation, Delivery, Judgement, Lease, Notification, Verdict

CONNECT_SECONDS, READ_SECONDS = 5.0, 10.0
"""The longest waits for one connection and for one answer, unless the URL sets `cto` and `rto`."""

SEND_SECONDS = 30.0
"""The longest wait for one message, however many connections and answers it takes."""

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(minutes=10)
GIVE_UP = timedelta(days=1)
POLL_SECONDS = 1.0
MOST_COLUMNS = 20

logger = structlog.get_logger()


def message(
    notification: Notification, link: str | None, judgement: Judgement | None = None, alarm_id: str = ""
) -> tuple[str, str]:
    """Make the title and the text of a notification.

    Args:
        notification: what is told.
        link: where people reach the service, for the report's address; None leaves it out.
        judgement: of the notification's check; without degradation in it, its own words are used.
        alarm_id: the alarm that is open; "" where none is.
    """
    words = {Verdict.ALARM: "ALARM", Verdict.UNKNOWN: "cannot judge"}
    degradation = judgement.degradation if judgement else None
    since = f"{notification.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if degradation and notification.verdict is Verdict.ALARM:
        lines = [
            degradation.sentence,
            f"Since: {format_change_point(degradation) or since}",
            *_of_alarm(degradation, link, alarm_id),
        ]
    else:
        says = (
            degradation.sentence
            if degradation and notification.verdict is not Verdict.UNKNOWN
            else notification.sentence
        )
        lines = [says, f"Since: {since}"]
        if notification.columns:
            lines.append(f"Columns: {_listed(notification.columns)}")
    if degradation and judgement and judgement.drifted_columns:
        lines.append(f"Changed columns: {_listed(judgement.drifted_columns)}")
    lines.append(f"Model: {notification.model}, version {notification.version}")
    if link and notification.report:
        lines.append(f"Report: {link.rstrip('/')}/reports/{notification.report}")
    return f"driftbell: {notification.model} {words.get(notification.verdict, 'resolved')}", "\n".join(lines)


def _of_alarm(degradation: Degradation, link: str | None, alarm_id: str) -> Iterator[str]:
    """Say what it costs, who is suspected and what would settle it."""
    yield f"Loss: {format_loss(degradation)}"
    if degradation.suspects:
        yield f"Suspects: {'; '.join(describe_suspects(degradation))}"
    if degradation.segment:
        yield f"Hit hardest: {degradation.segment}"
    if degradation.to_label and alarm_id:
        where = f"{(link or '').rstrip('/')}/monitor/alarms/{alarm_id}/label-sheet"
        yield f"To settle it: label the {len(degradation.to_label)} rows of {where}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_COLUMNS
    return f"{', '.join(names[:MOST_COLUMNS])}{f' and {more} more' if more > 0 else ''}"


def backoff_delay(attempts: int) -> timedelta:
    """Tell how long to wait after so many failed attempts.

    >>> [backoff_delay(n).total_seconds() for n in (1, 2, 3, 7, 100)]
    [10.0, 20.0, 40.0, 600.0, 600.0]
    """
    doublings = min(attempts - 1, 10)
    return min(FIRST_PAUSE * (1 << doublings), LONGEST_PAUSE)


class NotificationSender:
    """Delivers the notifications of the log while its monitor holds the lease, each at least once.

    A target gets its notifications in their order: while one could not be delivered, later ones wait.

    Args:
        log: where the notifications wait.
        targets: who is told.
        holder: the monitor's name in the lease.
        link: see `message`.
        clock: tells the time (UTC).
    """

    def __init__(
        self,
        log: Log,
        targets: Sequence[Target],
        *,
        holder: str,
        link: str | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._log = log
        self._targets = targets
        self._holder = holder
        self._link = link
        self._clock = clock
        self._sent: set[tuple[str, str]] = set()  # also what the log could not be told

    def run(self, stop: threading.Event) -> None:
        """Deliver until told to stop; trouble with the log is logged and tried again."""
        failing = False
        while not stop.wait(POLL_SECONDS):
            try:
                self.deliver()
                failing = False
            except LogError as error:
                if not failing:  # once, however long it lasts
                    logger.warning("drift notifications cannot use the log", error=str(error))
                failing = True
            except Exception:  # the next notification must be told
                logger.exception("drift notifications failed")

    def deliver(self) -> None:
        """Send what is due now.

        Raises:
            LogError: the log cannot be read or written.
        """
        waiting = self._log.pending_notifications()
        lease = self._log.lease() if waiting else None
        if lease is None or lease.holder != self._holder or lease.expires <= self._clock():
            return
        blocked: set[str] = set()
        for delivery in waiting:
            self._try(delivery, lease, blocked)

    def _try(self, delivery: Delivery, lease: Lease, blocked: set[str]) -> None:
        notification = delivery.notification
        missing = [t for t in self._targets if not self._has(t, delivery)]
        # a longer wait than any is one from before the clock was set back
        if missing and timedelta() < delivery.next_try - self._clock() <= LONGEST_PAUSE:
            blocked |= {t.key for t in missing}
            return
        check = self._log.check(notification.check_id)
        alarm = self._log.open_alarm(model=notification.model, version=notification.version)
        judgement = check.judgement if check else None
        title, body = message(notification, self._link, judgement, alarm.id if alarm else "")
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
            self._log.save_delivery(delivery, lease)
        if failures or not missing:
            self._log.save_delivery(self._ended(delivery, failures), lease)

    def _has(self, target: Target, delivery: Delivery) -> bool:
        return target.key in delivery.delivered or (delivery.notification.check_id, target.key) in self._sent

    def _ended(self, delivery: Delivery, failures: Mapping[str, str]) -> Delivery:
        """Say how an attempt ended: sent, to be tried again, or given up."""
        if not failures:
            nobody = not delivery.delivered and not self._targets
            error = "no target is set any more" if nobody else ""
            return replace(delivery, state="failed" if nobody else "sent", error=error)
        now, attempts = self._clock(), delivery.attempts + 1
        over = now - delivery.notification.time >= GIVE_UP
        next_try = now + backoff_delay(attempts)
        for target, reason in failures.items():
            (logger.error if over else logger.warning)(
                "drift notification not sent",
                target=target,
                reason=reason,
                check_id=delivery.notification.check_id,
                attempts=attempts,
                next_try=None if over else next_try.isoformat(timespec="seconds"),
            )
        error = "; ".join(f"{target}: {reason}" for target, reason in failures.items())
        state = "failed" if over else "pending"
        return replace(delivery, state=state, attempts=attempts, next_try=next_try, error=error)


def apprise_targets(urls: Sequence[tuple[str, str]]) -> list[Target]:
    """Make a target of each URL, in their order, each once.

    Args:
        urls: the name of the setting that it comes from, and the URL.

    Raises:
        ConfigError: apprise is missing, or does not know a URL; the message shows its scheme alone.
    """
    found: dict[str, Target] = {}
    for setting, url in urls:
        scheme = url.partition("://")[0]
        name = f"target {len(found) + 1} ({scheme})"
        service = _service(url, setting)
        if service is None:
            raise ConfigError(
                f"{setting}: {name} is no URL that apprise knows, or a part of it is missing: "
                f"look its form up under https://appriseit.com/services/"
            )
        found.setdefault(url, AppriseTarget(name, url, service))
    return list(found.values())


class AppriseTarget:
    """See `driftbell.ports.Target`."""

    def __init__(self, name: str, url: str, service: Any) -> None:
        self.name = name
        self.key = hashlib.sha256(url.encode()).hexdigest()[:8]
        self._url = url
        self._service = service
        self._thread: threading.Thread | None = None

    def send(self, title: str, body: str, verdict: Verdict) -> str:
        """Send a message; a service that hangs is left behind after `SEND_SECONDS`."""
        if self._thread and self._thread.is_alive():
            return "the attempt before still hangs"
        failures: list[str] = []
        self._thread = threading.Thread(
            target=lambda: failures.append(self._send(title, body, verdict)), name="notification", daemon=True
        )
        self._thread.start()
        self._thread.join(SEND_SECONDS)
        return failures[0] if failures else f"no answer within {SEND_SECONDS:g} s"

    def _send(self, title: str, body: str, verdict: Verdict) -> str:
        kinds = {Verdict.ALARM: "failure", Verdict.UNKNOWN: "warning"}
        with _heard() as lines:
            try:
                kind = kinds.get(verdict, "success")
                sent = self._service.notify(body=body, title=title, notify_type=kind, body_format="text")
            except Exception as error:  # noqa: BLE001 - whatever a service's code does, its words may hold secrets
                return type(error).__name__
        if sent:
            return ""
        return redact(lines[-1], self._url) if lines else "apprise could not deliver it"


def redact(text: str, url: str) -> str:
    r"""Shorten an error of apprise to one line without any part of the URL but its scheme.

    >>> redact("No access to https://example.org/T0/ for bob:\nsecret", "slack://bob@T0/x")
    'No access to … for …:'
    """
    line = re.sub(r"\S+://\S+", "…", text.strip().partition("\n")[0])
    parts = {p for p in re.split(r"[:/?&=@,;+\s]+", url.partition("://")[2]) if p}
    for part in sorted(parts | {unquote(p) for p in parts}, key=len, reverse=True):
        edge = "" if len(part) > 3 else r"\b"
        line = re.sub(f"{edge}{re.escape(part)}{edge}", "…", line, flags=re.IGNORECASE)
    return line[:200]


def _service(url: str, setting: str) -> Any:
    """Make apprise's object for a URL; None where it cannot be."""
    with warnings.catch_warnings(), _heard():
        warnings.simplefilter("ignore")  # apprise loads more than a hundred plugins
        try:
            from apprise import Apprise, AppriseAsset
        except ImportError as error:
            message = f"{setting} is set but apprise is missing: pip install 'driftbell[notifications]'"
            raise ConfigError(message) from error
        options: dict[str, Any] = {"app_id": "driftbell", "app_desc": "driftbell", "app_url": ""}
        options |= {"image_url_mask": None, "image_url_logo": None, "async_mode": False}
        if "service_timeout" in inspect.signature(AppriseAsset).parameters:
            options["service_timeout"] = 0  # ours holds, in a thread that does not keep the process alive
        asset = AppriseAsset(**options)
        found = Apprise.instantiate(url, asset=asset)
        if not found:
            return None
        for name, seconds in (("connect", CONNECT_SECONDS), ("read", READ_SECONDS)):
            short = f"{name[0]}to="
            if short not in url:
                setattr(found, f"socket_{name}_timeout", seconds)
        service = Apprise(asset=asset)
        service.add(found)
        return service


_hearing = threading.local()


class _Ear(logging.Handler):
    """Keeps what apprise logs in this thread: its lines say why it failed, and may hold secrets."""

    def emit(self, record: logging.LogRecord) -> None:
        lines = getattr(_hearing, "lines", None)
        if lines is not None:
            lines.append(record.getMessage())


@contextmanager
def _heard() -> Iterator[list[str]]:
    apprise = logging.getLogger("apprise")
    apprise.handlers, apprise.propagate = [_Ear()], False
    apprise.setLevel(logging.WARNING)
    _hearing.lines = lines = list[str]()
    try:
        yield lines
    finally:
        _hearing.lines = None
