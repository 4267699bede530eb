"""scikit-learn classifiers: loaded from skops files, or from pickles whose hash is pinned."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from driftbell.columns import as_column, is_null
from driftbell.errors import ModelError, PredictError
from driftbell.ports import Model, Reference
from driftbell.records import PREDICTION_COLUMN, Column, Columns, Kind, Outputs, Value, probability_column
from driftbell.schema import Schema

VERSION_DIGITS = 12
MOST_PROBABLE = {
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
"""Whose `predict` gives the most probable class, by library.

Others may not: `SGDClassifier` goes by its scores, many of which have the probability 1.
"""

BY_HEART = 0.995
"""A model that is right as often on its reference has probably been fitted on it."""


class SklearnModel:
    """See `driftbell.ports.Model`.

    Args:
        estimator: a fitted classifier.
        name: what people call it.
        version: content hash.
        schema: its features, in the order it was fitted with.
        classes: labels by class id; None takes the estimator's own.

    Attributes:
        engine_reason: why it runs natively, to be set by who knows.
        most_probable: whether `predict` is known to give the most probable class.

    Raises:
        ModelError: it is no fitted classifier, or was fitted with other features than the schema's.
    """

    engine = "native"
    engine_reason = ""
    inline = False

    def __init__(
        self,
        estimator: Any,
        *,
        name: str,
        version: str,
        schema: Schema,
        classes: tuple[str, ...] | None = None,
    ) -> None:
        if not hasattr(estimator, "predict") or not hasattr(estimator, "classes_"):
            raise ModelError(
                f"model '{name}' is no fitted scikit-learn classifier but {type(estimator).__name__}"
            )
        if isinstance(estimator.classes_, list):
            raise ModelError(f"model '{name}' has several outputs: only classifiers with one are served")
        self.name = name
        self.version = version
        self.classes = classes or tuple(str(c) for c in estimator.classes_)
        self.estimator = _one_thread(estimator)
        self._class_ids = {label: i for i, label in enumerate(np.asarray(estimator.classes_).tolist())}
        self.most_probable = _answers_the_most_probable(estimator)
        self._order = [str(n) for n in getattr(estimator, "feature_names_in_", ())]
        if self._order and set(self._order) != set(schema.names):
            missing = sorted(set(self._order) - set(schema.names))
            extra = sorted(set(schema.names) - set(self._order))
            words = [f"missing {missing}"] if missing else []
            if extra:
                advice = "if one is the label, name it in model.target; '' is an index that pandas wrote"
                words.append(f"not known to the model {extra} ({advice})")
            found = ", ".join(words)
            raise ModelError(f"the reference of model '{name}' does not have the model's features: {found}")
        expected = getattr(estimator, "n_features_in_", len(schema.features))
        if expected != len(schema.features):
            raise ModelError(
                f"model '{name}' takes {expected} features, its reference has {len(schema.features)} "
                "(if one of them is the label, name it in model.target)"
            )
        self.schema = (
            Schema(tuple(sorted(schema.features, key=lambda f: self._order.index(f.name))))
            if self._order
            else schema
        )

    def predict(self, columns: Columns) -> Outputs:
        """Answer a table with the class that the estimator's own `predict` gives."""
        try:
            table = self._table(columns)
            probabilities = None
            if hasattr(self.estimator, "predict_proba"):
                probabilities = np.asarray(self.estimator.predict_proba(table), dtype=np.float64)
                if self.most_probable:
                    return Outputs(probabilities.argmax(axis=1), probabilities)
            labels = self.estimator.predict(table).tolist()
            return Outputs(
                np.array([self._class_ids[label] for label in labels], dtype=np.intp), probabilities
            )
        except Exception as error:  # a user's model may raise anything
            raise PredictError(f"model '{self.name}' failed with {type(error).__name__}") from error

    def answer(self, rows: Sequence[Sequence[Value]]) -> tuple[list[int], list[list[float]] | None]:
        """Answer validated rows; see `driftbell.ports.Model`."""
        outputs = self.predict(self.schema.columns(rows))
        probabilities = outputs.probabilities
        return outputs.class_ids.tolist(), None if probabilities is None else probabilities.tolist()

    @property
    def by_name(self) -> bool:
        """Whether it was fitted on columns with names."""
        return bool(self._order)

    def _table(self, columns: Columns) -> Any:
        if self._order:  # fitted on a DataFrame: it wants one again
            import pandas as pd

            kinds = {f.name: f.kind for f in self.schema.features}
            return pd.DataFrame({name: _frame_column(columns[name], kinds[name]) for name in self._order})
        if all(f.kind is Kind.NUMERIC for f in self.schema.features):
            return np.column_stack([columns[name] for name in self.schema.names])
        return np.array([columns[name] for name in self.schema.names], dtype=object).T


def load_model(path: Path, *, name: str, schema: Schema, sha256: str | None) -> SklearnModel:
    """Load a classifier from a file.

    A `.skops` file holds no code and is loaded when skops vouches for every type in it. Any other file,
    a `.joblib`, `.pkl` or `.pickle` above all, can do harm when it is loaded, so its hash must be pinned.

    Args:
        path: the file.
        name: what people call the model.
        schema: its features.
        sha256: the file's pinned hash.

    Raises:
        ModelError: the file cannot be read or loaded, may not be loaded, or is not what was pinned.
    """
    content, digest = read_model(path, sha256)
    estimator = _load(path, content, pinned=sha256 is not None, digest=digest)
    return SklearnModel(estimator, name=name, version=digest[:VERSION_DIGITS], schema=schema)


def read_model(path: Path, sha256: str | None) -> tuple[bytes, str]:
    """Read a model's file and its hash, which must be the pinned one where one is pinned.

    Raises:
        ModelError: it cannot be read, or is not what was pinned.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read model.path {path}: {error.strerror}") from error
    digest = hashlib.sha256(content).hexdigest()
    if sha256 and sha256.lower() != digest:
        raise ModelError(f"{path} is not the pinned model: model.sha256 is {sha256}, the file's is {digest}")
    return content, digest


def try_model(model: Model) -> None:
    """Have a model answer its own example row, so that one that cannot is told at the start.

    Raises:
        ModelError: it failed, with its own words: no request is involved yet.
    """
    try:
        model.predict(model.schema.columns([model.schema.validate(model.schema.example)]))
    except PredictError as error:
        cause = error.__cause__
        raise ModelError(
            f"model '{model.name}' cannot answer a row like its reference's first: "
            f"{type(cause).__name__}: {cause}"
        ) from error


def labels_of(column: Column, classes: tuple[str, ...]) -> Column:
    """Read labels as a model's classes; a file may have `1.0` or `True` where the class is `1` or `true`.

    Args:
        column: the labels as they were read, n rows.
        classes: what the model answers.

    Returns:
        Texts, with None for null.

    Raises:
        ModelError: no label is one of the classes.

    >>> labels_of(np.array([1.0, 0.0, np.nan]), ("0", "1")).tolist()
    ['1', '0', None]
    """

    def text(value: Any) -> str:
        ways = [str(value), str(value).lower()]
        if isinstance(value, float) and value.is_integer():
            ways.append(str(int(value)))
        return next((way for way in ways if way in classes), ways[0])

    labels = as_column([None if is_null(v) else text(v) for v in column.tolist()], Kind.CATEGORICAL)
    if not set(labels.tolist()) & set(classes):
        found = sorted({v for v in labels.tolist() if v is not None})[:5]
        raise ModelError(
            f"no label of the reference is a class of the model: {found} against {list(classes)}"
        )
    return labels


def reference_of(
    model: Model, features: Columns, *, labels: Column | None = None, honest: Outputs | None = None
) -> Reference:
    """Make the reference: the features and the model's own answers on them.

    Args:
        model: what predicts.
        features: its training data, n rows.
        labels: see `Reference`.
        honest: see `Training`.

    Raises:
        ModelError: a feature has a name that the answers' columns need.
        PredictError: the model fails on its own training data.
    """
    outputs = model.predict(features)
    columns = {name: features[name] for name in model.schema.names}
    roles = dict.fromkeys(columns, "feature")
    answers = {PREDICTION_COLUMN: as_column([model.classes[i] for i in outputs.class_ids])}
    roles[PREDICTION_COLUMN] = "prediction"
    if outputs.probabilities is not None:
        for label, column in zip(model.classes, outputs.probabilities.T, strict=True):
            answers[probability_column(label)] = column
            roles[probability_column(label)] = "probability"
    clash = sorted(set(columns) & set(answers))
    if clash:
        raise ModelError(f"rename the features {clash}: the model's answers are logged under these names")
    digest = hashlib.sha256()
    for name, column in {**columns, **answers}.items():
        digest.update(repr((name, column.tolist())).encode("utf-8", "surrogatepass"))
    return Reference({**columns, **answers}, roles, digest.hexdigest()[:VERSION_DIGITS], labels, honest)


def outputs_of(reference: Reference, classes: Sequence[str]) -> Outputs:
    """Give the model's own answers on its reference, as `Model.predict` gave them.

    Args:
        reference: from `reference_of`.
        classes: what the model answers, by class id.
    """
    ids = {name: i for i, name in enumerate(classes)}
    columns, names = reference.columns, [probability_column(c) for c in classes]
    return Outputs(
        np.array([ids[str(v)] for v in columns[PREDICTION_COLUMN].tolist()], dtype=np.intp),
        np.column_stack([columns[n] for n in names]) if all(n in columns for n in names) else None,
    )


def known_by_heart(reference: Reference) -> str:
    """Tell that a model is right on nearly every row of its reference, which new rows never allow; or "".

    What such a reference says about the model is too good, so its first real rows look like a loss.

    Args:
        reference: with labels, and without honest answers, there is something to tell.
    """
    if reference.labels is None or reference.honest is not None:
        return ""
    known = np.array([label is not None for label in reference.labels])
    right = float((reference.columns[PREDICTION_COLUMN] == reference.labels)[known].mean())
    if right < BY_HEART:
        return ""
    return (
        f"the model is right on {right:.1%} of its reference, which looks like rows that it was fitted on: "
        "give rows that it has not seen as model.reference"
    )


def _load(path: Path, content: bytes, *, pinned: bool, digest: str) -> Any:
    suffix = path.suffix.lower()
    if suffix not in (".skops", ".joblib", ".pkl", ".pickle"):
        raise ModelError(f"cannot load {path}: the name must end in .skops, .joblib, .pkl or .onnx")
    consent = f'if you trust it, set sha256 = "{digest}" under [model]'
    if suffix != ".skops" and not pinned:
        raise ModelError(f"{path} is a pickle, which can run any code when it is loaded: {consent}")
    try:
        if suffix != ".skops":
            import joblib

            return joblib.load(io.BytesIO(content))
        from skops import io as skops_io

        unknown = skops_io.get_untrusted_types(data=content)
        if unknown and not pinned:
            raise ModelError(
                f"{path} has parts that skops cannot vouch for ({', '.join(unknown)}): {consent}"
            )
        return skops_io.loads(content, trusted=unknown)
    except ModelError:
        raise
    except Exception as error:  # a broken file can raise anything
        raise ModelError(f"cannot load {path}: {type(error).__name__}: {error}") from error


def _frame_column(column: Column, kind: Kind) -> Any:
    """Make a column what pandas reads from a file: NaN for null, timestamps for dates, flags as bool."""
    import pandas as pd

    if kind is Kind.NUMERIC:
        return column
    if kind is Kind.DATETIME:
        moments = pd.to_datetime(pd.Series(column, dtype=object), format="ISO8601", utc=True)
        return moments.dt.tz_localize(None)
    if kind is Kind.BOOLEAN and None not in column.tolist():
        return column.astype(bool)
    return pd.Series(column, dtype=object).where(pd.notna(column), np.nan)


def _answers_the_most_probable(estimator: Any) -> bool:
    """Tell whether `predict` is known to give the most probable class, so that it need not be asked."""
    last = getattr(estimator, "best_estimator_", estimator)  # a search for the best answers as that does
    last = last.steps[-1][1] if hasattr(last, "steps") else last
    library = type(last).__module__.partition(".")[0]
    return type(last).__name__ in MOST_PROBABLE.get(library, ())


def _one_thread(estimator: Any) -> Any:
    """Threads for one row cost more than they bring: a forest pickled with n_jobs=-1 is six times slower."""
    parameters = estimator.get_params() if hasattr(estimator, "get_params") else {}
    jobs = {k: 1 for k, v in parameters.items() if k.rpartition("__")[2] == "n_jobs" and v not in (None, 1)}
    return estimator.set_params(**jobs) if jobs else estimator
