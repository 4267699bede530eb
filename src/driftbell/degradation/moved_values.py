"""Words for a feature of which all values have moved, such as by another unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.samples import ks_distance, present
from driftbell.phrases import format_amount

Vector = NDArray[np.float64]

FIVE_PERCENT = 1.36
"""The 5 % point of the two-sample Kolmogorov–Smirnov distance, in units of sqrt(1/n + 1/m)."""

MAX_DISTANCE = 1.3
"""A change of the unit explains the values up to this distance, in units of the 5 % point."""

MIN_DISTANCE = 1.5
"""Other factors near that of a unit explain them only if they stay below this distance."""

NEARBY, NEAR = 1.15, 1.07
"""A factor is described if another one, larger or smaller by the first of these, explains the values worse,
and named if one by the second does: a growth by a half is no change from miles to kilometers."""

MIN_DECADE = 5.0
"""Factors of this size or more, and their inverses, have no other explanation nearby."""

MIN_FACTOR = 1.3
"""A smaller factor, such as a growth by a tenth, has no words."""

MIN_SCALE = 0.02
"""A factor that differs less from one is none."""

MIN_ROWS, MAX_ROWS = 40, 2000
"""Of more rows, as many quantiles are compared."""

_OFFSET_UNITS = (
    ("°C", "°F", 1.8, 32.0),
    ("°F", "°C", 1 / 1.8, -32 / 1.8),
    ("K", "°C", 1.0, -273.15),
    ("°C", "K", 1.0, 273.15),
    ("K", "°F", 1.8, -459.67),
    ("°F", "K", 1 / 1.8, 255.372),
)
"""Changes of a unit with an offset: from, to, factor and summand."""

_UNITS = (
    (10.0, "cm → mm", "mm → cm"),
    (100.0, "m → cm", "cm → m"),
    (1000.0, "kg → g", "g → kg"),
    (1e6, "millions → units", "units → millions"),
    (60.0, "hours → minutes", "minutes → hours"),
    (3600.0, "hours → seconds", "seconds → hours"),
    (24.0, "days → hours", "hours → days"),
    (2.20462, "kg → lb", "lb → kg"),
    (2.54, "in → cm", "cm → in"),
    (1.609344, "mi → km", "km → mi"),
    (3.28084, "m → ft", "ft → m"),
)
"""Changes of a unit by a factor: the factor, an example of it, and one of its inverse."""

MAX_SHARE, MAX_PERCENT = 1.0, 100.0


ROUNDED = 2
"""Number of values that rounding may put out of order, where a growing function changes sorted ones."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A change of the unit: what values it makes of those of the reference, and its words."""

    words: str
    change: Callable[[Vector], Vector]
    factor: float = 0.0


def describe_unit(before: Vector, now: Vector) -> str:
    """Return in words which change of the unit explains the values of a block; "" for none.

    A change of the unit is named only if the distribution fits: the Kolmogorov–Smirnov distance between the
    changed values of the reference and the block is that of two samples of one distribution. Factors near
    that of a unit must fit worse, so that a growth by a half is no change from miles to kilometers.

    Args:
        before: the feature in the reference, NaN for null.
        now: the feature in a block.

    >>> rng = np.random.default_rng(0)
    >>> before, now = rng.normal(20, 3, 2000), rng.normal(20, 3, 500)
    >>> describe_unit(before, 100 * now)
    'values look 100 times as large: perhaps another unit (m → cm)'
    >>> describe_unit(before, 1.8 * now + 32)
    'values look 1.8 times as large plus 32: perhaps another unit (°C → °F)'
    >>> describe_unit(before, -now)
    'values look like those of the reference with the opposite sign'
    >>> describe_unit(before, np.log(now)), describe_unit(before, 3.2 * now)
    ('values look like the logarithms of those of the reference', 'values look about 3.2 times as large')
    >>> describe_unit(before, rng.normal(23, 5, 500))
    ''
    """
    usual, newest = _quantiles(before), _quantiles(now)
    if min(len(usual), len(newest)) < MIN_ROWS or usual[0] == usual[-1]:
        return ""
    if _distance(usual, newest) <= MIN_DISTANCE:
        return ""
    best, nearest = "", MAX_DISTANCE
    points = newest[[len(newest) // 10, len(newest) // 2, -len(newest) // 10]]
    shares = newest.searchsorted(points, side="right") / len(newest)
    limit = MAX_DISTANCE * _five_percent(usual, newest) + ROUNDED / len(usual)
    for unit in _candidates(usual):
        with np.errstate(all="ignore"):
            changed = unit.change(usual)
        if (np.abs(changed.searchsorted(points, side="right") / len(changed) - shares) > limit).any():
            continue  # the distance is at least as large
        distance = _distance(np.sort(changed), newest)
        if distance <= nearest and _is_unique(usual, newest, unit):
            best, nearest = unit.words, distance
    return best or _describe_factor(usual, newest)


def _quantiles(values: Vector) -> Vector:
    """Return the sorted values that are not null, at most `MAX_ROWS` of them."""
    is_sorted = bool((values[1:] >= values[:-1]).all())  # and without null
    ordered = values if is_sorted and len(values) > 1 else np.sort(present(values))
    if len(ordered) <= MAX_ROWS:
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, MAX_ROWS).astype(np.intp)]


def _candidates(usual: Vector) -> Iterator[Unit]:
    for factor, example, inverse in _UNITS:
        words, inverse_words = example, inverse
        if factor == MAX_PERCENT and 0 <= usual[0] <= usual[-1] <= MAX_SHARE:
            words = "share → percent"
        elif factor == MAX_PERCENT and 0 <= usual[0] <= usual[-1] <= MAX_PERCENT:
            inverse_words = "percent → share"
        yield Unit(_factor_words(factor, words), partial(np.multiply, factor), factor)
        yield Unit(_factor_words(1 / factor, inverse_words), partial(np.multiply, 1 / factor), 1 / factor)
    for unit, other, factor, summand in _OFFSET_UNITS:
        words = f"values look {_summand_words(factor, summand)}: perhaps another unit ({unit} → {other})"
        yield Unit(words, partial(_changed, factor, summand))
    yield Unit("values look like those of the reference with the opposite sign", _negated)
    if usual[0] > 0:
        yield Unit("values look like the logarithms of those of the reference", np.log)
        yield Unit("values look like the logarithms (base 10) of those of the reference", np.log10)
    if usual[0] > -1:
        yield Unit("values look like log(1 + x) of those of the reference", np.log1p)
    if usual[-1] < math.log(1e30):
        yield Unit("values look as if the logarithm was left out", np.exp)
        yield Unit("values look as if log(1 + x) was left out", np.expm1)


def _negated(ordered: Vector) -> Vector:
    return -ordered[::-1]


def _changed(factor: float, summand: float, values: Vector) -> Vector:
    return values * factor + summand


def _is_unique(usual: Vector, newest: Vector, unit: Unit) -> bool:
    """Return whether factors near that of a unit explain the values worse; else, whether any factor does."""
    if unit.factor:
        is_decade = max(unit.factor, 1 / unit.factor) >= MIN_DECADE
        return is_decade or _is_precise(usual, newest, unit.factor, NEAR)
    factor = _factor(usual, newest)
    return not factor or _distance(usual * factor, newest) > MIN_DISTANCE


def _is_precise(usual: Vector, newest: Vector, factor: float, near: float) -> bool:
    factors = factor * near, factor / near
    return all(_distance(usual * other, newest) > MIN_DISTANCE for other in factors)


def _factor(usual: Vector, newest: Vector) -> float:
    """Return the ratio of the medians; 0 if they are zero or have different signs."""
    middle, middle_now = float(np.median(usual)), float(np.median(newest))
    return middle_now / middle if middle and middle_now / middle > 0 else 0.0


def _describe_factor(usual: Vector, newest: Vector) -> str:
    """Return in words a factor that has no name; "" if none explains the values, or a summand does better."""
    factor = _factor(usual, newest)
    if not factor or max(factor, 1 / factor) < MIN_FACTOR:
        return ""
    shift = float(np.median(newest) - np.median(usual))
    distance = _distance(usual * factor, newest)
    is_better = distance <= MAX_DISTANCE and distance < _distance(usual + shift, newest)
    is_named = is_better and _is_precise(usual, newest, factor, NEARBY)
    return f"values look about {_times(factor)}" if is_named else ""


def _distance(a: Vector, b: Vector) -> float:
    """Return the Kolmogorov–Smirnov distance of sorted samples in units of its 5 % point."""
    return ks_distance(a, b) / _five_percent(a, b)


def _five_percent(a: Vector, b: Vector) -> float:
    return FIVE_PERCENT * math.sqrt(1 / len(a) + 1 / len(b))


def _summand_words(factor: float, summand: float) -> str:
    """Return a factor and a summand in words.

    >>> _summand_words(1.8, 32.0), _summand_words(1.0, -273.15)
    ('1.8 times as large plus 32', '273 smaller')
    """
    if abs(factor - 1) < MIN_SCALE:
        return f"{format_amount(abs(summand))} {'larger' if summand > 0 else 'smaller'}"
    total = f" {'plus' if summand > 0 else 'minus'} {format_amount(abs(summand))}" if summand else ""
    return f"{_times(factor)}{total}"


def _factor_words(factor: float, example: str) -> str:
    return f"values look {_times(factor)}: perhaps another unit ({example})"


def _times(factor: float) -> str:
    """Return a factor in words.

    >>> _times(100.0), _times(0.001), _times(0.62)
    ('100 times as large', '1/1,000 as large', '0.62 times as large')
    """
    inverse = round(1 / factor)
    if factor < 0.5 and abs(factor * inverse - 1) < 0.005:
        return f"1/{inverse:,} as large"
    return f"{_amount(factor)} times as large"


def _amount(value: float) -> str:
    return f"{value:.2g}" if value < 100 else format_amount(value)


def describe_move(scale: float, offset: float, middle: float) -> str:
    """Return in words how a feature has moved: value = scale × value of the reference + offset.

    Args:
        scale: factor, above zero.
        offset: summand.
        middle: median of the feature in the reference; beside it, a small summand is left out.

    >>> describe_move(9.9, 99.2, 1000.0)
    'values look 10 times as large: perhaps another unit (cm → mm)'
    >>> describe_move(0.00102, 0.0, 5.0)
    'values look 1/1,000 as large: perhaps another unit (g → kg)'
    >>> describe_move(1.79, 32.4, 15.0)
    'values look about 1.8 times as large plus 32.4: perhaps another unit (°C → °F)'
    >>> describe_move(1.0, -3.0, 15.0)
    'values look about 3 smaller'
    """
    unit = ""
    for before, now, factor, summand in _OFFSET_UNITS:
        if abs(scale / factor - 1) < 0.05 and abs(offset / summand - 1) < 0.1:
            unit = f": perhaps another unit ({before} → {now})"
    if unit or abs(scale - 1) < MIN_SCALE or abs(offset) >= 0.1 * abs(scale * middle):
        return f"values look about {_summand_words(scale, offset)}{unit}"
    scale += offset / middle
    for factor, example, inverse in _UNITS:
        for named, words in ((factor, example), (1 / factor, inverse)):
            if abs(scale / named - 1) < 0.03:
                return _factor_words(named, words)
    return f"values look about {_times(scale)}"
