"""Features of an ONNX file, as far as the file names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from driftbell.errors import ModelError
from driftbell.models.load import read_model
from driftbell.models.loaded import LoadedModel
from driftbell.models.onnx_external import require_own_data
from driftbell.models.onnx_model import open_session
from driftbell.records import Outputs, Task


def onnx_features(path: Path) -> LoadedModel:
    """Return the names or the number of the features of an ONNX file; its classes are not known yet.

    Raises:
        ModelError: it cannot be loaded.
    """
    content, _ = read_model(path, None)
    require_own_data(content, path)
    inputs = open_session(content, str(path)).get_inputs()
    names = tuple(node.name for node in inputs) if len(inputs) > 1 else ()
    shape = inputs[0].shape if inputs else []
    width = shape[1] if len(shape) == 2 and isinstance(shape[1], int) else None
    return LoadedModel(
        Task.CLASSIFICATION,
        _not_opened,
        feature_names=names,
        feature_count=len(names) or width,
    )


def _not_opened(table: Any) -> Outputs:
    raise ModelError("the graph is opened with its reference")
