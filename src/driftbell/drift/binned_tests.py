"""Tests of numbers and texts of which only the counts on bins are known."""

from __future__ import annotations

import numpy as np

from driftbell.drift.binned_rows import BinnedNumbers, BinnedTextCounts
from driftbell.drift.column_tests import (
    CELLS_WEIGHT,
    EXCEEDANCE_WEIGHT,
    SHAPE_WEIGHT,
    UNUSUAL,
    Tested,
    add_blanks,
    add_distances,
    add_foreign,
)
from driftbell.drift.notes import numbers_changed, rows_beyond, shares_changed, short
from driftbell.drift.prepared import ColumnRows
from driftbell.drift.texts import CLASSES
from driftbell.stats import distance_size, exceedance_of, share_size
from driftbell.stats.binned import (
    BinnedDistance,
    binned_kolmogorov_smirnov,
    binned_rank_sum,
    binned_wasserstein,
)

ERROR = "error of Kolmogorov–Smirnov"
"""Statistic of binned numbers: by at most this, the distance of the numbers themselves is larger."""


def add_binned_numbers(before: BinnedNumbers, now: BinnedNumbers, tested: Tested) -> None:
    """Test the distribution of numbers, and the rows below and above the reference's range.

    The tests are those of `add_numbers`, of numbers that are rounded to the bins.

    Args:
        before: the reference, with at least one number.
        now: the window, with at least one number.
        tested: the tests are added to it.
    """
    a, b = before.counts, now.counts
    n, m = a.rows, b.rows
    ks = binned_kolmogorov_smirnov(before.bins, now.bins)
    size = distance_size(ks.test.statistic, n, m)
    tested.distance("Kolmogorov–Smirnov", ks.test.statistic, n, m)
    tested.distance(ERROR, ks.error, n, m)
    note = _distribution_note(before, now, ks)
    tested.p_value("Kolmogorov–Smirnov", SHAPE_WEIGHT, ks.test.p_value, n, m, size, note)
    ranks = binned_rank_sum(before.bins, now.bins)
    if ranks is not None:
        tested.p_value("rank sum", SHAPE_WEIGHT, ranks.p_value, n, m, size)
    (low, high), (first, last) = now.on.limits, (b.low, b.high)
    limits = ("below", "minimum", low, first), ("above", "maximum", high, last)
    for (side, limit, value, end), rows in zip(limits, b.beyond, strict=True):
        test = exceedance_of(rows, n, m)
        note = rows_beyond(rows, m, f"{side} the reference's {limit}", value, end)
        name, size = f"rows {side} the reference", share_size(rows, m)
        tested.p_value(name, EXCEEDANCE_WEIGHT, test.p_value, n, m, size, note)


def add_binned_distances(before: ColumnRows, now: ColumnRows, tested: Tested) -> None:
    """Add PSI and Jensen–Shannon on the reference's deciles, and the Wasserstein distance on the bins."""
    assert before.binned is not None
    assert now.binned is not None
    if before.profile and now.profile:
        add_distances(tested, before.profile, now.profile)
    a, b = before.binned.counts, now.binned.counts
    infinite = sum(b.infinite)
    sigmas = None
    if a.low is not None and b.low is not None:
        ends = [x for x in (a.low, a.high, b.low, b.high) if x is not None]
        both = np.zeros_like(a.bins)
        values = type(a)(both, low=min(ends), high=max(ends)).values(before.binned.on)
        sigmas = binned_wasserstein(before.binned.finite, now.binned.finite, values)
    tested.distance("Wasserstein in sigmas", sigmas, a.rows, b.rows)
    if infinite:
        tested.remarks.append(f"{infinite} infinite values")


def _distribution_note(before: BinnedNumbers, now: BinnedNumbers, ks: BinnedDistance) -> str:
    """Describe how the median changed, or where the distributions differ most if that explains more."""
    a, b = before.median, now.median
    if a is None or b is None:
        return "no finite values on one side"
    place = int(np.searchsorted(now.edges, b, side="right"))
    moved = abs(before.upto(2 * place) - 0.5) if a != b else 0.0
    if a != b and (ks.test.p_value > UNUSUAL or moved >= ks.test.statistic / 2):
        return f"median {numbers_changed(a, b)}"
    if not ks.test.statistic:
        return f"median {short(a)}"
    edge = float(now.edges[min(ks.place // 2, len(now.edges) - 1)])
    where = f"up to {short(edge)}" if np.isfinite(edge) else "below infinity" if edge > 0 else "at -infinity"
    return f"rows {where}: {shares_changed(before.upto(ks.place), now.upto(ks.place))}"


def add_binned_texts(before: BinnedTextCounts, now: BinnedTextCounts, tested: Tested) -> None:
    """Test the length, the emptiness and the character classes of texts, counted on bins."""
    old, new = before.counts, now.counts
    add_blanks(old.blank, old.rows, new.blank, new.rows, tested)
    a, b = old.features[0].rows, new.features[0].rows
    if not a or not b:
        return
    names = ("characters", *(f"share of {name}" for name in CLASSES))
    for name, x, y in zip(names, before.features, now.features, strict=True):
        ks = binned_kolmogorov_smirnov(x.bins, y.bins)
        weight = SHAPE_WEIGHT if name == "characters" else CELLS_WEIGHT
        note = f"{name}: {_distribution_note(x, y, ks)}" if ks.test.statistic else ""
        size = distance_size(ks.test.statistic, a, b)
        tested.p_value(name, weight, ks.test.p_value, a, b, size, note)
    add_foreign(old.foreign, a, new.foreign, b, tested)
