"""Words for a feature of which all values have moved, such as by another unit."""

from __future__ import annotations

import math
import re
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
"""Other changes are ruled out only beyond this distance."""

CLEARLY_WORSE = 0.5
"""A change is ruled out beside another one if its distance is larger by more than this as well."""

MAX_MOVED = 2.0
"""Largest distance of values for which there is other evidence: of a feature that fits the others only if it
is moved back, or of the change that was named in the check before."""

FACTOR, OFFSET, FUNCTION, SHIFTED_FUNCTION = range(4)
"""Kinds of changes, simplest first; a simpler one is named before one that explains the values as well."""

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
    """A change of the unit.

    Attributes:
        words: its description.
        change: returns what it makes of the sorted values of the reference.
        kind: see `FACTOR`.
        factor: of values; 0 if they are not multiplied alone.
    """

    words: str
    change: Callable[[Vector], Vector]
    kind: int = FACTOR
    factor: float = 0.0


@dataclass(frozen=True, slots=True)
class Move:
    """A linear change of a feature after which it fits the other features again.

    Attributes:
        scale: factor, above zero.
        offset: summand.
    """

    scale: float
    offset: float

    def is_like(self, unit: Unit, middle: float) -> bool:
        """Return whether a change makes the same of the median as the move, within the error of a move."""
        expected, moved = float(unit.change(np.array([middle]))[0]), self.scale * middle + self.offset
        return abs(moved - expected) < MAX_MOVE_ERROR * abs(expected)


MAX_MOVE_ERROR = 0.03
"""Largest relative error of the median after a move."""


def describe_unit(before: Vector, now: Vector, *, named: str = "", move: Move | None = None) -> str:
    """Return in words which change of the unit explains the values of a block; "" for none.

    A change of the unit is named only if the distribution fits: the Kolmogorov–Smirnov distance between the
    changed values of the reference and the block is that of two samples of one distribution. Of changes that
    explain the values alike, the simplest is named: a factor, then a factor with a summand, then a function.
    None is named where two of the same kind fit alike, or where factors near that of a unit do. The change
    that was named before stays, unless it is ruled out or another one fits clearly better.

    Args:
        before: the feature in the reference, NaN for null.
        now: the feature in a block.
        named: words of the feature in the check before, or "".
        move: after which the feature fits the others; changes like it may fit less well.

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
    >>> weights, heavier = rng.normal(79, 10, 2000), rng.normal(79, 10, 200)  # 2.2 x and 1.8 x + 32 are alike
    >>> describe_unit(weights, 1.8 * heavier + 32)
    'values look 2.2 times as large: perhaps another unit (kg → lb)'
    """
    usual, newest = _quantiles(before), _quantiles(now)
    if min(len(usual), len(newest)) < MIN_ROWS or usual[0] == usual[-1]:
        return ""
    if _distance(usual, newest) <= MIN_DISTANCE:
        return ""
    possible = _possible(usual, newest)
    best = _simplest(usual, newest, possible, move)
    for unit, distance in possible:
        if named and unit.words in named and distance <= MAX_MOVED:
            is_worse = best is not None and _is_ruled_out(distance, best[1])
            return best[0].words if best and is_worse else unit.words
    if best:
        return best[0].words
    return _describe_named_factor(usual, newest, named) or _describe_factor(usual, newest)


def _possible(usual: Vector, newest: Vector) -> list[tuple[Unit, float]]:
    """Return the changes that may explain the values, with their distances, the simplest first."""
    points = newest[[len(newest) // 10, len(newest) // 2, -len(newest) // 10]]
    shares = newest.searchsorted(points, side="right") / len(newest)
    largest = MAX_MOVED + CLEARLY_WORSE
    limit = largest * _five_percent(usual, newest) + ROUNDED / len(usual)
    possible = []
    for unit in conversions(usual):
        with np.errstate(all="ignore"):
            changed = unit.change(usual)
        if (np.abs(changed.searchsorted(points, side="right") / len(changed) - shares) > limit).any():
            continue  # the distance is at least as large
        distance = _distance(np.sort(changed), newest)
        if distance <= largest:
            possible.append((unit, distance))
    return sorted(possible, key=lambda p: (p[0].kind, p[1]))


def _simplest(
    usual: Vector, newest: Vector, possible: list[tuple[Unit, float]], move: Move | None
) -> tuple[Unit, float] | None:
    """Return the simplest change that explains the values; None if another one may be as simple."""
    middle = float(np.median(usual))
    for unit, distance in possible:
        is_like = move is not None and move.is_like(unit, middle)
        is_far = distance > MAX_DISTANCE  # a move by related features that have moved too is none
        if is_far and (not is_like or distance > MAX_MOVED or is_shifted(usual, newest, distance)):
            continue
        others = [d for u, d in possible if u is not unit and u.kind <= unit.kind]
        is_only = all(_is_ruled_out(other, distance) for other in others)
        return (unit, distance) if is_only and _is_unique(usual, newest, unit, is_like) else None
    return None


def is_shifted(usual: Vector, newest: Vector, distance: float) -> bool:
    """Return whether a summand explains the values better than another change.

    A move is estimated from the related features. If these have moved as well, a summand looks like a factor.
    Values are sorted; the distance is that of the other change, in units of the 5 % point.

    >>> usual = np.linspace(1, 7, 150)
    >>> is_shifted(usual, usual + 3, 1.5), is_shifted(usual, 1.6 * usual, 0.2)
    (True, False)
    """
    shares = np.linspace(0.05, 0.95, 19)  # the quantiles move by the same, on the whole
    shift = float(np.median(np.quantile(newest, shares) - np.quantile(usual, shares)))
    return _distance(usual + shift, newest) < distance


def _is_ruled_out(distance: float, best: float) -> bool:
    """Return whether a change explains the values worse than another one, beyond noise."""
    return distance > max(MIN_DISTANCE, best + CLEARLY_WORSE)


def _quantiles(values: Vector) -> Vector:
    """Return the sorted values that are not null, at most `MAX_ROWS` of them."""
    is_sorted = bool((values[1:] >= values[:-1]).all())  # and without null
    ordered = values if is_sorted and len(values) > 1 else np.sort(present(values))
    if len(ordered) <= MAX_ROWS:
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, MAX_ROWS).astype(np.intp)]


def conversions(usual: Vector) -> Iterator[Unit]:
    """Yield the known changes that sorted values of the reference can have."""
    for factor, example, inverse in _UNITS:
        words, inverse_words = example, inverse
        if factor == MAX_PERCENT and 0 <= usual[0] <= usual[-1] <= MAX_SHARE:
            words = "share → percent"
        elif factor == MAX_PERCENT and 0 <= usual[0] <= usual[-1] <= MAX_PERCENT:
            inverse_words = "percent → share"
        for f, text in ((factor, words), (1 / factor, inverse_words)):
            yield Unit(_factor_words(f, text), partial(np.multiply, f), FACTOR, f)
    for unit, other, factor, summand in _OFFSET_UNITS:
        words = f"values look {_summand_words(factor, summand)}: perhaps another unit ({unit} → {other})"
        yield Unit(words, partial(_changed, factor, summand), OFFSET)
    yield Unit("values look like those of the reference with the opposite sign", _negated)
    if usual[0] > 0:
        yield Unit("values look like the logarithms of those of the reference", np.log, FUNCTION)
        base_10 = "values look like the logarithms (base 10) of those of the reference"
        yield Unit(base_10, np.log10, FUNCTION)
    if usual[0] > -1:
        words = "values look like log(1 + x) of those of the reference"
        yield Unit(words, np.log1p, SHIFTED_FUNCTION)
    if usual[-1] < math.log(1e30):
        yield Unit("values look as if the logarithm was left out", np.exp, FUNCTION)
        yield Unit("values look as if log(1 + x) was left out", np.expm1, SHIFTED_FUNCTION)


def _negated(ordered: Vector) -> Vector:
    return -ordered[::-1]


def _changed(factor: float, summand: float, values: Vector) -> Vector:
    return values * factor + summand


def _is_unique(usual: Vector, newest: Vector, unit: Unit, is_like: bool) -> bool:
    """Return whether factors near that of a unit explain the values worse; else, whether any factor does.

    Args:
        usual: sorted values of the reference.
        newest: those of the block.
        unit: the change.
        is_like: whether it is like a move of the feature, which is precise.
    """
    if unit.factor:
        is_decade = max(unit.factor, 1 / unit.factor) >= MIN_DECADE
        return is_decade or is_like or _is_precise(usual, newest, unit.factor, NEAR)
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


def _describe_named_factor(usual: Vector, newest: Vector, named: str) -> str:
    """Return the factor without a name of the check before, if it still explains the values; else ""."""
    match = _FACTOR_WORDS.search(named)
    if not match:
        return ""
    number = float(match[2].replace(",", ""))
    return match[0] if _distance(usual * (1 / number if match[1] else number), newest) <= MIN_DISTANCE else ""


MIN_INVERTED = 1e-12
"""Smaller factors are written as they are: the inverse of the smallest ones is infinite."""

_FACTOR_WORDS = re.compile(r"values look about (1/)?([\d,.]+)(?: times)? as large(?! plus| minus)")


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

    >>> _times(100.0), _times(0.001), _times(0.62), _times(1e-310)
    ('100 times as large', '1/1,000 as large', '0.62 times as large', '1e-310 times as large')
    """
    if MIN_INVERTED < factor < 0.5:
        inverse = round(1 / factor)
        if abs(factor * inverse - 1) < 0.005:
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
    if unit or abs(scale - 1) < MIN_SCALE or not abs(offset) < 0.1 * abs(scale * middle):  # also NaN
        return f"values look about {_summand_words(scale, offset)}{unit}"
    scale += offset / middle
    for factor, example, inverse in _UNITS:
        for named, words in ((factor, example), (1 / factor, inverse)):
            if abs(scale / named - 1) < 0.03:
                return _factor_words(named, words)
    return f"values look about {_times(scale)}"
