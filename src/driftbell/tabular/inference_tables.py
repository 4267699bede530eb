"""Rows in request bodies of inference servers: MLflow, KServe V1, and the Open Inference Protocol V2."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from driftbell.phrases import printable
from driftbell.records import Feature, Kind

MLFLOW_KEYS = ("dataframe_split", "dataframe_records", "instances", "inputs")
"""Fields of a body of MLflow's scoring server; it has one of them. KServe's V1 is `instances`."""

OTHER_KEYS = ("params", "parameters", "signature_name")
"""Fields that clients of these servers also send, and that no model here uses."""


def mlflow_table(names: Sequence[str], body: Any) -> Any:
    """Return the rows of a body of MLflow's scoring server, or of KServe's V1.

    Args:
        names: the model's features in its order, for rows without names.
        body: a JSON value.

    Returns:
        A list of objects, or `{"columns": [...], "data": [[...], ...]}`; not validated further.

    Raises:
        ValueError: the body has another shape.

    >>> mlflow_table(["a", "b"], {"instances": [[1, 2]]})
    {'columns': ['a', 'b'], 'data': [[1, 2]]}
    """
    keys = [key for key in MLFLOW_KEYS if isinstance(body, dict) and key in body]
    if len(keys) != 1:
        raise ValueError(f"send a JSON object with one of {', '.join(MLFLOW_KEYS)}")
    unknown = next((key for key in body if key not in (*keys, *OTHER_KEYS)), None)
    if unknown is not None:
        raise ValueError(f"unknown field '{printable(unknown, 80)}' beside '{keys[0]}'")
    rows = body[keys[0]]
    if keys[0] in ("instances", "inputs"):
        if isinstance(rows, dict):
            rows = _from_columns(rows)
        elif isinstance(rows, list) and rows and all(isinstance(row, list) for row in rows):
            rows = {"columns": list(names), "data": rows}
    return rows


def v2_table(names: Sequence[str], body: Any) -> dict[str, Any]:
    """Return the rows of a request of the Open Inference Protocol, as columns and rows.

    Args:
        names: the model's features in its order, for one tensor of all features.
        body: a JSON value.

    Raises:
        ValueError: the body has another shape.

    >>> v2_table(["a", "b"], {"inputs": [{"name": "x", "shape": [1, 2], "data": [1, 2]}]})
    {'columns': ['a', 'b'], 'data': [[1, 2]]}
    """
    inputs = body.get("inputs") if isinstance(body, dict) else None
    if not isinstance(inputs, list) or not inputs or not all(isinstance(i, dict) for i in inputs):
        raise ValueError("send a JSON object with 'inputs', a list of tensors with name, shape and data")
    tensors = {str(tensor.get("name")): tensor_cells(tensor) for tensor in inputs}
    if len(tensors) < len(inputs):
        raise ValueError("each input must have a name of its own")
    only = next(iter(tensors))
    if len(tensors) == 1 and only not in names and len(names) > 1:
        cells, width = tensors[only]
        if width != len(names):
            features = ", ".join(names[:20])
            raise ValueError(f"the input '{only}' must have the shape [rows, {len(names)}]: {features}")
        data = [cells[i : i + width] for i in range(0, len(cells), width)]
        return {"columns": list(names), "data": data}
    wide = next((name for name, (_, width) in tensors.items() if width != 1), None)
    if wide is not None:
        raise ValueError(f"the input '{wide}' must have the shape [rows] or [rows, 1]")
    return _from_columns({name: cells for name, (cells, _) in tensors.items()})


def tensor_cells(tensor: Mapping[str, Any], what: str = "input") -> tuple[list[Any], int]:
    """Return the cells of a tensor, row by row, and its number of columns.

    Args:
        tensor: name, shape and data.
        what: "input" or "output", for the message.

    Raises:
        ValueError: shape and data do not fit.
    """
    name, shape, data = tensor.get("name"), tensor.get("shape"), tensor.get("data")
    cells = _flat(data) if isinstance(data, list) else []
    valid = isinstance(shape, list) and 1 <= len(shape) <= 2 and all(type(n) is int and n >= 0 for n in shape)
    if not valid or not isinstance(data, list) or math.prod(shape or [0]) != len(cells):
        raise ValueError(
            f"the {what} '{str(name)[:80]}' must have a shape [rows, columns] that fits its data"
        )
    return cells, shape[1] if shape is not None and len(shape) == 2 else 1


def csv_rows(text: str, features: Sequence[Feature], *, header: bool = True) -> list[dict[str, Any]]:
    """Return the rows of CSV as objects; empty cells are null.

    Args:
        text: the rows, one on each line.
        features: the model's features in its order; they decide the types of the cells.
        header: whether the first row has the names.

    Raises:
        ValueError: a row has another number of cells than there are columns.

    >>> csv_rows("31,Oslo", [Feature("age", Kind.NUMERIC), Feature("city", Kind.CATEGORICAL)], header=False)
    [{'age': 31.0, 'city': 'Oslo'}]
    """
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    names = [feature.name for feature in features]
    if header:
        if not rows:
            raise ValueError("the CSV has no header row")
        names, rows = rows[0], rows[1:]
    kinds = {feature.name: feature.kind for feature in features}
    table = {"columns": names, "data": rows}
    return [{name: _cell(cell, kinds.get(name)) for name, cell in row.items()} for row in row_objects(table)]


def _cell(cell: str, kind: Kind | None) -> Any:
    """Return a cell of CSV as JSON has it; one that does not fit stays a text, which is refused later."""
    if not cell:
        return None
    if kind is Kind.NUMERIC:
        try:
            return float(cell)
        except ValueError:
            return cell
    if kind is Kind.BOOLEAN:
        return {"true": True, "false": False, "1": True, "0": False}.get(cell.strip().lower(), cell)
    return cell


def row_objects(table: Any) -> list[dict[str, Any]]:
    """Return the rows of a table, which is a list of objects or columns and rows, as objects.

    Raises:
        ValueError: it is neither, or a row has another number of cells than there are columns.
    """
    if isinstance(table, dict) and isinstance(table.get("data"), list):
        columns = table.get("columns")
        if not isinstance(columns, list) or not all(isinstance(row, list) for row in table["data"]):
            raise ValueError("a table must be {'columns': [names], 'data': [rows of values]}")
        names = [str(name) for name in columns]
        wrong = next((i for i, row in enumerate(table["data"]) if len(row) != len(names)), None)
        if wrong is not None:
            count = len(table["data"][wrong])
            raise ValueError(f"row {wrong} has {count} values for the {len(names)} columns of the model")
        return [dict(zip(names, row, strict=True)) for row in table["data"]]
    if isinstance(table, list) and all(isinstance(row, dict) for row in table):
        return table
    raise ValueError("the rows must be objects of values by name, or lists of values")


def _from_columns(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return columns by name as columns and rows.

    Raises:
        ValueError: they are not lists of one length.
    """
    columns = [value if isinstance(value, list) else [value] for value in cells.values()]
    if len(set(map(len, columns))) != 1:
        raise ValueError("each column must be a list, all of one length")
    flat = [[cell[0] if isinstance(cell, list) and len(cell) == 1 else cell for cell in c] for c in columns]
    return {"columns": list(cells), "data": [list(row) for row in zip(*flat, strict=True)]}


def _flat(data: list[Any]) -> list[Any]:
    return [cell for row in data for cell in (row if isinstance(row, list) else [row])]
