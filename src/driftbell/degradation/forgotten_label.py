"""A column of labels that was not named: it would be a feature that the predictions follow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from driftbell.degradation.model_columns import ModelColumns
from driftbell.phrases import printable
from driftbell.records import Column, Columns
from driftbell.tabular.columns import is_null
from driftbell.tabular.profile import numbers

MIN_AGREEMENT = 0.4
"""Smallest Cohen's kappa, or R² of a regression, of predictions and what may be labels."""

MIN_ROWS = 20


def forgotten_label(columns: ModelColumns, table: Columns) -> str:
    """Return a note about the feature that the predictions follow as if it were the labels; "" without one.

    Args:
        columns: the roles of the columns, without a label.
        table: the reference.
    """
    agreement = {
        name: _kappa(columns, table[columns.prediction], column)
        if columns.classes
        else _r2(table[columns.prediction], column)
        for name, column in columns.features(table).items()
    }
    name = max(agreement, key=agreement.__getitem__, default="")
    if not name or agreement[name] < MIN_AGREEMENT:
        return ""
    return (
        f"the predictions follow column '{printable(name)}', which is compared as a feature: if it has the "
        f"labels, pass label (--label {printable(name)})"
    )


def _kappa(columns: ModelColumns, predictions: Column, column: Column) -> float:
    """Return Cohen's kappa; 0 if the cells are not the classes.

    Source: J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological
    Measurement 20 (1960).
    """
    pairs = [
        (a, b)
        for a, b in zip(
            columns.class_column(predictions).tolist(), columns.class_column(column).tolist(), strict=True
        )
        if not is_null(a) and not is_null(b)
    ]
    values = {b for _, b in pairs}
    if len(pairs) < MIN_ROWS or len(values) < 2 or not values <= set(columns.classes):
        return 0.0
    agreed = sum(a == b for a, b in pairs) / len(pairs)
    shares: list[Mapping[str, float]] = [_shares([pair[i] for pair in pairs]) for i in (0, 1)]
    by_chance = sum(share * shares[1].get(name, 0.0) for name, share in shares[0].items())
    return (agreed - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0


def _shares(names: list[str]) -> dict[str, float]:
    return {name: names.count(name) / len(names) for name in set(names)}


def _r2(predictions: Column, column: Column) -> float:
    """Return R² of the predictions of a column; 0 if its cells are not numbers."""
    a, b = numbers(predictions), numbers(column)
    used = np.isfinite(a) & np.isfinite(b)
    if np.count_nonzero(used) < max(MIN_ROWS, len(b) / 2):
        return 0.0
    a, b = a[used], b[used]
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(np.sum((b - b.mean()) ** 2))
        r2 = 1 - float(np.sum((b - a) ** 2)) / total if total > 0 else 0.0
    return r2 if np.isfinite(r2) else 0.0
