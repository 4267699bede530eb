"""A reference of which counts are compared with those of any number of rows, part by part."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from driftbell.drift.binned_tests import ERROR
from driftbell.drift.column_bins import (
    ColumnBins,
    column_bins,
    compare_counts,
    count_column_on,
    with_limits,
)
from driftbell.drift.column_counts import ColumnCounts, merge_counts
from driftbell.drift.compare import compare, prepare
from driftbell.drift.logged_columns import typed_columns
from driftbell.drift.prepared import PreparedReference
from driftbell.records import Column, ColumnComparison, Columns, Judgement, Reference
from driftbell.tabular.cells import objects
from driftbell.tabular.number_bins import INTERVALS

FORMAT = 2
"""Another number makes all counts of earlier releases invalid."""

ID_DIGITS = 16

MIN_ERROR = 0.0001
"""Smaller errors of distances are not written in digits."""


@dataclass(frozen=True, eq=False)
class CountedReference:
    """The reference of a model with its counts on its own bins.

    Attributes:
        prepared: the reference.
        bins: the bins of each column.
        counts: its counts.
    """

    prepared: PreparedReference
    bins: Mapping[str, ColumnBins]
    counts: Mapping[str, ColumnCounts]

    def count(self, columns: Columns) -> dict[str, ColumnCounts]:
        """Count logged predictions.

        Args:
            columns: arrays as `as_column` returns them.
        """
        typed = typed_columns(columns, self.prepared.decided)
        return {n: count_column_on(c, self.bins[n]) for n, c in typed.items() if n in self.bins}

    def compare(
        self, counts: Mapping[str, ColumnCounts], rows: int, newest: Columns | None = None
    ) -> tuple[ColumnComparison, ...]:
        """Compare counts with those of the reference.

        Args:
            counts: by column, merged from `count`; rows of parts that lack a column are nulls.
            rows: number of rows of all parts.
            newest: the newest rows, which are tested alone as well.
        """
        whole = {n: c + ColumnCounts(rows - c.rows, rows - c.rows) for n, c in counts.items()}
        cells = typed_columns(newest or {}, self.prepared.decided)
        return compare_counts(self.prepared.columns, self.bins, self.counts, whole, cells)

    @cached_property
    def id(self) -> str:
        """Hash of the bins: counts on other bins cannot be added."""
        digest = hashlib.sha256(str(FORMAT).encode())
        for name, on in self.bins.items():
            edges = [e for e in (on.edges, *on.words) if e is not None]
            content: list[Any] = [name, on.kind, on.categories and (on.categories.names, on.categories.salt)]
            content += [(e.edges.tolist(), e.limits, str(e.dtype), e.targets.tolist()) for e in edges]
            digest.update(repr(content).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:ID_DIGITS]


def count_reference(reference: Reference) -> CountedReference:
    """Count the reference of a model on its own bins."""
    typed = typed_columns(reference.columns, kinds=reference.kinds)
    prepared = prepare(typed, roles=reference.roles)
    bins = {column.name: column_bins(column) for column in prepared.columns}
    counts = {name: count_column_on(typed[name], on) for name, on in bins.items()}
    bins = {name: with_limits(on, counts[name]) for name, on in bins.items()}
    return CountedReference(prepared, bins, counts)


class TableParts:
    """Logged predictions that arrive part by part: the cells of a few rows, the counts of many.

    Args:
        reference: what they are compared with.
        exact_rows: largest number of rows that are compared by their cells.
    """

    def __init__(self, reference: Reference, exact_rows: int) -> None:
        self._reference = reference
        self._exact_rows = exact_rows
        self._parts: list[tuple[Columns, int]] = []
        self._counted: CountedReference | None = None
        self._counts: dict[str, ColumnCounts] = {}
        self.rows = 0

    def add(self, columns: Columns, rows: int) -> None:
        """Add a part.

        Args:
            columns: arrays as `as_column` returns them; the part may lack a column.
            rows: its number of rows.
        """
        self.rows += rows
        self._parts.append((columns, rows))
        if self.rows > self._exact_rows:
            counted = self._counted = self._counted or count_reference(self._reference)
            parts = (counted.count(part) for part, _ in self._parts)
            self._counts = merge_counts(self._counts, *parts)
            self._parts.clear()

    def compare(self) -> tuple[ColumnComparison, ...]:
        """Compare all rows with the reference."""
        if self._counted is not None:
            return self._counted.compare(self._counts, self.rows)
        typed = typed_columns(self._reference.columns, kinds=self._reference.kinds)
        prepared = prepare(typed, roles=self._reference.roles)
        return compare(prepared, typed_columns(self._columns(), prepared.decided))

    def _columns(self) -> dict[str, Column]:
        names = dict.fromkeys(name for columns, _ in self._parts for name in columns)
        return {name: self._column(name) for name in names}

    def _column(self, name: str) -> Column:
        is_number = any(c[name].dtype.kind == "f" for c, _ in self._parts if name in c)
        cells = [
            columns[name]
            if name in columns
            else np.full(rows, np.nan)
            if is_number
            else objects([None] * rows)
            for columns, rows in self._parts
        ]
        return np.concatenate(cells)


def with_precision(judgement: Judgement) -> tuple[Judgement, float | None]:
    """Add to the sentence by how much distances on bins may be too large.

    Args:
        judgement: on counts or cells.

    Returns:
        The judgement, and the largest error; None if no column was compared on bins of numbers.
    """
    results = (result for c in judgement.columns for result in c.comparison.results)
    errors = [r.value for r in results if r.statistic == ERROR and r.value is not None]
    if not errors:
        return judgement, None
    error = max(errors)
    size = f"up to {error:.4f}" if error >= MIN_ERROR else f"less than {MIN_ERROR}"
    distance = "Kolmogorov–Smirnov distance"
    larger = f"a {distance} may be larger by {size}" if error else f"the {distance}s are exact"
    note = f"Numbers are compared on {INTERVALS} bins of the reference: {larger}."
    return replace(judgement, sentence=f"{judgement.sentence} {note}"), error
