"""Answers of predictions: JSON of one row, and the JSON Schema of an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from driftbell.journal.line import object_builder
from driftbell.ports import Model
from driftbell.records import Task


class PredictedRow(NamedTuple):
    """One prediction as it is answered and recorded.

    Attributes:
        id: its id.
        value: class id, or the number of a regression.
        probabilities: probability of each class; empty if there is none.
    """

    id: str
    value: Any
    probabilities: Sequence[float]


class _Answer(msgspec.Struct, gc=False, rename={"class_name": "class"}):
    """The answer of a classification to `POST /predict`."""

    class_name: str
    class_id: int
    probabilities: Any
    id: str
    model: str
    version: str


class _NumberAnswer(msgspec.Struct, gc=False):
    """The answer of a regression to `POST /predict`."""

    value: float
    id: str
    model: str
    version: str


def answer_encoder(model: Model) -> Callable[[PredictedRow], bytes]:
    """Return a function that serializes answers of one model as JSON."""
    return _number_encoder(model) if model.task is Task.REGRESSION else _AnswerEncoder(model).encode


class _AnswerEncoder:
    """Serializes answers of one classifier as JSON."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._probabilities = object_builder(model.classes)
        self._encode = msgspec.json.Encoder().encode

    def encode(self, row: PredictedRow) -> bytes:
        model = self._model
        probabilities = self._probabilities(*row.probabilities) if row.probabilities else {}
        return self._encode(
            _Answer(model.classes[row.value], row.value, probabilities, row.id, model.name, model.version)
        )


def _number_encoder(model: Model) -> Callable[[PredictedRow], bytes]:
    encode, name, version = msgspec.json.Encoder().encode, model.name, model.version
    return lambda row: encode(_NumberAnswer(row.value, row.id, name, version))


def prediction_view(row: PredictedRow, classes: Sequence[str]) -> dict[str, Any]:
    """Return one prediction as JSON.

    Args:
        row: the prediction.
        classes: the model's classes; none for a regression.
    """
    if not classes:
        return {"value": row.value, "id": row.id}
    return {
        "class": classes[row.value],
        "class_id": row.value,
        "probabilities": dict(zip(classes, row.probabilities, strict=False)),
        "id": row.id,
    }


def answer_schema(classes: Sequence[str]) -> dict[str, Any]:
    """Describe one answer as JSON Schema; see `prediction_schema`."""
    schema = prediction_schema(classes)
    schema["properties"] |= {"model": {"type": "string"}, "version": {"type": "string"}}
    schema["required"] = list(schema["properties"])
    return schema


def prediction_schema(classes: Sequence[str]) -> dict[str, Any]:
    """Describe one prediction as JSON Schema.

    Args:
        classes: the model's classes; none for a regression.
    """
    properties: dict[str, Any] = {
        "class": {"type": "string", "enum": list(classes)},
        "class_id": {"type": "integer", "minimum": 0, "maximum": len(classes) - 1},
        "probabilities": {
            "type": "object",
            "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1.000001},
        },
    }
    if not classes:
        properties = {"value": {"type": "number"}}
    properties["id"] = {"type": "string"}
    return {"type": "object", "title": "Prediction", "properties": properties, "required": list(properties)}
