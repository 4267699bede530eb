"""Labelled positions of axes with numbers or times."""

from __future__ import annotations

import math
from datetime import UTC, datetime

HOUR, DAY = 3600, 86_400

TIME_STEPS = (
    *(60, 300, 900, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR),
    *(DAY, 2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 91 * DAY, 182 * DAY, 365 * DAY),
)
"""Steps between labels of a time axis, in seconds."""


def axis_numbers(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers between two numbers.

    >>> axis_numbers(0.81, 0.97)
    [0.85, 0.9, 0.95]
    >>> axis_numbers(0, 10_000, 4)
    [0.0, 5000.0, 10000.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    digits = max(0, -math.floor(math.log10(step)) + 1)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, digits) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def axis_times(low: float, high: float, count: int = 6) -> list[tuple[float, str]]:
    """Return about `count` round times with their labels (UTC).

    Args:
        low: first time in seconds since 1970.
        high: last time.
        count: number of times.

    >>> [label for _, label in axis_times(0, 3 * DAY)]
    ['01-01', '01-01 12:00', '01-02', '01-02 12:00', '01-03', '01-03 12:00', '01-04']
    """
    rough = max(high - low, 1.0) / count
    step = next((s for s in TIME_STEPS if s >= rough), 365 * DAY * math.ceil(rough / (365 * DAY)))
    years = datetime.fromtimestamp(low, UTC).year != datetime.fromtimestamp(high, UTC).year
    positions = []
    for k in range(math.ceil(low / step), math.floor(high / step) + 1):
        time = datetime.fromtimestamp(k * step, UTC)
        day = f"{time:%Y-%m-%d}" if years else f"{time:%m-%d}"
        clock = f" {time:%H:%M}" if (k * step) % DAY else ""
        positions.append((float(k * step), f"{day}{clock}"))
    return positions
