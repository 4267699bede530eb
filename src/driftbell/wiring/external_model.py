"""Open a model that is served elsewhere, from a reference with its recorded predictions."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from driftbell.config.settings import ModelSettings, Settings
from driftbell.degradation.model_columns import ModelColumns
from driftbell.errors import ConfigError, InputError
from driftbell.models.class_counts import count_classes
from driftbell.models.external import ExternalModel
from driftbell.models.loaded import VERSION_DIGITS
from driftbell.models.reference import match_labels, match_numbers
from driftbell.phrases import suggest_column
from driftbell.records import Columns, Outputs, Task, Training
from driftbell.tabular.schema import Schema, infer_schema
from driftbell.wiring.native_model import read_reference


def check_external(options: ModelSettings) -> None:
    """Check the settings of a model that is served elsewhere.

    Raises:
        ConfigError: one is missing, or does not fit.
    """
    if options.path is not None:
        raise ConfigError(
            "model.path and model.prediction exclude each other: the former names a model that is served "
            "here, the latter the predictions of one that is served elsewhere"
        )
    if options.reference is None:
        raise ConfigError(
            "model.reference is missing: set it to a table file of past rows with the model's predictions "
            f"in the column '{options.prediction}'"
        )
    if options.name is None:
        raise ConfigError("model.name is missing: name the model that is served elsewhere")
    for name in ("golden", "sha256", "classes", "threshold"):
        if getattr(options, name):
            raise ConfigError(f"model.{name} belongs to a model that is served here, not to model.prediction")


def open_external(settings: Settings) -> tuple[ExternalModel, Training]:
    """Read the reference of a model that is served elsewhere.

    Every feature may be null: its rows are facts, and more nulls than before are drift, not an error.

    Returns:
        The model, and its training data with the recorded predictions.

    Raises:
        ConfigError: the reference cannot be read, or a column is missing or invalid.
    """
    options = settings.model
    assert options.prediction is not None
    assert options.reference is not None
    assert options.name is not None
    table, labels = read_reference(options.reference, settings.columns.options, options.target)
    columns: Columns = {
        n: c.astype(np.float64) if c.dtype.kind in "iu" else c for n, c in table.columns.items()
    }
    if labels is not None and options.target is not None:
        columns = {**columns, options.target: labels}
    for name in (options.prediction, *options.probabilities.values()):
        if name not in columns:
            hint = suggest_column(name, columns)
            raise ConfigError(f"model.prediction: {options.reference} has no column '{name}': {hint}")
    try:
        roles = ModelColumns(
            columns,
            columns,
            prediction=options.prediction,
            probabilities=options.probabilities,
            label=options.target,
            task=options.task,
            current_name="reference",
        )
        answers = roles.answers(columns, "reference")
        features = {name: table.columns[name] for name in roles.names}
        schema = infer_schema(features, {name: table.dtypes[name] for name in roles.names})
    except InputError as error:
        text = str(error).replace("--task classification or regression", "model.task")
        raise ConfigError(f"{options.reference}: {text}") from error
    task = Task.CLASSIFICATION if roles.classes else Task.REGRESSION
    model = ExternalModel(
        options.name,
        options.version or _version(schema, columns, options),
        Schema(tuple(replace(feature, nullable=True) for feature in schema.features)),
        task,
        roles.classes,
    )
    values = answers.values if task is Task.REGRESSION else answers.values.astype(np.intp)
    training = Training(features, outputs=Outputs(values, answers.probabilities))
    if labels is not None:
        matched = match_numbers(labels) if task is Task.REGRESSION else match_labels(labels, roles.classes)
        training = replace(training, labels=matched)
    model.class_counts = count_classes(model, training)
    return model, training


def _version(schema: Schema, columns: Columns, options: ModelSettings) -> str:
    """Return the content hash of the reference, which stands for the model."""
    digest = hashlib.sha256(repr((options.prediction, options.target)).encode())
    for name in (*schema.names, options.prediction, *options.probabilities.values()):
        digest.update(repr((name, columns[str(name)].tolist())).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:VERSION_DIGITS]
