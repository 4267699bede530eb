"""Child process that loads the configured model, converts it, and writes it to the conversion cache."""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback

from driftbell import jsonlog
from driftbell.config.settings import Settings
from driftbell.error_capture import ErrorCapture
from driftbell.errors import DriftbellError
from driftbell.hidden_values import values_are_hidden
from driftbell.models.foreign_code import error_text
from driftbell.phrases import printable
from driftbell.process.memory import limit_memory
from driftbell.process.parent_death import exit_with
from driftbell.wiring.model import convert_model
from driftbell.wiring.model_trial import DONE, MAX_REPORT


def main(parent: int, reports: int, *, is_json: bool) -> None:
    """Load and convert the model of the settings on standard input.

    They are the sections `data_dir`, `model` and `columns` as JSON.

    Args:
        parent: process id of the parent process.
        reports: file descriptor to which `DONE`, or the message of an error, is written.
        is_json: whether log lines are JSON on stdout, as those of the services; otherwise warnings are
            sentences on stderr.
    """
    gc.freeze()  # collections skip what was imported
    jsonlog.configure() if is_json else jsonlog.configure(sys.stderr, level="WARNING", plain=True)
    exit_with(parent)  # where the kernel does not end this process with its parent
    limit_memory()
    settings = Settings.model_validate(json.load(sys.stdin))
    with ErrorCapture() as captured:
        convert_model(settings)
    report = _problem(captured.error, settings).encode()[:MAX_REPORT] if captured.error else DONE
    os.write(reports, report)
    os._exit(0)  # threads of the model do not keep it from ending


def _problem(error: Exception, settings: Settings) -> str:
    """Return why a model is not loaded; the traceback of an error that nobody expected goes to stderr."""
    if isinstance(error, DriftbellError):
        return str(error)
    if not values_are_hidden():
        traceback.print_exception(error)
    return f"the model {printable(settings.model.path or 'iris', 200)} cannot be loaded: {error_text(error)}"
