"""Dates and times, compared by time of day, day of the week, and order: a later file is not drift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftbell.drift.value_groups import frequent_rows
from driftbell.records import Column
from driftbell.stats import Outcome, chi_square
from driftbell.stats.samples import distinct_counts
from driftbell.stats.special import f_tail

HOUR, DAY = 3_600_000_000, 86_400_000_000
"""In microseconds."""

MIN_WEEK_DAYS = 14
"""Days of the week are compared if both sides cover at least two weeks."""

MIN_DAY_SHARE = 20 / 24
"""Times of day are compared if both sides cover at least this share of a day."""

MAX_DAYS = 400_000
"""More days between the oldest and the newest time, about 1,000 years, are not counted day by day."""

FIRST_DAY, LAST_DAY = -98_618, 120_532
"""Days since 1970 of which the hours are counted, about the years 1700 to 2300.

Times before and after, such as 9999-12-31 for "never", count as the same hour of the first or the last day.
"""

TINY = 1e-9
"""Smaller sums of squares are rounding errors."""

DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True, eq=False)
class Week:
    """Rows per day, by day of the week from Monday.

    Attributes:
        occurrences: number of days, shape (7,).
        means: mean rows per day, shape (7,).
        logs: mean of ln(1 + rows per day), shape (7,).
        spread: dispersion of the rows per day: (X², degrees of freedom).
        log_spread: dispersion of the logarithms: (sum of squares, degrees of freedom).
    """

    occurrences: NDArray[np.float64]
    means: NDArray[np.float64]
    logs: NDArray[np.float64]
    spread: tuple[float, int]
    log_spread: tuple[float, int]


class Ties(NamedTuple):
    """Different times of a column: their number, and the most frequent one with its rows.

    Of times by the hour, the number is a lower bound, the rows are estimated, and the time is its hour; None
    if that is not known.
    """

    different: int
    most_frequent: int | None
    rows: int


NO_TIES = Ties(0, None, 0)


@dataclass(frozen=True, slots=True, eq=False)
class TimeProfile:
    """Counts of the n times of a column that are not null.

    Attributes:
        values: microseconds since 1970, sorted, shape (n,).
        hours: number of rows in each hour of the day, shape (24,).
        timed: whether a time is not midnight.
        week: rows per day of the week; None if fewer than `MIN_WEEK_DAYS` days are covered.
        hour_spread: dispersion of the hours between days: (X², degrees of freedom).
        times_used: ties of the times.
        days_used: ties of the days, as the microseconds at which they begin.
        is_binned: whether only the ends of `values` are known, and its other elements repeat the first.
        weights: rows of each element of `values`, which are the first times of hours then, and the ends;
            None for one row each.
        latest: the last time that rows of each element of `values` may have; None if it is that element.
    """

    values: NDArray[np.int64]
    hours: NDArray[np.float64]
    timed: bool
    week: Week | None
    hour_spread: tuple[float, int]
    times_used: Ties = NO_TIES
    days_used: Ties = NO_TIES
    is_binned: bool = False
    weights: NDArray[np.int64] | None = None
    latest: NDArray[np.int64] | None = None

    @property
    def rows(self) -> int:
        """Number of times."""
        return len(self.values) if self.weights is None else int(self.weights.sum())

    def rows_before(self, time: float) -> int:
        """Return the number of rows before a time; of times by the hour, only those that surely are."""
        latest = self.values if self.latest is None else self.latest
        place = int(np.searchsorted(latest, time, side="left"))
        return place if self.weights is None else int(self.weights[:place].sum())

    def rows_after(self, time: float) -> int:
        """Return the number of rows after a time; of times by the hour, only those that surely are."""
        place = int(np.searchsorted(self.values, time, side="right"))
        return len(self.values) - place if self.weights is None else int(self.weights[place:].sum())

    @property
    def days(self) -> float:
        """Time between the oldest and the newest row, in days."""
        return float(self.values[-1] - self.values[0]) / DAY if len(self.values) else 0.0


def time_profile(cells: Column) -> TimeProfile:
    """Count the times of a column.

    Args:
        cells: datetime64[us] in UTC with NaT for null, shape (n,).
    """
    present = cells[~np.isnat(cells)].astype("datetime64[us]")
    values = np.sort(present.astype(np.int64))
    if not len(values):
        return TimeProfile(values, np.zeros(24), False, None, (0.0, 0))
    days, hour = values // DAY, values % DAY // HOUR
    hours = np.bincount(hour, minlength=24).astype(np.float64)
    return TimeProfile(
        values,
        hours,
        bool(np.any(values % DAY)),
        _week(days),
        _hour_spread(days, hour),
        _ties(*distinct_counts(values)),
        _ties(*distinct_counts(days * DAY)),
    )


def time_profile_of_hours(
    hours: NDArray[np.int64],
    counts: NDArray[np.int64],
    ends: tuple[int, int],
    *,
    timed: bool,
    groups: NDArray[np.int64] | None = None,
) -> TimeProfile:
    """Return the profile of times of which the hours are known.

    Args:
        hours: hours since 1970, increasing, shape (k,), k ≥ 1.
        counts: rows of each hour, shape (k,).
        ends: the oldest and the newest time, in microseconds.
        timed: whether a time is not midnight.
        groups: from `group_integers`; None if they are not known, so that no time is the most frequent one.
    """
    days, hour, rows = hours // 24, hours % 24, int(counts.sum())
    first = np.flatnonzero(np.concatenate([[True], days[1:] != days[:-1]]))
    per_day = np.add.reduceat(counts, first)
    values = np.clip(hours * HOUR, *ends)
    latest = np.clip((hours + 1) * HOUR - 1, *ends)
    values[0], latest[-1] = ends
    values[days <= FIRST_DAY], latest[days >= LAST_DAY] = ends  # of times beyond, only the ends are known
    weights = counts.copy()
    weights[0] -= 1
    if rows > 1:
        weights[-1] -= 1
    values, latest = (np.concatenate([[ends[0]], v, [ends[1]]]) for v in (values, latest))
    weights = np.concatenate([[1], weights, [min(rows - 1, 1)]])
    return TimeProfile(
        values,
        np.bincount(hour, counts, minlength=24).astype(np.float64),
        timed,
        _week(days, counts) if ends[1] // DAY - ends[0] // DAY < MAX_DAYS else None,
        _hour_spread(days, hour, counts),
        NO_TIES if groups is None else _ties_of_groups(groups, hours, counts),
        _known_day(_ties(days[first] * DAY, per_day)),
        weights=weights,
        latest=latest,
    )


def _ties(different: NDArray[np.int64], counts: NDArray[np.int64]) -> Ties:
    i = int(np.argmax(counts))
    return Ties(len(different), int(different[i]), int(counts[i]))


def _ties_of_groups(groups: NDArray[np.int64], hours: NDArray[np.int64], counts: NDArray[np.int64]) -> Ties:
    """Estimate the ties of times, see `frequent_rows`; the time is its hour, if only one has so many rows.

    Several frequent times may share a group, but no time has more rows than the hour with the most.
    """
    rows = min(frequent_rows(groups), int(counts.max()))
    possible = np.flatnonzero(counts >= rows)
    hour = int(hours[possible[0]]) * HOUR if len(possible) == 1 else None
    return _known_day(Ties(max(int(np.count_nonzero(groups)), len(hours)), hour, rows))


def _known_day(ties: Ties) -> Ties:
    """Return ties without the most frequent time if it may be of another day, see `FIRST_DAY`."""
    if ties.most_frequent is None or FIRST_DAY < ties.most_frequent // DAY < LAST_DAY:
        return ties
    return ties._replace(most_frequent=None)


def _week(days: NDArray[np.int64], counts: NDArray[np.int64] | None = None) -> Week | None:
    span = int(days[-1] - days[0]) + 1
    if not MIN_WEEK_DAYS <= span <= MAX_DAYS:
        return None
    per_day = np.bincount(days - days[0], counts, minlength=span).astype(np.float64)
    weekday = (np.arange(span) + int(days[0]) + 3) % 7  # 1970-01-01 was a Thursday
    occurrences = np.bincount(weekday, minlength=7).astype(np.float64)
    means = np.bincount(weekday, per_day, minlength=7) / occurrences
    logs = np.bincount(weekday, np.log1p(per_day), minlength=7) / occurrences
    expected = means[weekday]
    used = expected > 0
    x2 = float(np.sum((per_day[used] - expected[used]) ** 2 / expected[used]))
    freedom = int(np.count_nonzero(used)) - int(np.count_nonzero(means))
    squares = float(np.sum((np.log1p(per_day) - logs[weekday]) ** 2))
    return Week(occurrences, means, logs, (x2, freedom), (squares, span - 7))


def _hour_spread(
    days: NDArray[np.int64], hour: NDArray[np.int64], counts: NDArray[np.int64] | None = None
) -> tuple[float, int]:
    distinct, rows = distinct_counts(days)
    place = np.repeat(np.arange(len(distinct)), rows)
    if not 1 < len(distinct) <= MAX_DAYS:
        return 0.0, 0
    table = np.zeros((len(distinct), 24))
    np.add.at(table, (place, hour), 1.0 if counts is None else counts)
    table = table[:, table.sum(axis=0) > 0]
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    x2 = float(np.sum((table - expected) ** 2 / expected))
    return x2, (table.shape[0] - 1) * (table.shape[1] - 1)


def dispersed_chi_square(
    before: NDArray[np.float64], now: NDArray[np.float64], *spreads: tuple[float, int]
) -> tuple[Outcome, float]:
    """Return a chi-square test of counts of rows that are not independent.

    X² is divided by the dispersion φ, which is estimated from days that should be alike and is at least 1,
    and compared with the F distribution (quasi-likelihood).

    Args:
        before: counts of the reference, shape (k,).
        now: counts of the window, shape (k,).
        spreads: X² and degrees of freedom of each side.

    Returns:
        The test, and φ.

    Source: P. McCullagh, J. A. Nelder, "Generalized linear models", 2nd ed. (1989), section 4.5.
    """
    used = before + now > 0
    k = int(np.count_nonzero(used))
    freedom = sum(df for _, df in spreads)
    dispersion = max(1.0, sum(x2 for x2, _ in spreads) / freedom) if freedom else 1.0
    test = chi_square(before, now)
    if k < 2:
        return Outcome(0.0, 1.0), dispersion
    if dispersion == 1.0:
        return test, 1.0
    statistic = test.statistic / dispersion
    return Outcome(statistic, f_tail(statistic / (k - 1), k - 1, freedom)), dispersion


def week_test(before: Week, now: Week) -> float:
    """Return the p-value of equal proportions between the days of the week.

    Analysis of variance of ln(1 + rows per day): the differences of both sides by day of the week, about
    their common mean. Rows per day vary more than independent rows would, and on a logarithmic scale equally
    on small and large days.

    Args:
        before: the reference.
        now: the window.
    """
    weights = 1 / (1 / before.occurrences + 1 / now.occurrences)
    differences = now.logs - before.logs
    differences = differences - np.average(differences, weights=weights)
    squares = float(np.sum(weights * differences**2))
    freedom = before.log_spread[1] + now.log_spread[1]
    error = before.log_spread[0] + now.log_spread[0]
    if not freedom or squares < TINY:
        return 1.0
    if error < TINY:
        return 0.0
    return f_tail(squares / 6 / (error / freedom), 6, freedom)
