"""Loading of a model file by its format."""

from __future__ import annotations

import hashlib
from pathlib import Path

from driftbell.errors import ModelError
from driftbell.models.loaded import LoadedModel
from driftbell.models.sklearn import load_estimator

VERSION_DIGITS = 12
SKLEARN_SUFFIXES = (".skops", ".joblib", ".pkl", ".pickle")


def load_model(path: Path, sha256: str | None) -> tuple[LoadedModel, str]:
    """Load a model from a file with its own library.

    Args:
        path: the file; its suffix decides the format.
        sha256: the pinned hash of the file; None if it is not pinned.

    Returns:
        The model and its version, the first digits of the file's hash.

    Raises:
        ModelError: the file cannot be read or loaded, is not trusted, or does not match its pinned hash.
    """
    content, digest = read_model(path, sha256)
    if path.suffix.lower() not in SKLEARN_SUFFIXES:
        raise ModelError(f"cannot load {path}: the name must end in .skops, .joblib, .pkl or .onnx")
    loaded = load_estimator(path, content, pinned=sha256 is not None, digest=digest)
    return loaded, digest[:VERSION_DIGITS]


def read_model(path: Path, sha256: str | None) -> tuple[bytes, str]:
    """Read a model file and its SHA-256, and check the latter against the pinned one, if any.

    Raises:
        ModelError: it cannot be read, or does not match its pinned hash.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read model.path {path}: {error.strerror}") from error
    digest = hashlib.sha256(content).hexdigest()
    if sha256 and sha256.lower() != digest:
        raise ModelError(f"{path} is not the pinned model: model.sha256 is {sha256}, the file's is {digest}")
    return content, digest
