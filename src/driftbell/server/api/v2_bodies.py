"""Requests and answers of the Open Inference Protocol V2, with tensors as JSON or binary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from fastapi import Response

from driftbell.records import Value
from driftbell.server.batch.route import validated_rows
from driftbell.server.http.body import parse_json
from driftbell.server.http.problems import Refused, refused_together
from driftbell.server.pass_through import Batch, read_passed, rows_of_columns
from driftbell.server.predict.answers import PredictedRow
from driftbell.tabular.binary_tensors import (
    LENGTH_HEADER,
    fill_tensors,
    pack_tensors,
    split_body,
    wants_binary,
)
from driftbell.tabular.feature_value import is_unicode_text
from driftbell.tabular.inference_tables import tensor_cells, v2_table
from driftbell.tabular.pass_through import PassThroughFields
from driftbell.tabular.schema import Schema


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A valid request.

    Attributes:
        batch: the rows, and what is passed through with them.
        identifier: the request's id; None if it has none.
        outputs: names of the wanted outputs; None for all.
        binary: names of the outputs that are wanted as binary data.
    """

    batch: Batch
    identifier: str | None
    outputs: list[str] | None
    binary: frozenset[str] = frozenset()


def read_infer(
    schema: Schema, classes: Sequence[str], fields: PassThroughFields, length: str | None, raw: bytes
) -> InferRequest:
    """Read and check a request.

    Args:
        schema: the model's features.
        classes: the model's classes; none for a regression.
        fields: names of inputs that are passed through.
        length: the length of the JSON before binary data, from the header; None without such data.
        raw: the body.

    Raises:
        InputError: rows do not fit the schema.
        Refused: 400 no JSON, 409 an id is there twice, 422 the body has another shape.
    """
    body = parse_json(raw) if length is None else _filled(length, raw)
    columns: dict[str, list[Any]] = {}
    table = shaped(partial(_split_inputs, fields, columns), schema, body)
    wanted = body.get("outputs")
    outputs = None
    if isinstance(wanted, list) and wanted:
        outputs = [str(output.get("name")) if isinstance(output, dict) else str(output) for output in wanted]
    known = [output["name"] for output in described_outputs(classes)]
    unknown = [name for name in outputs or () if name not in known]
    if unknown:
        detail = f"the model has no output '{unknown[0][:80]}'; its outputs: {', '.join(known)}"
        raise Refused(422, "not_a_batch", detail)
    identifier = body.get("id")
    if isinstance(identifier, str) and not is_unicode_text(identifier):
        raise Refused(422, "type", "'id' must be valid Unicode text without NUL")
    with refused_together(len(table["data"])):
        batch = _batch(validated_rows(schema, table), fields, columns)
    return InferRequest(
        batch,
        identifier if isinstance(identifier, str) else None,
        outputs,
        frozenset(name for name in known if wants_binary(body, name)),
    )


def _split_inputs(
    fields: PassThroughFields, columns: dict[str, list[Any]], names: Sequence[str], body: Any
) -> dict[str, Any]:
    """Return the rows of a request, see `v2_table`; the inputs that are passed through go to `columns`."""
    inputs = body.get("inputs") if isinstance(body, dict) else None
    if fields.named and isinstance(inputs, list) and all(isinstance(tensor, dict) for tensor in inputs):
        passed = [tensor for tensor in inputs if tensor.get("name") in fields.named]
        columns.update({tensor["name"]: tensor_cells(tensor)[0] for tensor in passed})
        body = {**body, "inputs": [tensor for tensor in inputs if tensor.get("name") not in fields.named]}
    return v2_table(names, body)


def _batch(rows: list[list[Value]], fields: PassThroughFields, columns: dict[str, list[Any]]) -> Batch:
    """Return rows with the inputs that are passed through.

    Raises:
        Refused: 409 an id is there twice, 422 an input has another number of values.
    """
    wrong = next((name for name, cells in columns.items() if len(cells) != len(rows)), None)
    if wrong is not None:
        raise Refused(422, "not_a_batch", f"the input '{wrong[:80]}' must have one value for each row")
    passed = read_passed(rows_of_columns(columns, len(rows)), fields) if fields.named else None
    return Batch(rows, passed)


def _filled(length: str, raw: bytes) -> Any:
    """Return the JSON of a body with its binary data as lists.

    Raises:
        Refused: 400 no JSON, 422 the data does not fit.
    """
    try:
        head, binary = split_body(raw, length)
        return fill_tensors(parse_json(head), binary, "inputs")
    except ValueError as error:
        raise Refused(422, "not_a_batch", str(error)) from error


def shaped(read: Callable[[Sequence[str], Any], Any], schema: Schema, body: Any) -> Any:
    """Return the rows of a body, not validated.

    Raises:
        Refused: 422, the body has another shape.
    """
    try:
        return read(schema.names, body)
    except ValueError as error:
        raise Refused(422, "not_a_batch", str(error)) from error


def described_outputs(classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return name, datatype and shape of each output."""
    if not classes:
        outputs: list[tuple[str, str, list[int]]] = [("value", "FP64", [-1])]
    else:
        outputs = [
            ("class", "BYTES", [-1]),
            ("class_id", "INT64", [-1]),
            ("probabilities", "FP64", [-1, len(classes)]),
        ]
    outputs.append(("id", "BYTES", [-1]))
    return [{"name": name, "datatype": kind, "shape": shape} for name, kind, shape in outputs]


def infer_response(
    name: str, version: str, classes: Sequence[str], answers: Sequence[PredictedRow], asked: InferRequest
) -> Response:
    """Build the answer; outputs that are wanted as binary data follow the JSON."""
    data: dict[str, list[Any]] = {"id": [row.id for row in answers]}
    if classes:
        data["class"] = [classes[row.value] for row in answers]
        data["class_id"] = [row.value for row in answers]
        if all(row.probabilities for row in answers):
            data["probabilities"] = [p for row in answers for p in row.probabilities]
    else:
        data["value"] = [row.value for row in answers]
    outputs, blob = [], b""
    for output in described_outputs(classes):
        key = output["name"]
        if key not in data or not (asked.outputs is None or key in asked.outputs):
            continue
        tensor = {**output, "shape": [len(answers), *output["shape"][1:]], "data": data[key]}
        if key in asked.binary:
            (tensor,), part = pack_tensors([tensor])
            blob += part
        outputs.append(tensor)
    answer = {"model_name": name, "model_version": version, "outputs": outputs}
    head = msgspec.json.encode(answer if asked.identifier is None else {**answer, "id": asked.identifier})
    if not blob:
        return Response(head, media_type="application/json")
    headers = {LENGTH_HEADER: str(len(head))}
    return Response(head + blob, media_type="application/octet-stream", headers=headers)
