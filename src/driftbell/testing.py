"""Fakes of every port, for the tests of code that is built on driftbell.

They behave like the real implementations: driftbell's own contract tests run on both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from driftbell.records import (
    Check,
    Columns,
    Degradation,
    EvidenceState,
    LabelledPrediction,
    Outputs,
    Reference,
    Task,
    Value,
    Verdict,
    Window,
)
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_memory
from driftbell.tabular.schema import Schema

__all__ = ["FakeModel", "FixedDetector", "ManualClock", "RecordingSink", "RecordingTarget", "memory_store"]


def memory_store() -> SqlStore:
    """Return an empty store in memory: the real tables, in SQLite; it is lost when it is closed.

    >>> store = memory_store()
    >>> store.predictions.count(model="iris", version="v1")
    0
    >>> store.close()
    """
    return open_memory()


class FakeModel:
    """Implement `driftbell.ports.Model` by a function.

    Args:
        schema: the features.
        classes: the classes, by class id; none for a regression.
        rule: returns the class id, or the number, of each row of a table; it may raise `PredictError`.
        name: the model's name.
        version: the model's version.
        probabilities: whether it returns probabilities, 1 for the predicted class.
        inline: whether it may run on the event loop.

    >>> from driftbell.tabular.schema import infer_schema
    >>> schema = infer_schema({"age": [31.0, 52.0]})
    >>> model = FakeModel(schema, ["young", "old"], lambda columns: columns["age"] > 40)
    >>> model.answer([[35.0], [45.0]])
    ([0, 1], [[1.0, 0.0], [0.0, 1.0]])
    """

    engine = "native"
    engine_reason = "it is a fake"
    class_counts: tuple[int, ...] = ()

    def __init__(
        self,
        schema: Schema,
        classes: Sequence[str],
        rule: Callable[[Columns], ArrayLike],
        *,
        name: str = "fake",
        version: str = "v1",
        probabilities: bool = True,
        inline: bool = True,
    ) -> None:
        self.schema = schema
        self.classes = tuple(classes)
        self.task = Task.CLASSIFICATION if self.classes else Task.REGRESSION
        self.name = name
        self.version = version
        self.inline = inline
        self._rule = rule
        self._probabilities = probabilities

    def predict(self, columns: Columns) -> Outputs:
        """Predict a table; see `driftbell.ports.Model.predict`."""
        values = np.asarray(self._rule(columns))
        if self.task is Task.REGRESSION:
            return Outputs(values.astype(np.float64))
        class_ids = values.astype(np.intp)
        return Outputs(class_ids, np.eye(len(self.classes))[class_ids] if self._probabilities else None)

    def answer(self, rows: Sequence[Sequence[Value]]) -> tuple[list[Any], list[list[float]] | None]:
        """Predict validated rows; see `driftbell.ports.Model.answer`."""
        outputs = self.predict(self.schema.columns(rows))
        probabilities = outputs.probabilities
        return outputs.values.tolist(), None if probabilities is None else probabilities.tolist()


class FixedDetector:
    """Implement `driftbell.ports.DegradationDetector`: return the same result for every window.

    Args:
        degradation: the result.

    Attributes:
        windows: the windows so far, oldest first.
    """

    def __init__(self, degradation: Degradation) -> None:
        self.degradation = degradation
        self.windows: list[Window] = []

    def advance(
        self, state: EvidenceState, window: Window, labels: Sequence[LabelledPrediction]
    ) -> tuple[EvidenceState, Degradation]:
        """Return the state as it is, and the result."""
        self.windows.append(window)
        return state, self.degradation

    def with_baseline(self, window: Window, labels: Mapping[str, str] | None = None) -> FixedDetector:
        """Return this detector."""
        return self


class RecordingSink:
    """Implement `driftbell.ports.Sink`: record checks instead of rendering them.

    Args:
        error: raised by each `write`; `ReportError` is what a real sink raises.

    Attributes:
        checks: the checks so far, oldest first.
    """

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.checks: list[Check] = []

    def write(self, check: Check, reference: Reference, window: Columns) -> bytes:
        """Record the check; return its sentence and the window's columns."""
        if self.error:
            raise self.error
        self.checks.append(check)
        return f"{check.judgement.sentence} {sorted(window)}".encode()


class RecordingTarget:
    """Implement `driftbell.ports.NotificationTarget`: record messages instead of sending them.

    Args:
        name: its name.

    Attributes:
        failure: why each attempt fails; "" if it succeeds.
        attempts: number of calls of `send`.
        messages: title and body of the delivered messages, oldest first.
    """

    def __init__(self, name: str = "recorder") -> None:
        self.name = name
        self.key = f"key of {name}"
        self.failure = ""
        self.attempts = 0
        self.messages: list[tuple[str, str]] = []

    @property
    def titles(self) -> list[str]:
        """The titles of the delivered messages."""
        return [title for title, _ in self.messages]

    def send(self, title: str, body: str, verdict: Verdict) -> str:
        """Record a message unless `failure` is set, and return `failure`."""
        self.attempts += 1
        if not self.failure:
            self.messages.append((title, body))
        return self.failure


class ManualClock:
    """A clock that only its user moves.

    >>> clock = ManualClock(datetime(2026, 1, 31, tzinfo=UTC))
    >>> clock().isoformat()
    '2026-01-31T00:00:00+00:00'
    """

    def __init__(self, now: datetime = datetime(2026, 1, 31, 12, tzinfo=UTC)) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return the time that was set."""
        return self.now
