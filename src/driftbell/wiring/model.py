"""Open the configured model, with its reference or for serving alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec

from driftbell.config.settings import ModelSettings, Settings
from driftbell.data_folder import exclusive_setup
from driftbell.errors import ConfigError
from driftbell.models.load import BOOSTER_SUFFIXES, TORCH_SUFFIX
from driftbell.models.reference import build_reference
from driftbell.models.threshold import ThresholdModel, with_threshold
from driftbell.ports import Model
from driftbell.records import Reference
from driftbell.wiring.external_model import check_external
from driftbell.wiring.model_files import (
    build_model,
    load_cached_conversion,
    log_engine,
    read_cached_training,
)
from driftbell.wiring.native_model import check_golden

CONVERT = """
import sys
from driftbell.process.parent_death import end_with_parent
parent = int(sys.argv[1])
end_with_parent(parent)  # before the libraries are imported, which takes seconds
from driftbell.wiring.conversion_process import main
main(parent)
"""
"""Program of the child process that converts the model, given the id of its parent process.

Its settings are read from standard input.
"""


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
    with exclusive_setup(settings.data_dir):
        conversion = load_cached_conversion(settings)
        model: Model | None = conversion.model if conversion else None
        training = read_cached_training(settings, model) if model else None
        if not (model and training):  # else the native model's libraries are not imported
            model, training, _ = build_model(settings)
    check_golden(settings, model)
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
    """Convert the model, and write it to the conversion cache, unless another process has done it.

    Raises:
        ConfigError: a file is missing or invalid; the message names it.
    """
    with exclusive_setup(settings.data_dir):
        if load_cached_conversion(settings) is None:
            build_model(settings)


def open_serving_model(settings: Settings, meanwhile: Callable[[], None] = lambda: None) -> Model:
    """Open the model without its reference, from the conversion cache where possible.

    A cached model is loaded without the libraries that it was trained with. If there is none, a child process
    converts it, so that the memory of those libraries is released before serving starts.

    Args:
        settings: all settings.
        meanwhile: called while the child process converts the model.

    Raises:
        ConfigError: a file is missing or invalid; the message names it.
    """
    _check_paths(settings.model)
    conversion = load_cached_conversion(settings)
    if conversion is None and _may_convert(settings.model) and find_spec("onnxruntime"):
        sections = {"data_dir": True, "columns": True, "model": True}
        options = settings.model_dump_json(include=sections, exclude={"model": {"timeout"}})
        # its errors are raised again below, in this process
        command = [sys.executable, "-c", CONVERT, str(os.getpid())]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as child:  # noqa: S603
            try:
                if child.stdin:
                    with suppress(BrokenPipeError), child.stdin as pipe:  # it has ended
                        pipe.write(options)
                meanwhile()
                child.wait()
            except BaseException:  # such as a stop signal's
                child.kill()
                raise
        conversion = load_cached_conversion(settings)
    model: Model | None = conversion.model if conversion else None
    if model is None:
        with exclusive_setup(settings.data_dir):
            model, _, conversion = build_model(settings)
    served = _with_threshold(settings, model)
    log_engine(served, conversion)
    check_golden(settings, model)
    return served


def _with_threshold(settings: Settings, model: Model) -> Model:
    return with_threshold(model, settings.model.threshold, ids=bool(settings.model.classes))


def _may_convert(options: ModelSettings) -> bool:
    """Return whether the model may have a conversion, as far as its settings say."""
    if options.engine != "auto" or options.prediction is not None or isinstance(options.path, str):
        return False
    return options.path is None or options.path.suffix.lower() not in (*BOOSTER_SUFFIXES, TORCH_SUFFIX)


def _check_paths(options: ModelSettings) -> None:
    if options.prediction is not None:
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
