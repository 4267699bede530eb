"""Columns of Polars frames by their exact names: to Polars, names such as `*` and `^a.*$` are patterns."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any


def exactly(names: Collection[str]) -> Any:
    """Return the selector of columns with these names, in this order.

    >>> import polars as pl
    >>> pl.DataFrame({"*": [1], "a": [2]}).select(exactly(["*"])).columns
    ['*']
    """
    from polars import selectors

    return selectors.by_name(*names)


def nameless_series(frame: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name of each column of a frame, and its series without a name.

    Many methods of a series are evaluated by its name, which would be taken for a pattern.
    """
    for series in frame.get_columns():
        yield series.name, series.alias("")
