"""Answers of a function or server as classes, probabilities or numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np

from driftbell.errors import AnswerError
from driftbell.models.class_choice import two_classes
from driftbell.phrases import count_of, join_names, printable
from driftbell.records import Outputs
from driftbell.tabular.class_names import ClassNames

MAX_SUM_ERROR = 1e-3
"""Accepted rounding error of the sum of a row's probabilities."""

SET_CLASSES = 'set model.classes to its classes, such as ["no", "yes"]'


def read_answers(answers: Any, classes: Sequence[str]) -> Outputs:
    """Return what a model of an unknown library answered.

    With class names, the answers are labels, class ids, probabilities of shape (n, number of classes), or the
    probability of the second of two classes. Without, they are the numbers of a regression.

    Args:
        answers: a list, array, Series or DataFrame of n rows.
        classes: the model's classes; none for a regression.

    Raises:
        AnswerError: they have another form.
    """
    table = _table(answers)
    if table.ndim == 2 and table.shape[1] == 1:
        table = table[:, 0]
    if not classes:
        return Outputs(_numbers(table))
    if table.ndim == 2:
        probabilities = _probabilities(table, len(classes))
        return Outputs(probabilities.argmax(axis=1), probabilities)
    if table.ndim == 1 and table.dtype.kind == "f" and len(classes) == 2:
        if not ((table >= 0) & (table <= 1)).all():
            raise AnswerError(
                f"the model answered {_first(table)}, which is no probability of '{classes[1]}'"
            )
        return two_classes(table.astype(np.float64))
    return Outputs(class_ids(table, classes))


def require_rows(outputs: Outputs, rows: int) -> Outputs:
    """Return the answers if there is one for each row.

    Raises:
        AnswerError: there are more or fewer.
    """
    shape = outputs.values.shape
    if len(shape) > 1:
        raise AnswerError(
            f"the model answered an array of shape {shape} for {count_of(rows, 'row')}: it must answer one "
            "number for each row"
        )
    if shape != (rows,):
        raise AnswerError(
            f"the model answered {count_of(len(outputs.values), 'value')} for {count_of(rows, 'row')}: it "
            "must answer one for each row, in their order"
        )
    return outputs


def _table(answers: Any) -> Any:
    """Return answers as an array.

    Raises:
        AnswerError: they are no sequence of numbers or texts, or the rows differ in length.
    """
    if answers is None or isinstance(answers, str | bytes | Mapping | Set) or not hasattr(answers, "__len__"):
        what = "nothing (None)" if answers is None else f"a value of the type {type(answers).__name__}"
        raise AnswerError(
            f"the model answered {what} instead of a list, array, Series or DataFrame with one answer a row"
        )
    try:
        return np.asarray(answers)
    except ValueError as error:
        raise AnswerError("the model answered rows of different lengths") from error


def class_ids(labels: Any, classes: Sequence[str]) -> Any:
    """Return the class ids of labels, which may be class ids themselves.

    Raises:
        AnswerError: a label is no class.
    """
    table = np.asarray(labels)
    if table.ndim != 1:
        raise AnswerError(f"the model answered a table of shape {table.shape} instead of one label a row")
    names, ids = ClassNames(classes), {name: i for i, name in enumerate(classes)}
    if table.dtype.kind == "b" and len(classes) == 2 and names.find(True) is None:
        return table.astype(np.intp)
    matches = [names.find(label) for label in table.tolist()]
    if None in matches:
        label = table.tolist()[matches.index(None)]
        raise AnswerError(
            f"the model answered {printable(repr(label))}, which is none of its classes {join_names(classes)}"
        )
    return np.array([ids[str(name)] for name in matches], dtype=np.intp)


def _numbers(table: Any) -> Any:
    if table.ndim != 1:
        raise AnswerError(
            f"the model answered a table of shape {table.shape} instead of one number a row; if these are "
            f"probabilities, {SET_CLASSES}"
        )
    if table.dtype.kind == "f":
        return table.astype(np.float64)
    raise AnswerError(
        f"the model answered {printable(repr(_first(table)))}: if it is a class, {SET_CLASSES}; a regression "
        "must answer floats"
    )


def _probabilities(table: Any, count: int) -> Any:
    if table.shape[1] != count:
        raise AnswerError(f"the model answered {table.shape[1]} probabilities a row for {count} classes")
    probabilities = table.astype(np.float64)
    if not (np.abs(probabilities.sum(axis=1) - 1) < MAX_SUM_ERROR).all() or (probabilities < 0).any():
        raise AnswerError(f"the model answered {table[0].tolist()}, which are no probabilities")
    return probabilities


def _first(table: Any) -> Any:
    return table.ravel().tolist()[0] if table.size else None
