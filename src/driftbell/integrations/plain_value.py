"""Values of Python and NumPy as JSON has them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any


def plain_value(value: Any) -> Any:
    """Return a value as JSON has it: decimals and NumPy's scalars as numbers, NaN and infinities as null.

    Raises:
        TypeError, ValueError: it has no JSON, such as an array or an object.

    >>> plain_value({"price": Decimal("1.5"), "missing": float("nan"), "day": date(2026, 1, 31)})
    {'price': 1.5, 'missing': None, 'day': '2026-01-31'}
    """
    if isinstance(value, float):
        return value if value - value == 0 else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain_value(item) for name, item in value.items()}
    if isinstance(value, datetime | date):
        return value.isoformat() if value == value else None  # not a time: pandas' NaT
    if isinstance(value, Decimal):
        return plain_value(float(value))
    if isinstance(value, uuid.UUID):
        return str(value)
    if type(value).__name__ == "datetime64":  # its `item` is a number where it has nanoseconds
        return None if value != value else str(value)
    if hasattr(value, "item"):  # a scalar of NumPy, or an array with one element
        item = value.item()
        return plain_value(float(item) if hasattr(item, "item") else item)  # a long double stays one
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    if value != value:  # pandas' NA refuses, which the caller counts
        return None
    raise TypeError(f"a {type(value).__name__} has no JSON")
