"""Conversion of native models to ONNX graphs, each checked against the native model before it is used."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from driftbell.models import onnx_export
from driftbell.models.conversion_advice import conversion_problem
from driftbell.models.conversion_cache import NO_CONVERSION, Conversion
from driftbell.models.equivalence import check_equivalence
from driftbell.models.native import NativeModel
from driftbell.models.onnx_model import INSTALL, GraphSignature, OnnxGraph, OnnxModel
from driftbell.records import Columns, Task

LIBRARIES = ("onnx", "onnxmltools", "onnxruntime", "skl2onnx")
"""Libraries of the extra `onnx`; each is imported where it is needed, since that takes long."""


def convert(native: NativeModel, features: Columns) -> Conversion:
    """Convert a native model to an ONNX model that predicts the same, or return the reason why there is none.

    Args:
        native: the model.
        features: rows of its reference, on which both are compared.
    """
    if native.loaded.estimator is None:
        return Conversion(None, None, NO_CONVERSION)
    if not all(map(find_spec, LIBRARIES)):
        return Conversion(None, None, INSTALL)
    first_failure: Conversion | None = None
    for export in _exporters(native):
        conversion = _export_and_check(native, features, export)
        if conversion.model:
            return conversion
        first_failure = first_failure or conversion
    return first_failure or Conversion(None, None, "no converter supports it")


def _export_and_check(native: NativeModel, features: Columns, export: Callable[[], OnnxGraph]) -> Conversion:
    try:
        with warnings.catch_warnings():  # deprecations inside the converters
            warnings.simplefilter("ignore")
            graph = export()
        model = OnnxModel(
            graph,
            name=native.name,
            version=native.version,
            schema=native.schema,
            classes=native.classes,
        )
        result = check_equivalence(native, model, features, graph.thresholds, argmax=native.predicts_argmax)
    except Exception as error:  # noqa: BLE001 - converters raise errors of any type
        problem = conversion_problem(error, native.schema.features)
        return Conversion(None, None, f"cannot be converted: {problem}")
    if result.problem:
        return Conversion(None, None, result.problem, result.rows, result.max_difference)
    return Conversion(model, graph, "", result.rows, result.max_difference)


def _exporters(native: NativeModel) -> Iterator[Callable[[], OnnxGraph]]:
    """Yield functions that export a model, the one with the fastest graph first."""
    steps: Sequence[Any] = getattr(native.loaded.estimator, "steps", ())
    if onnx_export.has_trees(native.loaded.estimator):
        yield lambda: _serialize(*onnx_export.export_trees(native))
    elif len(steps) > 1 and onnx_export.has_trees(steps[-1][1]):
        yield lambda: _serialize(*onnx_export.export_pipeline_with_trees(native))
    elif native.task is Task.REGRESSION:
        yield lambda: _serialize(*onnx_export.export_any(native, "float64"))
        yield lambda: _serialize(*onnx_export.export_any(native, "float32"))
    else:
        yield lambda: _serialize(*onnx_export.export_any(native, "float32"))
        yield lambda: _serialize(*onnx_export.export_any(native, "float64"))


def _serialize(model: Any, signature: GraphSignature) -> OnnxGraph:
    thresholds = onnx_export.tree_thresholds(model) if signature.table else {}
    return OnnxGraph(model.SerializeToString(), signature, thresholds)
