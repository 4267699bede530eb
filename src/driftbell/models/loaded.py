"""A model as its own library loads it: what it was fitted on and how it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from driftbell.records import Outputs, Task, Value

VERSION_DIGITS = 12
"""Hexadecimal digits of a model's version, which is a content hash."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A fitted model of any library; the loader of each file format returns one.

    Attributes:
        task: whether it predicts classes or numbers.
        predict: predicts a table of n rows: a DataFrame if `takes_frame`, else an array of shape (n, number
            of features). It may raise any error.
        classes: labels by class id; none for a regression.
        takes_frame: whether it was fitted on a DataFrame, so that it needs the columns' names and types.
        feature_names: names of its features in its order; none if it does not know them.
        feature_count: number of its features; None if it does not know.
        dtypes: types of features that the model itself prescribes, as pandas names them, by name.
        levels: categories of features of the type `category`, in the model's order, by name.
        estimator: the library's own object, for its conversion to ONNX; None if there is no conversion.
        predicts_argmax: whether the predicted class is known to be the most probable one.
        classes_decide: whether the user's class names make it a classifier, and it is a regression without.
        saved_by: the version of scikit-learn that saved it, if it is another one.
        description: the type of the model for people, if `estimator` does not say it.
    """

    task: Task
    predict: Callable[[Any], Outputs]
    classes: tuple[str, ...] = ()
    takes_frame: bool = False
    feature_names: tuple[str, ...] = ()
    feature_count: int | None = None
    dtypes: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    estimator: Any = None
    predicts_argmax: bool = False
    classes_decide: bool = False
    saved_by: str = ""
    description: str = ""
