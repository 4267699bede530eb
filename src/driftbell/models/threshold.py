"""A decision threshold: a classifier predicts one class from a given probability on, as the user decides."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.errors import ModelError, PredictError
from driftbell.phrases import join_names, printable, suggest_name
from driftbell.ports import Model
from driftbell.records import Columns, Outputs, Task, Value
from driftbell.tabular.class_names import ClassNames

ROUNDING = 1e-6
"""A probability less than this below the threshold counts as the threshold: engines round differently."""

NAME_IN_VERSION = re.compile(r"[A-Za-z0-9._-]{1,24}")
"""Class names that a version may contain; the log has room for 64 characters."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """The probability from which one class is predicted; below it, the most probable other class is.

    Attributes:
        class_name: name of the class.
        class_id: its id.
        probability: the threshold.
    """

    class_name: str
    class_id: int
    probability: float

    @property
    def suffix(self) -> str:
        """The threshold as a part of a model's version."""
        name = self.class_name if NAME_IN_VERSION.fullmatch(self.class_name) else f"~{self.class_id}"
        return f"-{name}-{self.probability!r}"

    def decide(self, probabilities: NDArray[np.float64]) -> Outputs:
        """Return the outputs of a table.

        Args:
            probabilities: shape (n, number of classes).

        Returns:
            The decided classes, and the probabilities; one that counts as the threshold is the threshold.

        Raises:
            ValueError: a probability is NaN, so that nothing can be decided.

        >>> Threshold("yes", 1, 0.8).decide(np.array([[0.3, 0.7], [0.2, 0.8]])).values
        array([0, 1])
        """
        undecided = np.flatnonzero(np.isnan(probabilities).any(axis=1))
        if len(undecided):
            raise self._no_decision(int(undecided[0]), len(probabilities))
        decided = probabilities.copy()
        own = decided[:, self.class_id]
        own[(own < self.probability) & (own >= self.probability - ROUNDING)] = self.probability
        others = decided.copy()
        others[:, self.class_id] = -np.inf
        return Outputs(
            np.where(own >= self.probability, self.class_id, others.argmax(axis=1)).astype(np.intp), decided
        )

    def decide_rows(self, rows: list[list[float]]) -> list[int]:
        """Return the class id of each row, as `decide` does, and round probabilities in place.

        Args:
            rows: the probability of each class by row.

        Raises:
            ValueError: see `decide`.
        """
        place, threshold, lowest = self.class_id, self.probability, self.probability - ROUNDING
        class_ids = []
        for number, row in enumerate(rows):
            own = row[place]
            if own >= lowest:
                row[place] = max(own, threshold)
                class_ids.append(place)
            elif len(row) == 2:
                class_ids.append(1 - place)
            else:
                others = [*row[:place], -1.0, *row[place + 1 :]]
                class_ids.append(others.index(max(others)))
            if (total := sum(row)) != total:
                raise self._no_decision(number, len(rows))
        return class_ids

    def _no_decision(self, row: int, rows: int) -> ValueError:
        where = f" in row {row}" if rows > 1 else ""
        name = printable(self.class_name, 40)
        return ValueError(
            f"a probability is NaN{where}, so that model.threshold cannot decide about '{name}'"
        )


class ThresholdModel:
    """A classifier with a decision threshold; implements `driftbell.ports.Model`.

    Another threshold is another version of the model, since its predictions differ.

    Args:
        model: the classifier.
        threshold: of one of its classes.
    """

    def __init__(self, model: Model, threshold: Threshold) -> None:
        self.threshold = threshold
        self.engine = model.engine
        self.engine_reason = model.engine_reason
        self.inline = model.inline
        self.name = model.name
        self.version = model.version + threshold.suffix
        self.schema = model.schema
        self.task = model.task
        self.classes = model.classes
        self.class_counts = model.class_counts
        self._predict = model.predict
        self._answer = model.answer

    def predict(self, columns: Columns) -> Outputs:
        """Predict a table of n rows; see `driftbell.ports.Model`."""
        return self.decide(self._predict(columns))

    def decide(self, outputs: Outputs) -> Outputs:
        """Return outputs of the model with the classes that the threshold decides.

        Raises:
            PredictError: a probability is NaN or missing.
        """
        if outputs.probabilities is None:
            raise self._no_probabilities()
        try:
            return self.threshold.decide(outputs.probabilities)
        except ValueError as error:
            raise self._failure(error) from error

    def answer(self, rows: Sequence[Sequence[Value]]) -> tuple[list[Any], list[list[float]] | None]:
        """Predict valid rows; see `driftbell.ports.Model`."""
        _, probabilities = self._answer(rows)
        if probabilities is None:
            raise self._no_probabilities()
        try:
            return self.threshold.decide_rows(probabilities), probabilities
        except ValueError as error:
            raise self._failure(error) from error

    def _no_probabilities(self) -> PredictError:
        return PredictError(f"model '{self.name}' gave no probabilities, which model.threshold needs")

    def _failure(self, error: ValueError) -> PredictError:
        return PredictError(f"model '{self.name}' cannot decide: {error}")


def with_threshold(model: Model, threshold: Mapping[str, float] | None, *, ids: bool = False) -> Model:
    """Return a model with a decision threshold.

    Args:
        model: the model.
        threshold: the probability by class, of one class; None leaves the model as it is.
        ids: whether a number may be a class id, as where the user has named the classes 0 to n-1.

    Raises:
        ModelError: it is a regression, has no such class, only one class, or no probabilities.
    """
    if not threshold:
        return model
    ((name, probability),) = threshold.items()
    if model.task is Task.REGRESSION:
        raise ModelError(
            f"model.threshold: model '{model.name}' is a regression, which has no classes: remove the setting"
        )
    class_name = ClassNames(model.classes, ids=ids).find(name)
    if class_name is None:
        question = suggest_name(name, model.classes)
        raise ModelError(
            f"model.threshold: model '{model.name}' has no class '{printable(name)}'"
            f"{f', {question}' if question else ''} (classes: {join_names(model.classes, max_names=20)})"
        )
    if len(model.classes) < 2:
        raise ModelError(f"model.threshold: model '{model.name}' has only one class: remove the setting")
    row = model.schema.validate(model.schema.example)
    if model.answer([row])[1] is None:
        raise ModelError(
            f"model.threshold: model '{model.name}' gives classes without probabilities: remove the setting, "
            "or serve a model with probabilities, such as one in scikit-learn's CalibratedClassifierCV"
        )
    return ThresholdModel(model, Threshold(class_name, model.classes.index(class_name), probability))
