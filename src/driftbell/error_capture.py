"""Capture of unexpected errors, where one failure must not end the rest of the work."""

from __future__ import annotations

from types import TracebackType


class ErrorCapture:
    """Context manager that keeps an error of its block instead of raising it.

    It is meant for code that runs foreign libraries or other people's models beside work that must go on, and
    for threads that hand an error to another thread. The caller must use `error`: log it or pass it on.

    Args:
        expected: types of errors that are raised as usual.

    Attributes:
        error: the error of the block; None if there was none.

    >>> with ErrorCapture() as captured:
    ...     int("three")
    >>> captured.error
    ValueError("invalid literal for int() with base 10: 'three'")
    """

    __slots__ = ("_expected", "error")

    def __init__(self, *expected: type[Exception]) -> None:
        self._expected = expected
        self.error: Exception | None = None

    def __enter__(self) -> ErrorCapture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or isinstance(error, self._expected):
            return False
        self.error = error
        return True
