"""One prediction as one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from driftbell.errors import StoreError
from driftbell.records import Prediction, Value
from driftbell.tabular.logged_values import LoggedValues


class Line(msgspec.Struct, gc=False, omit_defaults=True):
    """The members of a line: one prediction. Without metadata, the line lacks the member."""

    id: str
    time: str
    model: str
    version: str
    features: Any
    output: str
    probabilities: Any
    latency_ms: float
    metadata: Any = None


class LineEncoder:
    """Serializes the predictions of one model, in about 1 µs a line.

    Args:
        model: its name.
        version: its version.
        feature_names: in the order of the values passed to `line`.
        classes: in the order of the probabilities passed to `line`.
        logged: what is logged of the values and of the metadata; None for everything.
    """

    def __init__(
        self,
        model: str,
        version: str,
        feature_names: Sequence[str],
        classes: Sequence[str],
        logged: LoggedValues | None = None,
    ) -> None:
        self._model = model
        self._version = version
        self._features = object_builder(feature_names)
        self._keep_metadata: Callable[[Mapping[str, Value]], Mapping[str, Value] | None] = _keep_all
        if logged is not None:
            build, keep = object_builder(logged.names), logged.row
            self._features = lambda *values: build(*keep(values))
            self._keep_metadata = logged.metadata
        self._probabilities = object_builder(classes)

    def line(
        self,
        id: str,
        time: str,
        values: Sequence[Value],
        output: str,
        probabilities: Sequence[float],
        latency_ms: float,
        metadata: Mapping[str, Value] | None = None,
    ) -> bytes:
        """Serialize one prediction as one line, without a line feed.

        Args:
            id: unique.
            time: see `time_text`.
            values: the features' values; NaN and the infinities become null.
            output: the predicted class.
            probabilities: one for each class, or empty.
            latency_ms: from the request's arrival to the model's answer.
            metadata: values that the client passed through; None if there are none.

        Raises:
            StoreError: a value cannot be written as JSON.
        """
        features = self._features(*values)
        shares = self._probabilities(*probabilities) if probabilities else {}
        if metadata:
            metadata = self._keep_metadata(metadata)
        return _encode(
            Line(id, time, self._model, self._version, features, output, shares, latency_ms, metadata)
        )


def _keep_all(metadata: Mapping[str, Value]) -> Mapping[str, Value] | None:
    return metadata


def encode_line(prediction: Prediction) -> bytes:
    """Serialize a prediction as one line, without a line feed.

    Raises:
        StoreError: a value cannot be written as JSON.
    """
    p = prediction
    metadata = p.metadata or None
    time = time_text(p.time)
    return _encode(
        Line(p.id, time, p.model, p.version, p.features, p.output, p.probabilities, p.latency_ms, metadata)
    )


def time_text(moment: datetime) -> str:
    """Write a time in UTC as a line has it.

    >>> time_text(datetime(2026, 1, 31, 12, 0, 0, 250, tzinfo=UTC))
    '2026-01-31 12:00:00.000250'
    """
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def object_builder(names: Sequence[str]) -> Callable[..., Any]:
    """Return a function that builds a JSON object with these keys from positional values."""
    try:
        fields = {f"f{i}": name for i, name in enumerate(names)}
        return msgspec.defstruct("Values", [(f, Any) for f in fields], rename=fields, gc=False)
    except ValueError:  # a name with a quote, a backslash or a line feed in it
        return lambda *values: dict(zip(names, values, strict=True))


def _convert_value(value: object) -> object:
    """Convert values that msgspec does not know."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} cannot be logged")


_ENCODER = msgspec.json.Encoder(enc_hook=_convert_value)


def _encode(line: Line) -> bytes:
    try:
        return _ENCODER.encode(line)
    except UnicodeEncodeError:  # half a surrogate pair, which UTF-8 cannot encode but JSON can escape
        text = json.dumps(msgspec.to_builtins(line, enc_hook=_convert_value))
        return json.dumps(json.loads(text, parse_constant=lambda _: None)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"the prediction cannot be logged: {error}") from error
