"""Classifiers that are ONNX files already: what they take, what they answer, and what is not supported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from driftbell.errors import ModelError, PredictError
from driftbell.models.convert import Conversion, Graph
from driftbell.models.onnx_model import KINDS, OnnxModel, Recipe, open_session
from driftbell.models.sklearn import VERSION_DIGITS, read_model
from driftbell.records import Columns, Kind
from driftbell.tabular.schema import Schema

TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(string)": "str",
    "tensor(bool)": "bool",
}
CLASSES = "classes"
"""The key of the file's metadata under which its classes may be, a JSON list of texts."""

LABELS = ("classlabels_strings", "classlabels_int64s", "cats_strings", "keys_strings")
MOST_ROWS = 20_000


def load_onnx(path: Path, *, name: str, schema: Schema, features: Columns, sha256: str | None) -> Conversion:
    """Load a classifier from an ONNX file; there is no code in one, so that its hash need not be pinned.

    It gives a class, or a probability for each of two or more classes, or both; it takes one table of
    numbers, or one column a feature under the feature's name. Its classes are in its metadata, in a ZipMap
    or in its classifier; else they are 0, 1, 2 and so on.

    Args:
        path: the file.
        name: what people call it.
        schema: its features, from the reference.
        features: the reference, which it must be able to answer.
        sha256: the file's hash where it is pinned.

    Raises:
        ModelError: it cannot be loaded, is no such classifier, or cannot answer the reference.
    """
    content, digest = read_model(path, sha256)
    session = open_session(content)
    inputs, table = _inputs(session, name, schema)
    if not table:
        by_name = {f.name: f for f in schema.features}
        schema = Schema(tuple(by_name[one] for one, _ in inputs))
    label, scores = _outputs(session, name)
    classes = _classes(session, content)
    if scores is None and not classes:
        raise ModelError(f"model '{name}' gives classes but does not name them: {_HINT}")
    recipe = Recipe(inputs, table=table, label=label, scores=scores)
    if not classes:
        classes = tuple(str(i) for i in range(_width(session, recipe, name)))
    version = digest[:VERSION_DIGITS]
    model = OnnxModel(content, recipe, name=name, version=version, schema=schema, classes=classes)
    _must_answer(model, features)
    return Conversion(Graph(content, recipe), model, "")


_HINT = f"write them as a JSON list of texts under '{CLASSES}' into the file's metadata"


def _inputs(session: Any, name: str, schema: Schema) -> tuple[tuple[tuple[str, str], ...], bool]:
    found = session.get_inputs()
    for one in found:
        if one.type not in TYPES:
            raise ModelError(f"model '{name}' takes {one.type} as '{one.name}', which is not supported")
    inputs = tuple((one.name, TYPES[one.type]) for one in found)
    numbers = all(f.kind is Kind.NUMERIC for f in schema.features)
    width = len(schema.features)
    if len(found) == 1 and (found[0].name not in schema.names or width > 1):
        if not numbers or inputs[0][1] not in ("float32", "float64"):
            raise ModelError(
                f"model '{name}' takes one table: float or double, and features that are numbers"
            )
        shape = found[0].shape
        if len(shape) != 2 or (isinstance(shape[1], int) and shape[1] != width):
            raise ModelError(
                f"model '{name}' takes a table of shape {shape}, its reference has {width} features"
            )
        return inputs, True
    if {one for one, _ in inputs} != set(schema.names):
        raise ModelError(
            f"model '{name}' takes {sorted(n for n, _ in inputs)}, its reference has {sorted(schema.names)} "
            "(if one of them is the label, name it in model.target)"
        )
    kinds = {f.name: f.kind for f in schema.features}
    for one, kind in inputs:
        if kinds[one] not in KINDS[kind]:
            raise ModelError(f"model '{name}' takes '{one}' as {kind}, the reference has {kinds[one].value}")
    return inputs, False


def _outputs(session: Any, name: str) -> tuple[str | None, str | None]:
    """Find the class and the probabilities among what it gives."""
    label = scores = None
    for one in session.get_outputs():
        last = one.shape[-1] if one.shape else None
        if one.type in ("tensor(int64)", "tensor(string)"):
            label = label or one.name
        elif one.type.startswith("seq(map(") or (
            one.type in ("tensor(float)", "tensor(double)") and len(one.shape or ()) == 2 and last != 1
        ):
            scores = scores or one.name
    if label is None and scores is None:
        raise ModelError(
            f"model '{name}' gives neither a class nor probabilities of two or more classes: "
            "only classifiers are served"
        )
    return label, scores


def _classes(session: Any, content: bytes) -> tuple[str, ...]:
    """Find the names of the classes in the metadata, else in the graph where the package onnx is there."""
    told = session.get_modelmeta().custom_metadata_map.get(CLASSES)
    if told:
        try:
            return tuple(str(one) for one in json.loads(told))
        except (ValueError, TypeError) as error:
            raise ModelError(f"the metadata '{CLASSES}' is no JSON list: {told[:80]}") from error
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


def _width(session: Any, recipe: Recipe, name: str) -> int:
    shape = next(o.shape for o in session.get_outputs() if o.name == recipe.scores)
    if isinstance(shape[-1], int):
        return shape[-1]
    raise ModelError(f"model '{name}' does not say how many classes it has: {_HINT}")


def _must_answer(model: OnnxModel, features: Columns) -> None:
    rows = min(len(next(iter(features.values()))), MOST_ROWS)
    try:
        outputs = model.predict({name: features[name][:rows] for name in model.schema.names})
    except PredictError as error:
        cause = error.__cause__
        raise ModelError(
            f"model '{model.name}' cannot answer its reference: {type(cause).__name__}: {cause}"
        ) from error
    found = outputs.probabilities
    if found is None:
        return
    if found.shape[1] != len(model.classes):
        raise ModelError(
            f"model '{model.name}' gives {found.shape[1]} probabilities for {len(model.classes)} classes"
        )
    if not (np.abs(found.sum(axis=1) - 1) < 1e-3).all() or (found < -1e-6).any():
        raise ModelError(f"what model '{model.name}' gives are no probabilities: they do not add up to 1")
