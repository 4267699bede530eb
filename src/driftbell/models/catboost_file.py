"""CatBoost models, from their own files or from pickles."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from driftbell.errors import ModelError
from driftbell.models.file_content import content_advice
from driftbell.models.foreign_code import load_with
from driftbell.models.loaded import LoadedModel
from driftbell.models.missing_library import import_library
from driftbell.records import Outputs, Task


def load_catboost(path: Path, content: bytes) -> LoadedModel:
    """Load a model from the content of a `.cbm` file.

    Raises:
        MissingExtraError: CatBoost is not installed.
        ModelError: the file is not a model of one known output.
    """
    catboost = import_library("catboost", needed_by=path)
    model = catboost.CatBoost()
    failure = f"{path} is not a CatBoost model (save one with model.save_model('model.cbm'))"
    load_with(
        lambda: model.load_model(blob=content),
        failure=failure,
        advise=lambda _: content_advice(path, content),
    )
    return loaded_catboost(model, source=str(path))


def loaded_catboost(model: Any, *, source: str) -> LoadedModel:
    """Return a fitted model of CatBoost as a model.

    Raises:
        ModelError: it is not fitted, or was trained with an objective of the user's own.
    """
    if not model.is_fitted():
        raise ModelError(f"{source} holds a CatBoost model that is not fitted: fit and save it again")
    objective = str(model.get_all_params().get("loss_function", ""))
    if objective.startswith("PythonUserDefined"):
        raise ModelError(
            f"{source} was trained with an objective of its own, so it is not known what its scores mean: "
            'serve a function that calls it, with model.path = "module:function"'
        )
    names = tuple(map(str, model.feature_names_))
    unnamed = names == tuple(map(str, range(len(names))))
    classes = tuple(str(c) for c in np.asarray(model.classes_).tolist())
    return LoadedModel(
        Task.CLASSIFICATION if classes else Task.REGRESSION,
        partial(_predict_classes if classes else _predict_numbers, model),
        classes,
        takes_frame=not unnamed,
        feature_names=() if unnamed else names,
        feature_count=len(names),
        predicts_argmax=True,
    )


def _predict_classes(model: Any, table: Any) -> Outputs:
    answers = model.predict(table, prediction_type="Probability", thread_count=1)
    probabilities = np.asarray(answers, dtype=np.float64)
    return Outputs(probabilities.argmax(axis=1), probabilities)


def _predict_numbers(model: Any, table: Any) -> Outputs:
    from catboost import CatBoost

    if type(model) is CatBoost:  # from a file: objectives with a logarithm are reverted, as by the regressor
        exponent = str(model.get_all_params().get("loss_function", "")).startswith(("Poisson", "Tweedie"))
        kind = "Exponent" if exponent else "RawFormulaVal"
        return Outputs(np.asarray(model.predict(table, prediction_type=kind, thread_count=1), np.float64))
    return Outputs(np.asarray(model.predict(table, thread_count=1), dtype=np.float64))
