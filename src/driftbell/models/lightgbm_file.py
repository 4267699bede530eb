"""LightGBM models from text files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from driftbell.errors import ModelError
from driftbell.models.class_choice import number_names, two_classes
from driftbell.models.foreign_code import load_with
from driftbell.models.loaded import LoadedModel
from driftbell.models.missing_library import import_library
from driftbell.records import Outputs, Task, Value

UNNAMED = re.compile(r"Column_\d+")
MAX_CHOICES = ("multiclass", "multiclassova")
"""Objectives that predict a probability for each class."""

UNKNOWN_OBJECTIVES = ("", "custom", "none")


def load_lightgbm(path: Path, content: bytes) -> LoadedModel:
    """Load a model from the content of a text file of LightGBM.

    Raises:
        ModelError: LightGBM is not installed, or the file is not a model with a known objective.
    """
    lightgbm = import_library("lightgbm", needed_by=path)
    text = content.decode("utf-8", "replace")
    if not text.startswith("tree"):
        raise ModelError(
            f"{path} is not a LightGBM model: save one with booster.save_model('model.txt'), or with "
            "classifier.booster_.save_model('model.txt')"
        )
    booster = load_with(lambda: lightgbm.Booster(model_str=text), failure=f"cannot load {path}")
    objective = _header(text, "objective").split(" ")[0]
    if objective in UNKNOWN_OBJECTIVES:
        raise ModelError(
            f"{path} was trained with an objective of its own, so it is not known what its scores mean: "
            'serve a function that calls it, with model.path = "module:function"'
        )
    if objective != "binary" and objective not in MAX_CHOICES:
        task, classes = Task.REGRESSION, 0
    else:
        task, classes = Task.CLASSIFICATION, max(booster.num_model_per_iteration(), 2)
    names = tuple(booster.feature_name())
    unnamed = all(UNNAMED.fullmatch(name) for name in names)
    levels = lightgbm_levels(booster)
    return LoadedModel(
        task,
        partial(_predict, booster, objective),
        number_names(classes),
        takes_frame=not unnamed,
        feature_names=() if unnamed else names,
        feature_count=booster.num_feature(),
        dtypes=dict.fromkeys(levels, "category"),
        levels=levels,
        predicts_argmax=True,
    )


def lightgbm_levels(booster: Any) -> Mapping[str, tuple[Value, ...]]:
    """Return the categories by feature of a booster; none if the file does not tell which columns have them.

    A file holds one list of categories for each column of the type `category`, without its name. Such a
    column is a categorical feature, unless its categories are ordered.
    """
    lists = booster.pandas_categorical or []
    indices = booster.params.get("categorical_feature", booster.params.get("categorical_column", []))
    indices = indices if isinstance(indices, list) else _indices(str(indices))
    if not lists or len(lists) != len(indices):
        return {}
    names = booster.feature_name()
    return {names[i]: tuple(values) for i, values in zip(sorted(indices), lists, strict=True)}


def _indices(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part.strip().isdigit()]


def _header(text: str, key: str) -> str:
    """Return a value of the part of the file before its trees; "" if it has none."""
    match = re.search(rf"^{key}=(.*)$", text.partition("\nTree=")[0], re.MULTILINE)
    return match[1].strip() if match else ""


def _predict(booster: Any, objective: str, table: Any) -> Outputs:
    answers = np.asarray(booster.predict(table, num_threads=1), dtype=np.float64)
    if objective == "binary":
        return two_classes(answers)
    if objective in MAX_CHOICES:
        return Outputs(answers.argmax(axis=1), answers)
    return Outputs(answers)
