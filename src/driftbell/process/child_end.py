"""Sentence about how a child process that loads a model has ended."""

from __future__ import annotations

import signal


def describe_end(model: str, status: int) -> str:
    """Return why a child process ended before its work was done, and what to do.

    Args:
        model: the name of the model; "" if it is not known.
        status: the exit code, or minus the number of the signal.
    """
    what = f"the model {model}" if model else "the model"
    if status == -signal.SIGKILL:
        return f"the process that loaded {what} was killed, probably because the memory ran out"
    if status < 0:
        name = signal.Signals(-status).name
        return (
            f"the library of {what} ended the process with {name}: the file is damaged, or the library has a "
            "fault; save the model again, with the version of the library that is installed here"
        )
    return f"{what} ended the process that loaded it with exit code {status}: remove that call from its code"
