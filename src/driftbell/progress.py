"""Progress of long work, reported to an observer such as a progress bar, if there is one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
Observer = Callable[[str, float], None]
"""Called with the stage, such as "reading june.csv", and the share of all work that is done, from 0 to 1."""


@dataclass(slots=True)
class _Progress:
    observer: Observer
    text: str = ""
    start: float = 0.0
    end: float = 1.0


_current: ContextVar[_Progress | None] = ContextVar("progress", default=None)


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Report the progress of the work inside the `with` statement to an observer."""
    token = _current.set(_Progress(observer))
    try:
        yield
    finally:
        _current.reset(token)


def begin_stage(text: str, start: float, end: float) -> None:
    """Begin a stage of the work.

    Args:
        text: description of the stage, such as "reading june.csv".
        start: share of all work done before it.
        end: share of all work done after it.
    """
    progress = _current.get()
    if progress is not None:
        progress.text, progress.start, progress.end = text, start, end
        progress.observer(text, start)


def track(items: Collection[T]) -> Iterator[T]:
    """Yield the items of the current stage, and report after each one how many are done.

    >>> with observed(lambda text, share: print(text, share)):
    ...     begin_stage("adding", 0.5, 1.0)
    ...     sum(track([1, 2]))
    adding 0.5
    adding 0.75
    adding 1.0
    3
    """
    progress = _current.get()
    if progress is None:
        yield from items
        return
    for done, item in enumerate(items, 1):
        yield item
        progress.observer(progress.text, progress.start + (progress.end - progress.start) * done / len(items))
