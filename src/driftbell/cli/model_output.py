"""Redirection of the output of a model that a command runs: it is no result, so it goes to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from typing import TextIO, TypeVar

T = TypeVar("T")


def output_of_model() -> redirect_stdout[TextIO]:
    """Return a context in which what is printed goes to stderr, since stdout is for results."""
    return redirect_stdout(sys.stderr)


def computed_apart(items: Iterable[T]) -> Iterator[T]:
    """Yield items; what is printed while one is computed goes to stderr."""
    iterator = iter(items)
    while True:
        with output_of_model():
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item
