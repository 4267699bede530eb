"""Content of the pictures of a backtest: performance, drift of the columns, alarms and change points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from driftbell.alarms.metric import SHARE_METRICS
from driftbell.degradation.label_texts import CONCEPT_DRIFT
from driftbell.phrases import count_of
from driftbell.publish.wording import NEEDS_LABELS
from driftbell.records import Interval, Period, Verdict

if TYPE_CHECKING:
    from driftbell.simulation.backtest_checks import Backtest, BacktestCheck

Moment: TypeAlias = datetime | int

MAX_COLUMNS = 20
"""Columns in the heat map, the most drifted first."""

MAX_NOISE_P_VALUE = 0.05
"""A distance with a larger p-value, adjusted for all columns, is drawn pale."""

MAX_POINTS = 300
"""Points on the time axis; consecutive checks are combined if there are more."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the time axis: a check, or consecutive ones.

    Attributes:
        start: start in seconds since 1970 or as a row number.
        end: end in the same unit.
        first: index of the first check.
        last: index of the last check.
        word: the most severe verdict, see `verdict_word`.
        estimated: estimated performance: mean value, widest interval; None without an estimate.
        realized: the same for the realized performance.
    """

    start: float
    end: float
    first: int
    last: int
    word: str
    estimated: Interval | None
    realized: Interval | None


@dataclass(frozen=True, slots=True)
class HeatRow:
    """Drift of one column.

    Attributes:
        column: its name.
        distances: the largest distance at each point; None where it was not compared.
        drifted: whether it is listed as drifted, at each point.
        drifted_checks: number of checks that list it.
        noise: whether the distance is not significant, at each point.
    """

    column: str
    distances: Sequence[float | None]
    drifted: Sequence[bool]
    drifted_checks: int
    noise: Sequence[bool]


@dataclass(frozen=True, slots=True)
class AlarmMark:
    """One alarm.

    Attributes:
        start: start of the check that opens it.
        end: end of its last check.
        change: its newest change point and both ends of its interval; None without.
    """

    start: float
    end: float
    change: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class BacktestView:
    """Content of the pictures of a backtest.

    Attributes:
        timed: whether the axis is time, in seconds since 1970; otherwise row numbers.
        points: the points of the axis, oldest first.
        checks_per_point: number of checks in each.
        metric: name of the metric of performance; "" without predictions.
        reference: performance on the reference; None without labels there.
        threshold: the reference's performance and the smallest loss; None without.
        rows: at most `MAX_COLUMNS` columns.
        other_columns: number of the remaining columns.
        alarms: every alarm.
        counts: number of checks by verdict, see `verdict_word`; most severe verdicts first.
    """

    timed: bool
    points: Sequence[Point]
    checks_per_point: int
    metric: str
    reference: float | None
    threshold: float | None
    rows: Sequence[HeatRow]
    other_columns: int
    alarms: Sequence[AlarmMark]
    counts: Mapping[str, int]

    @property
    def has_performance(self) -> bool:
        """True with an estimated or realized performance."""
        return any(p.estimated or p.realized for p in self.points)

    @property
    def sentence(self) -> str:
        """Number of checks by verdict, and of alarms."""
        checks = sum(self.counts.values())
        verdicts = ", ".join(f"{count:,} {word}" for word, count in self.counts.items())
        alarms = f"{len(self.alarms):,} alarm{'' if len(self.alarms) == 1 else 's'}"
        return f"{alarms} in {checks:,} check{'' if checks == 1 else 's'}. Verdicts: {verdicts or 'none'}."


WORDS = (
    Verdict.ALARM.value,
    NEEDS_LABELS,
    *(v.value for v in (Verdict.WARNING, Verdict.UNKNOWN, Verdict.OK)),
)
"""Verdicts of checks, the most severe first."""


def unlabelled_note(checks: Backtest) -> str:
    """Return the sentence about checks of rows without a label; "" if there are none, or no predictions."""
    monitored = [check for check in checks if check.reference_metric]
    if not monitored:
        return ""
    window = None if checks.every else min(check.rows for check in monitored)  # rows that wait count again
    count = sum(check.labelled < (window or check.rows) for check in monitored)
    if not count:
        return ""
    few = f"{count:,} of {count_of(len(checks), 'check')}"
    return (
        f"{few} {'has' if count == 1 else 'have'} rows without a label, and only labels show {CONCEPT_DRIFT}."
    )


def verdict_word(check: BacktestCheck | Period) -> str:
    """Return the verdict of a check or period, or "cannot tell" if only labels settle it."""
    is_alarm = check.verdict is Verdict.ALARM
    return NEEDS_LABELS if check.needs_labels and not is_alarm else check.verdict.value


def backtest_view(backtest: Backtest) -> BacktestView:
    """Prepare the pictures of a backtest; the checks that are missing are computed."""
    checks = backtest.checks
    facts = backtest.reference
    size = -(-len(checks) // MAX_POINTS) or 1
    groups = [checks[i : i + size] for i in range(0, len(checks), size)]
    reference = facts.metrics.get(facts.metric)
    sign = -1.0 if facts.metric in SHARE_METRICS else 1.0
    counts = Counter(map(verdict_word, checks))
    rows = _heat_rows(checks, groups)
    return BacktestView(
        timed=bool(checks) and isinstance(checks[0].start, datetime),
        points=[_point(group, facts.metric) for group in groups],
        checks_per_point=size,
        metric=facts.metric,
        reference=reference.value if reference else None,
        threshold=reference.value + sign * facts.smallest_loss if reference else None,
        rows=rows[:MAX_COLUMNS],
        other_columns=max(0, len(rows) - MAX_COLUMNS),
        alarms=_alarms(checks),
        counts={word: counts[word] for word in WORDS if counts[word]},
    )


def format_moment(moment: Moment) -> str:
    """Return a time in UTC, or a row number.

    >>> format_moment(datetime(2026, 1, 31, 12, tzinfo=UTC)), format_moment(1500)
    ('2026-01-31 12:00', 'row 1500')
    """
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}" if isinstance(moment, datetime) else f"row {moment}"


def number_of(moment: Moment) -> float:
    """Return the position of a time or row on the axis."""
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)


def _point(checks: Sequence[BacktestCheck], metric: str) -> Point:
    return Point(
        number_of(checks[0].start),
        number_of(checks[-1].end),
        checks[0].index,
        checks[-1].index,
        min(map(verdict_word, checks), key=WORDS.index),
        _mean([c.estimated[metric] for c in checks if metric in c.estimated]),
        _mean([c.realized[metric] for c in checks if metric in c.realized]),
    )


def _mean(intervals: Sequence[Interval]) -> Interval | None:
    if not intervals:
        return None
    return Interval(
        sum(i.value for i in intervals) / len(intervals),
        min(i.low for i in intervals),
        max(i.high for i in intervals),
    )


def _heat_rows(checks: Sequence[BacktestCheck], groups: Sequence[Sequence[BacktestCheck]]) -> list[HeatRow]:
    """Return the compared columns: those that drift most often first, then those with the largest change."""
    by_check = [{s.column: s for s in check.column_stats} for check in checks]
    names = list(dict.fromkeys(name for stats in by_check for name in stats))
    rows = []
    for name in names:
        distances: list[float | None] = []
        drifted, noise = [], []
        for group in groups:
            stats = [by_check[c.index][name] for c in group if name in by_check[c.index]]
            distances.append(max((s.distance for s in stats if s.distance is not None), default=None))
            drifted.append(any(s.drifted for s in stats))
            p_values = [s.p_value for s in stats if s.p_value is not None]
            noise.append(bool(p_values) and min(p_values) > MAX_NOISE_P_VALUE)
        if any(d is not None for d in distances) or any(drifted):
            count = sum(stats[name].drifted for stats in by_check if name in stats)
            rows.append(HeatRow(name, distances, drifted, count, noise))
    return sorted(rows, key=lambda r: (-r.drifted_checks, -max((d or 0.0) for d in r.distances)))


def _alarms(checks: Sequence[BacktestCheck]) -> list[AlarmMark]:
    alarms: list[AlarmMark] = []
    is_open = False
    for check in checks:
        if check.verdict is Verdict.ALARM:
            change = check.change_point
            points = None if change is None else (*map(number_of, change),)
            if not is_open:
                alarms.append(AlarmMark(number_of(check.start), number_of(check.end), None))
            newest = alarms[-1]
            marks = newest.change if points is None else (points[0], points[1], points[2])
            alarms[-1] = AlarmMark(newest.start, number_of(check.end), marks)
        is_open = check.verdict is Verdict.ALARM
    return alarms
