"""Frozen values: whether a source repeats a value, or a moved distribution has more of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from driftbell.degradation.rare_values import chance_of_excess
from driftbell.degradation.samples import ks_distance

Vector = NDArray[np.float64]

FIVE_PERCENT = 1.36
"""The 5 % point of the two-sample Kolmogorov–Smirnov distance, in units of sqrt(1/n + 1/m)."""

MAX_DISTANCE = 1.2
"""The other rows look like the reference up to this distance, in units of the 5 % point."""

MAX_RATIO = 0.4
"""Or if they differ in fewer rows than this share of the additional rows with the value."""

FEW_VALUES = 20
"""Features with at most this many values are compared by the share of each, which shows more."""

MIN_CHANCE_OF_SHARES = 0.01
MAX_RATIO_OF_SHARES = 0.2
"""The other rows have the same shares with at least this chance, or if they differ in fewer rows than this
share of the additional rows with the value."""

DOMINANCE = 3.0
"""A value inside of the range is frozen, however the others have moved, if it has this many times the share
of the most frequent value of the reference and of any other value of the block."""

MIN_DISTINCT = 3
"""With fewer other values in the reference, the other rows show nothing."""

MIN_END_SHARE = 0.02
"""A value at an end of the range that this share of the reference has, such as zero, may become more frequent
while all other values keep their shares."""

CONSTANT = 0.98
"""A feature with this share of one value is constant, whatever the other rows look like."""

MIN_CONTINUOUS = 0.5
"""A feature is continuous if at least this share of its values differ."""

MAX_CHANCE_OF_NONE = 1e-3
"""Chance that no other row of a block with a frozen value lies beyond it: with a smaller one, the values
beyond are cut off."""

MIN_CHANCE_OF_STEP = 1e-3
"""A rounded value is explained by the rows of the reference in its step with at least this chance."""

MAX_KNOWN = 0.5
"""The values of a block are new if the reference has fewer of them than this share."""

MIN_CHANCE_OF_MODE = 1e-3
"""A value may be the most frequent one of a moved distribution with at least this chance."""

MIN_COARSENESS = 4.0
"""Values are rounded if the reference has this many times as many different values in as many rows."""

MIN_EXPECTED_ROWS = 5
MIN_RELATED_ROWS = 20
MAX_ERROR = 0.25
"""Largest standard error of the share of rows without their usual relation to the other features."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A feature as the others predict it.

    Attributes:
        before: of each row of the reference, shape (n,).
        now: of each row of a block, shape (m,).
    """

    before: Vector
    now: Vector


def is_stuck(before: Vector, now: Vector, value: float, expected: Expected | None = None) -> bool:
    """Return whether a frequent value of a block is a frozen one.

    The source of a frozen value repeats it in some rows and sends the other rows unchanged, so the others
    look like the reference: their Kolmogorov–Smirnov distance is small. If the whole distribution moves, they
    do not, and the values beside it are about as frequent. At an end of the range, such as zero, a value can
    become more frequent alone. There, and wherever the other features predict this one, the rows with the
    value must have lost that relation too.

    Args:
        before: the feature in the reference, NaN for null, shape (n,).
        now: the feature in a block, shape (m,).
        value: the value, which is significantly more frequent in the block.
        expected: the feature as the others predict it; None if they do not.

    >>> rng = np.random.default_rng(0)
    >>> counts, fewer = rng.poisson(4.0, 2000), rng.poisson(2.5, 500)
    >>> is_stuck(counts, fewer, 2.0)
    False
    >>> is_stuck(counts, np.where(np.arange(500) % 4, rng.poisson(4.0, 500), 2.0), 2.0)
    True
    """
    usual, newest = before[~np.isnan(before)], now[~np.isnan(now)]
    share_before, share = float(np.mean(usual == value)), float(np.mean(newest == value))
    distinct = np.unique(usual)
    if share >= CONSTANT:
        return True
    others, newest_others = np.sort(usual[usual != value]), np.sort(newest[newest != value])
    if _is_continuous(usual) and _is_explained_by_rounding(usual, newest, value):
        return False
    is_rare = share_before * len(usual) <= 1
    if is_rare and _is_continuous(usual) and _is_continuous(newest_others):
        return True  # nothing but a frozen source repeats one value of a feature that is not rounded
    if len(np.unique(others)) < MIN_DISTINCT:
        return False
    is_lost = None if expected is None else _has_lost_relation(before, now, value, expected)
    is_end = value in (distinct[0], distinct[-1]) and share_before >= MIN_END_SHARE
    if is_lost is False or (is_end and is_lost is None):
        return False
    if share >= DOMINANCE * max(_largest_share(usual), _largest_share(newest_others)):
        return True
    excess = (share - share_before) / (1 - share_before)
    if is_rare and _are_new(usual, newest_others) and _is_usual_mode(usual, newest, share):
        return False
    added = 0.0 if is_rounded(others, newest_others) else excess / (1 - share)
    has_few = len(distinct) <= FEW_VALUES
    is_alike = not has_few or _have_same_shares(others, newest_others, added)
    return is_alike and _look_alike(others, newest_others, added)


def cut_off_side(before: Vector, now: Vector, value: float) -> int:
    """Return on which side of a frequent value all larger or smaller ones are cut off.

    A source that saturates sends its limit instead of all values beyond, so the block looks like the
    reference with the same limit. A frozen one repeats a value that others of its rows lie beyond.

    Args:
        before: the feature in the reference, NaN for null, shape (n,).
        now: the feature in a block, shape (m,).
        value: the value, which is significantly more frequent in the block.

    Returns:
        1 if larger values are cut off, -1 if smaller ones are, 0 if neither is.

    >>> rng = np.random.default_rng(0)
    >>> before, now = rng.normal(size=2000), rng.normal(size=500)
    >>> cut_off_side(before, np.minimum(now, 0.8), 0.8), cut_off_side(before, np.maximum(now, 0.2), 0.2)
    (1, -1)
    >>> cut_off_side(before, np.where(np.arange(500) % 2, now, 0.8), 0.8)
    0
    """
    usual, newest = before[~np.isnan(before)], now[~np.isnan(now)]
    others = newest[newest != value]
    for side in (1, -1):
        beyond = float(np.mean(side * usual > side * value))
        if (side * others > side * value).any() or (1 - beyond) ** len(others) >= MAX_CHANCE_OF_NONE:
            continue
        cut = np.minimum(usual, value) if side > 0 else np.maximum(usual, value)
        share = 1 - len(others) / len(newest)
        if _look_alike(np.sort(cut), np.sort(newest), share):
            return side
    return 0


def _look_alike(usual: Vector, newest: Vector, share: float) -> bool:
    """Return whether two sorted samples look alike, or differ in few rows beside a share of all."""
    distance = ks_distance(usual, newest)
    unit = FIVE_PERCENT * float(np.sqrt(1 / len(usual) + 1 / len(newest)))
    return distance <= max(MAX_DISTANCE * unit, MAX_RATIO * share)


def _have_same_shares(usual: Vector, newest: Vector, share: float) -> bool:
    """Return whether two samples have the same shares of values (chi-squared test), or nearly so.

    Values of which few rows are expected count as one.

    Args:
        usual: of the reference.
        newest: of a block.
        share: of the additional rows with another value, see `MAX_RATIO_OF_SHARES`.
    """
    values = np.union1d(usual, newest)
    counts = np.array([[np.count_nonzero(sample == v) for v in values] for sample in (usual, newest)])
    rare = counts.sum(axis=0) * len(newest) < MIN_EXPECTED_ROWS * counts.sum()
    counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)]).astype(np.float64)
    counts = counts[:, counts.sum(axis=0) > 0]
    before, now = counts / counts.sum(axis=1, keepdims=True)
    if float(np.abs(before - now).sum()) / 2 <= MAX_RATIO_OF_SHARES * share:
        return True
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    statistic = float(((counts - expected) ** 2 / expected).sum())
    chance = float(scipy.special.chdtrc(max(1, counts.shape[1] - 1), statistic))
    return chance >= MIN_CHANCE_OF_SHARES


def _are_new(usual: Vector, newest: Vector) -> bool:
    """Return whether the reference lacks most values of a block, as if they had moved between its own."""
    return float(np.isin(newest, usual).mean()) < MAX_KNOWN


def _is_usual_mode(usual: Vector, newest: Vector, share: float) -> bool:
    """Return whether a share of a block may be that of the most frequent value of the reference."""
    count, most = round(share * len(newest)), round(_largest_share(usual) * len(usual))
    return chance_of_excess(count, len(newest), most, len(usual)) >= MIN_CHANCE_OF_MODE


def is_rounded(before: Vector, now: Vector) -> bool:
    """Return whether a block has far fewer different values than as many rows of the reference.

    Args:
        before: the feature in the reference, without null.
        now: the feature in a block, without null.

    >>> rng = np.random.default_rng(0)
    >>> before, now = rng.normal(size=2000), rng.normal(size=500)
    >>> is_rounded(before, now), is_rounded(before, now.round(1)), is_rounded(before.round(1), now.round(1))
    (False, True, False)
    """
    rows = min(len(before), len(now))
    return MIN_COARSENESS * _distinct(now, rows) <= _distinct(before, rows)


def _is_explained_by_rounding(usual: Vector, newest: Vector, value: float) -> bool:
    """Return whether a value is as frequent as rounding makes it: as the reference's rows in its step.

    Other values of a rounded block are repeated as well, more than in the reference. The step reaches to the
    middle between the value and its neighbors, to the next one, or from the one before.
    """
    others = newest[newest != value]
    rows = min(len(usual), len(others))
    if not rows or _distinct(others, rows) >= _distinct(usual, rows):
        return False
    distinct = np.unique(newest)
    place = int(distinct.searchsorted(value))
    gaps = np.diff(distinct)
    below, above = gaps[max(place - 1, 0)], gaps[min(place, len(gaps) - 1)]
    steps = (value - below / 2, value + above / 2), (value, value + above), (value - below, value)
    in_step = max(int(np.count_nonzero((usual >= low) & (usual <= high))) for low, high in steps)
    count = int(np.count_nonzero(newest == value))
    chance = chance_of_excess(count, len(newest), in_step, len(usual))
    return chance * len(distinct) >= MIN_CHANCE_OF_STEP


def _distinct(values: Vector, rows: int) -> int:
    """Return the number of different values in some rows, evenly over all."""
    return len(np.unique(values[np.linspace(0, len(values) - 1, rows).astype(np.intp)])) if rows else 0


def _is_continuous(values: Vector) -> bool:
    return len(np.unique(values)) >= MIN_CONTINUOUS * len(values)


def _largest_share(values: Vector) -> float:
    """Return the share of the most frequent value."""
    return float(np.unique(values, return_counts=True)[1].max(initial=0)) / max(1, len(values))


def _has_lost_relation(before: Vector, now: Vector, value: float, expected: Expected) -> bool | None:
    """Return whether the additional rows with a value are random rows; None if nobody can tell.

    In rows that have the value by themselves, the other features predict it as in the reference's rows with
    it. In frozen rows they predict what they predict in all rows.
    """
    with_value, has_it = before == value, now == value
    if min(with_value.sum(), has_it.sum()) < MIN_RELATED_ROWS:
        return None
    own, all_rows, newest = expected.before[with_value], expected.before, expected.now[has_it]
    difference = float(all_rows.mean() - own.mean())
    if not difference:
        return None
    error = float(np.hypot(newest.std() / np.sqrt(len(newest)), own.std() / np.sqrt(len(own))))
    if error > MAX_ERROR * abs(difference):
        return None
    share_before, share = float(with_value.mean()), float(has_it.mean())
    frozen = (share - share_before) / (1 - share_before) / share  # share of these rows, if it is frozen
    lost = float(newest.mean() - own.mean()) / difference
    if frozen < 4 * error / abs(difference):
        return None
    return lost > frozen / 2
