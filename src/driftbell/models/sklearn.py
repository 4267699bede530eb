"""scikit-learn models, loaded from skops files or from pickles with a pinned hash."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from driftbell.errors import ModelError, UntrustedModelError
from driftbell.models.catboost_file import loaded_catboost
from driftbell.models.file_content import damage_advice
from driftbell.models.foreign_code import load_with
from driftbell.models.lightgbm_file import lightgbm_levels
from driftbell.models.load_advice import load_advice, saved_versions
from driftbell.models.loaded import LoadedModel
from driftbell.models.nesting import nesting_depth
from driftbell.models.text_estimator import Predict, predict_texts, takes_texts
from driftbell.models.user_code import find_user_modules
from driftbell.models.xgboost_file import xgboost_levels
from driftbell.phrases import join_names
from driftbell.records import Outputs, Task, Value

MAX_UNPACKED_BYTES = 256 * 1024**2
MAX_UNPACKED_RATIO = 50
"""Limits of a skops file without a pinned hash: one beyond both is refused."""

SCHEMA = "schema.json"
MAX_SCHEMA_BYTES = 64 * 1024**2
"""Limit of the description of the objects in a skops file without a pinned hash, which is read as a whole."""

MAX_DEPTH = 500
"""Levels of lists and objects in the description."""

MAX_TYPES = 20
"""Types that a message lists."""

ARGMAX_CLASSIFIERS = {
    "lightgbm": {"LGBMClassifier"},
    "xgboost": {"XGBClassifier"},
    "sklearn": {
        "AdaBoostClassifier",
        "BaggingClassifier",
        "BernoulliNB",
        "CalibratedClassifierCV",
        "CategoricalNB",
        "ComplementNB",
        "DecisionTreeClassifier",
        "ExtraTreeClassifier",
        "ExtraTreesClassifier",
        "GaussianNB",
        "GradientBoostingClassifier",
        "HistGradientBoostingClassifier",
        "KNeighborsClassifier",
        "LinearDiscriminantAnalysis",
        "LogisticRegression",
        "LogisticRegressionCV",
        "MLPClassifier",
        "MultinomialNB",
        "QuadraticDiscriminantAnalysis",
        "RandomForestClassifier",
        "VotingClassifier",
    },
}
"""Classifiers by library that are known to predict the most probable class.

Others may not: `SGDClassifier` predicts by its scores, and many scores map to the probability 1.
"""


def loaded_estimator(
    estimator: Any, *, source: str = "the file", classes: tuple[str, ...] | None = None
) -> LoadedModel:
    """Return a fitted estimator as a model.

    Args:
        estimator: a fitted classifier or regressor with scikit-learn's interface.
        source: where it is from, for messages.
        classes: labels by class id; None uses the estimator's own.

    Raises:
        ModelError: it is not a fitted classifier or regressor with one output.
    """
    has_classes = hasattr(estimator, "predict") and hasattr(estimator, "classes_")
    if not has_classes and not _is_fitted_regressor(estimator):
        raise ModelError(
            f"{source} holds not a fitted scikit-learn classifier or regressor but {type(estimator).__name__}"
        )
    if has_classes and isinstance(estimator.classes_, list) and any(map(np.ndim, estimator.classes_)):
        raise ModelError(f"the model in {source} has several outputs: only models with one are served")
    no_classes = has_classes and estimator.classes_ is None
    if no_classes or getattr(estimator, "n_features_in_", None) == 0:  # as of CatBoost inside a pipeline
        raise ModelError(f"the model in {source} is not fitted: fit it, and save it again")
    names = tuple(str(n) for n in getattr(estimator, "feature_names_in_", ()))
    estimator = _one_thread(estimator)
    levels = _levels(estimator)
    argmax = has_classes and _predicts_argmax(estimator)
    predict: Predict = (
        partial(_predict_classes, estimator, argmax) if has_classes else partial(_predict_numbers, estimator)
    )
    texts = takes_texts(estimator)
    return LoadedModel(
        Task.CLASSIFICATION if has_classes else Task.REGRESSION,
        partial(predict_texts, predict) if texts else predict,
        (classes or tuple(str(c) for c in estimator.classes_)) if has_classes else (),
        takes_frame=bool(names),
        feature_names=names,
        feature_count=1 if texts else getattr(estimator, "n_features_in_", None),
        dtypes=dict.fromkeys(levels, "category"),
        levels=levels,
        estimator=estimator,
        predicts_argmax=argmax,
    )


def _levels(estimator: Any) -> Mapping[str, tuple[Value, ...]]:
    """Return the categories by feature that an estimator of LightGBM or XGBoost was fitted on."""
    library = type(estimator).__module__.partition(".")[0]
    if library == "lightgbm" and estimator.booster_.pandas_categorical:
        from lightgbm import Booster

        return lightgbm_levels(Booster(model_str=estimator.booster_.model_to_string(num_iteration=1)))
    return xgboost_levels(estimator.get_booster()) if library == "xgboost" else {}


def _predict_classes(estimator: Any, argmax: bool, table: Any) -> Outputs:
    probabilities = None
    if hasattr(estimator, "predict_proba"):
        probabilities = np.asarray(estimator.predict_proba(table), dtype=np.float64)
        if argmax:
            return Outputs(probabilities.argmax(axis=1), probabilities)
    ids = {label: i for i, label in enumerate(np.asarray(estimator.classes_).tolist())}
    labels = np.asarray(estimator.predict(table)).ravel().tolist()
    return Outputs(np.array([ids[label] for label in labels], dtype=np.intp), probabilities)


def _predict_numbers(estimator: Any, table: Any) -> Outputs:
    values = np.asarray(estimator.predict(table), dtype=np.float64)
    return Outputs(values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values)


def _is_fitted_regressor(estimator: Any) -> bool:
    from sklearn.base import is_regressor
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        if not hasattr(estimator, "predict") or not is_regressor(estimator):
            return False
        check_is_fitted(estimator)
    except (NotFittedError, TypeError, AttributeError):
        return False
    return True


def load_estimator(path: Path, content: bytes, *, pinned: bool, digest: str) -> LoadedModel:
    """Load a classifier or regressor from the content of a file.

    A `.skops` file holds no code and is loaded if skops trusts every type in it. Any other file, such as a
    `.joblib` or `.pkl`, can run arbitrary code when it is loaded, so its hash must be pinned.

    Args:
        path: the file.
        content: its bytes.
        pinned: whether the configuration has its hash.
        digest: its SHA-256.

    Raises:
        UntrustedModelError: it can run code, and its hash is not pinned.
        ModelError: the file cannot be loaded, or holds no fitted model.
    """
    suffix = path.suffix.lower()
    if suffix != ".skops" and not pinned:
        raise UntrustedModelError(f"{path} is a pickle, which can run any code when it is loaded", digest)
    find_user_modules(path.absolute().parent)
    with saved_versions() as saved:
        estimator = load_with(
            lambda: (
                _load_skops(path, content, pinned=pinned, digest=digest)
                if suffix == ".skops"
                else _load_pickle(content)
            ),
            failure=f"cannot load {path}",
            advise=lambda error: load_advice(error, content) or damage_advice(path, content, error),
        )
    if type(estimator).__module__.partition(".")[0] == "catboost":
        return loaded_catboost(estimator, source=str(path))
    loaded = loaded_estimator(estimator, source=str(path))
    return replace(loaded, saved_by=saved[0]) if saved else loaded


def _load_pickle(content: bytes) -> Any:
    import joblib  # imports slowly, and a converted model needs none of these libraries

    return joblib.load(io.BytesIO(content))


def _load_skops(path: Path, content: bytes, *, pinned: bool, digest: str) -> Any:
    from skops import io as skops_io

    if not pinned:
        _check_size(path, content, digest)
    _require_schema(path, content)
    unknown = skops_io.get_untrusted_types(data=content)
    if unknown and not pinned:
        raise UntrustedModelError(
            f"{path} has types that skops does not trust ({join_names(unknown, max_names=MAX_TYPES)})", digest
        )
    return skops_io.loads(content, trusted=unknown)


def _check_size(path: Path, content: bytes, digest: str) -> None:
    """Check that a skops file is no decompression bomb; zipfile reads no more than the size it declares.

    Raises:
        UntrustedModelError: it unpacks to far more than its own size.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        size = sum(entry.file_size for entry in entries)
        schema = sum(entry.file_size for entry in entries if entry.filename == SCHEMA)
    if schema > MAX_SCHEMA_BYTES:
        raise UntrustedModelError(
            f"{path} has a {SCHEMA} of {schema / 2**20:,.0f} MiB, far more than models need", digest
        )
    if size > MAX_UNPACKED_BYTES and size > MAX_UNPACKED_RATIO * len(content):
        raise UntrustedModelError(
            f"{path} unpacks to {size / 2**20:,.0f} MiB, {size / len(content):,.0f} times its size", digest
        )


def _require_schema(path: Path, content: bytes) -> None:
    """Require that a file is a zip archive with the schema of skops.

    Raises:
        ModelError: it is not.
    """
    advice = 'save the model with skops.io.dump(model, "model.skops")'
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            schema = archive.read(SCHEMA)
        is_schema = nesting_depth(schema) <= MAX_DEPTH and isinstance(json.loads(schema), dict)
    except zipfile.BadZipFile:
        raise
    except (KeyError, ValueError, RecursionError, NotImplementedError, RuntimeError):
        is_schema = False
    if not is_schema:
        raise ModelError(f"cannot load {path}: it has no valid {SCHEMA}, so it is no file of skops: {advice}")


def _predicts_argmax(estimator: Any) -> bool:
    """Return whether `predict` is known to return the most probable class, so that it need not be called."""
    last = getattr(estimator, "best_estimator_", estimator)  # a grid search predicts as its best estimator
    last = last.steps[-1][1] if hasattr(last, "steps") else last
    library = type(last).__module__.partition(".")[0]
    return type(last).__name__ in ARGMAX_CLASSIFIERS.get(library, ())


def _one_thread(estimator: Any) -> Any:
    """Set `n_jobs` to 1: threads slow single rows down; a forest with n_jobs=-1 is six times slower."""
    parameters = estimator.get_params() if hasattr(estimator, "get_params") else {}
    jobs = {k: 1 for k, v in parameters.items() if k.rpartition("__")[2] == "n_jobs" and v not in (None, 1)}
    return estimator.set_params(**jobs) if jobs else estimator
