"""Loading of a model file by its format."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Sequence
from pathlib import Path

from driftbell.errors import ModelError
from driftbell.models.catboost_file import load_catboost
from driftbell.models.class_choice import with_class_names
from driftbell.models.file_content import require_content
from driftbell.models.foreign_code import LOAD_SECONDS, load_with, load_within
from driftbell.models.lightgbm_file import load_lightgbm
from driftbell.models.loaded import VERSION_DIGITS, LoadedModel
from driftbell.models.missing_library import require_pandas
from driftbell.models.mlflow_folder import load_mlflow
from driftbell.models.remote import RemoteOptions, load_remote
from driftbell.models.remote_call import shown
from driftbell.models.sklearn import load_estimator
from driftbell.models.torch_file import EXPORT, load_torch
from driftbell.models.user_code import load_reference
from driftbell.models.xgboost_file import load_xgboost
from driftbell.phrases import printable

SKLEARN_SUFFIXES = (".skops", ".joblib", ".pkl", ".pickle", ".cloudpickle")
BOOSTER_SUFFIXES = {".txt": load_lightgbm, ".json": load_xgboost, ".ubj": load_xgboost, ".cbm": load_catboost}
"""Loader of each suffix of a file without code."""

TORCH_SUFFIX = ".pt2"
WEIGHT_SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
"""Suffixes of files of PyTorch that hold no exported program."""

FORMATS = (
    "a scikit-learn model (.skops, .joblib, .pkl, .cloudpickle), an ONNX graph (.onnx), or a model of "
    "LightGBM (.txt), XGBoost (.json, .ubj) or CatBoost (.cbm), a PyTorch program (.pt2), a model folder of "
    "MLflow, 'package.module:function', or the URL of a server"
)


def load_model(
    source: Path | str,
    sha256: str | None,
    classes: Sequence[str] = (),
    remote: RemoteOptions = RemoteOptions(),
    limit: float = LOAD_SECONDS,
) -> tuple[LoadedModel, str]:
    """Load a model from a file with its own library, from the user's code, or behind a server.

    Args:
        source: a file or folder, the format of which its suffix decides; or a text: the URL of a server, or
            a module and a name in it, such as `churn.model:predict`.
        sha256: the pinned hash of the file; None if it is not pinned.
        classes: the user's class names; none for the model's own.
        remote: how a server is called.
        limit: time in seconds for a file to be loaded, or a module to be imported.

    Returns:
        The model and its version, the first digits of a hash.

    Raises:
        MissingExtraError: the library of the model's format is not installed.
        MissingModuleError: another module that the model needs is not installed.
        ModelError: the model cannot be read or loaded, is not trusted, or does not match its pinned hash.
    """
    if isinstance(source, str):
        if sha256:
            raise ModelError(f"model.path {source} is no file: remove model.sha256")
        if source.startswith(("http://", "https://")):
            loaded, digest = load_remote(source, remote, classes)
        else:
            loaded, digest = load_within(limit, source, lambda: load_reference(source, classes))
        return _checked(loaded, shown(source)), digest[:VERSION_DIGITS]
    load = load_mlflow if is_folder(source) else _load_file
    loaded, digest = load_within(limit, str(source), lambda: load(source, sha256, classes))
    loaded = with_class_names(loaded, classes, str(source))
    return _checked(loaded, str(source)), digest[:VERSION_DIGITS]


def _checked(loaded: LoadedModel, source: str) -> LoadedModel:
    """Return a model, after a check that the library of the table that it takes is installed."""
    if loaded.takes_frame:
        require_pandas(source)
    return loaded


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder.

    Raises:
        ModelError: it cannot be looked at, such as a name that is too long, or in a folder of another user.
    """
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it has a null character"
        raise ModelError(f"cannot read model.path {printable(path, 200)}: {reason}") from error


def _load_file(path: Path, sha256: str | None, classes: Sequence[str]) -> tuple[LoadedModel, str]:
    suffix = path.suffix.lower()
    if suffix in WEIGHT_SUFFIXES:
        raise ModelError(
            f"cannot load {path}: a {suffix} file has weights, a pickled module or TorchScript, which are "
            f"not served; {EXPORT}"
        )
    if suffix not in SKLEARN_SUFFIXES and suffix not in BOOSTER_SUFFIXES and suffix != TORCH_SUFFIX:
        ending = f"'{suffix}'" if suffix else "a name without a suffix"
        raise ModelError(f"cannot load {path}: {ending} is no format of models. Supported: {FORMATS}")
    content, digest = read_model(path, sha256)
    if suffix in BOOSTER_SUFFIXES:
        return load_with(
            lambda: BOOSTER_SUFFIXES[suffix](path, content), failure=f"cannot load {path}"
        ), digest
    if suffix == TORCH_SUFFIX:
        return load_torch(path, content, classes, pinned=sha256 is not None, digest=digest), digest
    return load_estimator(path, content, pinned=sha256 is not None, digest=digest), digest


def read_model(path: Path, sha256: str | None) -> tuple[bytes, str]:
    """Read a model file and its SHA-256, and check the latter against the pinned one, if any.

    Raises:
        ModelError: it cannot be read, cannot be a model, or does not match its pinned hash.
    """
    try:
        if path.exists() and not path.is_file():  # a device or a pipe has no end
            raise ModelError(f"cannot read model.path {path}: it is no regular file; copy the model into one")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read model.path {path}: {error.strerror}") from error
    require_content(path, content)
    digest = hashlib.sha256(content).hexdigest()
    if sha256 and sha256.lower() != digest:
        raise ModelError(f"{path} is not the pinned model: model.sha256 is {sha256}, the file's is {digest}")
    return content, digest
