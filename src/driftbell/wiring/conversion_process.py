"""Child process that converts the configured model and writes it to the conversion cache."""

from __future__ import annotations

import json
import sys
from contextlib import suppress

from driftbell import jsonlog
from driftbell.config.settings import Settings
from driftbell.errors import DriftbellError
from driftbell.process.parent_death import exit_with
from driftbell.wiring.model import convert_model


def main(parent: int) -> None:
    """Convert the model of the settings on standard input: `data_dir`, `model` and `columns` as JSON.

    Args:
        parent: process id of the parent process.
    """
    jsonlog.configure()
    exit_with(parent)  # where the kernel does not end this process with its parent
    with suppress(DriftbellError):  # the parent process opens the model too, and raises the error itself
        convert_model(Settings.model_validate(json.load(sys.stdin)))
