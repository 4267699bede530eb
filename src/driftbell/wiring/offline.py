"""Checks, reports and rehearsals without a running monitor."""

from __future__ import annotations

from pathlib import Path

from driftbell.config.settings import Settings
from driftbell.errors import ConfigError
from driftbell.models.reference import reference_of
from driftbell.publish.html_report import HtmlReport
from driftbell.records import Judgement
from driftbell.simulation.rehearsal import Rehearsal
from driftbell.wiring.model import open_model
from driftbell.wiring.monitor import _watch, checker
from driftbell.wiring.store import open_whole_log


def rehearsal(settings: Settings) -> Rehearsal:
    """Make what tries faults out on the served model.

    Raises:
        ConfigError: see `open_model`.
    """
    model, training = open_model(settings)
    reference = reference_of(
        model, training.features, labels=training.labels, out_of_sample=training.out_of_sample
    )
    return Rehearsal(model, reference, _watch(settings, model, reference), settings.window.rows)


def judged_window(settings: Settings) -> Judgement:
    """Judge the log's current window; nothing is saved.

    Raises:
        ConfigError, StoreError: the model or the log cannot be opened.
    """
    log = open_whole_log(settings)
    try:
        return checker(settings, log).look().check.judgement
    finally:
        log.close()


def write_report(settings: Settings, target: Path) -> Judgement:
    """Write driftbell's own report on the log's current window to a file.

    Raises:
        ConfigError, StoreError: the model or the log cannot be opened, or the file cannot be written.
    """
    log = open_whole_log(settings)
    try:
        looking = checker(settings, log)
        found = looking.look()
        page = HtmlReport().write(found.check, found.reference, found.columns)
    finally:
        log.close()
    try:
        target.write_bytes(page)
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}") from error
    return found.check.judgement
