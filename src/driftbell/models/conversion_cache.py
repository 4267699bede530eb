"""What is served, kept from start to start: a checked graph, or why there is none."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from driftbell.errors import ModelError
from driftbell.models.onnx_model import OnnxModel, Recipe
from driftbell.records import Feature, Kind
from driftbell.tabular.schema import Schema

if TYPE_CHECKING:
    from driftbell.models.convert import Conversion

FORMAT = 2
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
)
"""What a conversion depends on; another version of one has it made and checked again."""

MANIFEST, GRAPH = "manifest.json", "model.onnx"

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Kept:
    """What an earlier start has found out.

    Attributes:
        model: what is to be served; None where it is the native model.
        reason: why it is the native one.
        rows: how many rows were compared.
        largest: the largest difference of two probabilities.
    """

    model: OnnxModel | None
    reason: str
    rows: int
    largest: float


def key_of(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Make what a kept graph belongs to: the model, its reference, the libraries, the machine's kind.

    Args:
        parts: hashes and settings, JSON.
    """
    return {
        **parts,
        "format": FORMAT,
        "machine": platform.machine(),
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def keep(folder: Path, key: Mapping[str, Any], found: Conversion) -> None:
    """Write what a conversion came to, for the next start.

    Raises:
        ModelError: the folder cannot be written.
    """
    body: dict[str, Any] = {
        "key": key,
        "reason": found.reason,
        "rows": found.rows,
        "largest": found.largest,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if found.graph and found.model:
            (folder / GRAPH).write_bytes(found.graph.content)
            body |= {
                "graph": hashlib.sha256(found.graph.content).hexdigest(),
                "recipe": found.graph.recipe.to_json(),
                "name": found.model.name,
                "version": found.model.version,
                "classes": found.model.classes,
                "schema": [asdict(feature) for feature in found.model.schema.features],
            }
        else:
            (folder / GRAPH).unlink(missing_ok=True)
        written = folder / f"{MANIFEST}.new"
        written.write_text(json.dumps({"hash": _hash(body), "body": body}, indent=1), "utf-8")
        os.replace(written, folder / MANIFEST)
    except OSError as error:
        raise ModelError(f"cannot write the model to {folder}: {error.strerror}") from error


def kept(folder: Path, key: Mapping[str, Any]) -> Kept | None:
    """Read what an earlier start has found out; None where it is damaged, or about another model."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        body = manifest["body"]
        if manifest["hash"] != _hash(body):
            raise ModelError(f"{MANIFEST} is not the one that was written")
        if body["key"] != json.loads(json.dumps(key)):
            return None
        model = _model(folder, body) if "graph" in body else None
        return Kept(model, body["reason"], body["rows"], body["largest"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, ModelError) as error:
        logger.warning("cached model is damaged, converting it anew", folder=str(folder), error=str(error))
        return None


def _model(folder: Path, body: Mapping[str, Any]) -> OnnxModel:
    content = (folder / GRAPH).read_bytes()
    if hashlib.sha256(content).hexdigest() != body["graph"]:
        raise ModelError(f"{GRAPH} is not the one that was written")
    features = (
        Feature(**{**one, "kind": Kind(one["kind"]), "categories": tuple(one["categories"])})
        for one in body["schema"]
    )
    return OnnxModel(
        content,
        Recipe.from_json(body["recipe"]),
        name=body["name"],
        version=body["version"],
        schema=Schema(tuple(features)),
        classes=tuple(body["classes"]),
    )


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def hash_of(path: Path) -> str:
    """Give a file's SHA-256 in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
