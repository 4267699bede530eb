"""Models made from their files: loaded, converted, checked, and kept for the next start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog

from driftbell.config.settings import Settings
from driftbell.errors import ConfigError, ModelError
from driftbell.models.conversion_cache import Kept, keep, kept
from driftbell.models.convert import Conversion, convert
from driftbell.models.iris import iris_is_whole, iris_model, iris_training
from driftbell.models.onnx_file import load_onnx
from driftbell.models.reference import labels_of
from driftbell.models.sklearn import SklearnModel, load_model, try_model
from driftbell.ports import Model
from driftbell.records import Column, Columns, Training
from driftbell.tabular.files import read_table
from driftbell.tabular.schema import infer_schema
from driftbell.wiring.model_cache import IRIS, folder_of_served, key_of_served, name_of_model, say_engine

logger = structlog.get_logger()


def loaded(settings: Settings) -> tuple[SklearnModel | Conversion, Training]:
    """Load the model as it was saved, which may be a graph already, and its training data."""
    chosen = settings.model
    if chosen.path is None or chosen.reference is None:
        folder = settings.data_dir / IRIS
        return iris_model(folder)[0], iris_training(folder)
    columns, target = _table(chosen.reference, chosen.target)
    path, name, schema = chosen.path, name_of_model(chosen), infer_schema(columns)
    if path.suffix.lower() == ".onnx":
        made = load_onnx(path, name=name, schema=schema, features=columns, sha256=chosen.sha256)
        return made, _training(columns, target, made.model)
    model = load_model(path, name=name, schema=schema, sha256=chosen.sha256)
    try_model(model)
    return model, _training(columns, target, model)


def training_of(settings: Settings, model: Model) -> Training | None:
    """Read the training data of a model whose graph is kept; None where the default one is made anew."""
    chosen = settings.model
    if chosen.path is None or chosen.reference is None:
        folder = settings.data_dir / IRIS
        return iris_training(folder) if iris_is_whole(folder) else None
    return _training(*_table(chosen.reference, chosen.target), model)


def _table(reference: Path, target: str | None) -> tuple[Columns, Column | None]:
    """Read the reference: the features, and the column of the true answers."""
    columns = read_table(reference)
    labels = columns.pop(target, None) if target else None
    if target and labels is None:
        raise ConfigError(f"model.target: {reference} has no column '{target}'")
    return columns, labels


def _training(columns: Columns, target: Column | None, model: Model | None) -> Training:
    labels = None if target is None or model is None else labels_of(target, model.classes)
    return Training(columns, labels)


def served(settings: Settings, saved: SklearnModel | Conversion, training: Training) -> Model:
    """Give the ONNX form of a model where it has one that answers the same."""
    native = saved if isinstance(saved, SklearnModel) else None
    if native and settings.model.engine == "native":
        native.engine_reason = "model.engine is 'native'"
        return native
    key = key_of_served(settings)
    found = kept(folder_of_served(settings), key) if key else None
    if found is None:
        made = saved if isinstance(saved, Conversion) else _converted(saved, training)
        if key:
            _keep(settings, key, made)
        found = Kept(made.model, made.reason, made.rows, made.largest)
    answering: Model | None = found.model or native
    if answering is None:  # no graph is kept for a file that is one
        raise ModelError(
            f"the kept form of {settings.model.path} is damaged: remove {folder_of_served(settings)}"
        )
    if native:
        native.engine_reason = found.reason
    say_engine(answering, found)
    return answering


def _keep(settings: Settings, key: dict[str, Any], made: Conversion) -> None:
    try:
        keep(folder_of_served(settings), key, made)
    except ModelError as error:  # it can be served all the same
        logger.warning("converted model is not kept, the next start converts it again", error=str(error))


def _converted(native: SklearnModel, training: Training) -> Conversion:
    logger.info("converting the model to ONNX", model=native.name, version=native.version)
    return convert(native, training.features)
