"""Run the monitor: checks, reports, notifications and retention."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial

import structlog

from driftbell.alarms.limits import parse_limits
from driftbell.alarms.notifications import NotificationRules
from driftbell.alarms.smallest_loss import parse_smallest_loss
from driftbell.config.alarms import alarm_metric, compared_loss
from driftbell.config.settings import Settings, notification_urls
from driftbell.degradation.detector import CusumDetector, fit_detector
from driftbell.degradation.loss_scale import loss_scale
from driftbell.drift.limits import check_limits
from driftbell.drift.logged_columns import prepare_reference
from driftbell.errors import ConfigError, MissingExtraError, StoreError
from driftbell.models.reference import memorization_warning, reference_outputs, unseen_label_warning
from driftbell.monitor.archive_files import ArchiveFiles, open_archive
from driftbell.monitor.check import Checker
from driftbell.monitor.compare_window import WindowComparer
from driftbell.monitor.model_metrics import MetricsReader
from driftbell.monitor.period_window import PeriodWindow
from driftbell.monitor.retention import Archiver
from driftbell.monitor.rollback import ChallengeGuard
from driftbell.monitor.scheduler import Monitor
from driftbell.monitor.version_checks import VersionChecks
from driftbell.ports import Model, NotificationTarget, Sink
from driftbell.process.stop_signal import stop_event
from driftbell.process.supervised_thread import SupervisedThread
from driftbell.publish.evidently import EvidentlyReport, evidently_available, import_evidently
from driftbell.publish.html_report import HtmlReport
from driftbell.publish.notify import NotificationSender, apprise_targets
from driftbell.publish.report_folder import MAIN_REPORT, OWN_REPORT
from driftbell.records import Column, Kind, Reference
from driftbell.store.sql import SqlStore
from driftbell.tabular.cells import objects
from driftbell.tabular.profile import texts
from driftbell.wiring.champion import open_champion, open_registered
from driftbell.wiring.logged_values import as_logged
from driftbell.wiring.model import OpenedModel
from driftbell.wiring.store import clock, open_store, report_folder
from driftbell.wiring.tables import configured_effects

NICENESS = 10
"""Niceness of the monitor process: the server has priority on the processor."""

STOP_SECONDS = 3
"""Seconds that a stopping monitor waits for a notification in progress; the next monitor sends it again."""

LATE_SECONDS = 8.0
"""Time to stop for a monitor in a check; then it ends as after a crash, and the next monitor checks again."""

logger = structlog.get_logger()


def notification_targets(settings: Settings) -> list[NotificationTarget]:
    """Build the receivers of notifications.

    Raises:
        ConfigError: a URL is wrong, the file of URLs cannot be read, or apprise is missing.
    """
    return apprise_targets(notification_urls(settings.notifications))


def checker(
    settings: Settings, store: SqlStore, *, notifies: bool = False, opened: OpenedModel | None = None
) -> Checker:
    """Build the checker of the configured model.

    Args:
        settings: all settings.
        store: the prediction store.
        notifies: whether changes of the verdict are written as notifications.
        opened: the model and its reference; None opens those of the champion.

    Raises:
        ConfigError: see `open_model`, Evidently is required and not installed, or a setting names no column.
    """
    opened, logged = as_logged(settings, opened or open_champion(settings, store))
    dropped = logged.dropped if logged else ()
    model, reference = opened.model, opened.reference
    limits = parse_limits(settings.limits)
    if limits:
        columns = prepare_reference(reference).columns
        check_limits(limits, columns)
    warning = memorization_warning(reference)
    if warning:
        logger.warning("model was probably fitted on its reference", reason=warning)
    unseen = unseen_label_warning(reference.labels, model.classes) if model.classes else ""
    if unseen:
        logger.warning("labels of the reference are no class of the model", reason=unseen)
    detector = build_detector(settings, model, reference)
    metric = detector.charts.learned.loss.metric
    return Checker(
        store=store,
        model=model,
        reference=reference,
        folder=report_folder(settings),
        sinks=_sinks(settings),
        window_rows=settings.window.rows,
        minimum_rows=settings.check.minimum_rows,
        false_discovery_rate=settings.check.false_discovery_rate,
        refused_share=settings.check.refused_share,
        smallest_effect=configured_effects(settings, [*reference.columns, *dropped]),
        clock=clock,
        notifies=_notification_rules(settings) if notifies else None,
        strong=1 / settings.alarms.budget.checks_per_alarm(settings.check.every),
        limits=limits,
        detector=detector,
        detector_settings=_detector_settings(settings, detector),
        warnings=tuple(text for text in (warning, unseen) if text),
        logged=logged.id if logged else "",
        comparer=WindowComparer(dropped, _period_window(settings, store, model)),
        metrics=MetricsReader(metric),
    )


def _period_window(settings: Settings, store: SqlStore, model: Model) -> PeriodWindow | None:
    period = settings.window.period
    return PeriodWindow(store, model, period, settings.check.exact_rows) if period else None


def _notification_rules(settings: Settings) -> NotificationRules:
    given = settings.notifications
    return NotificationRules(given.cooldown or timedelta(), given.needs_labels)


def _detector_settings(settings: Settings, detector: CusumDetector) -> str:
    metric = detector.charts.learned.loss.metric.id
    values = (settings.alarms.budget, detector.smallest_loss, settings.check.every, metric)
    return ", ".join(str(value) for value in values if value != "")


def build_detector(settings: Settings, model: Model, reference: Reference) -> CusumDetector:
    """Fit the degradation detector, on out-of-sample predictions if there are any."""
    classes = model.classes
    started = time.perf_counter()
    detector = fit_detector(
        {name: _as_categories(reference, name) for name in model.schema.names},
        reference.out_of_sample or reference_outputs(reference, classes),
        reference.labels,
        classes=classes,
        smallest_loss=parse_smallest_loss(settings.alarms.smallest_loss),
        metric=alarm_metric(settings.alarms),
        checks_per_alarm=settings.alarms.budget.checks_per_alarm(settings.check.every),
        block_rows=settings.window.rows,
        seconds_per_alarm=settings.alarms.budget.seconds_per_alarm(settings.check.every),
        bucketed=reference.bucketed,
    )
    scale = loss_scale(detector.charts)
    smallest = scale.amount(detector.charts.smallest_detectable(settings.window.rows, 1))
    logger.info(
        "degradation detector fitted",
        model=model.name,
        budget=str(settings.alarms.budget),
        metric=scale.metric,
        smallest_loss=detector.smallest_loss,
        smallest_loss_seen_in_one_window=float(f"{smallest:.4g}"),
        labels=reference.labels is not None,
        duration_s=round(time.perf_counter() - started, 2),
    )
    return detector


def _as_categories(reference: Reference, name: str) -> Column:
    """Return a column of the reference, with categories that are numbers as texts."""
    column = reference.columns[name]
    return objects(texts(column)) if reference.kinds.get(name) is Kind.CATEGORICAL else column


def _sinks(settings: Settings) -> Mapping[str, Sink]:
    wanted = settings.reports.evidently
    if wanted == "on" and not evidently_available():
        raise MissingExtraError("reports.evidently = 'on'", "evidently")
    if wanted != "off" and evidently_available():
        return {MAIN_REPORT: EvidentlyReport(), OWN_REPORT: HtmlReport()}
    return {MAIN_REPORT: HtmlReport()}


def archive_files(settings: Settings) -> ArchiveFiles | None:
    """Open the archive of expired predictions; None if none is configured.

    Raises:
        ConfigError: it cannot be opened, or predictions never expire.
    """
    if settings.retention.archive is None:
        return None
    if settings.retention.days is None:
        raise ConfigError(
            "retention.archive is set but retention.days is not, so predictions never expire: "
            "set retention.days to the number of days that they stay in the log"
        )
    return open_archive(settings.retention.archive)


def _archiver(
    settings: Settings, store: SqlStore, files: ArchiveFiles | None, model: Model, holder: str
) -> Archiver | None:
    if settings.retention.days is None:
        return None
    return Archiver(
        store,
        files,
        days=settings.retention.days,
        kinds={f.name: f.kind for f in model.schema.features},
        holder=holder,
        clock=clock,
    )


def run_monitor(settings: Settings, *, supervised: bool = False) -> None:
    """Run the monitor in this process until a stop signal.

    Args:
        settings: all settings.
        supervised: see `stop_event`.

    Raises:
        ConfigError, StoreError: the monitor cannot start.
    """
    targets = notification_targets(settings)
    files = archive_files(settings)
    store = open_store(settings, lazy=settings.log.on_failure == "spool")  # as the server beside it does
    opened = open_champion(settings, store)
    os.nice(NICENESS)  # not earlier: a starting server waits for this process's lock
    check = checker(settings, store, notifies=bool(targets), opened=opened)
    stop = stop_event(
        supervised=supervised, seconds=LATE_SECONDS
    )  # until here, a stop signal ends the process at once
    versions = VersionChecks(
        check,
        lambda: store.versions.state(clock(), model=check.model.name),
        lambda version: checker(
            settings,
            store,
            notifies=bool(targets),
            opened=open_registered(settings, store, version, model=check.model.name),
        ),
        ChallengeGuard(store, compared_loss(settings.alarms), notifies=bool(targets)),
    )
    if settings.window.period is None:
        with suppress(StoreError):  # the next start deletes them
            store.slices.clear(check.model.name)
    monitor = Monitor(store, versions, every=settings.check.every, clock=clock)
    sender = NotificationSender(
        store, targets, holder=monitor.holder, link=settings.notifications.link, clock=clock
    )
    delivering = SupervisedThread(partial(sender.run, stop), name="notifications").start()
    archiver = _archiver(settings, store, files, check.model, monitor.holder)
    if archiver:
        SupervisedThread(partial(archiver.run, stop), name="archive").start()
    if settings.reports.evidently != "off" and evidently_available():
        threading.Thread(target=import_evidently, name="evidently", daemon=True).start()
    monitor.run(stop)
    delivering.join(STOP_SECONDS)
    store.close()
