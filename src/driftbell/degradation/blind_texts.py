"""Texts about rows with a loss that an estimate without labels cannot tell."""

from __future__ import annotations

from datetime import UTC

from driftbell.degradation.metric_texts import number_writer
from driftbell.phrases import format_points
from driftbell.records import BlindSpot, BlockSummary


def blind_clause(block: BlockSummary, classes: int, error: float | None) -> str:
    """Return the clause about a blind spot: the rows, the reason, and the largest loss that they may hide.

    Args:
        block: with such rows.
        classes: number of classes; 0 for a regression.
        error: mean absolute error of a regression before the change; None if it is unknown.
    """
    assert block.blind
    rows = f"the {block.rows:,} rows until {block.last.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{_reason(block.blind, rows)}{_bound(block.blind, classes, error)}"


def _reason(blind: BlindSpot, rows: str) -> str:
    if blind.reason == "outside":
        return f"{blind.share:.0%} of {rows} are outside the reference's range, most in {blind.column}"
    if blind.reason == "unseen":
        return f"{blind.share:.0%} of {rows} have a category of {blind.column} that the reference lacks"
    if blind.reason == "repeated":
        return f"{blind.share:.0%} of {rows} are one row again and again, which may be right or wrong"
    words = {
        "moved": "have other values than in the reference, which may be real or wrong",
        "broken": "seem broken",
        "unrelated": "do not fit the other features as before",
    }
    return f"in {rows}, {blind.column} {words[blind.reason]}"


def _bound(blind: BlindSpot, classes: int, error: float | None) -> str:
    """Return the clause about the largest loss, and what shows the loss."""
    if blind.loss is None:
        return ", and only labels show the error there"
    if classes:
        most = f"up to {format_points(blind.loss)} points of accuracy may be lost"
    elif error is None:
        most = f"the error per row may be up to {number_writer([blind.loss])(blind.loss)} larger"
    else:
        largest = error + blind.loss
        most = f"the mean absolute error may be up to {number_writer([largest])(largest)}"
    return f"; {most}, and only labels of these rows show it"
