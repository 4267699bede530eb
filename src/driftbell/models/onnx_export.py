"""Export of native models to ONNX by skl2onnx and onnxmltools, with trees in double precision."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from driftbell.errors import ModelError
from driftbell.models.conversion_advice import not_numeric
from driftbell.models.native import NativeModel
from driftbell.models.onnx_model import GraphSignature
from driftbell.models.onnx_nulls import NULL_TEXT, is_nullable_text, register_imputer, with_text_nulls
from driftbell.models.onnx_trees import (
    forest_graph,
    histogram_graph,
    is_forest,
    is_histogram,
    is_regression_forest,
    regression_graph,
    set_double_thresholds,
    tree_thresholds,
)
from driftbell.records import Kind, Task

__all__ = ["export_any", "export_pipeline_with_trees", "export_trees", "has_trees", "tree_thresholds"]

OPSETS = {"": 18, "ai.onnx.ml": 3}
"""Operator sets of exported graphs; every ONNX Runtime since 2023 reads them."""

Inputs = tuple[tuple[str, str], ...]
"""Name and type of each input of a graph."""

BOOSTERS_OPSET = 15
TABLE = "features"
"""Name of the one input of a graph that takes all features as a table."""


def has_trees(estimator: Any) -> bool:
    """Return whether an estimator consists of trees; their thresholds must keep their precision."""
    library = type(estimator).__module__.partition(".")[0]
    if any(supports(estimator) for supports in (is_forest, is_histogram, is_regression_forest)):
        return True
    if library in ("lightgbm", "xgboost"):
        return hasattr(estimator, "predict_proba")
    return library == "sklearn" and type(estimator).__name__ == "GradientBoostingClassifier"


def export_any(native: NativeModel, number: str) -> tuple[Any, GraphSignature]:
    """Export any scikit-learn model; its numeric inputs are `float32` or `float64`.

    Raises:
        ModelError: a feature has a kind that ONNX lacks.
    """
    inputs, table = _inputs(native, number)
    model = _to_onnx_model(native, _estimator(native), inputs, table=table)
    inputs = _renamed(model, inputs)
    if native.task is Task.REGRESSION:
        scores = model.graph.output[0].name
        return model, GraphSignature(inputs, table=table, scores=scores, null_text=_null_text(native))
    label, scores = (output.name for output in model.graph.output[:2])
    has_scores = hasattr(native.loaded.estimator, "predict_proba")
    label_output = None if has_scores and native.predicts_argmax else label
    score_output = scores if has_scores else None
    return model, GraphSignature(
        inputs, table=table, label=label_output, scores=score_output, null_text=_null_text(native)
    )


def export_trees(native: NativeModel) -> tuple[Any, GraphSignature]:
    """Export trees of any supported library.

    Raises:
        ModelError: a feature is not numeric.
    """
    others = [f for f in native.schema.features if f.kind is not Kind.NUMERIC or f.dtype == "category"]
    if others:
        raise ModelError(not_numeric(others))
    return _tree_graph(native.loaded.estimator)


def export_pipeline_with_trees(native: NativeModel) -> tuple[Any, GraphSignature]:
    """Export a pipeline that ends in trees, its other steps in double precision.

    Their results may lie on a threshold: the mean of two values of a grid is often a third one.

    Raises:
        ModelError: a feature has a kind that ONNX lacks.
    """
    from onnx import TensorProto, compose, helper

    inputs, table = _inputs(native, "float64")
    estimator = _estimator(native)
    head = _to_onnx_model(native, estimator[:-1], inputs, table=table)
    inputs = _renamed(head, inputs)
    tree_graph, signature = _tree_graph(estimator[-1])
    tail = compose.add_prefix(tree_graph, "trees.")
    types = {"float32": [TensorProto.FLOAT], "float64": [TensorProto.DOUBLE]}[signature.inputs[0][1]]
    if signature.single:
        types.insert(0, TensorProto.FLOAT)
    previous = head.graph.output[0].name
    names = [f"trees.cast{i}" for i in range(len(types) - 1)] + [tail.graph.input[0].name]
    for name, kind in zip(names, types, strict=True):
        head.graph.node.append(helper.make_node("Cast", [previous], [name], to=kind))
        previous = name
    head.graph.node.extend(tail.graph.node)
    head.graph.initializer.extend(tail.graph.initializer)
    del head.graph.output[:]
    head.graph.output.extend(tail.graph.output)
    domains = {opset.domain for opset in head.opset_import}
    head.opset_import.extend(o for o in tail.opset_import if o.domain not in domains)
    for opset in head.opset_import:  # the operators of trees are the same in all of these versions
        opset.version = max(opset.version, OPSETS.get(opset.domain, 1))
    return head, GraphSignature(
        inputs,
        table=table,
        scores=f"trees.{signature.scores}",
        divisor=signature.divisor,
        null_text=_null_text(native),
    )


def _estimator(native: NativeModel) -> Any:
    """Return the estimator as it is exported: with texts for the nulls of its text features."""
    texts = [f for f in native.schema.features if is_nullable_text(f)]
    return with_text_nulls(native.loaded.estimator, texts, list(native.schema.names))


def _null_text(native: NativeModel) -> str:
    return NULL_TEXT if any(map(is_nullable_text, native.schema.features)) else ""


def _tree_graph(estimator: Any) -> tuple[Any, GraphSignature]:
    """Export trees, which predict the most probable class."""
    if is_forest(estimator):
        return forest_graph(estimator)
    if is_histogram(estimator):
        return histogram_graph(estimator)
    if is_regression_forest(estimator):
        return regression_graph(estimator)
    library, width = type(estimator).__module__.partition(".")[0], int(estimator.n_features_in_)
    number = "float32"
    if library == "lightgbm":
        model = _lightgbm(estimator, width)
        if set_double_thresholds(model, estimator.booster_):
            number = "float64"
    elif library == "xgboost":
        model = _xgboost(estimator, width)
    else:
        model = _to_onnx(estimator, [(TABLE, _tensor("float32", width))])
    return model, GraphSignature(((TABLE, number),), scores=model.graph.output[1].name)


def _lightgbm(estimator: Any, width: int) -> Any:
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    types = [(TABLE, FloatTensorType([None, width]))]
    return convert_lightgbm(estimator, initial_types=types, target_opset=BOOSTERS_OPSET, zipmap=False)


def _xgboost(estimator: Any, width: int) -> Any:
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    nameless = copy.deepcopy(estimator)
    nameless.get_booster().feature_names = None  # the converter reads positions from names such as 'f0'
    types = [(TABLE, FloatTensorType([None, width]))]
    return convert_xgboost(nameless, initial_types=types, target_opset=BOOSTERS_OPSET)


def _inputs(native: NativeModel, number: str) -> tuple[Inputs, bool]:
    """Return the inputs of a graph, and whether they are one table of numbers and not a column each."""
    features = native.schema.features
    for feature in features:
        if feature.dtype == "category":
            raise ModelError(f"'{feature.name}' is a category, which ONNX does not have")
    if all(f.kind is Kind.NUMERIC for f in features) and not _selects_columns(native.loaded.estimator):
        return ((TABLE, number),), True
    if not native.loaded.takes_frame:
        raise ModelError(
            "it has features that are not numeric, and was not fitted on a DataFrame: fit it on one"
        )
    kinds = {Kind.NUMERIC: number, Kind.CATEGORICAL: "str", Kind.BOOLEAN: "bool"}
    for feature in features:
        if not feature.name:
            raise ModelError("a feature has an empty name, which ONNX does not have: name the column")
        if feature.kind not in kinds:
            raise ModelError(f"'{feature.name}' is a date, which ONNX does not support")
        if feature.nullable and feature.kind is not Kind.NUMERIC and not is_nullable_text(feature):
            raise ModelError(f"'{feature.name}' may be null, which ONNX supports for numbers and texts only")
    return tuple((f.name, kinds[f.kind]) for f in features), False


def _selects_columns(estimator: Any) -> bool:
    """Return whether a step selects columns by their names."""
    steps = [step for _, step in getattr(estimator, "steps", ())]
    return type(estimator).__name__ == "ColumnTransformer" or any(_selects_columns(step) for step in steps)


def _to_onnx_model(native: NativeModel, estimator: Any, inputs: Inputs, *, table: bool) -> Any:
    width = len(native.schema.features) if table else 1
    return _to_onnx(estimator, [(name, _tensor(kind, width)) for name, kind in inputs])


def _to_onnx(estimator: Any, types: Sequence[tuple[str, Any]]) -> Any:
    from skl2onnx import to_onnx

    register_imputer()
    try:
        return to_onnx(estimator, initial_types=list(types), target_opset=OPSETS, options={"zipmap": False})
    except NameError:  # a converter without this option
        return to_onnx(estimator, initial_types=list(types), target_opset=OPSETS)


def _renamed(model: Any, inputs: Inputs) -> Inputs:
    """Return the inputs with their names in the graph.

    The converter replaces characters such as spaces, dots and hyphens, and numbers names that are taken; the
    order of the inputs stays.

    Raises:
        ModelError: the graph has other inputs.
    """
    names = [graph_input.name for graph_input in model.graph.input]
    if len(names) != len(inputs):
        raise ModelError(f"its graph has {len(names)} inputs for {len(inputs)} features")
    return tuple((name, kind) for name, (_, kind) in zip(names, inputs, strict=True))


def _tensor(kind: str, width: int) -> Any:
    from skl2onnx.common import data_types

    names = {"float32": "Float", "float64": "Double", "str": "String", "bool": "Boolean"}
    return getattr(data_types, f"{names[kind]}TensorType")([None, width])
