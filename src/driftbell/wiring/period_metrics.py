"""Metrics of the prediction log, period by period, for dashboards of your own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from driftbell.config.settings import Settings
from driftbell.drift.logged_columns import prepare_reference
from driftbell.monitor.period_metrics import PeriodMetrics
from driftbell.publish.metric_rows import metric_rows
from driftbell.records import Period
from driftbell.simulation.backtest_windows import check_periods, period_start
from driftbell.store.sql import SqlStore
from driftbell.wiring.logged_values import as_logged
from driftbell.wiring.metrics_target import MetricsTarget
from driftbell.wiring.model import open_model
from driftbell.wiring.monitor import build_detector
from driftbell.wiring.store import clock, open_complete_store
from driftbell.wiring.tables import configured_effects

BATCH = 50
"""Periods that are written in one transaction."""


def write_period_metrics(
    settings: Settings, target: MetricsTarget, *, every: timedelta, since: datetime | None
) -> Iterator[Period]:
    """Write the metrics of the served model's predictions, and yield each period once it is written.

    Args:
        settings: all settings.
        target: file or table.
        every: length of a period.
        since: time in the first period; None for the oldest prediction. Periods from which retention may have
            deleted predictions are left out.

    Raises:
        ConfigError, StoreError: the model, the log or the target cannot be used.
    """
    target.check()
    store = open_complete_store(settings)
    try:
        metrics = _metrics(settings, store)
        now = clock()
        start = _first_period(metrics, settings.retention.days, every, since, now)
        if start is None:
            return
        check_periods(start, now, every)
        source = f"{metrics.model.name} {metrics.model.version}"
        reference = metrics.reference_metrics()
        batch: list[Period] = []
        for period in metrics.periods(start, every, now):
            batch.append(period)
            if len(batch) == BATCH or not period.complete:
                target.write(metric_rows(source, batch, reference))
                yield from batch
                batch = []
        if batch:
            target.write(metric_rows(source, batch, reference))
            yield from batch
    finally:
        store.close()


def _metrics(settings: Settings, store: SqlStore) -> PeriodMetrics:
    opened, _ = as_logged(settings, open_model(settings))
    reference = opened.reference
    return PeriodMetrics(
        store,
        opened.model,
        reference,
        prepare_reference(reference),
        build_detector(settings, opened.model, reference),
        settings.check.minimum_rows,
        settings.check.false_discovery_rate,
        configured_effects(settings, list(reference.columns)),
    )


def _first_period(
    metrics: PeriodMetrics, days: int | None, every: timedelta, since: datetime | None, now: datetime
) -> datetime | None:
    """Return the start of the first period; None without predictions, if no time is given."""
    oldest = metrics.store.predictions.oldest(model=metrics.model.name, version=metrics.model.version)
    first = since or oldest
    if first is None:
        return None
    start = period_start(first, every)
    if days is not None:
        kept = period_start(now, timedelta(days=1)) - timedelta(days=days)
        if start < kept:
            start = period_start(kept - timedelta(microseconds=1), every) + every
    return start
