"""Outputs of a model as the log has them: texts, which are class names or the numbers of a regression."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.errors import PredictError
from driftbell.records import Outputs
from driftbell.stats.metrics import UNKNOWN_CLASS

MAX_OUTPUT = 1e100
"""Largest size of a predicted number and of a label: sums of squares stay finite, also in a database."""


class NumberTexts:
    """The texts of numbers, by number; it takes the place of the classes in which a text is looked up.

    >>> NumberTexts()[12.5]
    '12.5'
    """

    def __getitem__(self, value: float) -> str:
        """Return the shortest text that reads as the same number."""
        return repr(float(value))


def output_texts(outputs: Outputs, classes: Sequence[str], model: str) -> list[str]:
    """Return the output of each row as the log has it.

    Args:
        outputs: of n rows.
        classes: the model's classes; none for a regression.
        model: the model's name, for the message.

    Raises:
        PredictError: see `check_numbers`.

    >>> output_texts(Outputs(np.array([1, 0])), ("no", "yes"), "m")
    ['yes', 'no']
    >>> output_texts(Outputs(np.array([0.25])), (), "m")
    ['0.25']
    """
    values = outputs.values.tolist()
    if classes:
        return [classes[value] for value in values]
    check_numbers(values, model)
    return list(map(repr, map(float, values)))


def output_values(texts: Iterable[str], classes: Sequence[str]) -> NDArray[np.float64]:
    """Return the class id of each output, or its number for a regression.

    Args:
        texts: outputs or labels as the log has them, n of them.
        classes: the model's classes; none for a regression.

    Returns:
        `UNKNOWN_CLASS` for a text that is no class, and NaN for one that is no number, shape (n,).

    >>> output_values(["yes", "?"], ("no", "yes")).tolist(), output_values(["-1.5", "?"], ()).tolist()
    ([1.0, -1.0], [-1.5, nan])
    """
    if not classes:
        numbers = (parse_number(text) for text in texts)
        return np.array([math.nan if n is None else n for n in numbers], dtype=np.float64)
    ids = {name: float(i) for i, name in enumerate(classes)}
    return np.array([ids.get(text, UNKNOWN_CLASS) for text in texts], dtype=np.float64)


def row_errors(
    values: NDArray[Any], truth: NDArray[np.float64], classes: Sequence[str]
) -> NDArray[np.float64]:
    """Return the error of each row: 1 for another class and 0 for the same, or the absolute error.

    Args:
        values: class ids, or numbers of a regression, shape (n,).
        truth: the labels, coded in the same way.
        classes: the model's classes; none for a regression.

    >>> row_errors(np.array([1, 0]), np.array([1.0, 1.0]), ("no", "yes")).tolist()
    [0.0, 1.0]
    """
    return (values != truth).astype(np.float64) if classes else np.abs(values - truth)


def parse_number(value: Any) -> float | None:
    """Return the number that a cell, a text or a JSON value is; None if it is none.

    Infinities, numbers beyond `MAX_OUTPUT`, booleans, and texts with underscores are no numbers.

    >>> [parse_number(value) for value in (" 4.25 ", 3, "1e999", "n/a", True)]
    [4.25, 3.0, None, None, None]
    """
    if isinstance(value, bool | np.bool_) or (isinstance(value, str) and "_" in value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) <= MAX_OUTPUT else None


def check_numbers(values: Sequence[float], model: str) -> None:
    """Check the numbers that a regression predicted.

    Args:
        values: the number of each row.
        model: the model's name, for the message.

    Raises:
        PredictError: one is NaN, infinite, or beyond `MAX_OUTPUT`.
    """
    for row, value in enumerate(values):
        if not abs(value) <= MAX_OUTPUT:
            where = f" for row {row}" if len(values) > 1 else ""
            raise PredictError(
                f"model '{model}' predicted {float(value)!r}{where}, but a prediction must be a number from "
                f"-{MAX_OUTPUT:g} to {MAX_OUTPUT:g}"
            )
