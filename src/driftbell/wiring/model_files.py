"""The configured model's files: the native model, its training data, and its conversion cache.

Libraries of the native model are imported where they are used: a start with a cached conversion is faster.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from driftbell.config.settings import ModelSettings, Settings
from driftbell.errors import ModelError
from driftbell.hidden_values import values_are_hidden
from driftbell.models.class_counts import count_classes
from driftbell.models.conversion_cache import (
    NO_CONVERSION,
    Conversion,
    cache_key,
    file_sha256,
    load_conversion,
    save_conversion,
)
from driftbell.models.iris import MANIFEST_FILE, iris_model, iris_training, is_iris_cached
from driftbell.models.onnx_model import INSTALL, OnnxModel
from driftbell.models.reference import match_labels, match_numbers
from driftbell.models.remote_call import shown
from driftbell.ports import EXTERNAL, Model
from driftbell.records import Column, Columns, Task, Training
from driftbell.tabular.schema import infer_schema
from driftbell.wiring.model_trial import CONVERSIONS_FOLDER

if TYPE_CHECKING:
    from driftbell.models.native import NativeModel

IRIS_FOLDER = Path("models") / "iris"
"""Folder of the default model below the data folder."""

NATIVE = "model.engine is 'native'"

MAX_NAME_LENGTH = 100

logger = structlog.get_logger()


def load_cached_conversion(settings: Settings) -> Conversion | None:
    """Load the conversion of the configured model from its cache; None if there is none.

    Needs no lock: a cache that another process is writing does not match its hash, and counts as missing.
    """
    key = _cache_key(settings)
    return load_conversion(_cache_folder(settings), key) if key else None


def read_cached_training(settings: Settings, model: Model) -> Training | None:
    """Read the training data of a converted model; None if the default model must be trained anew."""
    options = settings.model
    if options.path is None or options.reference is None:
        folder = settings.data_dir / IRIS_FOLDER
        return iris_training(folder) if is_iris_cached(folder) else None
    from driftbell.wiring.native_model import log_null_words, options_of_model, read_reference

    columns = options_of_model(settings.columns.options, model, options.target)
    table, labels = read_reference(options.reference, columns, options.target)
    log_null_words(table, model.name)
    return _match_training(table.columns, labels, model, options)


def build_model(settings: Settings) -> tuple[Model, Training, Conversion | None]:
    """Load the native model and its training data, and convert it if it predicts the same as an ONNX graph.

    Returns:
        The model, its training data, and its conversion; None for a model that is served elsewhere.

    Raises:
        ConfigError: a file cannot be read, or is not a supported model.
    """
    from driftbell.wiring.external_model import open_external
    from driftbell.wiring.native_model import (
        log_null_words,
        open_native,
        read_reference,
        warn_of_other_answers,
    )

    options = settings.model
    if options.prediction is not None:
        return *open_external(settings), None
    if options.path is None or options.reference is None:
        folder = settings.data_dir / IRIS_FOLDER
        native, training = iris_model(folder)[0], iris_training(folder)
        model, conversion = _convert(settings, native, training)
        return model, training, conversion
    path, name = options.path, model_name(options)
    if isinstance(path, Path) and path.suffix.lower() == ".onnx":
        table, labels = read_reference(options.reference, settings.columns.options, options.target)
        log_null_words(table, name)
        columns, schema = table.columns, infer_schema(table.columns, table.dtypes)
        from driftbell.models.onnx_file import load_onnx

        conversion = load_onnx(
            path, name=name, schema=schema, features=columns, sha256=options.sha256, names=options.classes
        )
        training = _match_training(columns, labels, conversion.model, options)
        return _open_graph(settings, conversion, training), training, conversion
    reading = open_native(settings, path, options.reference, name)
    native = reading.model
    if options.golden is None and load_cached_conversion(settings) is None:  # else it was checked before
        warn_of_other_answers(reading, options.reference)
    training = _match_training(reading.table.columns, reading.labels, native, options)
    model, conversion = _convert(settings, native, training)
    return model, training, conversion


def log_engine(model: Model, conversion: Conversion | None) -> None:
    """Log which engine runs a model, and why."""
    fields = {"model": model.name, "version": model.version}
    if conversion and conversion.model:
        check = {
            "rows_checked": conversion.rows_checked,
            "largest_difference": conversion.max_difference,
        }
        logger.info("model runs in ONNX Runtime", **fields, **check, inline=model.inline)
    elif model.engine == EXTERNAL:
        logger.info("model is served elsewhere, its predictions are read from POST /predictions", **fields)
    elif model.engine_reason in (INSTALL, NATIVE, NO_CONVERSION):
        logger.info("model runs natively", **fields, reason=model.engine_reason)
    else:
        logger.warning("model runs natively", **fields, reason=model.engine_reason)


def _convert(settings: Settings, native: NativeModel, training: Training) -> tuple[Model, Conversion | None]:
    """Return the converted model, from the cache or converted now; the native one if there is none."""
    conversion = load_cached_conversion(settings)
    if conversion is None:
        if settings.model.engine == "native":
            conversion = Conversion(None, None, NATIVE)
        else:
            from driftbell.models.convert import convert  # a start with a cached conversion does without it

            logger.info("converting the model to ONNX", model=native.name, version=native.version)
            conversion = convert(native, training.features)
        conversion = _save(settings, conversion, conversion.model or native, training)
    native.engine_reason = conversion.reason
    model: NativeModel | OnnxModel = conversion.model or native
    model.class_counts = conversion.class_counts
    return model, conversion


def _open_graph(settings: Settings, conversion: Conversion, training: Training) -> Model:
    """Return the model of a configured .onnx file, and cache it."""
    model = conversion.model
    if model is None:
        raise ModelError(f"{settings.model.path} has no graph")
    cached = load_cached_conversion(settings) or _save(settings, conversion, model, training)
    model.class_counts = cached.class_counts
    return model


def _save(settings: Settings, conversion: Conversion, model: Model, training: Training) -> Conversion:
    """Return a conversion with the counts of the classes, written to its cache if it has one."""
    key = _cache_key(settings)
    conversion = replace(conversion, class_counts=count_classes(model, training, predicts=key is not None))
    if key is None:
        return conversion
    try:
        save_conversion(_cache_folder(settings), key, conversion)
    except ModelError as error:  # the model can be served without its cache
        logger.warning("converted model is not cached, the next start converts it again", error=str(error))
    return conversion


def _cache_key(settings: Settings) -> dict[str, Any] | None:
    """Return the key of the model's cached conversion; None if a file of the model is missing."""
    options = settings.model
    model = options.path or settings.data_dir / IRIS_FOLDER / MANIFEST_FILE
    if isinstance(model, str) or options.prediction is not None:  # it is not converted
        return None
    try:
        hashes = [_hash(path) for path in (model, options.reference) if isinstance(path, Path)]
    except (OSError, ModelError):  # the missing file is reported when it is loaded
        return None
    return cache_key(
        {
            "name": model_name(options),
            "target": options.target,
            "sha256": options.sha256,
            "classes": options.classes,
            "suffix": model.suffix,
            "engine": options.engine,
            "columns": settings.columns.of_the_model,
            "hides_values": values_are_hidden(),  # in the reason why there is no conversion
            "files": hashes,
        }
    )


def _hash(path: Path) -> str:
    if path.is_dir():
        from driftbell.models.mlflow_folder import folder_sha256

        return folder_sha256(path)
    return file_sha256(path)


def _cache_folder(settings: Settings) -> Path:
    return settings.data_dir / CONVERSIONS_FOLDER / model_name(settings.model)


def model_name(options: ModelSettings) -> str:
    """Return the model's name: that of the settings, of the file, or of the code or server."""
    if options.name or options.path is None:
        return options.name or "iris"
    if isinstance(options.path, Path):
        return options.path.stem
    text = shown(options.path) if "://" in options.path else options.path
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text.rpartition("://")[2]).strip("-.")[:MAX_NAME_LENGTH]


def _match_training(
    columns: Columns, target: Column | None, model: Model | None, options: ModelSettings
) -> Training:
    if target is None or model is None:
        return Training(columns, None)
    if model.task is Task.REGRESSION:
        return Training(columns, match_numbers(target))
    return Training(columns, match_labels(target, model.classes, ids=bool(options.classes)))
