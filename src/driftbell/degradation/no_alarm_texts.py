"""Sentences about evidence of a loss without an alarm: each is true for the loss that stands beside it."""

from __future__ import annotations

from driftbell.degradation.claims import (
    ACCUMULATED,
    CONTRADICTED,
    NOT_CONFIRMED,
    RECOVERED,
    SMALLER,
    SMALLER_NOW,
    UNCHANGED,
)
from driftbell.degradation.loss_scale import LossScale
from driftbell.records import Interval


def contradicted_text(loss: Interval | None, scale: LossScale, estimated: str, which: str) -> str:
    """Return the sentence about labels that contradict an estimated loss.

    Args:
        loss: that they show; None if too few are of the rows of the estimate.
        scale: of losses.
        estimated: clause about the estimated loss, or "".
        which: clause about the suspect columns, or "".
    """
    if loss is None:
        return f"{NOT_CONFIRMED}: {estimated}too few labels are of the rows since then{which}."
    labels = f"{estimated}the labels show {remaining_text(loss, scale)}"
    if loss.is_positive and loss.value >= scale.smallest:
        return f"{ACCUMULATED}: {labels}, which may be chance{which}."
    if loss.is_positive:
        return f"{SMALLER}: {labels}{which}."
    if loss.high >= scale.smallest:
        return f"{NOT_CONFIRMED}: {labels}{which}."
    return f"{UNCHANGED if which else CONTRADICTED}: {labels}{which}."


def recovered_text(loss: Interval | None, scale: LossScale, before: str) -> str:
    """Return the sentence about newest labels with less loss than those before.

    Args:
        loss: that the newest ones show.
        scale: of losses.
        before: sentence about the loss before, or "".
    """
    if loss is not None and loss.is_positive and loss.value >= scale.smallest:
        claim = (
            f"{ACCUMULATED}, and the newest labels show {remaining_text(loss, scale)}, which may be chance"
        )
    elif loss is not None and loss.is_positive:
        claim = f"{SMALLER_NOW}: {scale.text(loss)}"
    else:
        claim = RECOVERED
    return f"{claim}. The evidence falls, and there is no alarm.{before}"


def accumulated_text(loss: Interval | None, scale: LossScale, which: str) -> str:
    """Return the sentence about evidence that the newest rows do not confirm.

    Args:
        loss: that they show.
        scale: of losses.
        which: clause about the suspect columns, or "".
    """
    chance = " that may be chance" if loss is not None and loss.is_positive else ""
    return f"{ACCUMULATED}, but the newest rows show {remaining_text(loss, scale)}{chance}: no alarm{which}."


def closing_text(loss: Interval | None, scale: LossScale, before: str) -> str:
    """Return the sentence about an open alarm that may close.

    Args:
        loss: that the newest rows show.
        scale: of losses.
        before: sentence about the loss before, or "".
    """
    less = ", less than an alarm needs" if loss is not None and loss.is_positive else ""
    return (
        f"The newest rows show {remaining_text(loss, scale)}{less}: the alarm closes if it stays so.{before}"
    )


def quiet_text(loss: Interval, scale: LossScale) -> str:
    """Return the sentence of a quiet check with a loss above zero, or one that may be relevant."""
    if not loss.is_positive:
        return f"No certain loss: {scale.largest_text(loss.high)}."
    clause = f"the newest rows show a loss, {scale.text(loss)}, which"
    if loss.value < scale.smallest:
        return f"No alarm: {clause} is less than the smallest loss that matters."
    return f"No alarm yet: {clause} may be chance; if it lasts, an alarm is raised."


def remaining_text(loss: Interval | None, scale: LossScale) -> str:
    """Return what labels or rows show that are no alarm, as the object of "show".

    Args:
        loss: that they show, with its interval; None if it is not known.
        scale: of losses.
    """
    if loss is not None and loss.is_positive:
        return f"a loss, {scale.text(loss)}"
    if loss is None or loss.high >= scale.smallest:
        return "no certain loss"
    return "no loss" if loss.high <= 0 else "less than the smallest loss that matters"
