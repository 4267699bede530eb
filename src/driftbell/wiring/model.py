"""What the server and the monitor are both made of."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import structlog

from driftbell.config.settings import ModelSettings, Settings
from driftbell.data_folder import exclusive_setup
from driftbell.errors import ConfigError
from driftbell.models.conversion_cache import Kept, kept
from driftbell.ports import Model
from driftbell.records import Training
from driftbell.wiring.model_cache import folder_of_served, key_of_served, say_engine

MAKE = "from driftbell.wiring.model_worker import make; make()"

logger = structlog.get_logger()


def open_served(settings: Settings) -> Model:
    """Load what answers: an ONNX graph kept by an earlier start, without any library that it was made with.

    Where there is none the native model is loaded, converted and checked, and what came of it is kept.

    Raises:
        ConfigError: files are missing or wrong, see the message.
    """
    _require_paths(settings.model)
    found = _kept(settings)
    if found is None and settings.model.engine == "auto" and find_spec("onnxruntime"):
        # made in a process of its own, which takes what it needs for that with it when it ends
        subprocess.run([sys.executable, "-c", MAKE], check=False)  # noqa: S603 - our own words
        found = _kept(settings)
    if found and found.model:
        say_engine(found.model, found)
        return found.model
    from driftbell.wiring import model_loading as making

    with exclusive_setup(settings.data_dir):
        return making.served(settings, *making.loaded(settings))


def _kept(settings: Settings) -> Kept | None:
    """Read what is kept, whoever is at work there: what is only half written does not have its hash."""
    key = key_of_served(settings) if settings.model.engine == "auto" else None
    return kept(folder_of_served(settings), key) if key else None


def open_model(settings: Settings) -> tuple[Model, Training]:
    """Load what answers and its training data; the first start trains the default model.

    Raises:
        ConfigError: files are missing or wrong, see the message.
    """
    from driftbell.wiring import model_loading as making

    _require_paths(settings.model)
    with exclusive_setup(settings.data_dir):
        found = _kept(settings)
        known = making.training_of(settings, found.model) if found and found.model else None
        if found and found.model and known:  # the native model's libraries are not loaded
            say_engine(found.model, found)
            return found.model, known
        saved, training = making.loaded(settings)
        return making.served(settings, saved, training), training


def _require_paths(chosen: ModelSettings) -> None:
    if chosen.path is None and (chosen.reference or chosen.sha256):
        raise ConfigError("model.path is missing: model.reference and model.sha256 belong to a model file")
    if chosen.path and chosen.reference is None:
        raise ConfigError(
            "model.reference is missing: name rows like the training data, best ones that the model was not "
            "fitted on (.csv or .parquet)"
        )
