"""Bodies of the Open Inference Protocol V2: tensors as rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from driftbell.server.batch.route import validated_rows
from driftbell.server.http.problems import Refused
from driftbell.server.pass_through import Batch, read_passed, rows_of_columns
from driftbell.tabular.feature_value import is_unicode_text
from driftbell.tabular.pass_through import PassThroughFields
from driftbell.tabular.schema import Schema


def read_infer(
    schema: Schema, classes: Sequence[str], fields: PassThroughFields, body: Any
) -> tuple[Batch, str | None, list[str] | None]:
    """Return the rows, the request's id, and the names of the wanted outputs.

    Raises:
        InputError: rows do not fit the schema.
        Refused: 422, the body has another shape.
    """
    inputs = body.get("inputs") if isinstance(body, dict) else None
    if not isinstance(inputs, list) or not inputs or not all(isinstance(i, dict) for i in inputs):
        detail = "send a JSON object with 'inputs', a list of tensors with name, shape and data"
        raise Refused(422, "not_a_batch", detail)
    tensors = {str(tensor.get("name")): _tensor(tensor) for tensor in inputs}
    if len(tensors) < len(inputs):
        raise Refused(422, "not_a_batch", "each input must have a name of its own")
    passed = {name: tensors.pop(name)[0] for name in fields.named if name in tensors}
    names = list(tensors)
    if len(tensors) == 1 and names[0] not in schema.names and len(schema.names) > 1:
        rows, width = next(iter(tensors.values()))
        if width != len(schema.names):
            features = ", ".join(schema.names[:20])
            detail = f"the input '{names[0]}' must have the shape [rows, {len(schema.names)}]: {features}"
            raise Refused(422, "not_a_batch", detail)
        data = [rows[i : i + width] for i in range(0, len(rows), width)]
        table = {"columns": list(schema.names), "data": data}
    else:
        wide = next((name for name, (_, width) in tensors.items() if width != 1), None)
        if wide is not None:
            detail = f"the input '{wide}' must have the shape [rows] or [rows, 1]"
            raise Refused(422, "not_a_batch", detail)
        table = table_of_columns({name: cells for name, (cells, _) in tensors.items()})
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
    rows = validated_rows(schema, table)
    wrong = next((name for name, cells in passed.items() if len(cells) != len(rows)), None)
    if wrong is not None:
        raise Refused(422, "not_a_batch", f"the input '{wrong[:80]}' must have one value for each row")
    given = read_passed(rows_of_columns(passed, len(rows)), fields) if fields.named else None
    return Batch(rows, given), identifier if isinstance(identifier, str) else None, outputs


def _tensor(tensor: Mapping[str, Any]) -> tuple[list[Any], int]:
    """Return the cells of a tensor, row by row, and its number of columns.

    Raises:
        Refused: 422, shape and data do not fit.
    """
    name, shape, data = tensor.get("name"), tensor.get("shape"), tensor.get("data")
    cells = _flat(data) if isinstance(data, list) else []
    valid = isinstance(shape, list) and 1 <= len(shape) <= 2 and all(type(n) is int and n >= 0 for n in shape)
    if not valid or not isinstance(data, list) or math.prod(shape or [0]) != len(cells):
        detail = f"the input '{str(name)[:80]}' must have a shape [rows, columns] that fits its data"
        raise Refused(422, "not_a_batch", detail)
    return cells, shape[1] if shape is not None and len(shape) == 2 else 1


def _flat(data: list[Any]) -> list[Any]:
    return [cell for row in data for cell in (row if isinstance(row, list) else [row])]


def described_outputs(classes: Sequence[str]) -> list[dict[str, Any]]:
    """Describe the outputs of a model; none of `classes` for a regression."""
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


def table_of_columns(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return columns by name as columns and rows.

    Raises:
        Refused: 422, they are not lists of one length.
    """
    columns = [value if isinstance(value, list) else [value] for value in cells.values()]
    if len(set(map(len, columns))) != 1:
        raise Refused(422, "not_a_batch", "each column must be a list, all of one length")
    flat = [[cell[0] if isinstance(cell, list) and len(cell) == 1 else cell for cell in c] for c in columns]
    return {"columns": list(cells), "data": [list(row) for row in zip(*flat, strict=True)]}
