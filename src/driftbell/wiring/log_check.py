"""Check a period of the prediction log against the reference of its model."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from driftbell.alarms.limits import parse_limits
from driftbell.config.settings import Settings
from driftbell.drift.counted_reference import TableParts, with_precision
from driftbell.drift.judge import judge
from driftbell.drift.limits import apply_limits, check_limits
from driftbell.drift.logged_columns import not_logged, prepare_reference
from driftbell.errors import ConfigError
from driftbell.models.known_versions import known_versions, unknown_version_text
from driftbell.monitor.archive_files import ArchiveFiles, open_archive
from driftbell.monitor.period_rows import PeriodRows
from driftbell.monitor.state import CarriedState, for_logged_values
from driftbell.monitor.window import logged_columns
from driftbell.phrases import count_of, join_names
from driftbell.ports import Store
from driftbell.records import CheckState
from driftbell.tabular.number_bins import INTERVALS
from driftbell.wiring.champion import open_champion, open_registered
from driftbell.wiring.logged_values import as_logged
from driftbell.wiring.model import OpenedModel
from driftbell.wiring.store import clock, open_complete_store
from driftbell.wiring.table_check import TableCheck
from driftbell.wiring.tables import configured_effects

UNIT = "predictions of the period"


def check_log(
    settings: Settings,
    since: datetime | None = None,
    until: datetime | None = None,
    version: str | None = None,
) -> TableCheck:
    """Check the predictions of a period, those in the archive included; nothing is saved.

    Args:
        settings: all settings.
        since: start of the period; None for the oldest prediction.
        until: its end, which does not belong to it; None for now.
        version: version of the model; None for the champion.

    Raises:
        ConfigError: there is no log, the model has no such version, or a setting does not fit.
        StoreError, ArchiveError: the log or the archive cannot be read.
    """
    store = open_complete_store(settings)
    try:
        return _check(settings, store, since, until or clock(), version)
    finally:
        store.close()


def _check(
    settings: Settings, store: Store, since: datetime | None, until: datetime, version: str | None
) -> TableCheck:
    opened, logged = as_logged(settings, _open(settings, store, version))
    model, reference = opened.model, opened.reference
    dropped = logged.dropped if logged else ()
    effects = configured_effects(settings, [*reference.columns, *dropped])
    limits = parse_limits(settings.limits)
    if limits:
        check_limits(limits, prepare_reference(reference).columns)
    state = _state(store, opened, logged.id if logged else "")
    start = since or _oldest(store, model.name, model.version) or until
    rows = PeriodRows(store, model, _archive(settings), start, until, state.since)
    parts = TableParts(reference, settings.check.exact_rows)
    for part in rows.parts():
        parts.add(logged_columns(part, model, reference), len(part))
    comparisons = (*parts.compare(), *map(not_logged, dropped)) if parts.rows else ()
    judgement = judge(
        comparisons,
        rows=parts.rows,
        minimum_rows=settings.check.minimum_rows,
        false_discovery_rate=settings.check.false_discovery_rate,
        smallest_effect=effects,
        unit=UNIT,
    )
    judgement = apply_limits(judgement, limits, rows=parts.rows)
    judgement, error = with_precision(judgement)
    sentences = [judgement.sentence, *_notes(rows)]
    if not parts.rows:
        sentences.append(_where(store, model.name, model.version))
    judgement = replace(judgement, sentence=" ".join(filter(None, sentences)))
    facts = _facts(rows, error)
    name = f"predictions of {model.name} {model.version} from {_time(start)} to {_time(until)}"
    detected = {"reference": {"format": "reference of the model"}, "current": facts}
    reference_rows = len(next(iter(reference.columns.values())))
    return TableCheck(judgement, (reference_rows, parts.rows), ("reference of the model", name), detected)


def _open(settings: Settings, store: Store, version: str | None) -> OpenedModel:
    """Open the champion, or another version.

    Raises:
        ConfigError: the model has no such version, or it cannot be opened.
    """
    opened = open_champion(settings, store)
    name = opened.model.name
    if version is None or version == opened.model.version:
        return opened
    if store.versions.get(version, model=name) is None:
        known = known_versions(store, model=name)
        raise ConfigError(f"--version: {unknown_version_text(version, known, model=name)}")
    return open_registered(settings, store, version, model=name)


def _state(store: Store, opened: OpenedModel, form: str) -> CheckState:
    """Return the state of the newest check; predictions up to `since` are logged in another form."""
    model = opened.model
    newest = next(iter(store.checks.newest(1, version=model.version)), None)
    carried = CarriedState(newest.state if newest else CheckState(logged=form))
    served = {"model": model.name, "version": model.version}
    return for_logged_values(carried, form, lambda: store.predictions.window(1, **served).last).state


def _archive(settings: Settings) -> ArchiveFiles | None:
    return open_archive(settings.retention.archive) if settings.retention.archive else None


def _oldest(store: Store, model: str, version: str) -> datetime | None:
    """Return the time of the oldest prediction, or the start of the oldest day in the archive."""
    served = {"model": model, "version": version}
    oldest = store.predictions.oldest(**served)
    first = store.rows.first_archived_day(**served)
    return min((time for time in (oldest, first) if time is not None), default=None)


def _notes(rows: PeriodRows) -> list[str]:
    """Return sentences about predictions of the period that were not checked."""
    notes = []
    if rows.deleted:
        notes.append(
            f"Retention has deleted {count_of(rows.deleted, 'prediction')} of the days of the period."
        )
    if rows.other_form:
        notes.append("Predictions before the last change of columns.log are not checked.")
    return notes


def _facts(rows: PeriodRows, error: float | None) -> dict[str, Any]:
    """Return what `--verbose` and `--json` report about the rows."""
    facts: dict[str, Any] = {"format": "prediction log", "from": _time(rows.start), "to": _time(rows.end)}
    facts |= {"archived": rows.archived} if rows.archived else {}
    facts |= {"deleted": rows.deleted} if rows.deleted else {}
    return facts | ({} if error is None else {"binned": INTERVALS, "largest_error": round(error, 6)})


def _where(store: Store, model: str, version: str) -> str:
    """Return when a version without predictions in a period has some, or which versions have."""
    served = {"model": model, "version": version}
    oldest, newest = store.predictions.oldest(**served), store.predictions.newest_time(**served)
    if oldest and newest:
        return f"The log has predictions of version {version} from {_time(oldest)} to {_time(newest)}."
    if versions := store.predictions.versions(model):
        return f"The log has no predictions of version {version}, but of {join_names(versions[::-1])}."
    return f"The log has no predictions of {model}."


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
