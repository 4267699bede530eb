"""Calls into a user's model and into the libraries that load it, which may raise errors of any type."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from driftbell.errors import ModelError, PredictError

MAX_MESSAGE_LENGTH = 300

T = TypeVar("T")
A = TypeVar("A")


def call_model(name: str, predict: Callable[[A], T], table: A) -> T:
    """Call a model.

    Raises:
        PredictError: the model raised an error, which is the cause; its message may contain feature values.
    """
    try:
        return predict(table)
    except Exception as error:  # a user's model may raise any type
        raise PredictError(f"model '{name}' failed with {type(error).__name__}") from error


def load_with(load: Callable[[], T], *, failure: str, advise: Callable[[Exception], str] | None = None) -> T:
    """Call a function that loads a model.

    Args:
        load: the function.
        failure: the message's first words, such as "cannot load model.skops".
        advise: returns what to do about an error, "" if it is not known.

    Raises:
        ModelError: the function raised an error; the message contains its first line.
    """
    try:
        return load()
    except ModelError:
        raise
    except Exception as error:  # a damaged file may raise any type
        line = (str(error).splitlines() or [""])[0][:MAX_MESSAGE_LENGTH]
        advice = advise(error) if advise else ""
        raise ModelError(
            f"{failure}: {type(error).__name__}: {line}{'; ' if advice else ''}{advice}"
        ) from error
