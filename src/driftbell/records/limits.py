"""The user's own fixed limits of a column, and what a check measured."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Measure(StrEnum):
    """A number of a column of the window that may have a limit.

    `null_share` and `unreadable_share` are shares of the rows. `new_share` is the share of the values that
    the reference does not have: unseen categories, or numbers out of its range. `distance` is the size of the
    largest change. `min` and `max` are limits of the smallest and the largest number.
    """

    NULL_SHARE = "null_share"
    UNREADABLE_SHARE = "unreadable_share"
    NEW_SHARE = "new_share"
    DISTANCE = "distance"
    MIN = "min"
    MAX = "max"


@dataclass(frozen=True, slots=True)
class Limit:
    """A fixed limit of one column, such as `passenger_count.null_share` = 0.1.

    Attributes:
        column: its name.
        measure: the number that is limited.
        value: the smallest allowed number for `min`, else the largest.
    """

    column: str
    measure: Measure
    value: float

    @property
    def name(self) -> str:
        """The limit's name in the settings."""
        return f"{self.column}.{self.measure.value}"


@dataclass(frozen=True, slots=True)
class LimitResult:
    """A limit and what a check measured.

    Attributes:
        column: the column's name.
        measure: the number that is limited.
        limit: the limit.
        value: the measured number; None if it could not be measured.
        exceeded: whether the limit is exceeded; None if it could not be judged.
        reason: the number and the limit in words, or why it could not be judged.
    """

    column: str
    measure: Measure
    limit: float
    value: float | None
    exceeded: bool | None
    reason: str

    @property
    def name(self) -> str:
        """The limit's name in the settings."""
        return f"{self.column}.{self.measure.value}"
