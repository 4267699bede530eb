"""Predictions as lines of JSON; checks as JSON and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from driftbell.errors import LogError
from driftbell.records import (
    ChangePoint,
    Check,
    CheckKind,
    ColumnComparison,
    ColumnVerdict,
    Harm,
    Histogram,
    Interval,
    Judgement,
    Kind,
    Part,
    Performance,
    Prediction,
    Result,
    ResultKind,
    Suspect,
    Value,
    Verdict,
)


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
        """Make the line of one prediction, without a line feed in it or after it.

        Args:
            id: unique, ordered by time.
            time: see `time_text`.
            values: of the features; NaN and the infinities become null.
            output: the predicted class.
            probabilities: of the classes, or none at all.
            latency_ms: from the request's arrival to the model's answer.

        Raises:
            LogError: a value is nothing that JSON knows.
        """
        features = self._features(*values)
        shares = self._probabilities(*probabilities) if probabilities else {}
        return _encoded(Line(id, time, self._model, self._version, features, output, shares, latency_ms))


def line_of(prediction: Prediction) -> bytes:
    """Make the line of a prediction, without a line feed in it or after it.

    Raises:
        LogError: a value is nothing that JSON knows.
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
    """Make what makes a JSON object with these keys of as many values, the fastest that can be had."""
    try:
        fields = {f"f{i}": name for i, name in enumerate(names)}
        return msgspec.defstruct("Values", [(f, Any) for f in fields], rename=fields, gc=False)
    except ValueError:  # a name with a quote, a backslash or a line feed in it
        return lambda *values: dict(zip(names, values, strict=True))


def _known(value: object) -> object:
    """Make JSON of what msgspec has no rule for."""
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
        raise LogError(f"the prediction cannot be logged: {error}") from error


def check_to_json(check: Check) -> dict[str, Any]:
    """Make a check a JSON object."""
    return {
        **asdict(check),
        "time": check.time.isoformat(),
        "judgement": judgement_to_json(check.judgement),
        "state": dict(check.state),
    }


def judgement_to_json(judgement: Judgement) -> dict[str, Any]:
    """Make a judgement a JSON object."""
    body = asdict(judgement)
    if judgement.harm and judgement.harm.since:
        body["harm"]["since"] = {k: v.isoformat() for k, v in body["harm"]["since"].items()}
    return body


def check_from_json(body: dict[str, Any]) -> Check:
    """Read back what `check_to_json` made."""
    judgement = body["judgement"]
    columns = tuple(_column(c) for c in judgement["columns"])
    return Check(
        **{
            **body,
            "time": datetime.fromisoformat(body["time"]),
            "kind": CheckKind(body["kind"]),
            "judgement": Judgement(
                Verdict(judgement["verdict"]), judgement["sentence"], columns, _harm(judgement.get("harm"))
            ),
            "reports": tuple(body["reports"]),
        }
    )


def _column(body: dict[str, Any]) -> ColumnVerdict:
    found = body["comparison"]
    comparison = ColumnComparison(
        **{
            **found,
            "kind": Kind(found["kind"]),
            "results": tuple(Result(**{**r, "kind": ResultKind(r["kind"])}) for r in found["results"]),
            "histogram": found["histogram"]
            and Histogram(**{k: tuple(v) for k, v in found["histogram"].items()}),
        }
    )
    verdict = Verdict(body["verdict"])
    drifted = body.get("drifted", verdict is Verdict.ALARM)  # before drift was told apart from harm
    if verdict is Verdict.ALARM:
        verdict = Verdict.WARNING
    return ColumnVerdict(**{**body, "comparison": comparison, "verdict": verdict, "drifted": drifted})


def _harm(body: dict[str, Any] | None) -> Harm | None:
    if body is None:
        return None
    return Harm(
        **{
            **body,
            "verdict": Verdict(body["verdict"]),
            "parts": tuple(Part(**p) for p in body["parts"]),
            "performance": body["performance"] and _performance(body["performance"]),
            "loss": _interval(body["loss"]),
            "since": body["since"]
            and ChangePoint(**{k: datetime.fromisoformat(v) for k, v in body["since"].items()}),
            "suspects": tuple(Suspect(**s) for s in body["suspects"]),
            "to_label": tuple(body["to_label"]),
        }
    )


def _performance(body: dict[str, Any]) -> Performance:
    intervals = {k: _interval(body[k]) for k in ("estimated", "realised")}
    return Performance(**{**body, **intervals})


def _interval(body: dict[str, Any] | None) -> Interval | None:
    return Interval(**body) if body else None
