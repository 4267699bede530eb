"""Causes of a loss: which columns changed in what way, and which of them changed together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.broken_values import DataFault
from driftbell.degradation.category_changes import count_categories, count_new, describe_shares, with_new
from driftbell.degradation.encoder import Matrix
from driftbell.degradation.moved_values import (
    MAX_DISTANCE,
    MAX_MOVED,
    MIN_SCALE,
    Move,
    describe_unit,
    is_shifted,
)
from driftbell.degradation.reference_models import ReferenceModels, Vector
from driftbell.degradation.samples import SampleRanks, ks_distance, quantile, sorted_present
from driftbell.phrases import format_value
from driftbell.records import Columns, Suspect

if TYPE_CHECKING:
    from driftbell.degradation.block import Block
    from driftbell.degradation.cusum import CusumCharts

MAX_SUSPECTS = 5
MIN_SHARE = 0.05
"""Smallest share of the evidence of a suspect column."""

MAX_CHANCE = 0.01
"""Chance that any column of unchanged rows is a suspect because its distribution seems to have moved."""

KS_5_PERCENT = 1.36
"""The 5 % point of the two-sample Kolmogorov–Smirnov distance, in units of sqrt(1/n + 1/m)."""

MIN_GROUP = 3
"""Number of features from which those that changed together are one cause."""

MIN_OVERLAP = 0.9
"""Faults are of the same rows if this share of the rows of either is of both."""

MIN_CORRELATION = 0.5
"""Features are related if their correlation on the reference is at least this."""

CLEARLY_BETTER = 1.5
"""Another cause is named first if it has this many times the evidence of the one that was named before."""

OUTSIDE, FROZEN, MOVED = "outside", "frozen", "moved"
"""Kinds of changes that differ in how they are described; see `ColumnCondition` for the others."""

UNRELATED = "unrelated"
UNRELATED_WORDS = "does not fit the other features any more: noise, another sign, or values of other rows?"

ROUNDED = "rounded"
ROUNDED_WORDS = "rounded: fewer different values than in the reference"

UNIT_WORDS = "perhaps another unit"
EXCHANGED_WORDS = "values look like those of {}: exchanged?"

QUANTILES = (0.5, 0.25, 0.75, 0.1, 0.9)
"""Quantiles that describe a moved feature, the median first."""


@dataclass(frozen=True, slots=True)
class _Cause:
    """A change of one feature: its index, evidence, kind, words, and affected rows (None for all)."""

    place: int
    weight: float
    kind: str
    words: str
    rows: NDArray[np.bool_] | None = None


def find_suspects(
    charts: CusumCharts, block: Block, before: Sequence[Suspect] = (), columns: Columns | None = None
) -> list[Suspect]:
    """Return the columns that probably cause the loss of a block, most likely first.

    A column is a suspect by its data fault, or because its distribution moved. Its evidence is its importance
    times the share of the rows that are affected: those with the fault, or the Kolmogorov–Smirnov distance.
    At least three features that changed together, of which one is related to the next, are one suspect. The
    first one stays the first until another has clearly more evidence.

    Args:
        charts: fitted on the reference.
        block: the newest rows.
        before: suspects of the check before.
        columns: features of the block by name, for the names of new categories.
    """
    learned, matrix = charts.learned, block.matrix
    faults = block.diagnosis.faults if block.diagnosis else ()
    named = {column: suspect.words for suspect in before for column in suspect.columns}
    causes = _faulty(charts, matrix, faults, named)
    causes += _moved(charts, matrix, {f.place for f in faults}, named, columns or {})
    causes = _exchanged(learned, matrix, _unlike_before(charts, block, causes), named)
    suspects = _as_suspects(learned, _grouped(learned, causes))
    if not suspects or not before:
        return suspects[:MAX_SUSPECTS]
    best, first = suspects[0], before[0].columns
    again = next((s for s in suspects if set(s.columns) & set(first)), best)
    if again is not best and best.share < CLEARLY_BETTER * again.share:
        suspects = [again, *(s for s in suspects if s is not again)]
    return suspects[:MAX_SUSPECTS]


def _faulty(
    charts: CusumCharts, matrix: Matrix, faults: Sequence[DataFault], named: Mapping[str, str]
) -> list[_Cause]:
    """Return the features with data faults; values out of range may be those of a moved distribution.

    Args:
        charts: fitted on the reference.
        matrix: encoded rows.
        faults: of the rows.
        named: words of the check before, by feature.
    """
    learned, causes = charts.learned, []
    for place in dict.fromkeys(fault.place for fault in faults):
        own = [fault for fault in faults if fault.place == place]
        before, now = learned.ranks(place).values, matrix[:, place]
        share = max(1.0 if fault.scale else fault.excess for fault in own)
        words, kind = [_fault_words(learned, fault, now) for fault in own], own[0].kind
        in_calendar = place in charts.calendar  # a month has no unit
        earlier = named.get(learned.encoder.names[place], "")
        unit = "" if in_calendar else _unit_words(before, now, own, earlier)
        if unit:  # it explains values out of range and moved values alike
            words = [unit, *(f.words for f in own if not f.scale and f.kind not in (OUTSIDE, FROZEN))]
        elif kind == OUTSIDE and not in_calendar and not any(fault.scale for fault in own):
            distance, _ = _distance(learned.ranks(place), now)
            if distance > 2 * share:
                share, words = distance, [_quantile_words(learned.ranks(place), now), *words]
        if unit or kind == OUTSIDE or any(fault.scale for fault in own):
            kind = MOVED
        rows: NDArray[np.bool_] = np.logical_or.reduce([fault.rows for fault in own])
        weight = float(learned.importance[place]) * share
        causes.append(_Cause(place, weight, kind, ", ".join(words), rows))
    return causes


def _fault_words(learned: ReferenceModels, fault: DataFault, now: Vector) -> str:
    """Return the words of a fault; of a move, only if the feature's own values have moved so.

    A move is estimated from the features that are related, which may have moved as well.
    """
    usual = learned.ranks(fault.place)
    if not fault.scale:
        return fault.words
    distance, unit = _distance(usual, (now - fault.offset) / fault.scale)
    is_factor = abs(fault.scale - 1) >= MIN_SCALE and distance > MAX_DISTANCE * unit
    if distance > MAX_MOVED * unit or (
        is_factor and is_shifted(usual.values, sorted_present(now), distance / unit)
    ):
        return _quantile_words(usual, now)
    return fault.words.partition(f": {UNIT_WORDS}")[0]  # `describe_unit` cannot tell which unit


def _unit_words(before: Vector, now: Vector, faults: Sequence[DataFault], named: str) -> str:
    """Return the words of a change of the unit in all rows, or in those out of range; "" if there is none."""
    if not any(fault.scale or fault.kind == OUTSIDE for fault in faults):
        return ""
    move = next((Move(fault.scale, fault.offset) for fault in faults if fault.scale), None)
    unit = describe_unit(before, now, named=named, move=move)
    if unit and not (move and UNIT_WORDS not in unit):
        return unit
    for fault in faults:
        if fault.kind == OUTSIDE:
            unit = describe_unit(before, now[fault.rows], named=named)
            if UNIT_WORDS in unit:
                return f"in {fault.rows.mean():.0%} of the newest {len(now)} rows, {unit}"
    return ""


def _moved(
    charts: CusumCharts, matrix: Matrix, without: set[int], named: Mapping[str, str], columns: Columns
) -> list[_Cause]:
    """Return the features with another distribution and without a fault."""
    learned = charts.learned
    names = learned.encoder.names
    chance = MAX_CHANCE / max(1, len(names))  # Bonferroni
    limit = math.sqrt(-math.log(chance / 2) / 2) / KS_5_PERCENT
    causes = []
    for j in range(len(names)):
        if j in without or j in charts.calendar:
            continue
        distance, unit = _distance(learned.ranks(j), matrix[:, j])
        if distance > limit * unit:
            weight = float(learned.importance[j]) * distance
            words = _category_words(learned, matrix, j, columns)
            words = words or _describe(learned, matrix, j, named.get(names[j], ""))
            causes.append(_Cause(j, weight, MOVED, words))
    return causes


def _unlike_before(charts: CusumCharts, block: Block, causes: Sequence[_Cause]) -> list[_Cause]:
    """Return the causes with rounded features, and with the one that does not fit the others."""
    names, importance = charts.learned.encoder.names, charts.learned.importance
    words = {}
    if block.blind and block.blind.reason == UNRELATED:
        words = {names.index(c.column): (UNRELATED, UNRELATED_WORDS) for c in block.blind.conditions}
    words |= dict.fromkeys(charts.blind_spots.rounded(block.matrix), (ROUNDED, ROUNDED_WORDS))
    faulty = {cause.place for cause in causes if cause.rows is not None}
    others = [cause for cause in causes if cause.place in faulty or cause.place not in words]
    return [*others, *(_Cause(j, float(importance[j]), *words[j]) for j in words if j not in faulty)]


def _exchanged(
    learned: ReferenceModels, matrix: Matrix, causes: Sequence[_Cause], named: Mapping[str, str]
) -> list[_Cause]:
    """Return the causes with the words of two numeric features of which each looks like the other before.

    Two features that were named so in the check before may look less alike.
    """
    names = learned.encoder.names
    numeric = [i for i, cause in enumerate(causes) if learned.encoder.numeric[cause.place]]
    looks_like = set()
    for i in numeric:
        for k in numeric:
            name, other = names[causes[i].place], names[causes[k].place]
            limit = MAX_MOVED if named.get(name) == EXCHANGED_WORDS.format(other) else 1.0
            distance, unit = _distance(learned.ranks(causes[k].place), matrix[:, causes[i].place])
            if i != k and distance <= limit * unit:
                looks_like.add((i, k))
    described = list(causes)
    for i, k in looks_like:
        others = [pair for pair in looks_like if i in pair or k in pair]
        if (k, i) in looks_like and len(others) == 2:  # no third feature looks like one of them
            words = EXCHANGED_WORDS.format(names[causes[k].place])
            described[i] = replace(causes[i], words=words, kind=MOVED)
    return described


def _distance(usual: SampleRanks, now: Vector) -> tuple[float, float]:
    """Return the Kolmogorov–Smirnov distance, with nulls as smallest value, and its 5 % point."""
    newest = np.sort(now)
    nulls = int(np.count_nonzero(np.isnan(newest)))
    if usual.nulls or nulls:
        before = np.concatenate([np.full(usual.nulls, -np.inf), usual.values])
        newest = np.concatenate([np.full(nulls, -np.inf), newest[: len(newest) - nulls]])
        distance = ks_distance(before, newest)
    else:
        distance = usual.distance(newest)
    return distance, float(KS_5_PERCENT * np.sqrt(1 / (len(usual) + usual.nulls) + 1 / len(now)))


def _category_words(learned: ReferenceModels, matrix: Matrix, j: int, columns: Columns) -> str:
    """Return which categories have other shares, those of an accepted baseline included; "" for numbers."""
    if learned.encoder.numeric[j]:
        return ""
    now = count_categories(matrix[:, j], learned.encoder.categories(j))
    unseen = learned.encoder.unseen(columns, j)
    if unseen is not None:
        now = with_new(now, count_new(*unseen))
    return describe_shares(learned.category_counts(j), now)


def _describe(learned: ReferenceModels, matrix: Matrix, j: int, named: str) -> str:
    before, now = learned.usual[:, j], matrix[:, j]
    if np.isnan(before).all() or np.isnan(now).all():
        return f"null {np.isnan(before).mean():.1%} → {np.isnan(now).mean():.1%}"
    unit = describe_unit(learned.ranks(j).values, now, named=named)
    if unit:
        return unit
    return _quantile_words(learned.ranks(j), now)


def _quantile_words(before: SampleRanks, now: Vector) -> str:
    """Return how the median changed, or the quantile that moved past twice as many rows of the reference."""
    newest = sorted_present(now)
    old, new = (np.array([quantile(v, q) for q in QUANTILES]) for v in (before.values, newest))
    ranks_old, ranks_new = (sum(before.counts(quantiles)) for quantiles in (old, new))
    moves = np.abs(ranks_new - ranks_old)
    most = int(np.argmax(moves))
    i = 0 if 2 * moves[0] >= moves[most] else most
    name = "median" if i == 0 else f"{QUANTILES[i]:.0%} quantile"
    return f"{name} {format_value(float(old[i]))} → {format_value(float(new[i]))}"


def _grouped(learned: ReferenceModels, causes: Sequence[_Cause]) -> list[list[_Cause]]:
    """Join causes that changed together into groups, each with the largest evidence first."""
    groups = [[cause] for cause in causes]
    related = _correlations(learned.usual, [cause.place for cause in causes])
    for i in range(len(causes)):
        for k in range(i):
            if not _together(causes[i], causes[k], float(related[i, k])):
                continue
            of_i, of_k = (next(g for g in groups if causes[x] in g) for x in (i, k))
            if of_i is not of_k:
                of_i.extend(of_k)
                groups.remove(of_k)
    grouped = [group for group in groups if len(group) >= MIN_GROUP]
    grouped += [[cause] for group in groups if len(group) < MIN_GROUP for cause in group]
    return [sorted(group, key=lambda cause: -cause.weight) for group in grouped]


def _together(a: _Cause, b: _Cause, correlation: float) -> bool:
    """Return whether two features changed together: in the same rows, by one unit, or as related ones."""
    if a.kind != b.kind:
        return False
    if UNIT_WORDS in a.words and a.words == b.words:
        return True
    if a.kind == MOVED:
        return correlation >= MIN_CORRELATION
    if a.rows is not None and b.rows is not None:
        both, either = np.count_nonzero(a.rows & b.rows), np.count_nonzero(a.rows | b.rows)
        return bool(both >= MIN_OVERLAP * either)
    return False


def _correlations(usual: Matrix, places: Sequence[int]) -> Matrix:
    """Return the absolute correlations of some features on the reference."""
    values = usual[:, list(places)]
    with np.errstate(all="ignore"):
        values = np.nan_to_num(values - np.nanmean(values, axis=0)) if len(values) else values
        norms = np.sqrt((values**2).sum(axis=0))
        return np.asarray(np.abs(np.nan_to_num(values.T @ values / np.outer(norms, norms))))


def _as_suspects(learned: ReferenceModels, groups: Sequence[Sequence[_Cause]]) -> list[Suspect]:
    names = learned.encoder.names
    weights = [sum(cause.weight for cause in group) for group in groups]
    total = sum(weights) or 1.0
    suspects = [
        Suspect(
            names[group[0].place],
            round(weight / total, 3),
            _group_words(names, group),
            tuple(names[cause.place] for cause in group[1:]),
        )
        for group, weight in zip(groups, weights, strict=True)
        if weight > MIN_SHARE * total or any(cause.rows is not None for cause in group)
    ]
    return sorted(suspects, key=lambda suspect: -suspect.share)


def _group_words(names: Sequence[str], group: Sequence[_Cause]) -> str:
    """Return the words of a group: of its first feature, with its name if the others have other words."""
    first = group[0]
    alike = all(cause.words == first.words for cause in group)
    return first.words if alike else f"{names[first.place]}: {first.words}"
