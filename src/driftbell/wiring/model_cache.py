"""Keys and folders of converted models in the data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog

from driftbell.config.settings import ModelSettings, Settings
from driftbell.models.conversion_cache import Kept, hash_of, key_of
from driftbell.models.onnx_model import INSTALL
from driftbell.ports import Model

logger = structlog.get_logger()

IRIS = Path("models") / "iris"
"""Where the default model is, in the data folder."""


def say_engine(model: Model, found: Kept) -> None:
    """Log what runs a model, and why."""
    whose = {"model": model.name, "version": model.version}
    if found.model:
        checked = {"rows_checked": found.rows, "largest_difference": found.largest}
        logger.info("model runs in ONNX Runtime", **whose, **checked, inline=model.inline)
    elif found.reason == INSTALL:
        logger.info("model runs natively", **whose, reason=found.reason)
    else:
        logger.warning("model runs natively", **whose, reason=found.reason)


def key_of_served(settings: Settings) -> dict[str, Any] | None:
    """Make what a kept graph belongs to; None where a file of it is missing."""
    chosen = settings.model
    model = chosen.path or settings.data_dir / IRIS / "manifest.json"
    try:
        hashes = [hash_of(path) for path in (model, chosen.reference) if path]
    except OSError:
        return None
    about = {
        "name": name_of_model(chosen),
        "target": chosen.target,
        "sha256": chosen.sha256,
        "suffix": model.suffix,
    }
    return key_of({**about, "files": hashes})


def name_of_model(chosen: ModelSettings) -> str:
    """Give what people call the model."""
    return (chosen.name or chosen.path.stem) if chosen.path else "iris"


def folder_of_served(settings: Settings) -> Path:
    """Name the folder of the kept graph."""
    return settings.data_dir / "models" / "onnx" / name_of_model(settings.model)
