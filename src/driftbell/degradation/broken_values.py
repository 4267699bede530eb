"""Broken values of a block: nulls, new categories, values out of range, and frozen values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from driftbell.degradation.category_changes import count_categories, describe_new, describe_shares
from driftbell.degradation.encoder import Matrix
from driftbell.degradation.rare_values import chance_of_excess, chance_outside, singletons
from driftbell.degradation.reference_models import ReferenceModels, Vector
from driftbell.degradation.samples import SampleRanks
from driftbell.degradation.stuck_values import Expected, cut_off_side, is_stuck
from driftbell.phrases import format_value
from driftbell.records import Columns
from driftbell.tabular.calendar_values import (
    calendar_kind,
    calendar_kind_of_categories,
    impossible_values,
    may_count_on,
    possible_texts,
)

LEVEL = 1e-6
"""A fault is reported if its probability on unchanged data is below this; with more than `FEATURES` features
the level is shared among them (Bonferroni)."""

FEATURES = 6

MIN_EXCESS = 0.03
"""Minimum share of broken rows of a broken feature, in addition to the reference's share."""

RANGE_MARGIN = 0.1
"""A value is out of range if it exceeds the reference's range by this share of the range."""

MAX_RARITY = 1e-4
"""Chance that any feature of unchanged rows has values that seem to be none of the reference: the largest
`DataFault.rarity`, shared among the numeric or the categorical features (Bonferroni)."""

MAX_RARITY_OF_NULLS = 0.01
"""The same for nulls: a model that ignores the feature must also expect a loss there."""

MIN_FROZEN = 0.08
"""A feature is frozen if at least this share of additional rows has one value."""

MIN_KNOWN_NULLS = 100
"""With this many nulls of a feature, the reference shows the error of rows with one."""


@dataclass(frozen=True, slots=True)
class DataFault:
    """A data fault of one feature.

    Attributes:
        place: index of the feature.
        rows: mask of the affected rows, shape (n,).
        words: description of the values.
        scale: repairs it together with `offset`: true = (observed - offset) / scale; 0 without a repair.
        offset: additive part of the repair.
        excess: for broken values, their share of the rows minus the usual share.
        chance: probability of as many such rows by chance; of a fault it is tiny.
        rarity: the same for a reference of any size, and of values as far outside the range; it may be small
            though there is no fault.
        side: 1 if larger values are cut off, so that the frozen value stands for them; -1 for smaller ones.
        kind: of the affected rows; see `ColumnCondition`.
        low: see `kind`.
        high: see `kind`.
        known: whether the reference has enough nulls to show how the model answers them.
        novelty: `unseen` categories or values `outside` the range, which the reference says nothing about.
        outliers: whether the values are out of range or frozen, which a move of the whole feature explains.
    """

    place: int
    rows: NDArray[np.bool_]
    words: str
    scale: float = 0.0
    offset: float = 0.0
    excess: float = 0.0
    chance: float = 1.0
    rarity: float = 1.0
    outliers: bool = False
    known: bool = False
    novelty: str = ""
    side: int = 0
    kind: str = "any"
    low: float = 0.0
    high: float = 0.0


class BrokenValues:
    """Search for values of a block that are far more frequent than in the reference, in all features.

    Args:
        learned: models fitted on the reference.
        calendar: kind of each feature that time moves on, by its index: they have new and repeated values
            without a fault, but no impossible ones.
    """

    def __init__(self, learned: ReferenceModels, calendar: Mapping[int, str]) -> None:
        self._learned, self._calendar = learned, calendar
        self._rows = len(learned.usual)
        names = learned.encoder.names
        is_reference = learned.usual is learned.matrix
        self._unseen = {
            j: singletons(learned.matrix[:, j]) if is_reference else learned.unseen.get(j, Counter()).total()
            for j, numeric in enumerate(learned.encoder.numeric)
            if not numeric
        }
        self._numeric = np.array(learned.encoder.numeric, dtype=bool)
        self._alike = np.where(self._numeric, self._numeric.sum(), (~self._numeric).sum())
        self._level = LEVEL * FEATURES / max(FEATURES, len(names))
        values = [learned.ranks(j).values for j in range(len(names))]
        self._counting = {j for j, kind in calendar.items() if may_count_on(kind, learned.matrix[:, j])}
        self._lows = np.array([v[0] if len(v) else np.nan for v in values])
        self._highs = np.array([v[-1] if len(v) else np.nan for v in values])

    def __call__(self, columns: Columns, matrix: Matrix) -> list[DataFault]:
        """Return the faults of a block, and values with a rarity below the limit that are no fault.

        Args:
            columns: its features by name, n rows.
            matrix: the same, encoded.
        """
        return [fault for j in self._suspicious(matrix) for fault in self._broken(columns, matrix, j)]

    def _suspicious(self, matrix: Matrix) -> list[int]:
        """Return the features, of all, that may have enough broken values for a fault, at a low cost."""
        margin = RANGE_MARGIN * (self._highs - self._lows)
        nulls = np.isnan(matrix)
        out = (matrix < self._lows - margin) | (matrix > self._highs + margin)
        for j in self._calendar:
            if self._numeric[j]:
                out[:, j] = self._impossible_rows(matrix[:, j], j)
        step = max(1, math.ceil(MIN_FROZEN * len(matrix)) - 1)
        ordered = np.sort(matrix, axis=0)
        repeated = (ordered[step:] == ordered[:-step]).any(axis=0)
        many = (nulls.mean(axis=0) >= MIN_EXCESS) | (out.mean(axis=0) >= MIN_EXCESS)
        return [int(j) for j in np.flatnonzero(many | (repeated & self._numeric))]

    def _broken(self, columns: Columns, matrix: Matrix, j: int) -> list[DataFault]:
        before, now = self._learned.usual[:, j], matrix[:, j]
        unseen = self._learned.encoder.unseen(columns, j)
        nulls = np.isnan(now)
        faults = []
        if unseen is not None:
            new, cells = unseen
            nulls &= ~new
            if j in self._calendar:
                new &= ~possible_texts(self._calendar[j], self._learned.encoder.categories(j), cells)
            counts = Counter(c for c, is_new in zip(cells, new, strict=True) if is_new)
            words = self._new_words(matrix[:, j], j, counts)  # none if all of them were accepted
            unseen_faults = self._excess_faults(j, new, self._unseen[j], words)
            faults += [replace(fault, novelty="unseen", kind="unseen") for fault in unseen_faults]
        usual = int(np.isnan(before).sum()) - self._learned.unseen.get(j, Counter()).total()
        words = f"null {usual / len(before):.1%} → {nulls.mean():.1%}"
        faults += [
            replace(f, kind="null", known=usual >= MIN_KNOWN_NULLS)
            for f in self._excess_faults(j, nulls, usual, words, MAX_RARITY_OF_NULLS / len(self._alike))
        ]
        if self._learned.encoder.numeric[j] and j in self._calendar:
            faults += self._impossible(now, j)
        elif self._learned.encoder.numeric[j]:
            faults += [replace(f, outliers=True) for f in self._outliers(matrix, j)]
        return faults

    def _impossible(self, now: Vector, j: int) -> list[DataFault]:
        """Return the fault of values that no column of this part of the calendar has."""
        kind = self._calendar[j]
        low, high = self._range(j)
        rows = self._impossible_rows(now, j)
        if not rows.any():
            return []
        out = (now < low) | (now > high)
        words = f"{rows.mean():.0%} of the newest values are no {kind}, such as {format_value(now[rows][0])}"
        faults = self._excess_faults(j, rows, 0, words)
        if not out[rows].all():
            return faults
        return [replace(fault, novelty="outside", kind="outside", low=low, high=high) for fault in faults]

    def _impossible_rows(self, now: Vector, j: int) -> NDArray[np.bool_]:
        return impossible_values(self._calendar[j], self._range(j), now, counts_on=j in self._counting)

    def _range(self, j: int) -> tuple[float, float]:
        return float(self._lows[j]), float(self._highs[j])

    def _new_words(self, now: Vector, j: int, new: Counter[str | None]) -> str:
        """Return the description of the new categories of a block."""
        categories = self._learned.encoder.categories(j)
        before = self._learned.category_counts(j)
        known = count_categories(now[~np.isnan(now)], categories)
        nulls = len(now) - known.total() - new.total()
        current = known + new + Counter({None: nulls})
        return describe_new(before, current) or describe_shares(before, current)

    def _outliers(self, matrix: Matrix, j: int) -> list[DataFault]:
        before, now = self._learned.usual[:, j], matrix[:, j]
        usual = self._learned.ranks(j)
        values, counts = np.unique(now[~np.isnan(now)], return_counts=True)
        if not len(usual) or not len(values):
            return []
        low, high = float(usual.values[0]), float(usual.values[-1])
        margin = RANGE_MARGIN * (high - low)
        out = (now < low - margin) | (now > high + margin)
        outside = ((now < low) | (now > high)).mean()
        words = f"{outside:.0%} of the newest values outside {format_value(low)} to {format_value(high)}"
        faults = [
            replace(fault, novelty="outside", kind="outside", low=low - margin, high=high + margin)
            for fault in self._excess_faults(j, out, 0, words, rarity=chance_outside(usual.values, now))
        ]
        if self._learned.encoder.names[j] in self._learned.bucketed:  # many values are logged as one number
            return faults
        value = _more_frequent(usual, values, counts, len(now))
        frozen = now == value
        words = f"frozen at {format_value(value)} in {frozen.mean():.0%} of the newest {len(now)} rows"
        usual_rows = int((before == value).sum())
        stuck = self._excess_faults(j, frozen, usual_rows, words, rarity=1.0, min_excess=MIN_FROZEN)
        side = cut_off_side(before, now, value) if stuck else 0
        if side:
            words = words.replace("frozen", "cut off") + f", no {'larger' if side > 0 else 'smaller'} ones"
            faults += [replace(f, kind="frozen", low=value, side=side, words=words) for f in stuck]
        elif stuck and is_stuck(before, now, value, self._expected(matrix, j)):
            faults += [replace(f, kind="frozen", low=value) for f in stuck]
        return faults

    def _expected(self, matrix: Matrix, j: int) -> Expected | None:
        """Return a feature as the others predict it, if a model of it has been fitted."""
        if j not in self._learned.expected:
            return None
        return Expected(self._learned.expected[j], self._learned.expect(matrix)[j])

    def _excess_faults(
        self,
        j: int,
        rows: NDArray[np.bool_],
        before: int,
        words: str,
        max_rarity: float | None = None,
        *,
        rarity: float | None = None,
        min_excess: float = MIN_EXCESS,
    ) -> list[DataFault]:
        """Return a fault, or a rare value, if a block has significantly more such rows than the reference.

        It is a fault if it has more than by the 99 % limit of their rate. The rarity is that of as many rows
        if it is not given.
        """
        count, n = int(np.count_nonzero(rows)), len(rows)
        excess = count / n - before / self._rows
        if excess < min_excess:
            return []
        rate = scipy.special.betaincinv(before + 1, max(self._rows - before, 1), 0.99)
        chance = float(scipy.special.betainc(count, n - count + 1, rate))  # of so many rows, or more
        if rarity is None:
            rarity = chance_of_excess(count, n, before, self._rows)
        fault = DataFault(j, rows, words, excess=excess, chance=chance, rarity=rarity)
        limit = MAX_RARITY / self._alike[j] if max_rarity is None else max_rarity
        return [fault] if self.is_fault(fault) or rarity < limit else []

    def is_fault(self, fault: DataFault) -> bool:
        """Return whether a feature has so many broken values that they are no chance."""
        return fault.chance < self._level


def _more_frequent(usual: SampleRanks, values: Vector, counts: NDArray[np.intp], rows: int) -> float:
    """Return the value of a block with the largest additional share of the rows."""
    below, upto = usual.counts_of_sorted(values)
    return float(values[np.argmax(counts / rows - (upto - below) / len(usual))])


def calendar_columns(learned: ReferenceModels) -> dict[int, str]:
    """Return the kind of each feature that is a part of the calendar or a counter, by its index."""
    encoder = learned.encoder
    kinds = {}
    for j, (name, numeric) in enumerate(zip(encoder.names, encoder.numeric, strict=True)):
        if numeric:
            kinds[j] = calendar_kind(name, learned.matrix[:, j])
        else:
            kinds[j] = calendar_kind_of_categories(name, encoder.categories(j), learned.matrix[:, j])
    return {j: kind for j, kind in kinds.items() if kind}
