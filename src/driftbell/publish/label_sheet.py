"""Alarms for people and programs: as JSON, and the rows whose labels would settle one as CSV."""

from __future__ import annotations

import csv
import io

from driftbell.ports import Store
from driftbell.records import Alarm, Check, Value

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A text that begins like this is run as a formula by spreadsheets."""


def label_sheet(log: Store, alarm: Alarm) -> str:
    """Write the predictions whose labels would settle an alarm as CSV, ready for `driftbell labels`.

    They are those that the newest check named, for an alarm that is over those of the check that opened it.

    Args:
        log: where the predictions are.
        alarm: which.

    Returns:
        A header and a line each: `prediction_id`, `label` (empty), `prediction`, and the features.

    Raises:
        StoreError: the log cannot be read.
    """
    found = [p for i in _to_label(log, alarm) if (p := log.predictions.get(i))]
    known = dict.fromkeys(name for p in found for name in p.features)
    features = [name for name in known if name not in ("prediction_id", "label", "prediction")]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["prediction_id", "label", "prediction", *map(_cell, features)])
    for p in found:
        writer.writerow([p.id, "", _cell(p.output), *(_cell(p.features.get(name)) for name in features)])
    return text.getvalue()


def _to_label(log: Store, alarm: Alarm) -> tuple[str, ...]:
    newest = next(iter(log.checks.newest(1, version=alarm.version)), None) if alarm.closed is None else None
    for check in (newest, log.checks.get(alarm.id)):
        if check and _names(check):
            return _names(check)
    return ()


def _names(check: Check) -> tuple[str, ...]:
    return check.judgement.degradation.to_label if check.judgement.degradation else ()


def _cell(value: Value) -> Value:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
