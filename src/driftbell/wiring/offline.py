"""Checks, reports and rehearsals without a running monitor."""

from __future__ import annotations

from pathlib import Path

from driftbell.atomic_write import write_output
from driftbell.config.settings import Settings
from driftbell.errors import ConfigError
from driftbell.publish.html_report import HtmlReport
from driftbell.records import Judgement
from driftbell.simulation.rehearsal import Rehearsal
from driftbell.wiring.model import open_model
from driftbell.wiring.monitor import build_detector, checker
from driftbell.wiring.store import open_complete_store


def rehearsal(settings: Settings) -> Rehearsal:
    """Build a rehearsal of faults on the configured model.

    Raises:
        ConfigError: see `open_model`.
    """
    opened = open_model(settings)
    detector = build_detector(settings, opened.model, opened.reference)
    return Rehearsal(opened.model, opened.reference, detector, settings.window.rows)


def judged_window(settings: Settings) -> Judgement:
    """Judge the log's current window; nothing is saved.

    Raises:
        ConfigError, StoreError: the model or the log cannot be opened.
    """
    store = open_complete_store(settings)
    try:
        return checker(settings, store).preview().check.judgement
    finally:
        store.close()


def write_report(settings: Settings, target: Path) -> Judgement:
    """Write driftbell's own report on the log's current window to a file.

    Raises:
        ConfigError, StoreError: the model or the log cannot be opened, or the file cannot be written.
    """
    store = open_complete_store(settings)
    try:
        result = checker(settings, store).preview()
        page = HtmlReport().write(result.check, result.reference, result.columns)
    finally:
        store.close()
    try:
        write_output(target, page)
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}") from error
    return result.check.judgement
