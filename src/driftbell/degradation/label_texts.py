"""Texts about labels beside an estimate, labels of other rows, and labels that are no class of the model."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from driftbell.degradation.label_coverage import MIN_COVERING
from driftbell.phrases import count_of, join_names, printable

if TYPE_CHECKING:
    from driftbell.degradation.explain import MeasuredLoss, UncoveredSuspicion
    from driftbell.degradation.loss_scale import LossScale

MAX_NAMED = 3
MAX_NAME_LENGTH = 40


def uncovered_text(uncovered: UncoveredSuspicion, scale: LossScale, causes: str = "") -> str:
    """Return the sentences about suspected rows without labels, beside what labels of other rows say.

    Args:
        uncovered: the suspected rows.
        scale: of losses.
        causes: clause about the suspected cause, or "" if another sentence has it.
    """
    columns, since = join_names(uncovered.suspicion.columns, max_names=2), uncovered.suspicion.since
    loss = f"a loss: {scale.text(uncovered.loss)}" if uncovered.loss else "no loss"
    return (
        f"The newest {count_of(uncovered.labels, 'label')}, of rows until {_minute(uncovered.until)}, show "
        f"{loss}. Only {uncovered.suspicion.labels} of at least {MIN_COVERING} labels are of suspected rows "
        f"({columns}, since {_minute(since)}){causes}."
    )


def measured_text(measured: MeasuredLoss, scale: LossScale) -> str:
    """Return the sentence about what the labels since a change measure, beside the estimate."""
    first, last = _minute(measured.first), _minute(measured.last)
    times = f"from {first} to {last}" if first != last else f"of {first}"
    labels = f"The {count_of(measured.labels, 'label')} of rows {times}"
    show = "shows" if measured.labels == 1 else "show"
    if measured.loss.is_positive:
        return f"{labels} {show} a loss: {scale.text(measured.loss)}."
    if measured.loss.high <= 0:
        return f"{labels} {show} no loss."
    return f"{labels} {show} no certain loss: {scale.largest_text(measured.loss.high)}."


def unknown_labels_text(unknown: Mapping[str, int]) -> str:
    """Return the sentence about labels that are no class of the model; "" without any.

    >>> unknown_labels_text({"refund": 60})
    "60 labels since then are no class of the model and count as wrong: 'refund' (60)."
    >>> unknown_labels_text({"a": 5, "b": 4, "c": 3, "d": 1})
    "13 labels since then are no class of the model and count as wrong: 'a' (5), 'b' (4), 'c' (3) and 1 more."
    """
    if not unknown:
        return ""
    counts = sorted(unknown.items(), key=lambda item: -item[1])
    names = join_names(
        (f"'{printable(name, MAX_NAME_LENGTH)}' ({n:,})" for name, n in counts), max_names=MAX_NAMED
    )
    total = sum(unknown.values())
    are = "is no class of the model and counts" if total == 1 else "are no class of the model and count"
    return f"{count_of(total, 'label')} since then {are} as wrong: {names}."


def _minute(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
