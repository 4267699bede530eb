"""The monitor's side: checks, reports, notifications, rehearsals."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from datetime import timedelta

import structlog

from driftbell.config.settings import Settings, notification_urls
from driftbell.degradation import CusumDetector
from driftbell.degradation.detector import watch
from driftbell.errors import ConfigError, MissingExtraError
from driftbell.models.reference import known_by_heart, outputs_of, reference_of
from driftbell.monitor.archive_files import FileStore, open_store
from driftbell.monitor.check import Checker
from driftbell.monitor.retention import Archiver
from driftbell.monitor.scheduler import Monitor
from driftbell.ports import Model, NotificationTarget, Sink
from driftbell.publish.evidently import EvidentlyReport, evidently_available, import_evidently
from driftbell.publish.html_report import HtmlReport
from driftbell.publish.notify import NotificationSender, apprise_targets
from driftbell.publish.report_folder import MAIN_REPORT, OWN_REPORT
from driftbell.records import Reference, Training
from driftbell.store.sql import SqlStore
from driftbell.wiring.model import open_model
from driftbell.wiring.store import clock, open_log, report_folder

NICENESS = 10
"""The monitor yields to the server wherever both want the processor."""

STOP_SECONDS = 5
"""How long a monitor that ends waits for a message that is being sent; the next one sends it again."""

logger = structlog.get_logger()


def notification_targets(settings: Settings) -> list[NotificationTarget]:
    """Make who is told when the verdict changes.

    Raises:
        ConfigError: a URL is wrong, the file of URLs cannot be read, or apprise is missing.
    """
    return apprise_targets(notification_urls(settings.notifications))


def checker(
    settings: Settings, log: SqlStore, *, tells: bool = False, loaded: tuple[Model, Training] | None = None
) -> Checker:
    """Make what runs a check.

    Args:
        settings: all of them.
        log: where predictions are.
        tells: whether changes of the verdict become notifications.
        loaded: the model and its training data, where they are there already.

    Raises:
        ConfigError: see `open_model`, or Evidently is wanted and not installed.
    """
    model, training = loaded or open_model(settings)
    reference = reference_of(
        model, training.features, labels=training.labels, out_of_sample=training.out_of_sample
    )
    warning = known_by_heart(reference)
    if warning:
        logger.warning("reference looks known to the model", reason=warning)
    return Checker(
        log=log,
        model=model,
        reference=reference,
        folder=report_folder(settings),
        sinks=_sinks(settings),
        window_rows=settings.window.rows,
        minimum_rows=settings.check.minimum_rows,
        false_discovery_rate=settings.check.false_discovery_rate,
        clock=clock,
        cooldown=(settings.notifications.cooldown or timedelta()) if tells else None,
        strong=1 / settings.alarms.budget.checks_per_alarm(settings.check.every),
        watch=_watch(settings, model, reference),
        promise=f"{settings.alarms.budget}, {settings.alarms.smallest_loss}, {settings.check.every}",
        warnings=(warning,) if warning else (),
    )


def _watch(settings: Settings, model: Model, reference: Reference) -> CusumDetector:
    """Fit the detector, on out-of-sample answers where there are any."""
    classes = model.classes
    started = time.perf_counter()
    found = watch(
        {name: reference.columns[name] for name in model.schema.names},
        reference.out_of_sample or outputs_of(reference, classes),
        reference.labels,
        classes=classes,
        smallest_loss=settings.alarms.smallest_loss,
        checks_per_alarm=settings.alarms.budget.checks_per_alarm(settings.check.every),
        block_rows=settings.window.rows,
    )
    seen = found.evidence.smallest_seen(settings.window.rows, 1)
    logger.info(
        "drift watch fitted",
        budget=str(settings.alarms.budget),
        rate_of_budget=round(found.evidence.promised, 2),
        smallest_loss_seen_in_one_window=round(seen, 4),
        labels=reference.labels is not None,
        duration_s=round(time.perf_counter() - started, 2),
    )
    return found


def _sinks(settings: Settings) -> Mapping[str, Sink]:
    wanted = settings.reports.evidently
    if wanted == "on" and not evidently_available():
        raise MissingExtraError("reports.evidently = 'on'", "evidently")
    if wanted != "off" and evidently_available():
        return {MAIN_REPORT: EvidentlyReport(), OWN_REPORT: HtmlReport()}
    return {MAIN_REPORT: HtmlReport()}


def archive_store(settings: Settings) -> FileStore | None:
    """Open where predictions go before they are deleted; None where they go nowhere.

    Raises:
        ConfigError: it cannot be opened, or nothing would ever go there.
    """
    if settings.retention.archive is None:
        return None
    if settings.retention.days is None:
        raise ConfigError(
            "retention.archive is set but retention.days is not, so nothing would ever go there: "
            "set how many days predictions stay in the log"
        )
    return open_store(settings.retention.archive)


def _archiver(
    settings: Settings, log: SqlStore, store: FileStore | None, model: Model, holder: str
) -> Archiver | None:
    if settings.retention.days is None:
        return None
    return Archiver(
        log,
        store,
        days=settings.retention.days,
        kinds={f.name: f.kind for f in model.schema.features},
        holder=holder,
        clock=clock,
    )


def run_monitor(settings: Settings) -> None:
    """Run the monitor in this process until SIGTERM or SIGINT.

    Raises:
        ConfigError, StoreError: it cannot start.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    targets = notification_targets(settings)
    store = archive_store(settings)
    log = open_log(settings, lazy=settings.log.on_failure == "spool")  # as the server beside it does
    loaded = open_model(settings)
    os.nice(NICENESS)  # not before: a server that starts waits until the model's folder is free
    check = checker(settings, log, tells=bool(targets), loaded=loaded)
    monitor = Monitor(log, check, every=settings.check.every, clock=clock)
    sender = NotificationSender(
        log, targets, holder=monitor.holder, link=settings.notifications.link, clock=clock
    )
    delivering = threading.Thread(target=sender.run, args=(stop,), name="notifications", daemon=True)
    delivering.start()
    archiver = _archiver(settings, log, store, check.model, monitor.holder)
    if archiver:
        threading.Thread(target=archiver.run, args=(stop,), name="archive", daemon=True).start()
    if settings.reports.evidently != "off" and evidently_available():
        threading.Thread(target=import_evidently, name="evidently", daemon=True).start()
    monitor.run(stop)
    delivering.join(STOP_SECONDS)
    log.close()
