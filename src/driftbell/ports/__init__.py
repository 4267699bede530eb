"""Ports: the interfaces of models, stores, detectors and sinks, independent of any implementation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from driftbell.ports.keys import KeyStore
from driftbell.ports.refusals import RefusalStore
from driftbell.ports.rows import RowStore, SliceStore
from driftbell.ports.shadows import ShadowStore
from driftbell.ports.store import (
    AlarmStore,
    CheckStore,
    Coordination,
    LabelStore,
    NotificationStore,
    PredictionStore,
    RetentionStore,
    Store,
)
from driftbell.ports.versions import VersionStore
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
from driftbell.tabular.schema import Schema

__all__ = [
    "EXTERNAL",
    "AlarmStore",
    "CheckStore",
    "Coordination",
    "DegradationDetector",
    "KeyStore",
    "LabelStore",
    "Model",
    "NotificationStore",
    "NotificationTarget",
    "PredictionStore",
    "RefusalStore",
    "RetentionStore",
    "RowStore",
    "ShadowStore",
    "Sink",
    "SliceStore",
    "Store",
    "VersionStore",
]


EXTERNAL = "external"
"""Engine of a model that is served elsewhere: it cannot predict here."""


class Model(Protocol):
    """A fitted model; immutable.

    Attributes:
        engine: inference engine: `onnxruntime`, `native` (the library that fitted the model), or `EXTERNAL`.
        engine_reason: why the native library predicts; "" for ONNX Runtime.
        inline: whether one row is so fast that it may run on the event loop.
        class_counts: rows of its reference that it predicts as each class, by class id; empty if it has few
            classes, or if they are not known.
    """

    engine: str
    engine_reason: str
    inline: bool
    class_counts: tuple[int, ...]

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def version(self) -> str:
        """The first twelve hexadecimal digits of its content hash; then its decision threshold, if any."""

    @property
    def schema(self) -> Schema:
        """The features that it expects."""

    @property
    def task(self) -> Task:
        """Classification or regression."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it predicts, by class id; none for a regression."""

    def predict(self, columns: Columns) -> Outputs:
        """Predict a table of n rows.

        Raises:
            PredictError: the model failed on these rows.
        """

    def answer(self, rows: Sequence[Sequence[Value]]) -> tuple[list[Any], list[list[float]] | None]:
        """Predict validated rows, values in the schema's order, with the same results as `predict`.

        Returns:
            The class id of each row (an integer) or the number of a regression, and the probabilities of the
            classes; None for a model without any.

        Raises:
            PredictError: the model failed on these rows.
        """


class DegradationDetector(Protocol):
    """A sequential test for degradation, fitted on the reference; immutable, its state is passed in."""

    def advance(
        self, state: EvidenceState, window: Window, labels: Sequence[LabelledPrediction]
    ) -> tuple[EvidenceState, Degradation]:
        """Count new evidence, each row once.

        Args:
            state: result of the last call; empty at the beginning.
            window: the predictions after `state.seq`, oldest first.
            labels: the labels after `state.label_seq`, in the order of arrival.

        Returns:
            The next state, and the current answer. With too few rows `seq` stays, so they come again.
        """

    def with_baseline(self, window: Window, labels: Mapping[str, str] | None = None) -> DegradationDetector:
        """Return a detector with these predictions as its baseline.

        Args:
            window: the predictions.
            labels: the labels that measure its performance, by prediction id; none for an estimate.
        """


class Sink(Protocol):
    """A report format."""

    def write(self, check: Check, reference: Reference, window: Columns) -> bytes:
        """Render the report of a check.

        Raises:
            ReportError: it could not be rendered.
        """


class NotificationTarget(Protocol):
    """A receiver of notifications."""

    @property
    def name(self) -> str:
        """A name for logs, without secrets."""

    @property
    def key(self) -> str:
        """An identifier that is stable across restarts and unique among targets, without secrets."""

    def send(self, title: str, body: str, verdict: Verdict) -> str:
        """Send a message within a bounded time; return why it failed, or "" if it was delivered."""
