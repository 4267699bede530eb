"""Words for a feature of which all values have moved, such as by another unit."""

from __future__ import annotations

import math

from driftbell.phrases import format_amount

_UNITS = (
    ("°C", "°F", 1.8, 32.0),
    ("°F", "°C", 1 / 1.8, -32 / 1.8),
    ("K", "°C", 1.0, -273.15),
    ("°C", "K", 1.0, 273.15),
)
"""Changes of a unit with an offset: from, to, factor and summand."""


def describe_move(scale: float, offset: float, middle: float) -> str:
    """Return in words how a feature has moved: value = scale × value of the reference + offset.

    Args:
        scale: factor, above zero.
        offset: summand.
        middle: median of the feature in the reference; beside it, a small summand is left out.

    >>> describe_move(9.9, 99.2, 1000.0)
    'values are about 10 times those of the reference: unit change?'
    >>> describe_move(0.00102, 0.0, 5.0)
    'values are about 1/1,000 of those of the reference: unit change?'
    >>> describe_move(1.79, 32.4, 15.0)
    'values are about 1.79 times those of the reference plus 32.4: unit change from °C to °F?'
    >>> describe_move(1.0, -3.0, 15.0)
    'values are about 3 less than those of the reference'
    """
    unit = ""
    for before, now, factor, summand in _UNITS:
        if abs(scale / factor - 1) < 0.05 and abs(offset / summand - 1) < 0.1:
            unit = f" from {before} to {now}"
    if abs(scale - 1) < 0.02:
        change = f": unit change{unit}?" if unit else ""
        more = "more" if offset > 0 else "less"
        return f"values are about {format_amount(abs(offset))} {more} than those of the reference{change}"
    total = ""
    if unit or abs(offset) >= 0.1 * abs(scale * middle):
        total = f" {'plus' if offset > 0 else 'minus'} {format_amount(abs(offset))}" if offset else ""
    else:
        scale += offset / middle
        decade = float(10.0 ** round(math.log10(scale)))
        scale = decade if abs(scale / decade - 1) < 0.03 else scale
    times = f"{format_amount(scale)} times" if scale > 0.5 else f"1/{format_amount(1 / scale)} of"
    return f"values are about {times} those of the reference{total}: unit change{unit}?"
