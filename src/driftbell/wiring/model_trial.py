"""First load of a model in a child process: what ends or fills that process ends nothing else.

Native libraries crash on damaged files, code may call `os._exit`, and a graph may fill the memory. A model
that was loaded once, with the same libraries, is in the conversion cache and is not tried again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

from driftbell.config.settings import Settings
from driftbell.errors import ModelError
from driftbell.phrases import printable
from driftbell.process.child_end import describe_end

TRIAL = """
import sys
from driftbell.process.parent_death import end_with_parent
parent, reports = map(int, sys.argv[1:])
end_with_parent(parent)  # before the libraries are imported, which takes seconds
from driftbell.wiring.conversion_process import main
main(parent, reports)
"""
"""Program of the child process, given the id of its parent process and a file descriptor for its report.

Its settings are read from standard input.
"""

DONE = b"done"
"""Report of a child process that has loaded the model; any other one is an error."""

MAX_REPORT = 4096


def try_model(settings: Settings, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Load the model in a child process, which predicts rows of the reference and writes the cache.

    Args:
        settings: all settings.
        meanwhile: called while the child process works.

    Raises:
        ModelError: the model cannot be loaded, or has ended the process.
    """
    reports, writer = os.pipe()
    command = [sys.executable, "-c", TRIAL, str(os.getpid()), str(writer)]
    with open(reports, "rb") as pipe:
        try:
            child = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, pass_fds=(writer,))  # noqa: S603
        finally:
            os.close(writer)
        with child:
            try:
                if child.stdin:
                    with suppress(BrokenPipeError), child.stdin as stdin:  # it has ended
                        stdin.write(_options(settings))
                meanwhile()
                child.wait()
            except BaseException:  # such as a stop signal's
                child.kill()
                raise
        os.set_blocking(reports, False)  # a process that the model has started may hold the other end
        report = pipe.read(MAX_REPORT) or b""
    if report == DONE:
        return
    if report:
        raise ModelError(report.decode("utf-8", "replace"))
    raise ModelError(describe_end(printable(settings.model.path or "iris", 200), child.returncode))


def _options(settings: Settings) -> str:
    """Return the settings of a model as JSON."""
    sections = {"data_dir": True, "columns": True, "model": True}
    timeouts = {"timeout", "load_timeout"}
    values = settings.model_dump(mode="json", include=sections, exclude={"model": timeouts})
    values["model"]["load_timeout"] = f"{settings.model.load_timeout.total_seconds()}s"
    return json.dumps(values)
