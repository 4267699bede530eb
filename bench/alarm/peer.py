"""The protocol of a peer: a tool that the benchmark of the alarms compares with driftbell.

A peer is one file in `alarm/peers` with a subclass of `Peer` for each row of the table. The benchmark calls
`fit` once with the reference and `check` once for each window of the stream, in their order:

    from alarm.peer import Peer, Reference, Verdict, Window

    class MeanOfErrors(Peer):
        name = "mean of the errors"
        modes = ("all", "late")

        def fit(self, reference: Reference) -> None:
            self.limit = reference.errors.mean() + 0.05

        def check(self, window: Window) -> Verdict:
            mean = window.errors.mean() if len(window.errors) else 0.0
            return Verdict(mean > self.limit, mean)

Nothing of driftbell is imported here, so that a peer may live in an environment of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Table = dict[str, Array]
"""Columns by name: float64 with NaN for null, or objects with None for null."""

MODES = ("none", "all", "late", "cost")
"""Without labels, with all labels, with a tenth of them two windows late, and only the run time."""


class NotForThisError(Exception):
    """The peer does not support such data: its runs count as not supported, and not as failed."""


@dataclass(frozen=True)
class Reference:
    """Rows from before the stream, with labels, and what the peer may know of the run.

    Attributes:
        rows: features, prediction, probabilities and label.
        features: names of the feature columns.
        prediction: name of the prediction column.
        probabilities: column by class; empty for a regression.
        label: name of the label column.
        window_rows: rows of each window.
        labels_a_check: expected labels that arrive with a window.
        false_alarms_a_check: the budget, for a peer that has one.
        tolerated_error: largest rise of the mean error that is harmless, for a peer that has a tolerance.
        errors: 1 for a wrong class and 0 for a right one, or the absolute error, row by row.
    """

    rows: Table
    features: list[str]
    prediction: str
    probabilities: dict[str, str]
    label: str
    window_rows: int
    labels_a_check: int
    false_alarms_a_check: float
    tolerated_error: float
    errors: Array

    @property
    def inputs(self) -> list[str]:
        """Return the columns of a drift test: features, prediction, probabilities."""
        return [*self.features, self.prediction, *self.probabilities.values()]

    @property
    def regression(self) -> bool:
        """Return whether the label is a number."""
        return not self.probabilities


@dataclass(frozen=True)
class Window:
    """One window of the stream.

    Attributes:
        rows: features, prediction and probabilities; no label.
        labelled: the rows with labels that arrive now, of this or of an earlier window, with the label.
        errors: the errors of those rows, in their order.
    """

    rows: Table
    labelled: Table
    errors: Array


class Verdict(NamedTuple):
    """Answer of a peer to one window.

    Attributes:
        alarm: whether it is in the state of an alarm.
        score: its evidence for a worse model, the more the worse; a finite number.
        cannot_tell: whether it says that it cannot tell; None for a peer without such an answer.
        interval: lower and upper end of the 90 % interval of the rise of the mean error; None for none.
    """

    alarm: bool
    score: float
    cannot_tell: bool | None = None
    interval: tuple[float, float] | None = None


class Peer(ABC):
    """One row of the table; every run gets a new instance.

    Attributes:
        name: the row's name.
        package: the distribution to install, with its version in the report; "" for none.
        modes: those of `MODES` in which the peer takes part.
    """

    name: ClassVar[str]
    package: ClassVar[str] = ""
    modes: ClassVar[tuple[str, ...]] = ("none",)

    @abstractmethod
    def fit(self, reference: Reference) -> None:
        """Learn the reference.

        Raises:
            NotForThisError: the peer does not support such data.
        """

    @abstractmethod
    def check(self, window: Window) -> Verdict | tuple[bool, float]:
        """Check the next window."""


class ErrorStream(Peer):
    """A detector on the stream of errors, warmed up with those of the reference."""

    modes = ("all", "late")
    binary: ClassVar[bool] = False
    """Whether the detector takes errors of 0 and 1 only."""

    @abstractmethod
    def start(self) -> None:
        """Create the detector."""

    @abstractmethod
    def update(self, error: float) -> bool:
        """Add one error; return whether the detector signals drift."""

    def fit(self, reference: Reference) -> None:
        """Create the detector and warm it up."""
        if self.binary and reference.regression:
            raise NotForThisError("it takes errors of 0 and 1 only")
        self.start()
        for error in reference.errors.tolist():
            self.update(error)
        self.mean, self.spread = float(reference.errors.mean()), float(reference.errors.std()) + 1e-9

    def check(self, window: Window) -> Verdict:
        """Add the errors of a window; alarm if the detector signals drift at any of them."""
        alarms = [self.update(error) for error in window.errors.tolist()]
        z = (window.errors.mean() - self.mean) / self.spread * np.sqrt(len(alarms)) if alarms else 0.0
        return Verdict(any(alarms), float(any(alarms)) + float(np.tanh(z / 10)) / 2)  # the errors break ties


def is_number(column: Array) -> bool:
    """Return whether a column is numeric."""
    return column.dtype == np.float64


def plain(column: Array) -> Any:
    """Return a numeric column unchanged, and each other cell as a text or None."""
    return column if is_number(column) else [None if v is None else str(v) for v in column.tolist()]


def frame(table: Mapping[str, Array], names: Iterable[str]) -> Any:
    """Return some columns as a DataFrame of pandas."""
    import pandas as pd

    return pd.DataFrame({name: plain(table[name]) for name in names})


def evidence(p_value: float) -> float:
    """Return a p-value as a score: minus its decimal logarithm."""
    return float(-np.log10(max(float(p_value), 1e-300)))
