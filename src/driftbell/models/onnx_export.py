"""Native models as ONNX graphs, by skl2onnx and onnxmltools, with trees as exact as can be."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from driftbell.errors import ModelError
from driftbell.models.onnx_model import Recipe
from driftbell.models.onnx_trees import (
    forest_graph,
    histogram_graph,
    in_doubles,
    is_forest,
    is_histogram,
    thresholds_of,
)
from driftbell.models.sklearn import SklearnModel
from driftbell.records import Kind

__all__ = ["has_trees", "of_any", "of_steps_then_trees", "of_trees", "thresholds_of"]

OPSETS = {"": 18, "ai.onnx.ml": 3}
"""What graphs are written in; every ONNX Runtime since 2023 reads it."""

BOOSTERS_OPSET = 15
TABLE = "features"
"""The one input of a graph that takes all features together."""


def has_trees(estimator: Any) -> bool:
    """Tell whether it is trees, whose thresholds must stay what they are."""
    library = type(estimator).__module__.partition(".")[0]
    boosted = library == "sklearn" and type(estimator).__name__ == "GradientBoostingClassifier"
    own = is_forest(estimator) or is_histogram(estimator)
    return own or boosted or library in ("lightgbm", "xgboost")


def of_any(native: SklearnModel, number: str) -> tuple[Any, Recipe]:
    """Convert any scikit-learn model; numbers go in as `float32` or `float64`.

    Raises:
        ModelError: its features have kinds that ONNX does not have.
    """
    inputs, table = _inputs(native, number)
    model = _converted(native, native.estimator, inputs, table=table)
    label, scores = (output.name for output in model.graph.output[:2])
    gives = hasattr(native.estimator, "predict_proba")
    needed = None if gives and native.most_probable else label
    return model, Recipe(inputs, table=table, label=needed, scores=scores if gives else None)


def of_trees(native: SklearnModel) -> tuple[Any, Recipe]:
    """Convert trees of any library.

    Raises:
        ModelError: its features are not all numbers.
    """
    if any(feature.kind is not Kind.NUMERIC for feature in native.schema.features):
        raise ModelError("it takes other values than numbers")
    return _tree_graph(native.estimator)


def of_steps_then_trees(native: SklearnModel) -> tuple[Any, Recipe]:
    """Convert a pipeline that ends in trees, its other steps in double precision.

    What they give may lie on a threshold: a mean of two values of a grid is often a third one.

    Raises:
        ModelError: its features have kinds that ONNX does not have.
    """
    from onnx import TensorProto, compose, helper

    inputs, table = _inputs(native, "float64")
    head = _converted(native, native.estimator[:-1], inputs, table=table)
    tree_graph, recipe = _tree_graph(native.estimator[-1])
    tail = compose.add_prefix(tree_graph, "trees.")
    types = {"float32": [TensorProto.FLOAT], "float64": [TensorProto.DOUBLE]}[recipe.inputs[0][1]]
    if recipe.single:
        types.insert(0, TensorProto.FLOAT)
    given = head.graph.output[0].name
    names = [f"trees.cast{i}" for i in range(len(types) - 1)] + [tail.graph.input[0].name]
    for name, kind in zip(names, types, strict=True):
        head.graph.node.append(helper.make_node("Cast", [given], [name], to=kind))
        given = name
    head.graph.node.extend(tail.graph.node)
    head.graph.initializer.extend(tail.graph.initializer)
    del head.graph.output[:]
    head.graph.output.extend(tail.graph.output)
    domains = {opset.domain for opset in head.opset_import}
    head.opset_import.extend(o for o in tail.opset_import if o.domain not in domains)
    for opset in head.opset_import:  # the trees' nodes are the same in all of them
        opset.version = max(opset.version, OPSETS.get(opset.domain, 1))
    return head, Recipe(inputs, table=table, scores=f"trees.{recipe.scores}", divisor=recipe.divisor)


def _tree_graph(estimator: Any) -> tuple[Any, Recipe]:
    """Convert trees, which answer the most probable class."""
    if is_forest(estimator):
        return forest_graph(estimator)
    if is_histogram(estimator):
        return histogram_graph(estimator)
    library, width = type(estimator).__module__.partition(".")[0], int(estimator.n_features_in_)
    number = "float32"
    if library == "lightgbm":
        model = _lightgbm(estimator, width)
        if in_doubles(model, estimator.booster_):
            number = "float64"
    elif library == "xgboost":
        model = _xgboost(estimator, width)
    else:
        model = _to_onnx(estimator, [(TABLE, _tensor("float32", width))])
    return model, Recipe(((TABLE, number),), scores=model.graph.output[1].name)


def _lightgbm(estimator: Any, width: int) -> Any:
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    types = [(TABLE, FloatTensorType([None, width]))]
    return convert_lightgbm(estimator, initial_types=types, target_opset=BOOSTERS_OPSET, zipmap=False)


def _xgboost(estimator: Any, width: int) -> Any:
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    bare = copy.deepcopy(estimator)
    bare.get_booster().feature_names = None  # the converter reads places from names such as 'f0'
    types = [(TABLE, FloatTensorType([None, width]))]
    return convert_xgboost(bare, initial_types=types, target_opset=BOOSTERS_OPSET)


def _inputs(native: SklearnModel, number: str) -> tuple[tuple[tuple[str, str], ...], bool]:
    """Tell which inputs a graph needs: one table of numbers, or each column by its name."""
    features = native.schema.features
    if all(f.kind is Kind.NUMERIC for f in features) and not _parts_columns(native.estimator):
        return ((TABLE, number),), True
    if not native.by_name:
        raise ModelError(
            "it takes values that are no numbers, and was not fitted on a DataFrame: fit it on one"
        )
    kinds = {Kind.NUMERIC: number, Kind.CATEGORICAL: "str", Kind.BOOLEAN: "bool"}
    for feature in features:
        if feature.kind not in kinds:
            raise ModelError(f"'{feature.name}' is a date, which ONNX does not have")
        if feature.nullable and feature.kind is not Kind.NUMERIC:
            raise ModelError(f"'{feature.name}' may be null, which ONNX has for numbers only")
    return tuple((f.name, kinds[f.kind]) for f in features), False


def _parts_columns(estimator: Any) -> bool:
    """Tell whether a step takes columns by their names."""
    steps = [step for _, step in getattr(estimator, "steps", ())]
    return type(estimator).__name__ == "ColumnTransformer" or any(_parts_columns(step) for step in steps)


def _converted(
    native: SklearnModel, estimator: Any, inputs: tuple[tuple[str, str], ...], *, table: bool
) -> Any:
    width = len(native.schema.features) if table else 1
    return _to_onnx(estimator, [(name, _tensor(kind, width)) for name, kind in inputs])


def _to_onnx(estimator: Any, types: Sequence[tuple[str, Any]]) -> Any:
    from skl2onnx import to_onnx

    try:
        return to_onnx(estimator, initial_types=list(types), target_opset=OPSETS, options={"zipmap": False})
    except NameError:  # one that has no such option
        return to_onnx(estimator, initial_types=list(types), target_opset=OPSETS)


def _tensor(kind: str, width: int) -> Any:
    from skl2onnx.common import data_types

    names = {"float32": "Float", "float64": "Double", "str": "String", "bool": "Boolean"}
    return getattr(data_types, f"{names[kind]}TensorType")([None, width])
