"""Golden answers of an ONNX file: what ONNX Runtime answers on rows of the reference, one call a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from driftbell.models.golden import GoldenRow, chosen_rows, json_value
from driftbell.models.onnx_model import OnnxModel
from driftbell.records import Columns

TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.str_,
}


def onnx_golden_rows(model: OnnxModel, content: bytes, columns: Columns) -> tuple[list[GoldenRow], str]:
    """Return answers of ONNX Runtime on the reference, fed by the declared inputs of the graph alone.

    A row is fed on its own: one input takes all features in the reference's order, several take one feature
    each, by its name. This shares no code with the service, which feeds tables and reuses buffers.

    Args:
        model: the model as it is served.
        content: the .onnx file.
        columns: the reference, n rows; a table's columns are in the order of the file.

    Returns:
        At most `MAX_ROWS` rows and "", or no rows and the reason.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    nodes = session.get_inputs()
    outputs = [node.name for node in session.get_outputs()]
    known = {name: column for name, column in columns.items() if name in model.schema.names}
    chosen = chosen_rows(len(next(iter(known.values()))), len(known))
    rows = []
    for values in zip(*(column[chosen].tolist() for column in known.values()), strict=True):
        cells = dict(zip(known, values, strict=True))
        if any(cell is None or cell != cell for cell in cells.values()):
            continue  # a graph does not say what stands for null
        answers = dict(zip(outputs, session.run(outputs, _feed(nodes, cells)), strict=True))
        features = {name: json_value(value) for name, value in cells.items()}
        rows.append(_golden_row(model, features, list(answers.values())))
    return rows, "" if rows else "every row of the reference has a null, and the graph does not define it"


def _feed(nodes: Sequence[Any], cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of one row."""
    if len(nodes) == 1 and (len(cells) > 1 or nodes[0].name not in cells):
        return {nodes[0].name: np.array([list(cells.values())], dtype=TYPES[nodes[0].type])}
    return {node.name: np.array([[cells[node.name]]], dtype=TYPES[node.type]) for node in nodes}


def _golden_row(model: OnnxModel, features: Mapping[str, Any], answers: Sequence[Any]) -> GoldenRow:
    """Return a row with the label and the probabilities, or the number, among the outputs of the graph."""
    label: str | None = None
    scores: Any = None
    for answer in answers:
        if isinstance(answer, list):  # a ZipMap
            scores = {_class_name(model, key): float(share) for key, share in answer[0].items()}
        elif answer.dtype.kind in "iOU":
            label = _class_name(model, answer.ravel()[0]) if model.classes else None
        elif scores is None:
            scores = answer.ravel().tolist()
    if not model.classes:
        return GoldenRow(features, float(scores[0]) if scores else float("nan"), {})
    if isinstance(scores, list):
        shares = [1 - scores[0], scores[0]] if len(scores) == 1 and len(model.classes) == 2 else scores
        scores = dict(zip(model.classes, shares, strict=True))
    shares_by_class: dict[str, float] = scores or {}
    predicted = max(shares_by_class, key=lambda name: shares_by_class[name]) if label is None else label
    return GoldenRow(features, predicted, shares_by_class)


def _class_name(model: OnnxModel, key: Any) -> str:
    """Return the name of a class of the graph, which is its number where the user has named the classes."""
    return str(key) if str(key) in model.classes else model.classes[int(key)]
