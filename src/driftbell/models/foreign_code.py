"""Calls into a user's model and into the libraries that load it, which may raise errors of any type."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from driftbell.error_capture import ErrorCapture
from driftbell.errors import ConfigError, MissingModuleError, ModelError, PredictError
from driftbell.hidden_values import values_are_hidden
from driftbell.models.missing_library import missing_module, need_text
from driftbell.phrases import printable

MAX_MESSAGE_LENGTH = 300
MAX_ROW_SECONDS = 60.0
"""A model that takes longer for one row cannot be served."""

LOAD_SECONDS = 300.0
"""Default time for a model to be loaded."""

MAIN_THREAD_WORDS = ("main thread", "event loop")
"""Words of errors in a module that can be imported in the main thread only."""

T = TypeVar("T")
A = TypeVar("A")


def call_model(name: str, predict: Callable[[A], T], table: A) -> T:
    """Call a model.

    Raises:
        PredictError: the model raised an error, which is the cause; its message may contain feature values.
    """
    try:
        return predict(table)
    except BaseException as error:  # a user's model may raise any type, and must not end the service
        _raise_interrupt(error)
        raise PredictError(f"model '{name}' failed with {type(error).__name__}") from error


def load_with(load: Callable[[], T], *, failure: str, advise: Callable[[Exception], str] | None = None) -> T:
    """Call a function that loads a model.

    Args:
        load: the function.
        failure: the message's first words, such as "cannot load model.skops".
        advise: returns what to do about an error, "" if it is not known.

    Raises:
        MissingModuleError: the function imports a module that is not installed.
        ModelError: the function raised another error; the message contains its first words.
    """
    try:
        return load()
    except ConfigError:
        raise
    except BaseException as error:  # a damaged file may raise any type, and a user's module may exit
        _raise_interrupt(error)
        if module := missing_module(error):
            raise MissingModuleError(f"{failure}: it {need_text(module)}") from error
        advice = advise(error) if advise and isinstance(error, Exception) else ""
        reason = error_text(error)
        raise ModelError(f"{failure}: {reason}{'; ' if advice else ''}{advice}") from error


def load_within(limit: float, model: str, load: Callable[[], T]) -> T:
    """Load a model in a thread, with a limit of time.

    A module that needs the main thread is loaded again in this one, without the limit.

    Args:
        limit: the time in seconds.
        model: its file, or its name in a module.
        load: loads it.

    Raises:
        ModelError: it is not loaded within the limit, or `load` raised an error.
    """
    results, error = _run_within(limit, "load of the model", load)
    if error is None and not results:
        raise ModelError(
            f"the model {model} has not been loaded within {limit:g} s: its code waits for something, such "
            "as a server, or has an endless loop; if it only needs more time, set model.load_timeout "
            "(DRIFTBELL_MODEL__LOAD_TIMEOUT)"
        )
    if error and any(words in str(error) for words in MAIN_THREAD_WORDS):
        return load()
    if error:
        raise error
    return results[0]


def first_call(name: str, predict: Callable[[], T]) -> T:
    """Call a model for the first time, with a limit of time.

    A call that takes longer goes on in its thread, which ends with the process.

    Raises:
        ModelError: it has not answered within `MAX_ROW_SECONDS`.
        PredictError: it failed.
    """
    results, error = _run_within(MAX_ROW_SECONDS, "first call of the model", predict)
    if error is None and not results:
        raise ModelError(
            f"model '{name}' has not answered one row like the first one of its reference within "
            f"{MAX_ROW_SECONDS:.0f} s: it has a loop that does not end, or is too slow to be served"
        )
    if error:
        raise error
    return results[0]


def _run_within(limit: float, name: str, call: Callable[[], T]) -> tuple[list[T], BaseException | None]:
    """Call a function in a thread of its own; it goes on there after the limit of time.

    Returns:
        Its result in a list, which is empty after an error or beyond the limit, and its error.
    """
    results: list[T] = []
    captured = ErrorCapture()

    def run() -> None:
        with captured:
            results.append(call())

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    thread.join(limit)
    return list(results), captured.error


def error_text(error: BaseException) -> str:
    r"""Return type and message of an error of foreign code on one line of limited length.

    The message is left out where it may have a value that is not logged.

    >>> error_text(ValueError("bad\nvalue")), error_text(EOFError())
    ('ValueError: bad value', 'EOFError')
    """
    if values_are_hidden():
        return type(error).__name__
    text = " ".join(str(error).partition("Stack trace")[0].split())
    return f"{type(error).__name__}: {printable(text, MAX_MESSAGE_LENGTH)}" if text else type(error).__name__


def failure_reason(error: PredictError) -> str:
    """Return why a model failed; its own message may contain feature values."""
    cause = error.__cause__
    if cause is None or isinstance(cause, ModelError):
        return str(cause or error)
    module = missing_module(cause)
    return f"it {need_text(module)}" if module else error_text(cause)


def _raise_interrupt(error: BaseException) -> None:
    """Raise an error again that is the user's Ctrl-C, which only the main thread gets."""
    if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
        raise error
