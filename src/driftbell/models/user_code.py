"""Functions and objects of the user's own modules as models."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from inspect import getsourcefile, isclass
from pathlib import Path
from typing import Any

import numpy as np

from driftbell.config.sources import FILE_VARIABLE
from driftbell.errors import ModelError
from driftbell.models.answers import class_ids, read_answers
from driftbell.models.foreign_code import load_with
from driftbell.models.loaded import LoadedModel
from driftbell.records import Outputs, Task


def find_user_modules(*beside: Path) -> None:
    """Add the folder of the configuration file and the working folder to the module search path.

    Modules in them never hide an installed module of the same name.

    Args:
        *beside: further folders, such as that of the model's file.
    """
    file = os.environ.get(FILE_VARIABLE)
    folders = ([Path(file).absolute().parent] if file else []) + [Path.cwd(), *beside]
    for folder in map(str, folders):
        if folder not in sys.path:
            sys.path.append(folder)


def load_reference(source: str, classes: Sequence[str]) -> tuple[LoadedModel, str]:
    """Load a model of the user's code.

    A function takes a DataFrame and returns a label, a number, or a row of probabilities for each row. An
    object or class has `predict`, and may have `predict_proba` and `classes_`.

    Args:
        source: the module and the name in it, such as `churn.model:predict`.
        classes: the user's class names; without them, those of the object.

    Returns:
        The model and the SHA-256 of its module's source.

    Raises:
        ModelError: there is no such module or attribute, or it is no model.
    """
    module_name, _, attribute = source.partition(":")
    find_user_modules()
    module = _import(module_name, source)
    target = module
    for part in attribute.split("."):
        target = _attribute(target, part, source)
    if isclass(target):
        target = load_with(target, failure=f"model.path {source}: the class cannot be called")
    loaded = load_with(
        lambda: loaded_object(target, source, classes), failure=f"model.path {source} cannot be used"
    )
    return loaded, _module_hash(module, source)


def _attribute(target: Any, name: str, source: str) -> Any:
    module_name, _, attribute = source.partition(":")

    def get() -> Any:
        try:
            return getattr(target, name)
        except AttributeError as error:
            raise ModelError(
                f"model.path {source}: the module '{module_name}' has no '{attribute}'"
            ) from error

    return load_with(get, failure=f"model.path {source} cannot be used")


def _import(name: str, source: str) -> Any:
    try:
        return load_with(
            lambda: import_module(name), failure=f"model.path {source}: the module '{name}' fails"
        )
    except ModelError as failed:
        error = failed.__cause__
        is_own = isinstance(error, ModuleNotFoundError) and (name + ".").startswith(f"{error.name}.")
        if not is_own:
            raise
        raise ModelError(
            f"model.path {source}: there is no module '{name}', neither installed nor beside the "
            f"configuration file nor in {Path.cwd()}"
        ) from error


def loaded_object(target: Any, source: str, classes: Sequence[str]) -> LoadedModel:
    """Return a function, or an object with `predict`, as a model.

    Raises:
        ModelError: it is neither.
    """
    predict = getattr(target, "predict", target)
    if not callable(predict):
        raise ModelError(
            f"model.path {source} is neither a function nor an object with predict: "
            f"it is {type(target).__name__}"
        )
    own = getattr(target, "classes_", None)
    names = tuple(classes) or (() if own is None else tuple(str(c) for c in np.asarray(own).tolist()))
    probabilities = getattr(target, "predict_proba", None) if names else None
    feature_names = tuple(str(n) for n in getattr(target, "feature_names_in_", ()))
    return LoadedModel(
        Task.CLASSIFICATION if names else Task.REGRESSION,
        partial(_predict, predict, probabilities, names),
        names,
        takes_frame=True,
        feature_names=feature_names,
        classes_decide=own is None,
    )


def _predict(predict: Any, predict_proba: Any, names: tuple[str, ...], table: Any) -> Outputs:
    if predict_proba is None:
        return read_answers(predict(table), names)
    outputs = read_answers(predict_proba(table), names)
    return Outputs(class_ids(np.asarray(predict(table)).ravel(), names), outputs.probabilities)


def _module_hash(module: Any, source: str) -> str:
    file = getsourcefile(module) or module.__file__
    content = Path(file).read_bytes() if file else b""
    return hashlib.sha256(source.encode() + b"\n" + content).hexdigest()
