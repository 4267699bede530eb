"""Read the user's own fixed limits: names such as `passenger_count.null_share`, and their values."""

from __future__ import annotations

import math
from collections.abc import Mapping

from driftbell.errors import ConfigError
from driftbell.phrases import printable, suggest_name
from driftbell.records.limits import Limit, Measure

MEASURES = tuple(measure.value for measure in Measure)


def parse_limits(limits: Mapping[str, object]) -> tuple[Limit, ...]:
    """Return limits from their names and values.

    Args:
        limits: value by name: the column, a dot, and a measure. A value may be a number or a text with one.

    Raises:
        ConfigError: a name has no measure or an unknown one, or a value is out of range.

    >>> parse_limits({"fare.max": 500})
    (Limit(column='fare', measure=<Measure.MAX: 'max'>, value=500.0),)
    """
    return tuple(_parse_limit(name, value) for name, value in limits.items())


def _parse_limit(name: str, value: object) -> Limit:
    column, _, word = name.rpartition(".")
    if not column or word not in MEASURES:
        hint = suggest_name(word, MEASURES) or f"use one of {', '.join(MEASURES)}"
        problem = (
            f"has the unknown measure '{printable(word)}': {hint}" if column else "must be COLUMN.MEASURE"
        )
        example = "" if column else ", such as 'passenger_count.null_share'"
        raise ConfigError(f"limit '{printable(name)}' {problem}{example}")
    number, is_share = number_from(value), word not in (Measure.MIN, Measure.MAX)
    if is_share and not 0 <= number < 1:
        raise ConfigError(f"limit '{printable(name)}' must be from 0 to below 1")
    if not math.isfinite(number):
        raise ConfigError(f"limit '{printable(name)}' must be a number")
    return Limit(column, Measure(word), number)


def number_from(value: object) -> float:
    """Return a number, or one in a text; NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan
