"""Texts about rows with a loss that an estimate without labels cannot tell."""

from __future__ import annotations

from datetime import UTC

from driftbell.degradation.loss_scale import LossScale
from driftbell.records import BlindSpot, BlockSummary


def blind_clause(block: BlockSummary, scale: LossScale, labels: int = 0) -> str:
    """Return the clause about a blind spot: the rows, the reason, and the largest loss that they may hide.

    Args:
        block: with such rows.
        scale: of losses.
        labels: number of labels of such rows that are too few to tell their loss.
    """
    assert block.blind
    rows = f"the {block.rows:,} rows until {block.last.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{_reason(block.blind, rows)}{_bound(block.blind, scale, labels)}"


def _reason(blind: BlindSpot, rows: str) -> str:
    if blind.reason == "outside":
        return f"{blind.share:.0%} of {rows} are outside the reference's range, most in {blind.column}"
    if blind.reason == "unseen":
        return f"{blind.share:.0%} of {rows} have a category of {blind.column} that the reference lacks"
    if blind.reason == "answer":
        return f"{blind.share:.0%} of {rows} have an answer that the model never gave on the reference"
    if blind.reason == "repeated":
        return f"{blind.share:.0%} of {rows} are one row again and again, which may be right or wrong"
    if blind.reason == "similar rows":
        return f"by similar rows of the reference, {rows} have larger errors than estimated"
    if blind.reason == "swings":
        return f"the error on the reference rises and falls too much to judge {rows}"
    words = {
        "moved": "are others than in the reference, which may be real or wrong",
        "broken": "seem broken",
        "one category": "are one category in all rows, which may be real or wrong",
        "rounded": "are rounded, which those of the reference are not",
        "unrelated": "do not fit the other features as before",
    }
    return f"in {rows}, the values of {blind.column} {words[blind.reason]}"


def _bound(blind: BlindSpot, scale: LossScale, labels: int) -> str:
    """Return the clause about the largest loss, and what shows the loss."""
    few = f"and the {labels:,} labels of such rows are too few to tell"
    if blind.loss is None:
        return f", {few} the error there" if labels else ", and only labels show the error there"
    return f"; {scale.largest_text(blind.loss)}, {few if labels else 'and only labels of these rows show it'}"
