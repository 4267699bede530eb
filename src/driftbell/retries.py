"""Retry policy of HTTP requests: exponential backoff, by stamina."""

from __future__ import annotations

from stamina import BoundRetryingCaller, RetryingCaller


def with_backoff(on: type[Exception], *, attempts: int, first_wait: float) -> BoundRetryingCaller:
    """Return a caller that repeats a call while it raises an error of one type; the last error is raised.

    Args:
        on: type of the errors to retry.
        attempts: maximum number of attempts, at least 2.
        first_wait: seconds before the second attempt, doubled before each further one.

    >>> with_backoff(ConnectionError, attempts=3, first_wait=0.5)(int, "3")
    3
    """
    return RetryingCaller(
        attempts=attempts,
        timeout=None,
        wait_initial=first_wait,
        wait_max=first_wait * 2.0 ** (attempts - 2),
        wait_jitter=0.0,
    ).on(on)
