"""LightGBM models from text files."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
from driftbell.records import Outputs, Task, Value

END, PARAMETERS, END_OF_PARAMETERS = b"end of trees", b"\nparameters:", b"\nend of parameters"
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
            f"{path} is not a LightGBM model{_seeming(path, content)}: save one with "
            "booster.save_model('model.txt'), or with classifier.booster_.save_model('model.txt')"
        )
    _require_complete(path, content)
    booster = load_with(lambda: lightgbm.Booster(model_str=text), failure=f"cannot load {path}")
    objective = _header(text, "objective").split(" ")[0]
    if objective in UNKNOWN_OBJECTIVES:
        raise ModelError(
            f"{path} was trained with an objective of its own, so it is not known what its scores mean: "
            'serve a function that calls it, with model.path = "module:function"'
        )
    if booster.num_model_per_iteration() > MAX_CLASSES:
        raise ModelError(f"cannot load {path}: it declares {booster.num_model_per_iteration():,} classes")
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


def _seeming(path: Path, content: bytes) -> str:
    advice = content_advice(path, content)
    return f" ({advice})" if advice else ""


def _require_complete(path: Path, content: bytes) -> None:
    """Require that a file has all its trees at the positions that its header declares.

    LightGBM reads beyond the end of a shorter file, which ends the process.

    Raises:
        ModelError: it is cut off or damaged.
    """
    header, _, _ = content.partition(b"\nTree=")
    sizes = re.search(rb"^tree_sizes=([\d ]*)\r?$", header, re.MULTILINE)
    position = len(header) + 1
    is_complete = END in content
    for i, size in enumerate(sizes[1].split() if sizes else ()):
        is_complete = is_complete and content.startswith(b"Tree=%d\n" % i, position)
        position += int(size)
    if sizes and sizes[1].strip():
        is_complete = is_complete and content.startswith(END, position)
    if PARAMETERS in content and END_OF_PARAMETERS not in content:
        is_complete = False
    if not is_complete:
        text = "its line ends were changed to those of Windows" if b"\r\n" in header else DAMAGED
        raise ModelError(f"cannot load {path}: its trees or parameters are not as its header says; {text}")


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
