"""Samples of a large table, on which the kinds and bins of its columns are decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from driftbell.tabular.exact_names import nameless_series
from driftbell.tabular.null_words import null_words

SAMPLE_PARTS = 20
"""The sample of a large reference consists of about this number of runs of rows, at even distances."""

MAX_SAMPLE_BYTES = 256 * 2**20
"""About the largest size of the texts and lists in a sample, which has fewer rows if they are long."""

MAX_PRESENT = 10_000
"""Cells of a column of which the sample has none."""


class TextBudget:
    """Number of rows of the runs of a sample, of which all texts have about `MAX_SAMPLE_BYTES`.

    Args:
        runs: number of runs.
    """

    def __init__(self, runs: int) -> None:
        self._bytes = MAX_SAMPLE_BYTES / runs
        self._row_bytes = 0.0

    def rows(self, wanted: int) -> int:
        """Return the number of rows of the next run, by the size of the texts of the runs before."""
        return max(1, min(wanted, int(self._bytes / self._row_bytes))) if self._row_bytes else wanted

    def add(self, frame: Any) -> None:
        """Add a run, a Polars frame."""
        size = sum(s.estimated_size() for s in frame.get_columns() if is_long(s))
        self._row_bytes = max(self._row_bytes, size / max(1, len(frame)))


def is_long(series: Any) -> bool:
    """Return whether the cells of a Polars series may have any length."""
    import polars as pl

    dtype = series.dtype
    return bool(dtype.is_nested() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Binary))


def first_present(
    frames: Iterable[Any], names: Sequence[str], *, keep_null_words: Callable[[str], bool]
) -> dict[str, list[Any]]:
    """Return the first cells of columns that are not null, `MAX_PRESENT` of each.

    Args:
        frames: Polars frames with some of the rows, and of the columns.
        names: names of the columns.
        keep_null_words: returns whether words such as NA are texts in a column.

    Returns:
        Parts of each column that has such cells, Polars series.
    """
    import polars as pl

    parts: dict[str, list[Any]] = {}
    missing = dict.fromkeys(names, MAX_PRESENT)
    for frame in frames:
        for name, series in nameless_series(frame):
            cells = series.drop_nulls()
            if cells.dtype.is_float():
                cells = cells.drop_nans()
            elif cells.dtype == pl.String:
                words = null_words(()) if not keep_null_words(name) else {""}
                cells = cells.filter(~cells.str.strip_chars().is_in(pl.Series(sorted(words)).implode()))
            if len(cells) and missing[name]:
                parts.setdefault(name, []).append(cells.head(missing[name]))
                missing[name] -= len(parts[name][-1])
        if not any(missing.values()):
            break
    return parts


def sample_places(rows: Sequence[int], wanted: int) -> list[tuple[int, int, int]]:
    """Return runs of rows at even distances: index of the file, first row and number of rows.

    Args:
        rows: rows of each file.
        wanted: about the number of rows of all runs.
    """
    total = sum(rows)
    if total <= wanted:
        return [(i, 0, count) for i, count in enumerate(rows)]
    size = -(-wanted // SAMPLE_PARTS)
    starts = [round(i * (total - size) / (SAMPLE_PARTS - 1)) for i in range(SAMPLE_PARTS)]
    ends = np.cumsum(rows)
    places = []
    for start in starts:
        left, place = size, start
        while left and place < total:
            i = int(np.searchsorted(ends, place, side="right"))
            first = place - (int(ends[i]) - rows[i])
            count = min(left, rows[i] - first)
            places.append((i, first, count))
            left, place = left - count, place + count
    return places
