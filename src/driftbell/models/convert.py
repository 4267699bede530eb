"""Native models made into ONNX graphs, and checked before one is served."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.models import onnx_export as graphs
from driftbell.models.equivalence import verify
from driftbell.models.onnx_model import INSTALL, OnnxModel, Recipe
from driftbell.models.sklearn import SklearnModel
from driftbell.records import Columns


@dataclass(frozen=True, slots=True)
class Graph:
    """A model in ONNX that nobody has checked yet.

    Attributes:
        content: the file's bytes.
        recipe: how it is asked.
        thresholds: where its trees part a feature, by the feature's place in the schema.
    """

    content: bytes
    recipe: Recipe
    thresholds: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conversion:
    """What became of a conversion.

    Attributes:
        graph: what answers as the native model does; None where nothing does.
        model: the same, running.
        reason: why there is none, in words.
        rows: how many rows were compared.
        largest: the largest difference of two probabilities.
    """

    graph: Graph | None
    model: OnnxModel | None
    reason: str
    rows: int = 0
    largest: float = 0.0


def convert(native: SklearnModel, features: Columns) -> Conversion:
    """Make an ONNX model that answers as a native one does, or tell why there is none.

    Args:
        native: the model.
        features: rows of its reference, for the check.
    """
    try:
        import onnx  # noqa: F401
        import onnxmltools  # noqa: F401
        import onnxruntime  # noqa: F401
        import skl2onnx  # noqa: F401
    except ImportError:
        return Conversion(None, None, INSTALL)
    failed: Conversion | None = None
    for make in _ways(native):
        found = _checked(native, features, make)
        if found.model:
            return found
        failed = failed or found
    return failed or Conversion(None, None, "there is no way to convert it")


def _checked(native: SklearnModel, features: Columns, make: Callable[[], Graph]) -> Conversion:
    try:
        with warnings.catch_warnings():  # what the converters use and will be gone in later releases
            warnings.simplefilter("ignore")
            graph = make()
        model = OnnxModel(
            graph.content,
            graph.recipe,
            name=native.name,
            version=native.version,
            schema=native.schema,
            classes=native.classes,
        )
        found = verify(native, model, features, graph.thresholds, most_probable=native.most_probable)
    except Exception as error:  # noqa: BLE001 - converters raise anything, and say it in many lines
        words = next(iter(str(error).splitlines()), "")[:200]
        return Conversion(None, None, f"cannot be converted: {type(error).__name__}: {words}")
    if found.problem:
        return Conversion(None, None, found.problem, found.rows, found.largest)
    return Conversion(graph, model, "", found.rows, found.largest)


def _ways(native: SklearnModel) -> Iterator[Callable[[], Graph]]:
    """Give the ways to convert a model, the fastest graph first."""
    steps: Sequence[Any] = getattr(native.estimator, "steps", ())
    if graphs.has_trees(native.estimator):
        yield lambda: _graph(*graphs.of_trees(native))
    elif len(steps) > 1 and graphs.has_trees(steps[-1][1]):
        yield lambda: _graph(*graphs.of_steps_then_trees(native))
    else:
        yield lambda: _graph(*graphs.of_any(native, "float32"))
        yield lambda: _graph(*graphs.of_any(native, "float64"))


def _graph(model: Any, recipe: Recipe) -> Graph:
    return Graph(model.SerializeToString(), recipe, graphs.thresholds_of(model) if recipe.table else {})
