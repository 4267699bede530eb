"""The classes of a model, and the spellings that a label may have: 1, 1.0, "1", true and True."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from driftbell.tabular.columns import is_null

MAX_WHOLE = 10**15
"""Whole numbers up to this size are written without a decimal point; a float has all their digits."""


class ClassNames:
    """The class names of a model, to be matched with labels of files and requests.

    A label names a class if it equals the class's name, apart from case and surrounding spaces, or if both
    are the same number. A boolean is 1 or 0 where the names are numbers. If no name is a number, a number is
    a class id.

    Args:
        names: class names in the order of their ids.
        ids: whether a number may be a class id.

    >>> ClassNames(["setosa", "virginica"]).find(1)
    'virginica'
    >>> ClassNames(["1.0", "2.0"]).find("1"), ClassNames(["False", "True"]).find("true")
    ('1.0', 'True')
    """

    def __init__(self, names: Sequence[str], *, ids: bool = True) -> None:
        self.names = dict.fromkeys(names)
        numbers = {number: name for name in names if (number := _number(name)) is not None}
        self._are_numbers = bool(numbers)
        self.by_number: Mapping[float, str] = numbers or (dict(enumerate(names)) if ids else {})
        self._by_folded: dict[str, str] = {}
        for name in names:
            self._by_folded.setdefault(_folded(name), name)

    def find(self, label: Any) -> str | None:
        """Return the class that a label names; None if it is no class of the model."""
        if isinstance(label, int | float) and not isinstance(label, bool):
            return self.by_number.get(label)
        if isinstance(label, bool):
            name = self._by_folded.get(_folded(str(label)))
            return name or (self.by_number.get(label) if self._are_numbers else None)
        if not isinstance(label, str):
            return None
        if label in self.names:
            return label
        name = self._by_folded.get(_folded(label))
        if name is not None:
            return name
        number = _number(label)
        return None if number is None else self.by_number.get(number)

    def name_of(self, label: Any) -> str:
        """Return the class that a label names, or the label's own text if it is no class of the model."""
        return self.find(label) or label_text(label)


def label_text(label: Any) -> str:
    """Return the text under which a label is stored that is no class of the model.

    >>> label_text(7.0), label_text(True), label_text(" rose ")
    ('7', 'True', 'rose')
    """
    if isinstance(label, float) and label.is_integer() and abs(label) <= MAX_WHOLE:
        return str(int(label))
    return str(label).strip()


def is_empty_label(label: Any) -> bool:
    """Return whether a cell holds no label: null, NaN, or a text without a character other than spaces."""
    if isinstance(label, str):
        return not label.strip()
    return label is None or is_null(label)


def _folded(name: str) -> str:
    return name.strip().casefold()


def _number(name: str) -> float | None:
    try:
        number = float(name)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in name else None
