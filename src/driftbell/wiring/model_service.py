"""The parts of the application of one model, from its settings."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import structlog

from driftbell.alarms.metric import ACCURACY, SHARE_METRICS
from driftbell.alarms.smallest_loss import parse_smallest_loss
from driftbell.config.alarms import alarm_metric, compared_loss
from driftbell.config.settings import Settings, log_database
from driftbell.degradation.metric_texts import METRIC_NAMES
from driftbell.errors import StoreError
from driftbell.ports import Model
from driftbell.process.supervised_thread import SupervisedThread
from driftbell.server.auth.guard import Access
from driftbell.server.http.prefix import PathPrefix
from driftbell.server.http.site_guard import SiteGuard
from driftbell.server.http.tracing import Tracing
from driftbell.server.service import Service
from driftbell.store.sql import SqlStore
from driftbell.wiring.logged_values import LoggedVersions
from driftbell.wiring.served_versions import version_source
from driftbell.wiring.store import clock, report_folder

VERIFY_DELAY_SECONDS, VERIFY_SECONDS = 2.0, 86400.0
"""Time until the store is first looked over for damage, and between two times."""

logger = structlog.get_logger()


def model_service(
    settings: Settings, store: SqlStore, model: Model, *, access: Access, tracing: Tracing
) -> Service:
    """Build the parts of the application of one model.

    Args:
        settings: its settings.
        store: its prediction store.
        model: the model of the settings, loaded.
        access: checks API keys.
        tracing: records spans, or is off.

    Raises:
        ConfigError: the champion cannot be loaded.
    """
    logged = LoggedVersions(settings)
    logged.require_features(model)
    logged.add(settings, model)
    source = version_source(settings, store.versions, model, prepare=logged.add)
    if log_database(settings.log) is None:
        verify_daily(store)
    server = settings.server
    return Service(
        model=source.models[0] if source else model,
        store=store,
        versions=source,
        journals=settings.journals_dir,
        reports=report_folder(settings),
        window_rows=settings.window.rows,
        body_limit=server.body_limit,
        queue_limit=server.queue_limit,
        access_log=server.access_log,
        site_guard=SiteGuard(_allowed_hosts(settings), bound=server.host, origins=server.cors_origins),
        tracing=tracing,
        clock=clock,
        durability=settings.log.durability,
        on_failure=settings.log.on_failure,
        budget_per_day=settings.alarms.budget.per_day(settings.check.every),
        smallest_loss=_smallest_loss(settings, model),
        compared_loss=compared_loss(settings.alarms),
        prefix=PathPrefix(server.root_path or "", use_header=server.forwarded_prefix),
        cors_origins=server.cors_origins,
        access=access,
        logged=logged,
    )


def _smallest_loss(settings: Settings, model: Model) -> float | None:
    """Return the smallest relevant loss of accuracy; that of another metric depends on the reference."""
    metric = alarm_metric(settings.alarms).of_model(model.classes, has_probabilities=True, labelled=True)
    if metric.name not in SHARE_METRICS:
        return None
    smallest = parse_smallest_loss(settings.alarms.smallest_loss).of_share(METRIC_NAMES[metric.name])
    return smallest if metric.name == ACCURACY else None


def verify_daily(store: SqlStore) -> None:
    """Look for damage of the store in a thread, soon after the start and then every day."""

    def verify() -> None:
        time.sleep(VERIFY_DELAY_SECONDS)
        while True:
            try:
                store.verify()
            except StoreError as error:
                if store.connections.damage:
                    logger.error("prediction log is damaged", error=str(error))
                    return
                logger.warning("prediction log cannot be checked for damage", error=str(error))
            time.sleep(VERIFY_SECONDS)

    SupervisedThread(verify, name="database").start()


def _allowed_hosts(settings: Settings) -> list[str]:
    """Return the configured names, and the one of the address for people."""
    link = urlsplit(settings.notifications.link or "").hostname
    return [*settings.server.allowed_hosts, *([link] if link else [])]
