"""Loading of models from ONNX files: their inputs, outputs and classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from driftbell.errors import ModelError, PredictError
from driftbell.models.class_choice import chosen_names
from driftbell.models.conversion_advice import kinds_of
from driftbell.models.conversion_cache import Conversion
from driftbell.models.foreign_code import failure_reason
from driftbell.models.load import read_model
from driftbell.models.loaded import VERSION_DIGITS
from driftbell.models.native import extra_advice
from driftbell.models.onnx_external import require_own_data
from driftbell.models.onnx_model import KINDS, NUMBERS, GraphSignature, OnnxGraph, OnnxModel, open_session
from driftbell.phrases import count_of
from driftbell.records import Columns, Kind, Task
from driftbell.tabular.schema import Schema

TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(string)": "str",
    "tensor(bool)": "bool",
}
CLASSES = "classes"
"""Key of the file's metadata that may hold its classes, a JSON list of strings."""

LABELS = ("classlabels_strings", "classlabels_int64s", "cats_strings", "keys_strings")
MAX_ROWS = 20_000
"""Rows of the reference that the model must predict."""

MAX_SUM_ERROR = 1e-3
MIN_PROBABILITY = -1e-6
"""Rounding errors accepted in probabilities."""


def load_onnx(
    path: Path,
    *,
    name: str,
    schema: Schema,
    features: Columns,
    sha256: str | None,
    names: Sequence[str] = (),
) -> Conversion:
    """Load a model from an ONNX file, which holds no code, so its hash need not be pinned.

    Outputs of a classifier are a class, or a probability for each of two or more classes, or both. One number
    a row is a regression, or the probability of the second class if the metadata name two. Its inputs are one
    table of numbers, or one column a feature under the feature's name. Its classes are read from its
    metadata, a ZipMap or its classifier node; otherwise they are 0, 1, 2 and so on.

    Args:
        path: the file.
        name: the model's name.
        schema: its features, from the reference.
        features: the reference, which it must be able to predict.
        sha256: the pinned hash of the file; None if it is not pinned.
        names: the user's class names; none for the model's own.

    Raises:
        ModelError: it cannot be loaded, is no such classifier, or cannot predict the reference.
    """
    content, digest = read_model(path, sha256)
    require_own_data(content, path)
    session = open_session(content, str(path))
    inputs, table = _inputs(session, name, schema)
    if not table:
        by_name = {f.name: f for f in schema.features}
        schema = Schema(tuple(by_name[input_name] for input_name, _ in inputs))
    label, scores, single = _outputs(session, name)
    classes = _classes(session, content) if label or scores or single else ()
    if not classes and scores is None:
        classes = tuple(names)  # nothing else tells how many there are
    if label and scores is None and not classes:
        raise ModelError(f"model '{name}' returns classes but does not name them: {_HINT}")
    second_only = bool(single and len(classes) == 2)
    one_row = session.get_inputs()[0].shape[:1] == [1]
    signature = GraphSignature(
        *(inputs, table),
        label=label,
        scores=scores or single,
        one_row=one_row,
        second_only=second_only,
    )
    if single and not second_only:
        classes = ()
    elif not classes:
        classes = tuple(str(i) for i in range(_count_classes(session, signature, name)))
    if names and not classes:
        raise ModelError(f"{path} is a regression, which has no classes: remove model.classes")
    if names:
        classes = chosen_names(classes, names, str(path))
    version = digest[:VERSION_DIGITS]
    graph = OnnxGraph(content, signature)
    model = OnnxModel(graph, name=name, version=version, schema=schema, classes=classes)
    _check_reference(model, features)
    return Conversion(model, graph, "")


_HINT = f"set model.classes, or write them as a JSON list under '{CLASSES}' into the file's metadata"


def _inputs(session: Any, name: str, schema: Schema) -> tuple[tuple[tuple[str, str], ...], bool]:
    """Return name and type of each input, and whether they are one table and not a column each."""
    nodes = session.get_inputs()
    for node in nodes:
        if node.type not in TYPES:
            raise ModelError(f"model '{name}' takes {node.type} as '{node.name}', which is not supported")
    inputs = tuple((node.name, TYPES[node.type]) for node in nodes)
    numbers = all(f.kind is Kind.NUMERIC for f in schema.features)
    width = len(schema.features)
    if len(nodes) == 1 and (nodes[0].name not in schema.names or width > 1):
        if not numbers or inputs[0][1] not in ("float32", "float64"):
            others = [f for f in schema.features if f.kind is not Kind.NUMERIC]
            raise ModelError(
                f"model '{name}' takes one table, which must be float or double, with numeric features only"
                f"{f': {kinds_of(others)}' if others else ''}"
            )
        shape = nodes[0].shape
        if len(shape) != 2 or (isinstance(shape[1], int) and shape[1] != width):
            raise ModelError(
                f"model '{name}' takes a table of shape {shape}, its reference has "
                f"{count_of(width, 'feature')}"
            )
        return inputs, True
    if {input_name for input_name, _ in inputs} != set(schema.names):
        extra = sorted(set(schema.names) - {n for n, _ in inputs})
        advice = f" ({extra_advice(False, extra)})" if extra else ""
        raise ModelError(
            f"model '{name}' takes {sorted(n for n, _ in inputs)}, its reference has {sorted(schema.names)}"
            f"{advice}"
        )
    features = {f.name: f for f in schema.features}
    for feature, kind in inputs:
        if features[feature].kind not in KINDS[kind]:
            raise ModelError(f"model '{name}' takes '{feature}' as {kind}: {kinds_of([features[feature]])}")
        if features[feature].nullable and kind not in NUMBERS:
            raise ModelError(
                f"model '{name}' takes '{feature}' as {kind}, which cannot be null, and the reference has "
                "nulls there: fill them as for the training"
            )
    return inputs, False


def _outputs(session: Any, name: str) -> tuple[str | None, str | None, str | None]:
    """Return the names of the outputs with the class, the probabilities, and one number a row, or None."""
    label = scores = single = None
    for node in session.get_outputs():
        last = node.shape[-1] if node.shape else None
        if node.type in ("tensor(int64)", "tensor(string)"):
            label = label or node.name
        elif node.type.startswith("seq(map(") or (
            node.type in ("tensor(float)", "tensor(double)") and len(node.shape or ()) == 2 and last != 1
        ):
            scores = scores or node.name
        elif node.type in ("tensor(float)", "tensor(double)") and len(node.shape or (0,)) <= 2:
            single = single or node.name
    if label is None and scores is None and single is None:
        raise ModelError(
            f"model '{name}' returns neither a class, nor probabilities of two or more classes, nor one "
            "number a row: these are served"
        )
    return label, scores, None if label or scores else single


def _classes(session: Any, content: bytes) -> tuple[str, ...]:
    """Return the classes from the metadata, or from the graph if the package onnx is installed; else none."""
    metadata = session.get_modelmeta().custom_metadata_map.get(CLASSES)
    if metadata:
        try:
            return tuple(map(str, json.loads(metadata)))
        except (ValueError, TypeError) as error:
            raise ModelError(f"the metadata '{CLASSES}' is not a JSON list: {metadata[:80]}") from error
    try:
        import onnx
    except ImportError:
        return ()
    for node in reversed(onnx.load_from_string(content).graph.node):
        for attribute in node.attribute:
            if attribute.name in LABELS:
                values = onnx.helper.get_attribute_value(attribute)
                return tuple(v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in values)
    return ()


def _count_classes(session: Any, signature: GraphSignature, name: str) -> int:
    shape = next(o.shape for o in session.get_outputs() if o.name == signature.scores)
    if isinstance(shape[-1], int):
        return shape[-1]
    raise ModelError(f"model '{name}' does not declare its number of classes: {_HINT}")


def _check_reference(model: OnnxModel, features: Columns) -> None:
    rows = min(len(next(iter(features.values()))), MAX_ROWS)
    try:
        outputs = model.predict({name: features[name][:rows] for name in model.schema.names})
    except PredictError as error:
        raise ModelError(
            f"model '{model.name}' cannot predict its reference: {failure_reason(error)}"
        ) from error
    scores = outputs.probabilities
    if model.task is Task.REGRESSION and outputs.values.shape != (rows,):
        raise ModelError(f"model '{model.name}' returns {len(outputs.values)} numbers for {rows} rows")
    if scores is None:
        return
    if scores.shape[1] != len(model.classes):
        raise ModelError(
            f"model '{model.name}' returns {scores.shape[1]} probabilities for {len(model.classes)} classes"
        )
    if not (np.abs(scores.sum(axis=1) - 1) < MAX_SUM_ERROR).all() or (scores < MIN_PROBABILITY).any():
        raise ModelError(f"the scores of model '{model.name}' are not probabilities: they do not sum to 1")
