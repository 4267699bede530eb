"""First load of a model in a child process: what ends or fills that process ends nothing else.

Native libraries crash on damaged files, code may call `os._exit`, and a graph may fill the memory. A model
that was loaded once, with the same libraries, is in the conversion cache and is not tried again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from driftbell import jsonlog
from driftbell.config.settings import ModelSettings, Settings
from driftbell.errors import ModelError
from driftbell.phrases import printable
from driftbell.process.child_end import describe_end

TRIAL = """
import gc, sys
gc.set_threshold(1_000_000)  # imports create no garbage, and collections take a fifth of the process's time
from driftbell.process.parent_death import end_with_parent
parent, reports, is_json = map(int, sys.argv[1:])
end_with_parent(parent)  # before the libraries are imported, which takes seconds
from driftbell.wiring.conversion_process import main
main(parent, reports, is_json=bool(is_json))
"""
"""Program of the child process, given the id of its parent process, a file descriptor for its report, and 1
if its log is JSON on stdout, else 0.

Its settings are read from standard input.
"""

CONVERSIONS_FOLDER = Path("models") / "onnx"
"""Folder below the data folder with one conversion cache a model."""

DONE = b"done"
"""Report of a child process that has loaded the model; any other one is an error."""

MAX_REPORT = 4096

STDERR = 2
"""File descriptor."""


class TrialProcess:
    """A child process that imports what a trial needs, and waits for the settings of the model."""

    def __init__(self) -> None:
        reports, writer = os.pipe()
        self._reports = os.fdopen(reports, "rb")
        is_json = jsonlog.is_on_stdout()
        command = [sys.executable, "-c", TRIAL, str(os.getpid()), str(writer), str(int(is_json))]
        stdout = None if is_json else STDERR  # stdout is for the results of a command
        try:
            self._child = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.PIPE, stdout=stdout, text=True, pass_fds=(writer,)
            )
        except OSError:
            self._reports.close()
            raise
        finally:
            os.close(writer)

    def load(self, settings: Settings, meanwhile: Callable[[], None]) -> None:
        """Load the model once; see `try_model`."""
        if self._child.stdin:
            with suppress(BrokenPipeError), self._child.stdin as stdin:  # it has ended
                stdin.write(_options(settings))
        meanwhile()
        self._child.wait()
        os.set_blocking(self._reports.fileno(), False)  # a process that the model started may hold it too
        report = self._reports.read(MAX_REPORT) or b""
        if report == DONE:
            return
        if report:
            raise ModelError(report.decode("utf-8", "replace"))
        raise ModelError(describe_end(printable(settings.model.path or "iris", 200), self._child.returncode))

    def close(self) -> None:
        """Kill the process if it has not ended. Idempotent."""
        self._child.kill()
        if self._child.stdin:
            with suppress(BrokenPipeError):
                self._child.stdin.close()
        self._child.wait()
        self._reports.close()


def try_model(
    settings: Settings, meanwhile: Callable[[], None] = lambda: None, process: TrialProcess | None = None
) -> None:
    """Load the model in a child process, which predicts rows of the reference and writes the cache.

    Args:
        settings: all settings.
        meanwhile: called while the child process works.
        process: the child process if it was started before.

    Raises:
        ModelError: the model cannot be loaded, or has ended the process.
    """
    with closing(process or TrialProcess()) as trial:  # also after a stop signal's exception
        trial.load(settings, meanwhile)


@contextmanager
def early_trial(settings: Settings) -> Iterator[TrialProcess | None]:
    """Start the process of a trial before it is needed, if no model was tried in this data folder.

    It imports its libraries while this process imports its own, and loads no model before `try_model`.
    """
    is_first = is_tried(settings.model) and not (settings.data_dir / CONVERSIONS_FOLDER).exists()
    process = TrialProcess() if is_first else None
    try:
        yield process
    finally:
        if process:
            process.close()


def is_tried(options: ModelSettings) -> bool:
    """Return whether a child process loads the model first: a file, or the default model to convert."""
    if options.prediction is not None or isinstance(options.path, str):
        return False
    return options.path is not None or (options.engine == "auto" and find_spec("onnxruntime") is not None)


def _options(settings: Settings) -> str:
    """Return the settings of a model as JSON."""
    sections = {"data_dir": True, "columns": True, "model": True}
    timeouts = {"timeout", "load_timeout"}
    values = settings.model_dump(mode="json", include=sections, exclude={"model": timeouts})
    values["model"]["load_timeout"] = f"{settings.model.load_timeout.total_seconds()}s"
    return json.dumps(values)
