"""Counts of logged predictions by day."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SliceKey:
    """Key of slices: one model version, counted on the bins of one reference.

    Attributes:
        model: the model's name.
        version: the model's version.
        bins: hash of the bins, and of the predictions that are left out.
    """

    model: str
    version: str
    bins: str


@dataclass(frozen=True, slots=True)
class TimeSlice:
    """Counts of the predictions of one day.

    Attributes:
        day: the date (UTC), such as `2026-01-31`.
        rows: number of predictions.
        first: smallest sequence number.
        last: largest sequence number.
        counts: counts of each column, encoded.
    """

    day: str
    rows: int
    first: int
    last: int
    counts: bytes


@dataclass(frozen=True, slots=True)
class CountedDays:
    """Slices of consecutive predictions.

    Attributes:
        seq: the last sequence number that was counted; None if nothing is counted yet.
        slices: by day, the oldest first.
    """

    seq: int | None = None
    slices: tuple[TimeSlice, ...] = ()
