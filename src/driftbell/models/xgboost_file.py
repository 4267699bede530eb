"""XGBoost models from JSON and UBJSON files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from driftbell.errors import ModelError
from driftbell.models.class_choice import MAX_CLASSES, number_names, two_classes
from driftbell.models.file_content import DAMAGED, content_advice
from driftbell.models.foreign_code import load_with
from driftbell.models.loaded import LoadedModel
from driftbell.models.missing_library import import_library
from driftbell.models.nesting import nesting_depth
from driftbell.records import Outputs, Task, Value

MAX_DEPTH = 100
"""Levels of lists and objects in a file; a model has fewer than ten."""

CLASS_COUNT = re.compile(rb'num_class(?:"\s*:\s*"|S[iU].|SL.{8})(\d{1,18})', re.DOTALL)
"""Number of classes in JSON or UBJSON."""

CATEGORY = "c"
"""Type of a categorical feature in a file."""

SCIKIT_LEARN = "scikit_learn"
"""Attribute of a file that `XGBClassifier` and the like wrote."""


@dataclass(frozen=True, slots=True)
class Booster:
    """A booster and how it is called.

    Attributes:
        xgboost: the library.
        booster: the booster.
        objective: its objective, such as `binary:logistic`.
        iterations: first and last iteration that predict; (0, 0) for all.
    """

    xgboost: Any
    booster: Any
    objective: str
    iterations: tuple[int, int] = (0, 0)


def load_xgboost(path: Path, content: bytes) -> LoadedModel:
    """Load a model from the content of a file of XGBoost.

    Raises:
        ModelError: XGBoost is not installed, or the file is not a model with one known output.
    """
    xgboost = import_library("xgboost", needed_by=path)
    if not content.startswith(b"{"):  # XGBoost ends the process for an empty file
        raise ModelError(_failure(path, content))
    if _is_too_deep(content):  # XGBoost would crash
        raise ModelError(_failure(path, content))
    declared = CLASS_COUNT.search(content)
    if declared and int(declared[1]) > MAX_CLASSES:  # XGBoost would allocate memory for each
        raise ModelError(f"cannot load {path}: it declares {int(declared[1]):,} classes")
    booster = xgboost.Booster({"nthread": 1})
    load_with(lambda: booster.load_model(bytearray(content)), failure=_failure(path, content))
    config = json.loads(booster.save_config())["learner"]
    objective = config["objective"]["name"]
    parameters = config["learner_model_param"]
    if int(parameters.get("num_target", 1)) > 1:
        raise ModelError(f"{path} predicts several outputs: only models with one are served")
    task, classes = _task(objective, int(parameters["num_class"]))
    names = tuple(booster.feature_names or ())
    levels = xgboost_levels(booster)
    types = dict(zip(names, booster.feature_types or (), strict=False))
    iterations = _iterations(booster, config)
    return LoadedModel(
        task,
        partial(_predict, Booster(xgboost, booster, objective, iterations)),
        number_names(classes),
        takes_frame=bool(names),
        feature_names=names,
        feature_count=booster.num_features(),
        dtypes={name: "category" for name, kind in types.items() if kind == CATEGORY},
        levels=levels,
        predicts_argmax=True,
    )


def _is_too_deep(content: bytes) -> bool:
    """Return whether JSON is nested deeper than any model of XGBoost."""
    is_json = content[1:].lstrip()[:1] in (b'"', b"}")  # else UBJSON, with any byte in it
    if not is_json or nesting_depth(content) <= MAX_DEPTH:
        return False
    try:
        json.loads(content)  # some brackets may be in strings
    except (RecursionError, ValueError):
        return True
    return False


def xgboost_levels(booster: Any) -> Mapping[str, tuple[Value, ...]]:
    """Return the categories by feature of a booster, as far as it holds them.

    It holds none if it was written by a version before 3.1, and newer ones cut texts that are not ASCII.
    The categories of such a feature, in the order of the training, are those of a typed reference.
    """
    if not booster.feature_names or CATEGORY not in (booster.feature_types or ()):
        return {}
    if not hasattr(booster, "get_categories"):
        return {}
    categories = booster.get_categories(export_to_arrow=True).to_arrow()
    levels = {name: _readable(values) for name, values in categories if values is not None}
    return {name: values for name, values in levels.items() if values}


def _readable(values: Any) -> tuple[Value, ...]:
    """Return categories from Arrow; none if one is not ASCII."""
    try:
        levels = tuple(values.to_pylist())
    except UnicodeDecodeError:
        return ()
    return levels if all(not isinstance(v, str) or v.isascii() for v in levels) else ()


def _failure(path: Path, content: bytes) -> str:
    advice = content_advice(path, content)
    if advice and advice != DAMAGED:
        return f"{path} is not an XGBoost model: {advice}"
    return (
        f"{path} is not an XGBoost model (save one with classifier.save_model('model.json')), is cut off or "
        "damaged, or needs a newer XGBoost"
    )


def _task(objective: str, classes: int) -> tuple[Task, int]:
    if objective.startswith("binary:"):
        return Task.CLASSIFICATION, 2
    if objective.startswith("multi:"):
        return Task.CLASSIFICATION, classes
    return Task.REGRESSION, 0


def _iterations(booster: Any, config: Mapping[str, Any]) -> tuple[int, int]:
    """Return the iterations that the library's own wrapper predicts with, after an early stop the best."""
    attributes = booster.attributes()
    is_linear = config["gradient_booster"]["name"] == "gblinear"
    if is_linear or SCIKIT_LEARN not in attributes or "best_iteration" not in attributes:
        return 0, 0
    return 0, int(attributes["best_iteration"]) + 1


def _predict(model: Booster, table: Any) -> Outputs:
    booster, objective = model.booster, model.objective
    matrix = model.xgboost.DMatrix(
        table,
        enable_categorical=True,
        nthread=1,
        feature_names=None if hasattr(table, "columns") else booster.feature_names,
        feature_types=None if hasattr(table, "columns") else booster.feature_types,
    )
    margin = objective == "multi:softmax"
    answers = booster.predict(matrix, output_margin=margin, iteration_range=model.iterations)
    answers = np.asarray(answers, dtype=np.float64)
    if objective == "binary:logitraw":
        return two_classes(1 / (1 + np.exp(-answers)))
    if objective == "binary:hinge":
        return Outputs((answers > 0).astype(np.intp))
    if objective.startswith("binary:"):
        return two_classes(answers)
    if margin:
        shares = np.exp(answers - answers.max(axis=1, keepdims=True))
        answers = shares / shares.sum(axis=1, keepdims=True)
    if objective.startswith("multi:"):
        return Outputs(answers.argmax(axis=1), answers)
    return Outputs(answers)
