"""Conversion cache: the checked ONNX graph of a model, or the reason why it has none."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import structlog

from driftbell.atomic_write import write_atomically
from driftbell.errors import ModelError
from driftbell.models.onnx_model import GraphSignature, OnnxGraph, OnnxModel
from driftbell.records import Feature, Kind
from driftbell.tabular.schema import Schema

FORMAT = 7
LIBRARIES = (
    "scikit-learn",
    "numpy",
    "onnxruntime",
    "onnx",
    "skl2onnx",
    "onnxmltools",
    "lightgbm",
    "xgboost",
    "xgboost-cpu",
    "catboost",
    "torch",
    "mlflow",
)
"""Libraries that a model or its conversion depends on: another version of one invalidates the cache."""

NO_CONVERSION = "models of this format are not converted"
MANIFEST_NAME, GRAPH_NAME = "manifest.json", "model.onnx"

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Conversion:
    """Result of converting a model to ONNX.

    Attributes:
        model: the converted model, which predicts the same as the native one; None if there is none.
        graph: its graph; None if there is none.
        reason: why there is none; "" otherwise.
        rows_checked: number of rows on which both were compared.
        max_difference: the largest absolute difference between two probabilities.
        class_counts: see `driftbell.ports.Model`.
    """

    model: OnnxModel | None
    graph: OnnxGraph | None
    reason: str
    rows_checked: int = 0
    max_difference: float = 0.0
    class_counts: tuple[int, ...] = ()


def cache_key(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the key of a cached conversion: model, reference, libraries and CPU architecture.

    Args:
        parts: hashes and settings, as JSON values.
    """
    return {
        **parts,
        "format": FORMAT,
        "machine": platform.machine(),
        "libraries": {name: _library_version(name) for name in LIBRARIES},
    }


def save_conversion(folder: Path, key: Mapping[str, Any], conversion: Conversion) -> None:
    """Write a conversion to its cache folder.

    Raises:
        ModelError: the folder cannot be written.
    """
    body: dict[str, Any] = {
        "key": key,
        "reason": conversion.reason,
        "rows_checked": conversion.rows_checked,
        "max_difference": conversion.max_difference,
        "class_counts": conversion.class_counts,
    }
    graph, model = conversion.graph, conversion.model
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if graph and model:
            write_atomically(folder / GRAPH_NAME, graph.content)
            body |= {
                "graph": hashlib.sha256(graph.content).hexdigest(),
                "signature": asdict(graph.signature),
                "name": model.name,
                "version": model.version,
                "classes": model.classes,
                "schema": [asdict(feature) for feature in model.schema.features],
            }
        else:
            (folder / GRAPH_NAME).unlink(missing_ok=True)
        manifest = json.dumps({"hash": _body_hash(body), "body": body}, indent=1)
        write_atomically(folder / MANIFEST_NAME, manifest.encode("utf-8"))
    except OSError as error:
        raise ModelError(f"cannot write the model to {folder}: {error.strerror}") from error


def load_conversion(folder: Path, key: Mapping[str, Any]) -> Conversion | None:
    """Load a conversion from its cache folder; None if it is missing, damaged, or has another key.

    A folder that another process is writing is safe to read: hashes do not match until both files are there.
    """
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text("utf-8"))
        body = manifest["body"]
        if manifest["hash"] != _body_hash(body):
            raise ModelError(f"{MANIFEST_NAME} does not match its hash")
        if body["key"] != json.loads(json.dumps(key)):
            return None
        graph = _load_graph(folder, body) if "graph" in body else None
        model = _build_model(graph, body) if graph else None
        counts = tuple(body["class_counts"])
        if model:
            model.class_counts = counts
        return Conversion(
            model, graph, body["reason"], body["rows_checked"], body["max_difference"], class_counts=counts
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, ModelError) as error:
        logger.warning("cached model is damaged, converting it anew", folder=str(folder), error=str(error))
        return None


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load_graph(folder: Path, body: Mapping[str, Any]) -> OnnxGraph:
    content = (folder / GRAPH_NAME).read_bytes()
    if hashlib.sha256(content).hexdigest() != body["graph"]:
        raise ModelError(f"{GRAPH_NAME} does not match its hash")
    return OnnxGraph(content, GraphSignature.from_json(body["signature"]))


def _build_model(graph: OnnxGraph, body: Mapping[str, Any]) -> OnnxModel:
    features = (
        Feature(
            **{**entry, "kind": Kind(entry["kind"])}
            | {key: tuple(entry[key]) for key in ("categories", "levels")}
        )
        for entry in body["schema"]
    )
    return OnnxModel(
        graph,
        name=body["name"],
        version=body["version"],
        schema=Schema(tuple(features)),
        classes=tuple(body["classes"]),
    )


def _body_hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _library_version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
