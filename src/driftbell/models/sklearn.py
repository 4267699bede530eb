"""scikit-learn classifiers, loaded from skops files or from pickles with a pinned hash."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from driftbell.errors import ModelError, PredictError
from driftbell.models.foreign_code import call_model, load_with
from driftbell.ports import Model
from driftbell.records import Column, Columns, Kind, Outputs, Value
from driftbell.tabular.schema import Schema

VERSION_DIGITS = 12
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


class SklearnModel:
    """A scikit-learn classifier as a `driftbell.ports.Model`.

    Args:
        estimator: a fitted classifier.
        name: the model's name.
        version: content hash of the model.
        schema: its features, in the order it was fitted with.
        classes: labels by class id; None uses the estimator's own.

    Attributes:
        engine_reason: why it runs natively; set by the code that decides.
        predicts_argmax: whether `predict` is known to return the most probable class.

    Raises:
        ModelError: it is not a fitted classifier, or was fitted with other features than the schema's.
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
                f"model '{name}' is not a fitted scikit-learn classifier but {type(estimator).__name__}"
            )
        if isinstance(estimator.classes_, list):
            raise ModelError(f"model '{name}' has several outputs: only classifiers with one are served")
        self.name = name
        self.version = version
        self.classes = classes or tuple(str(c) for c in estimator.classes_)
        self.estimator = _one_thread(estimator)
        self._class_ids = {label: i for i, label in enumerate(np.asarray(estimator.classes_).tolist())}
        self.predicts_argmax = _predicts_argmax(estimator)
        self._order = [str(n) for n in getattr(estimator, "feature_names_in_", ())]
        if self._order and set(self._order) != set(schema.names):
            missing = sorted(set(self._order) - set(schema.names))
            extra = sorted(set(schema.names) - set(self._order))
            differences = [f"missing {missing}"] if missing else []
            if extra:
                advice = "if one is the label, name it in model.target; '' is an index that pandas wrote"
                differences.append(f"not known to the model {extra} ({advice})")
            text = ", ".join(differences)
            raise ModelError(f"the reference of model '{name}' does not have the model's features: {text}")
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
        """Predict the class of each row of a table, the same as the estimator's own `predict`."""
        return call_model(self.name, self._predict, columns)

    def _predict(self, columns: Columns) -> Outputs:
        table = self._table(columns)
        probabilities = None
        if hasattr(self.estimator, "predict_proba"):
            probabilities = np.asarray(self.estimator.predict_proba(table), dtype=np.float64)
            if self.predicts_argmax:
                return Outputs(probabilities.argmax(axis=1), probabilities)
        labels = self.estimator.predict(table).tolist()
        return Outputs(np.array([self._class_ids[label] for label in labels], dtype=np.intp), probabilities)

    def answer(self, rows: Sequence[Sequence[Value]]) -> tuple[list[int], list[list[float]] | None]:
        """Predict valid rows; see `driftbell.ports.Model`."""
        outputs = self.predict(self.schema.columns(rows))
        probabilities = outputs.probabilities
        return outputs.class_ids.tolist(), None if probabilities is None else probabilities.tolist()

    @property
    def by_name(self) -> bool:
        """True if the model was fitted on named columns."""
        return bool(self._order)

    def _table(self, columns: Columns) -> Any:
        if self._order:  # fitted on a DataFrame, so it predicts DataFrames only
            import pandas as pd

            kinds = {f.name: f.kind for f in self.schema.features}
            return pd.DataFrame({name: _frame_column(columns[name], kinds[name]) for name in self._order})
        if all(f.kind is Kind.NUMERIC for f in self.schema.features):
            return np.column_stack([columns[name] for name in self.schema.names])
        return np.array([columns[name] for name in self.schema.names], dtype=object).T


def load_model(path: Path, *, name: str, schema: Schema, sha256: str | None) -> SklearnModel:
    """Load a classifier from a file.

    A `.skops` file holds no code and is loaded if skops trusts every type in it. Any other file, such as a
    `.joblib` or `.pkl`, can run arbitrary code when it is loaded, so its hash must be pinned.

    Args:
        path: the file.
        name: the model's name.
        schema: its features.
        sha256: the pinned hash of the file; None if it is not pinned.

    Raises:
        ModelError: the file cannot be read or loaded, is not trusted, or does not match its pinned hash.
    """
    content, digest = read_model(path, sha256)
    estimator = _load(path, content, pinned=sha256 is not None, digest=digest)
    return SklearnModel(estimator, name=name, version=digest[:VERSION_DIGITS], schema=schema)


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


def check_example_row(model: Model) -> None:
    """Check that a model can predict its own example row, so that a broken one fails at start.

    Raises:
        ModelError: it failed; the message holds the model's own, as no request data is involved yet.
    """
    try:
        model.predict(model.schema.columns([model.schema.validate(model.schema.example)]))
    except PredictError as error:
        cause = error.__cause__
        raise ModelError(
            f"model '{model.name}' cannot predict a row like the first one of its reference: "
            f"{type(cause).__name__}: {cause}"
        ) from error


def _load(path: Path, content: bytes, *, pinned: bool, digest: str) -> Any:
    suffix = path.suffix.lower()
    if suffix not in (".skops", ".joblib", ".pkl", ".pickle"):
        raise ModelError(f"cannot load {path}: the name must end in .skops, .joblib, .pkl or .onnx")
    consent = f'if you trust it, set sha256 = "{digest}" under [model]'
    if suffix != ".skops" and not pinned:
        raise ModelError(f"{path} is a pickle, which can run any code when it is loaded: {consent}")
    return load_with(
        lambda: (
            _load_skops(path, content, pinned=pinned, consent=consent)
            if suffix == ".skops"
            else _load_pickle(content)
        ),
        failure=f"cannot load {path}",
    )


def _load_pickle(content: bytes) -> Any:
    import joblib  # imports slowly, and a converted model needs none of these libraries

    return joblib.load(io.BytesIO(content))


def _load_skops(path: Path, content: bytes, *, pinned: bool, consent: str) -> Any:
    from skops import io as skops_io

    unknown = skops_io.get_untrusted_types(data=content)
    if unknown and not pinned:
        raise ModelError(f"{path} has types that skops does not trust ({', '.join(unknown)}): {consent}")
    return skops_io.loads(content, trusted=unknown)


def _frame_column(column: Column, kind: Kind) -> Any:
    """Return a column as pandas reads it from a file: NaN for null, timestamps for dates, flags as bool."""
    import pandas as pd

    if kind is Kind.NUMERIC:
        return column
    if kind is Kind.DATETIME:
        moments = pd.to_datetime(pd.Series(column, dtype=object), format="ISO8601", utc=True)
        return moments.dt.tz_localize(None)
    if kind is Kind.BOOLEAN and None not in column.tolist():
        return column.astype(bool)
    return pd.Series(column, dtype=object).where(pd.notna(column), np.nan)


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
