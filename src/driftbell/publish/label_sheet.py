"""Label sheets: CSV files of the predictions to label in order to confirm or refute an alarm."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from driftbell.ports import Store
from driftbell.records import Alarm, Check, Value
from driftbell.tabular.outputs import parse_number

_SEPARATORS = r"\t\r\n\v\f\x85\u2028\u2029;|"
_CELL_START = re.compile(
    rf"(?P<blank>(?:^|[{_SEPARATORS}])[{_SEPARATORS}\s'\"\x00-\x1f\u200b-\u200f\u2060\ufeff]*)"
    r"(?P<sign>[=+\-@\uff1d\uff0b\uff0d\uff20])?"
)
"""Where a spreadsheet may find a formula: at `=`, `+`, `-`, `@`, also in full width, at a cell's start.

Spaces, quotes and invisible characters before them count as nothing. A cell may begin within a text: some
spreadsheets split lines at semicolons, tabs or bars, whatever the quotes say. The pattern matches at every
start, with a sign or without, so that it reads each character once.
"""
_SEPARATOR = re.compile(f"[{_SEPARATORS}]")


def label_sheet(store: Store, alarm: Alarm) -> str:
    """Return the predictions to label of an alarm as CSV, ready for `driftbell labels`.

    For an open alarm they come from the newest check that lists any, for a closed one from the check that
    opened it.

    Args:
        store: store with the predictions.
        alarm: the alarm to confirm or refute.

    Raises:
        StoreError: the log cannot be read.
    """
    return sheet_of(store, _prediction_ids(store, alarm))


def check_label_sheet(store: Store, check: Check) -> str:
    """Return the predictions with labels that settle what a check cannot tell; see `sheet_of`."""
    return sheet_of(store, _ids_of(check))


def sheet_of(store: Store, ids: Sequence[str]) -> str:
    """Return predictions as CSV, ready for `driftbell labels`.

    Args:
        store: store with the predictions.
        ids: of the predictions; unknown ones are left out.

    Returns:
        A header, then one line per prediction: `prediction_id`, `label` (empty), `prediction`, features.

    Raises:
        StoreError: the log cannot be read.
    """
    predictions = [p for i in ids if (p := store.predictions.get(i))]
    names = dict.fromkeys(name for p in predictions for name in p.features)
    features = [name for name in names if name not in ("prediction_id", "label", "prediction")]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["prediction_id", "label", "prediction", *map(label_cell, features)])
    for p in predictions:
        writer.writerow(
            [p.id, "", _prediction_cell(p.output), *(label_cell(p.features.get(name)) for name in features)]
        )
    return text.getvalue()


def _prediction_cell(output: str) -> Value:
    """Return a class as `label_cell` does; a number, which is no formula, as it is."""
    return label_cell(output) if parse_number(output) is None else output


def _prediction_ids(store: Store, alarm: Alarm) -> tuple[str, ...]:
    newest = next(iter(store.checks.newest(1, version=alarm.version)), None) if alarm.closed is None else None
    for check in (newest, store.checks.get(alarm.id)):
        if check and _ids_of(check):
            return _ids_of(check)
    return ()


def _ids_of(check: Check) -> tuple[str, ...]:
    return check.judgement.degradation.to_label if check.judgement.degradation else ()


def label_cell(value: Value) -> Value:
    """Return a value with an apostrophe before each formula, which makes it a text.

    >>> label_cell("=1+1"), label_cell("a;\uff1d1"), label_cell("a - b; c"), label_cell(-1.5)
    ("'=1+1", "a;'\uff1d1", 'a - b; c', -1.5)
    """
    if not isinstance(value, str):
        return value
    text = _CELL_START.sub(_quote_formula, value)
    return f"'{text}" if text.startswith(("\t", "\r", "\n")) else text


def _quote_formula(match: re.Match[str]) -> str:
    """Insert an apostrophe at the start of each cell before a sign."""
    if not match["sign"]:
        return match[0]
    blank = _SEPARATOR.sub(r"\g<0>'", match["blank"])
    return f"{blank if match.start() else chr(39) + blank}{match['sign']}"
