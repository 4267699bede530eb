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


class Line(msgspec.Struct, gc=False):
    """One prediction as a line of JSON has it."""

    id: str
    time: str
    model: str
    version: str
    features: Any
    output: str
    probabilities: Any
    latency_ms: float


class LineEncoder:
    """Makes the log's lines of one served model; some 1 µs a line, so that a request can afford its own.

    Args:
        model: its name.
        version: its version.
        feature_names: in the order in which `line` gets the values.
        classes: in the order in which `line` gets the probabilities.
    """

    def __init__(
        self, model: str, version: str, feature_names: Sequence[str], classes: Sequence[str]
    ) -> None:
        self._model = model
        self._version = version
        self._features = _object_of(feature_names)
        self._probabilities = _object_of(classes)

    def line(
        self,
        id: str,
        time: str,
        values: Sequence[Value],
        output: str,
        probabilities: Sequence[float],
        latency_ms: float,
    ) -> bytes:
        """Serialize one prediction as one line, without a line feed.

        Args:
            id: unique, ordered by time.
            time: see `time_text`.
            values: of the features; NaN and the infinities become null.
            output: the predicted class.
            probabilities: of the classes, or none at all.
            latency_ms: from the request's arrival to the model's answer.

        Raises:
            StoreError: a value is nothing that JSON knows.
        """
        features = self._features(*values)
        shares = self._probabilities(*probabilities) if probabilities else {}
        return _encoded(Line(id, time, self._model, self._version, features, output, shares, latency_ms))


def line_of(prediction: Prediction) -> bytes:
    """Serialize a prediction as one line, without a line feed.

    Raises:
        StoreError: a value is nothing that JSON knows.
    """
    p = prediction
    time = time_text(p.time)
    return _encoded(Line(p.id, time, p.model, p.version, p.features, p.output, p.probabilities, p.latency_ms))


def time_text(moment: datetime) -> str:
    """Write a time as the log's lines have it, in UTC.

    >>> time_text(datetime(2026, 1, 31, 12, 0, 0, 250, tzinfo=UTC))
    '2026-01-31 12:00:00.000250'
    """
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _object_of(names: Sequence[str]) -> Callable[..., Any]:
    """Return a function that builds a JSON object with these keys from positional values."""
    try:
        fields = {f"f{i}": name for i, name in enumerate(names)}
        return msgspec.defstruct("Values", [(f, Any) for f in fields], rename=fields, gc=False)
    except ValueError:  # a name with a quote, a backslash or a line feed in it
        return lambda *values: dict(zip(names, values, strict=True))


def _known(value: object) -> object:
    """Convert values that msgspec does not know."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} cannot be logged")


_ENCODER = msgspec.json.Encoder(enc_hook=_known)


def _encoded(line: Line) -> bytes:
    try:
        return _ENCODER.encode(line)
    except UnicodeEncodeError:  # half a surrogate pair: no UTF-8, but JSON can escape it
        text = json.dumps(msgspec.to_builtins(line, enc_hook=_known))
        return json.dumps(json.loads(text, parse_constant=lambda _: None)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"the prediction cannot be logged: {error}") from error
