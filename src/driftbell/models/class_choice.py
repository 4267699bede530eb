"""Class names that the user gives to a model, and the decision between the classes by a probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from driftbell.errors import ModelError
from driftbell.models.loaded import LoadedModel
from driftbell.phrases import count_of
from driftbell.records import Outputs, Task

MAX_CLASSES = 100_000
"""Classes that a file may declare; a damaged one may declare any number."""


def with_class_names(loaded: LoadedModel, names: Sequence[str], source: str) -> LoadedModel:
    """Return a model with class names of the user's; none leave it as it is.

    Args:
        loaded: the model.
        names: the names by class id.
        source: the model's file, for messages.

    Raises:
        ModelError: the model is a regression, or the names do not fit its own.
    """
    if not names:
        return loaded
    if loaded.task is Task.REGRESSION:
        raise ModelError(f"{source} is a regression, which has no classes: remove model.classes")
    return replace(loaded, classes=chosen_names(loaded.classes, names, source))


def chosen_names(own: Sequence[str], names: Sequence[str], source: str) -> tuple[str, ...]:
    """Return the user's class names if they fit those of the model: new ones for 0 to n-1, or the same ones.

    Raises:
        ModelError: they do not fit.

    >>> chosen_names(["0", "1"], ["no", "yes"], "m.txt")
    ('no', 'yes')
    """
    if len(names) != len(own):
        raise ModelError(
            f"model.classes has {count_of(len(names), 'name')}, {source} has "
            f"{count_of(len(own), 'class')}: {', '.join(own[:20])}"
        )
    if list(own) != [str(i) for i in range(len(own))] and list(own) != list(names):
        raise ModelError(
            f"model.classes is {', '.join(names)}, the classes of {source} are {', '.join(own)}: write the "
            "same names in the same order, or remove model.classes"
        )
    return tuple(names)


def number_names(count: int) -> tuple[str, ...]:
    """Return the names of classes that a model knows by their numbers only.

    >>> number_names(3)
    ('0', '1', '2')
    """
    return tuple(map(str, range(count)))


def two_classes(probabilities: NDArray[np.float64]) -> Outputs:
    """Return the answers of a model that gives the probability of the second of two classes.

    A tie is the first class, as for `argmax`.

    Args:
        probabilities: shape (n,).
    """
    both = np.column_stack([1 - probabilities, probabilities])
    return Outputs(both.argmax(axis=1), both)
