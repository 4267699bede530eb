"""Answers of a model for the rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answers:
    """A model's answers for n rows.

    Attributes:
        values: class ids (classification) or numbers (regression), shape (n,).
        probabilities: of each class, shape (n, classes); None if the model has none.
    """

    values: Vector
    probabilities: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def confidence(self) -> Vector:
        """Return the probability of each predicted class, shape (n,); 0 for an answer that is no class.

        It is not always the largest probability: models with a decision threshold predict others.

        Raises:
            ValueError: the model has no probabilities.
        """
        if self.probabilities is None:
            raise ValueError("the model has no probabilities")
        classes = self.values.astype(np.intp)
        own = self.probabilities[np.arange(len(classes)), np.maximum(classes, 0)]
        return np.where(classes >= 0, own, 0.0)

    def take(self, rows: Any) -> Answers:
        """Return the answers of some rows."""
        return Answers(self.values[rows], None if self.probabilities is None else self.probabilities[rows])
