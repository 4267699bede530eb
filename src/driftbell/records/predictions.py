"""Logged predictions, and the outputs of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.records.data import Value


@dataclass(frozen=True, slots=True)
class Prediction:
    """One logged prediction.

    Attributes:
        id: a unique id: the client's own, or one of the service, which is ordered by time.
        time: when the request arrived (UTC).
        model: the model's name.
        version: the model's version, a content hash.
        features: value by feature name.
        output: the predicted class, or the predicted number of a regression as a text.
        probabilities: probability by class; empty for a model without probabilities.
        latency_ms: from the request's arrival to the model's answer, in milliseconds.
        metadata: values that the client passed through, by name; the model never gets them.
    """

    id: str
    time: datetime
    model: str
    version: str
    features: Mapping[str, Value]
    output: str
    probabilities: Mapping[str, float]
    latency_ms: float
    metadata: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShadowPrediction:
    """The prediction of a shadow for a row that the champion answered.

    Attributes:
        prediction_id: the id of the answered prediction, which has the features.
        time: when the shadow predicted (UTC).
        model: the model's name.
        version: the shadow's version.
        output: as in `Prediction`.
        probabilities: as in `Prediction`.
        latency_ms: time of the model in milliseconds; None if it predicted further rows in the same call.
    """

    prediction_id: str
    time: datetime
    model: str
    version: str
    output: str
    probabilities: Mapping[str, float]
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive predictions of one model version, oldest first.

    Attributes:
        predictions: the rows.
        first: sequence number of the oldest row; 0 if there is none.
        last: sequence number of the newest row; 0 if there is none.
        sequences: sequence number of each row; empty if they are consecutive.
    """

    predictions: tuple[Prediction, ...] = ()
    first: int = 0
    last: int = 0
    sequences: tuple[int, ...] = ()

    def sequence(self, place: int) -> int:
        """Return the sequence number of a row.

        >>> Window(first=7, last=9).sequence(1), Window(first=7, last=12, sequences=(7, 9, 12)).sequence(1)
        (8, 9)
        """
        return self.sequences[place] if self.sequences else self.first + place


@dataclass(frozen=True, slots=True)
class LoggedRows:
    """Features and outputs of some predictions of one model version.

    Attributes:
        features: value by feature name of each row.
        outputs: the predicted class of each row, or the predicted number as a text.
        probabilities: probability by class of each row.
        seqs: sequence number of each row; empty for rows of the archive.
        days: date (UTC) of each row, such as `2026-01-31`; empty for rows of the archive.
    """

    features: Sequence[Mapping[str, Value]]
    outputs: Sequence[str]
    probabilities: Sequence[Mapping[str, float]]
    seqs: Sequence[int] = ()
    days: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.features)

    def take(self, order: Sequence[int]) -> LoggedRows:
        """Return some of the rows, in this order of their places."""
        return LoggedRows(
            [self.features[i] for i in order],
            [self.outputs[i] for i in order],
            [self.probabilities[i] for i in order],
            [self.seqs[i] for i in order],
            [self.days[i] for i in order],
        )

    @classmethod
    def joined(cls, pages: Sequence[LoggedRows]) -> LoggedRows:
        """Return the rows of several pages of the store."""
        return cls(
            [cell for page in pages for cell in page.features],
            [cell for page in pages for cell in page.outputs],
            [cell for page in pages for cell in page.probabilities],
            [cell for page in pages for cell in page.seqs],
            [cell for page in pages for cell in page.days],
        )


@dataclass(frozen=True, slots=True)
class Outputs:
    """A model's outputs for a table of n rows.

    Attributes:
        values: index into the model's classes, or the predicted number of a regression (float64), shape (n,).
        probabilities: shape (n, number of classes), rows sum to 1; None for a model without probabilities.
    """

    values: NDArray[Any]
    probabilities: NDArray[np.float64] | None = None
