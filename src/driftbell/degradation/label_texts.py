"""Texts about labels beside an estimate, labels of other rows, and labels that are no class of the model."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from driftbell.degradation.label_coverage import min_covering
from driftbell.phrases import count_of, join_names, printable

if TYPE_CHECKING:
    from driftbell.degradation.explain import MeasuredLoss, NewestRows, UncoveredSuspicion
    from driftbell.degradation.loss_scale import LossScale
    from driftbell.records import Interval, Suspicion

CONCEPT_DRIFT = "concept drift (other true values for the same inputs)"

MAX_NAMED = 3
MAX_NAME_LENGTH = 40


def uncovered_text(uncovered: UncoveredSuspicion, scale: LossScale) -> str:
    """Return the sentences about suspected rows without labels, beside what labels of other rows say."""
    labels = f"The newest {count_of(uncovered.labels, 'label')}, of rows until {_minute(uncovered.until)},"
    clause = _loss_clause(uncovered.labels, uncovered.loss, scale)
    return f"{labels} {clause}. {few_labels_text(uncovered.suspicion)}."


def few_labels_text(suspicion: Suspicion, causes: str = "") -> str:
    """Return the clause about suspected rows with too few labels.

    Args:
        suspicion: the suspected rows.
        causes: clause about the suspected cause, or "" if another sentence has it.
    """
    columns = join_names(suspicion.columns, max_names=2)
    few = {0: "No label is", 1: "Only 1 label is"}.get(
        suspicion.labels, f"Only {suspicion.labels} labels are"
    )
    rows = f"({columns}, since {_minute(suspicion.since)})"
    return f"{few} of suspected rows {rows}, and at least {min_covering(suspicion)} are needed{causes}"


def suspected_text(suspicion: Suspicion) -> str:
    """Return the sentence about the labels of suspected rows behind a loss of all rows."""
    columns = join_names(suspicion.columns, max_names=2)
    newest = "newest " if suspicion.labels < sum(b.rows for b in suspicion.label_blocks) else ""
    labels = f"the {newest}{count_of(suspicion.labels, 'label')} of suspected rows"
    return (
        f"This is the loss in {labels} ({columns}, since {_minute(suspicion.since)}), which are "
        f"{suspicion.share:.0%} of all rows, as a loss of all rows."
    )


def measured_text(measured: MeasuredLoss, scale: LossScale) -> str:
    """Return the sentence about what the labels since a change measure, beside the estimate."""
    first, last = _minute(measured.first), _minute(measured.last)
    times = f"from {first} to {last}" if first != last else f"of {first}"
    labels = f"The {count_of(measured.labels, 'label')} of rows {times}"
    return f"{labels} {_loss_clause(measured.labels, measured.loss, scale)}."


def unproven_text(measured: MeasuredLoss, scale: LossScale) -> str:
    """Return the clause about a loss of the newest labels that is no alarm yet."""
    labels = f"the newest {count_of(measured.labels, 'label')}"
    of_rows = "" if measured.is_newest else f", of rows until {_minute(measured.last)},"
    return f"{labels}{of_rows} show a loss, {scale.text(measured.loss)}, which may be chance"


def first_change_text(time: datetime) -> str:
    """Return the sentence about the change that opened an alarm, beside the loss since a later one.

    >>> first_change_text(datetime(2026, 1, 31, 23, 39, tzinfo=UTC))
    'The alarm was opened by an earlier change, at 2026-01-31 23:39 UTC.'
    """
    return f"The alarm was opened by an earlier change, at {_minute(time)}."


def labels_until_text(until: datetime) -> str:
    """Return the sentence about labels that do not reach the newest rows.

    >>> labels_until_text(datetime(2026, 1, 31, 23, 39, tzinfo=UTC))
    'The newest label is of 2026-01-31 23:39 UTC; newer rows have none.'
    """
    return f"The newest label is of {_minute(until)}; newer rows have none."


def unlabelled_text(rows: int, labelled: int, name: str = "last {} predictions") -> str:
    """Return the sentence about rows without a label, on which a "no" rests; "" if all have one.

    Args:
        rows: number of rows.
        labelled: number of them with a label.
        name: of the rows; `{}` is their number.

    >>> unlabelled_text(500, 0)
    'None of the last 500 predictions has a label, and only labels show concept drift (other true values for \
the same inputs).'
    >>> unlabelled_text(1200, 1, "{} rows of past.csv")[:59]
    'Only 1 of the 1,200 rows of past.csv has a label, and only '
    """
    if labelled >= rows:
        return ""
    some = f"Only {labelled:,}" if labelled else "None"
    have = "have" if labelled > 1 else "has"
    return f"{some} of the {name.format(f'{rows:,}')} {have} a label, and only labels show {CONCEPT_DRIFT}."


def newest_text(newest: NewestRows, scale: LossScale) -> str:
    """Return the sentence about the newest rows, beside an estimated loss since the change."""
    clause = _loss_clause(newest.rows, newest.loss, scale)
    return f"The newest {count_of(newest.rows, 'row')}, estimated without labels, {clause}."


def _loss_clause(count: int, loss: Interval, scale: LossScale) -> str:
    """Return what a number of labels or rows shows: a loss, none, or how large it may be."""
    show = "shows" if count == 1 else "show"
    if loss.is_positive:
        return f"{show} a loss: {scale.text(loss)}"
    if loss.high <= 0:
        return f"{show} no loss"
    return f"{show} no certain loss: {scale.largest_text(loss.high)}"


def averaged_text(labels: int) -> str:
    """Return the sentence about the labels behind a loss since a change, which differ from all newest labels.

    >>> averaged_text(300)
    'This is the loss in the 300 labels since then, averaged over the possible starts.'
    """
    return (
        f"This is the loss in the {count_of(labels, 'label')} since then, averaged over the possible starts."
    )


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
