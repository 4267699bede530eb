"""Redirection of the output of a model that a command runs: it is no result, so it goes to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from typing import TextIO, TypeVar

T = TypeVar("T")


def output_of_model() -> redirect_stdout[TextIO]:
    """Return a context that redirects prints to stderr, since stdout is for results."""
    return redirect_stdout(sys.stderr)


def computed_apart(items: Iterable[T]) -> Iterator[T]:
    """Yield items; prints during their computation are redirected to stderr."""
    iterator = iter(items)
    while True:
        with output_of_model():
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item
