"""The rows of a block that lose more than the others, described by up to two conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from driftbell.degradation.category_changes import count_new, quoted
from driftbell.degradation.encoder import Matrix
from driftbell.degradation.reference_models import Vector, one_thread
from driftbell.phrases import format_value
from driftbell.records import Columns
from driftbell.tabular.calendar_values import COUNTER, TIME

if TYPE_CHECKING:
    from driftbell.degradation.block import Block
    from driftbell.degradation.cusum import CusumCharts

Mask = NDArray[np.bool_]

MIN_SEGMENT_ROWS = 30
"""Smallest number of rows of a segment, and of the other rows."""

MAX_CHANCE = 0.01
"""Chance that any of the groups of a block without a segment is named."""

SHARES = tuple(i / 10 for i in range(1, 10))
"""Quantiles of a feature in the reference at which rows are split."""

MAX_CATEGORIES = 20
"""Categories of a feature that are groups, the most frequent of the block first."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that fit one condition.

    Attributes:
        words: the condition.
        rows: which rows of the block fit it, shape (n,).
        usual: which rows of the reference do, shape (m,).
        is_broken: whether they are broken values, new categories or nulls.
    """

    words: str
    rows: Mask
    usual: Mask
    is_broken: bool = False

    def both(self, other: Group) -> Group:
        """Return the rows that fit this condition and another one, which replaces one that it implies."""
        is_implied = not (other.rows & ~self.rows).any() and not (other.usual & ~self.usual).any()
        words = other.words if is_implied else f"{self.words} and {other.words}"
        return Group(words, self.rows & other.rows, self.usual & other.usual)


def worst_segment(charts: CusumCharts, block: Block, columns: Columns) -> str:
    """Describe the rows that lose more than the others; "" if no group of rows does.

    The loss of a group is the mean expected error of its rows minus that of the rows of the reference that
    fit the same condition, or of all rows of the reference if it has fewer than 30 of them. It must be
    larger than the loss of the other rows by Welch's test at 0.5 % divided by the number of groups
    (Bonferroni). Groups with broken values, new categories or nulls are tested first, by themselves, at
    another 0.5 %. The others are the categories of the features that the model uses, and their numbers below
    and above each tenth of the reference. Of one of these, a second condition is named if its rows lose more
    than the others of the group.

    Args:
        charts: fitted on the reference.
        block: the newest rows.
        columns: their features by name.
    """
    usual, errors = _usual_errors(charts, block), _errors(charts, block)
    groups = [g for g in _groups(charts, block, columns) if _has_both(g.rows)]
    broken = [group for group in groups if group.is_broken]
    chance = MAX_CHANCE / 2 / max(1, len(groups))
    everything = np.ones(len(errors), dtype=bool)
    first = _worst(broken, errors, usual, everything, MAX_CHANCE / 2 / max(1, len(broken)))
    first = first or _worst(groups, errors, usual, everything, chance)
    if first is None:
        return ""
    if first.is_broken:
        return _described(first)
    within = [first.both(group) for group in groups if group is not first]
    second = _worst([g for g in within if _has_both(g.rows, first.rows)], errors, usual, first.rows, chance)
    return _described(second or first)


def _described(segment: Group) -> str:
    return f"{segment.words} ({segment.rows.mean():.0%} of the rows)"


def _usual_errors(charts: CusumCharts, block: Block) -> Vector:
    """Return the expected error of each usual row as in a block; with faults, it is a mean (`RowMix`)."""
    by_confidence, by_features = charts.usual_errors
    return np.full(len(by_features), by_features.mean()) if block.basis == "fault" else by_confidence


def _errors(charts: CusumCharts, block: Block) -> Vector:
    """Return the expected error of each row; that of rows without a fault is the usual one."""
    errors, diagnosis = np.asarray(block.errors), block.diagnosis
    if diagnosis is None or diagnosis.intact is None or block.errors is not diagnosis.errors:
        return errors
    return np.where(diagnosis.intact, _usual_errors(charts, block).mean(), errors)


def _has_both(rows: Mask, among: Mask | None = None) -> bool:
    """Return whether a group and the other rows are enough for a comparison."""
    count = np.count_nonzero(rows)
    others = (len(rows) if among is None else np.count_nonzero(among)) - count
    return bool(min(count, others) >= MIN_SEGMENT_ROWS)


def _worst(
    groups: Sequence[Group], errors: Vector, usual: Vector, among: Mask, chance: float
) -> Group | None:
    """Return the group with the most significant additional loss; None without any."""
    if not groups:
        return None
    with one_thread():
        p_values = _p_values(groups, errors, usual, among)
    best = int(p_values.argmin())
    return groups[best] if p_values[best] < chance else None


def _p_values(groups: Sequence[Group], errors: Vector, usual: Vector, among: Mask) -> Vector:
    """Return the p-value of each group that it loses no more than the other rows, or nothing."""
    (loss, variance), (other_loss, other_variance) = (
        (now[0] - before[0], now[1] + before[1])
        for now, before in zip(
            _moments(np.array([g.rows for g in groups]), errors, among),
            _moments(np.array([g.usual for g in groups]), usual, np.ones(len(usual), dtype=bool)),
            strict=True,
        )
    )
    error = np.sqrt(variance + other_variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_values = np.where(error > 0, ndtr(-(loss - other_loss) / error), 0.0)
    return np.where((loss > 0) & (loss > other_loss), p_values, 1.0)


def _moments(
    groups: Mask, values: Vector, among: Mask
) -> tuple[tuple[Vector, Vector], tuple[Vector, Vector]]:
    """Return the mean and its variance of each group of rows, and of the other rows; of few rows, of all.

    Args:
        groups: parts of `among`, shape (g, n).
        values: shape (n,).
        among: shape (n,).
    """
    center = values.mean()
    deviations = np.column_stack([np.ones(len(values)), values - center, (values - center) ** 2])
    total = deviations[among].sum(axis=0)
    if np.ptp(values):
        sums = groups.astype(np.float64) @ deviations
    else:
        sums = np.count_nonzero(groups, axis=1)[:, None] * deviations[0]

    def moments(of_rows: Matrix) -> tuple[Vector, Vector]:
        enough = np.where(of_rows[:, :1] < MIN_SEGMENT_ROWS, total, of_rows)
        means = enough[:, 1:] / enough[:, :1]
        return center + means[:, 0], np.maximum(means[:, 1] - means[:, 0] ** 2, 0.0) / enough[:, 0]

    return moments(sums), moments(total - sums)


def _groups(charts: CusumCharts, block: Block, columns: Columns) -> Iterator[Group]:
    """Yield the groups of rows that may lose more than the others."""
    learned = charts.learned
    for j in learned.used:
        name = learned.encoder.names[j]
        before, now = learned.usual[:, j], block.matrix[:, j]
        if not learned.encoder.numeric[j]:
            yield from _categories(charts, name, j, now, columns)
        elif charts.calendar.get(j) not in (TIME, COUNTER):
            yield Group(f"{name} is null", np.isnan(now), np.isnan(before), is_broken=True)
            yield from _sides(name, before, now)
    for fault in block.diagnosis.broken if block.diagnosis else ():
        name, before = learned.encoder.names[fault.place], learned.usual[:, fault.place]
        if fault.kind == "outside":
            words = f"{name} is outside {format_value(fault.low)} to {format_value(fault.high)}"
            yield Group(words, fault.rows, (before < fault.low) | (before > fault.high), is_broken=True)
        if fault.kind == "frozen":
            words = f"{name} is {format_value(fault.low)}"
            yield Group(words, fault.rows, before == fault.low, is_broken=True)


def _sides(name: str, before: Vector, now: Vector) -> Iterator[Group]:
    """Yield the numbers below and above each of some quantiles of the reference."""
    known = before[~np.isnan(before)]
    if not len(known):
        return
    for cut in np.unique(np.quantile(known, SHARES, method="lower")):
        words = format_value(float(cut))
        yield Group(f"{name} ≤ {words}", now <= cut, before <= cut)
        yield Group(f"{name} > {words}", now > cut, before > cut)


def _categories(charts: CusumCharts, name: str, place: int, now: Vector, columns: Columns) -> Iterator[Group]:
    """Yield the categories of a feature, the new ones by their names and together, and null."""
    encoder = charts.learned.encoder
    before = charts.learned.usual[:, place]
    known = now[~np.isnan(now)]
    codes, counts = np.unique(known, return_counts=True)
    categories = encoder.categories(place)
    for code in codes[np.argsort(-counts, kind="stable")][:MAX_CATEGORIES]:
        yield Group(f"{name} is {quoted(categories[int(code)])}", now == code, before == code)
    nothing = np.zeros(len(before), dtype=bool)
    new, cells = encoder.unseen(columns, place) or (np.zeros(len(now), dtype=bool), [])
    yield Group(f"{name} is null", np.isnan(now) & ~new, np.isnan(before), is_broken=True)
    if not new.any():
        return
    named = count_new(new, cells).most_common(MAX_CATEGORIES)
    if len(named) > 1:
        yield Group(f"{name} is a new category", new, nothing, is_broken=True)
    for category, _ in named:
        rows = np.array([cell == category for cell in cells], dtype=bool)
        yield Group(f"{name} is {quoted(category)}", rows, nothing, is_broken=True)
