"""Numbers and texts of which only the counts on bins of the reference are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbell.drift.column_counts import TextCounts
from driftbell.tabular.number_counts import NumberCounts, NumberEdges


@dataclass(frozen=True, slots=True, eq=False)
class BinnedNumbers:
    """Numbers of one side, counted between edges of the reference."""

    counts: NumberCounts
    on: NumberEdges

    @property
    def edges(self) -> NDArray[np.float64]:
        """Edges of `bins`, which are infinite at both ends."""
        return np.concatenate([[-np.inf], self.on.edges, [np.inf]])

    @property
    def bins(self) -> NDArray[np.int64]:
        """Rows of each bin, of which infinite numbers have their own: they are no ties of finite ones."""
        low, high = self.counts.infinite
        bins = np.concatenate([[0, low], self.counts.bins, [high, 0]])
        bins[2] -= low
        bins[-3] -= high
        return bins

    @property
    def finite(self) -> NDArray[np.int64]:
        """Rows of each bin between the finite edges, without infinite numbers."""
        return self.bins[2:-2]

    @property
    def median(self) -> float | None:
        """Median, rounded to the middle of its bin; None without finite numbers."""
        low, high = self.counts.infinite
        finite = self.counts.rows - low - high
        if not finite:
            return None
        place = np.searchsorted(np.cumsum(self.counts.bins), low + finite / 2)
        return float(self.counts.values(self.on)[place])

    def upto(self, place: int) -> float:
        """Return the share of the rows up to the end of one of `bins`."""
        return float(self.bins[: place + 1].sum()) / self.counts.rows


@dataclass(frozen=True, slots=True, eq=False)
class BinnedTextCounts:
    """Texts of one side, with the features counted between edges of the reference."""

    counts: TextCounts
    on: tuple[NumberEdges, ...]

    @property
    def features(self) -> tuple[BinnedNumbers, ...]:
        """Length, and share of each class of characters."""
        pairs = zip(self.counts.features, self.on, strict=True)
        return tuple(BinnedNumbers(counts, on) for counts, on in pairs)
