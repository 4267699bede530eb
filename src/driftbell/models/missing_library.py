"""Imports of the libraries of models, which are optional."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from driftbell.errors import MissingExtraError, ModelError


def import_library(module: str, *, needed_by: Path | str, extra: str = "") -> Any:
    """Import the library of a model.

    Args:
        module: its name.
        needed_by: the model's file.
        extra: the extra that installs it; "" for the module's name.

    Raises:
        MissingExtraError: it is not installed; the message has the command that installs it.
        ModelError: it is installed and cannot be imported.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name in (module, module.partition(".")[0]):
            raise MissingExtraError(f"the model {needed_by}", extra or module) from error
        raise ModelError(f"cannot import {module}, which {needed_by} needs: {error}") from error
    except ImportError as error:
        raise ModelError(f"cannot import {module}, which {needed_by} needs: {error}") from error
