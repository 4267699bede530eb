"""Texts about rows with a loss that an estimate without labels cannot tell."""

from __future__ import annotations

from datetime import UTC

from driftbell.degradation.claims import MAY_GO_ON
from driftbell.degradation.loss_scale import LossScale
from driftbell.phrases import count_of
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


def may_go_on_text(block: BlockSummary, scale: LossScale, since: str, which: str) -> str:
    """Return the sentence about an alarm that neither goes on for certain nor closes.

    Args:
        block: the newest rows, with a loss that the estimate cannot tell.
        scale: of losses.
        since: clause about the change point.
        which: clause about the suspect columns, or "".
    """
    open_until = f"The alarm of the loss {since} stays open until that is known."
    return f"{MAY_GO_ON}: {blind_clause(block, scale)}{which}. {open_until}"


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
        "moved": "differ from those in the reference, which may be real or wrong",
        "broken": "seem broken",
        "one category": "are one category in all rows, which may be real or wrong",
        "rounded": "are rounded, which those of the reference are not",
        "unrelated": "do not fit the other features as before",
    }
    return f"in {rows}, the values of {blind.column} {words[blind.reason]}"


def _bound(blind: BlindSpot, scale: LossScale, labels: int) -> str:
    """Return the clause about the largest loss, and what shows the loss."""
    are = "is" if labels == 1 else "are"
    few = f"and the {count_of(labels, 'label')} of such rows {are} not enough to tell"
    if blind.loss is None:
        return f", {few}" if labels else ", and only labels show the error there"
    return f"; {scale.largest_text(blind.loss)}, {few if labels else 'and only labels of these rows show it'}"
