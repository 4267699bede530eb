"""Open the configured model, with its reference or for serving alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from driftbell.config.settings import ModelSettings, Settings
from driftbell.data_folder import exclusive_setup
from driftbell.errors import ConfigError, PredictError
from driftbell.models.reference import build_reference
from driftbell.models.threshold import ThresholdModel, with_threshold
from driftbell.ports import Model
from driftbell.records import Reference
from driftbell.wiring.model_files import (
    build_model,
    load_cached_conversion,
    log_engine,
    read_cached_training,
)
from driftbell.wiring.model_trial import TrialProcess, is_tried, try_model

MAX_TRIED_ROWS = 1000
"""Rows of the reference that a model predicts before it is served for the first time."""


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """The configured model and its reference.

    Attributes:
        model: the model.
        reference: rows like its training data, with its predictions and the known labels.
    """

    model: Model
    reference: Reference


def open_model(settings: Settings) -> OpenedModel:
    """Open the model and its reference; the first start trains the default model, or converts the model.

    Raises:
        ConfigError: a file is missing or invalid; the message names it.
    """
    _check_paths(settings.model)
    with exclusive_setup(settings.data_dir, settings.mask):  # waits for the process that converts the model
        conversion = load_cached_conversion(settings)
    if conversion is None and isinstance(settings.model.path, Path) and settings.model.prediction is None:
        try_model(settings)
    with exclusive_setup(settings.data_dir, settings.mask):
        conversion = load_cached_conversion(settings)
        model: Model | None = conversion.model if conversion else None
        training = read_cached_training(settings, model) if model else None
        if not (model and training):  # else the native model's libraries are not imported
            model, training, _ = build_model(settings)
    _check_golden(settings, model)
    served, out_of_sample = _with_threshold(settings, model), training.out_of_sample
    if isinstance(served, ThresholdModel) and out_of_sample:
        out_of_sample = served.decide(out_of_sample)
    return OpenedModel(
        served,
        build_reference(
            served,
            training.features,
            labels=training.labels,
            out_of_sample=out_of_sample,
            outputs=training.outputs,
            kinds=settings.columns.options.user_kinds,
        ),
    )


def convert_model(settings: Settings) -> None:
    """Load the model, predict rows of its reference, and write it to the conversion cache.

    Nothing is done if another process has done it.

    Raises:
        ConfigError: a file is missing or invalid; the message names it.
    """
    with exclusive_setup(settings.data_dir, settings.mask):
        if load_cached_conversion(settings) is None:
            model, training, _ = build_model(settings)
            with suppress(PredictError):  # a row that the model refuses is refused in requests too
                model.predict({n: c[:MAX_TRIED_ROWS] for n, c in training.features.items()})


def open_serving_model(
    settings: Settings, meanwhile: Callable[[], None] = lambda: None, trial: TrialProcess | None = None
) -> Model:
    """Open the model without its reference, from the conversion cache where possible.

    A cached model is loaded without the libraries that it was trained with. If there is none, a child process
    loads and converts it first: it may crash alone, and the memory of those libraries is released before
    serving starts.

    Args:
        settings: all settings.
        meanwhile: called while the child process converts the model.
        trial: the child process if it was started before.

    Raises:
        ConfigError: a file is missing or invalid; the message names it.
    """
    _check_paths(settings.model)
    conversion = load_cached_conversion(settings)
    if conversion is None and is_tried(settings.model):
        try_model(settings, meanwhile, trial)
        conversion = load_cached_conversion(settings)
    elif trial:  # another process has tried it since
        trial.close()
    model: Model | None = conversion.model if conversion else None
    if model is None:
        with exclusive_setup(settings.data_dir, settings.mask):
            model, _, conversion = build_model(settings)
    served = _with_threshold(settings, model)
    log_engine(served, conversion)
    _check_golden(settings, model)
    return served


def _check_golden(settings: Settings, model: Model) -> None:
    if settings.model.golden is not None:
        from driftbell.wiring.native_model import check_golden  # a cached model needs nothing else of it

        check_golden(settings, model)


def _with_threshold(settings: Settings, model: Model) -> Model:
    return with_threshold(model, settings.model.threshold, ids=bool(settings.model.classes))


def _check_paths(options: ModelSettings) -> None:
    if options.prediction is not None:
        from driftbell.wiring.external_model import check_external  # imports what few models need

        check_external(options)
        return
    if options.probabilities or options.task or options.version:
        raise ConfigError(
            "model.prediction is missing: model.probabilities, model.task and model.version belong to a "
            "model that is served elsewhere, with its predictions in a column of the reference"
        )
    if options.path is None and (options.reference or options.sha256):
        raise ConfigError("model.path is missing: model.reference and model.sha256 belong to a model file")
    if options.path and options.reference is None:
        raise ConfigError(
            "model.reference is missing: set it to a table file of rows like the training data, "
            "preferably rows that the model was not fitted on"
        )
