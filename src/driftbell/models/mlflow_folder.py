"""Model folders of MLflow."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from driftbell.errors import ModelError, UntrustedModelError
from driftbell.models.answers import read_answers
from driftbell.models.catboost_file import load_catboost
from driftbell.models.file_content import DAMAGE_ERRORS, DAMAGED, require_content
from driftbell.models.foreign_code import load_with
from driftbell.models.lightgbm_file import load_lightgbm
from driftbell.models.loaded import LoadedModel
from driftbell.models.missing_library import import_library
from driftbell.models.nesting import nesting_depth
from driftbell.models.sklearn import load_estimator
from driftbell.models.xgboost_file import load_xgboost
from driftbell.phrases import join_names, printable
from driftbell.records import Outputs, Task

MANIFEST = "MLmodel"
MAX_MANIFEST_BYTES = 1024**2
MAX_DEPTH = 100
PATH_KEYS = ("data", "code", "python_model", "pickled_model", "model_path", "model_code_path", "path")
"""Keys of an `MLmodel` file that name a file or folder in the model's folder."""

OWN_FLAVORS = ("sklearn", "lightgbm", "xgboost", "catboost")
"""Flavors that driftbell loads without MLflow, as their libraries do."""

TYPES = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "object",
    "datetime": "datetime64[ns]",
}
"""Type of pandas by type of a signature."""


def load_mlflow(folder: Path, sha256: str | None, classes: Sequence[str]) -> tuple[LoadedModel, str]:
    """Load a model from a folder of MLflow.

    The file of a model of scikit-learn, LightGBM, XGBoost or CatBoost is loaded without MLflow; any other
    flavor by MLflow as a `python_function`, which takes a DataFrame.

    Args:
        folder: the folder with the file `MLmodel`.
        sha256: the pinned hash of the folder; None if it is not pinned.
        classes: the user's class names, for a `python_function`.

    Returns:
        The model and the hash of the folder.

    Raises:
        ModelError: it is no such folder, names a path outside it, may run code and is not pinned, or cannot
            be loaded.
    """
    if not (folder / MANIFEST).is_file():
        raise ModelError(
            f"model.path {folder} is a folder without the file {MANIFEST}, so it is no MLflow model"
        )
    manifest = _read_manifest(folder / MANIFEST)
    flavors = manifest["flavors"]
    for value in _paths(flavors):
        inside(folder, value)
    digest = folder_sha256(folder)
    if sha256 and sha256.lower() != digest:
        raise ModelError(
            f"{folder} is not the pinned model: model.sha256 is {sha256}, the folder's is {digest}"
        )
    own = next((name for name in OWN_FLAVORS if name in flavors), None)
    if own:
        loaded = _load_flavor(folder, own, flavors[own], pinned=sha256 is not None, digest=digest)
    elif "python_function" in flavors:
        loaded = _load_function(folder, classes, pinned=sha256 is not None, digest=digest)
    else:
        raise ModelError(f"{folder} has no flavor that can be served: {join_names(flavors)}")
    enforced = own is None and not manifest.get("is_signature_from_type_hint")
    return _with_signature(loaded, manifest.get("signature"), prescribes=enforced), digest


def inside(folder: Path, name: str) -> Path:
    """Return a path in a folder.

    Raises:
        ModelError: it lies outside.
    """
    try:
        path = (folder / name).resolve()
        path.exists()
    except RuntimeError as error:
        raise ModelError(f"{folder / name} is a loop of links: remove it") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / MANIFEST} names '{printable(name)}', which is no valid path") from error
    if not path.is_relative_to(folder.resolve()):
        raise ModelError(
            f"{folder / MANIFEST} names '{printable(name)}', which lies outside the model's folder"
        )
    return path


def folder_sha256(folder: Path) -> str:
    """Return the hash of all files of a folder and their names.

    Raises:
        ModelError: a file cannot be read, or lies outside the folder.
    """
    digest = hashlib.sha256()
    try:
        for path in sorted(p for p in folder.rglob("*") if not p.is_dir() and "__pycache__" not in p.parts):
            name = path.relative_to(folder).as_posix()
            if inside(folder, name).exists() and not path.is_file():  # a device or a pipe has no end
                raise ModelError(f"cannot read {path}: it is no regular file; remove it from the folder")
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{content} {name}\n".encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise ModelError(f"cannot read model.path {folder}: {error.strerror}") from error
    return digest.hexdigest()


def _read_manifest(path: Path) -> Mapping[str, Any]:
    yaml = import_library("yaml", needed_by=path, extra="mlflow")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    if nesting_depth(content) > MAX_DEPTH:  # the parser takes quadratic time
        raise ModelError(f"{path} is not as MLflow writes it: nested more than {MAX_DEPTH} levels deep")
    try:
        # a few aliases of aliases fill the memory
        if len(content) > MAX_MANIFEST_BYTES or any(
            isinstance(e, yaml.AliasEvent) for e in yaml.parse(content)
        ):
            raise ModelError(f"{path} is not as MLflow writes it: larger than 1 MiB, or with aliases")
        manifest = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not valid YAML") from error
    flavors = manifest.get("flavors") if isinstance(manifest, dict) else None
    if not isinstance(flavors, dict) or not all(isinstance(v, dict) for v in flavors.values()):
        raise ModelError(f"{path} is not as MLflow writes it: it has no flavors")
    return dict(manifest)


def _paths(value: Any) -> Iterator[str]:
    """Yield the paths that flavors name."""
    if isinstance(value, dict):
        for key, entry in value.items():
            if key in PATH_KEYS:
                yield from (e for e in (entry if isinstance(entry, list) else [entry]) if isinstance(e, str))
            if not isinstance(entry, str):
                yield from _paths(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _paths(entry)


def _load_flavor(
    folder: Path, flavor: str, options: Mapping[str, Any], *, pinned: bool, digest: str
) -> LoadedModel:
    name = options.get("pickled_model") or options.get("data") or ""
    if not isinstance(name, str) or not name or not inside(folder, name).is_file():
        raise ModelError(
            f"{folder / MANIFEST} names no file of its flavor '{flavor}': '{printable(name)}' is no file in "
            "the folder; copy the folder, or save the model, again"
        )
    path = inside(folder, name)
    content = path.read_bytes()
    require_content(path, content)
    if flavor == "sklearn" or path.suffix in (".pkl", ".skops"):
        code = options.get("code")
        if pinned and isinstance(code, str) and code:
            sys.path.append(str(inside(folder, code)))
        return load_estimator(path, content, pinned=pinned, digest=digest)
    loaders = {"lightgbm": load_lightgbm, "xgboost": load_xgboost, "catboost": load_catboost}
    return load_with(lambda: loaders[flavor](path, content), failure=f"cannot load {path}")


def _load_function(folder: Path, classes: Sequence[str], *, pinned: bool, digest: str) -> LoadedModel:
    if not pinned:
        raise UntrustedModelError(f"{folder} is a python_function of MLflow, which can run any code", digest)
    pyfunc = import_library("mlflow.pyfunc", needed_by=folder, extra="mlflow")
    model = load_with(
        lambda: pyfunc.load_model(str(folder)),
        failure=f"cannot load {folder}",
        advise=lambda error: DAMAGED if isinstance(error, DAMAGE_ERRORS) else "",
    )
    return LoadedModel(
        Task.CLASSIFICATION if classes else Task.REGRESSION,
        partial(_predict, model, tuple(classes)),
        tuple(classes),
        takes_frame=True,
        classes_decide=True,
    )


def _predict(model: Any, classes: tuple[str, ...], table: Any) -> Outputs:
    return read_answers(model.predict(table), classes)


def _with_signature(loaded: LoadedModel, signature: Any, *, prescribes: bool) -> LoadedModel:
    """Return a model with the features of its signature, if it does not know them itself.

    MLflow gives a model as many columns as the signature has: of more, the first ones.

    Raises:
        ModelError: the signature is not as MLflow writes it.
    """
    inputs = signature.get("inputs") if isinstance(signature, dict) else None
    if not isinstance(inputs, str):
        return loaded
    try:
        entries = json.loads(inputs)
        columns = [e for e in entries if e.get("type") != "tensor"]
        names = tuple(str(e["name"]) for e in columns if "name" in e)
        types = {str(e["name"]): TYPES[e["type"]] for e in entries if "name" in e and e["type"] in TYPES}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError("the signature of the MLflow model is not as MLflow writes it") from error
    if len(names) != len(entries):  # of tensors, or of columns without names
        is_unnamed = prescribes and not names and len(columns) == len(entries)
        return replace(loaded, feature_count=len(entries)) if is_unnamed else loaded
    return replace(
        loaded,
        feature_names=loaded.feature_names or names,
        dtypes=types if prescribes and not loaded.dtypes else loaded.dtypes,
    )
