"""Judge the user's own fixed limits: a warning outside the false-alarm budget, never an alarm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from driftbell.drift.compare import NEWEST_ROWS
from driftbell.drift.prepared import PreparedColumn
from driftbell.drift.smallest_effects import check_column
from driftbell.errors import ConfigError
from driftbell.phrases import printable
from driftbell.records import ColumnComparison, Judgement, Kind, Limit, LimitResult, Measure, Scope, Verdict

MAX_NAMED = 5
"""Number of limits that a sentence names."""

MAX_REASON = 240
"""Characters of the reason of a limit in a sentence."""

MIN_DIGITS, MAX_DIGITS = 4, 17

NOT_COMPARED = "the check compared no column"

COMPARED = (Measure.NEW_SHARE, Measure.DISTANCE)
"""Measures that need a comparison of the values."""

WORDS = {
    Measure.NULL_SHARE: "nulls",
    Measure.UNREADABLE_SHARE: "unreadable cells",
    Measure.NEW_SHARE: "new values",
    Measure.DISTANCE: "distance",
    Measure.MIN: "smallest value",
    Measure.MAX: "largest value",
}


def check_limits(limits: Iterable[Limit], columns: Sequence[PreparedColumn]) -> None:
    """Raise an error if a limit does not fit the reference.

    Args:
        limits: the limits.
        columns: the columns of the reference.

    Raises:
        ConfigError: a name is no column, or the column cannot have such a number.
    """
    by_name = {column.name: column for column in columns}
    for limit in limits:
        check_column(limit.column, by_name, f"limits: '{printable(limit.name)}'")
        column, measure = by_name[limit.column], limit.measure
        problem = ""
        if column.kind is None:  # every cell of the reference is null; the window may have values
            continue
        if measure in (Measure.MIN, Measure.MAX) and column.kind is not Kind.NUMERIC:
            problem = f"is {column.kind.value}, and '{measure.value}' needs numbers"
        elif measure in COMPARED and column.excluded:
            problem = f"is not compared ({column.excluded})"
        elif measure is Measure.NEW_SHARE and column.kind in (Kind.DATETIME, Kind.TEXT):
            problem = f"is {column.kind.value}, and '{measure.value}' needs numbers or categories"
        if problem:
            name = printable(limit.column)
            raise ConfigError(f"limits: '{printable(limit.name)}': column '{name}' {problem}")


def apply_limits(judgement: Judgement, limits: Sequence[Limit], *, rows: int) -> Judgement:
    """Return the judgement with the limits.

    The verdict is at least `warning` if one is exceeded, and not `ok` if one could not be judged.

    Args:
        judgement: from `judge`; without columns, no limit is judged.
        limits: the limits.
        rows: number of rows of the window.
    """
    if not limits:
        return judgement
    comparisons = {c.column: c.comparison for c in judgement.columns}
    results = tuple(_judge_limit(limit, comparisons.get(limit.column), rows) for limit in limits)
    if not judgement.columns:
        return replace(judgement, limits=results)
    exceeded = [r for r in results if r.exceeded]
    unknown = [r for r in results if r.exceeded is None]
    verdict, sentences = judgement.verdict, []
    if exceeded:
        sentences.append(f"{_plural('Limit', exceeded)} exceeded: {_named(exceeded)}.")
        verdict = Verdict.WARNING
    if unknown:
        sentences.append(f"Cannot judge the {_plural('limit', unknown)} of {_named(unknown)}.")
        verdict = Verdict.UNKNOWN if verdict is Verdict.OK else verdict
    sentence = " ".join([*sentences, judgement.sentence])
    return replace(judgement, verdict=verdict, sentence=sentence, limits=results)


def _judge_limit(limit: Limit, comparison: ColumnComparison | None, rows: int) -> LimitResult:
    if comparison is None:
        return LimitResult(limit.column, limit.measure, limit.value, None, None, NOT_COMPARED)
    value = _measure(limit.measure, comparison, rows)
    exceeded = None if value is None else _exceeds(limit, value)
    if limit.measure is Measure.DISTANCE and comparison.scope is not Scope.VALUES and not exceeded:
        value = exceeded = None  # only nulls were compared
    if value is None:
        reason = f"{limit.measure.value}, {comparison.note.partition(';')[0] or 'no value'}"
    else:
        reason = describe_limit(limit, value)
    return LimitResult(limit.column, limit.measure, limit.value, value, exceeded, reason)


def _measure(measure: Measure, comparison: ColumnComparison, rows: int) -> float | None:
    """Return what is measured; None if there is nothing to measure."""
    match measure:
        case Measure.NULL_SHARE:
            return comparison.null_shares[1] if comparison.null_shares else None
        case Measure.UNREADABLE_SHARE:
            return comparison.unreadable[1] / rows if comparison.null_shares else None
        case Measure.NEW_SHARE:
            return comparison.new_share
        case Measure.DISTANCE:
            effects = [e.size for e in comparison.effects if not e.test.endswith(NEWEST_ROWS)]
            return max(effects, default=None)
    ends = comparison.value_range
    return None if ends is None else ends[0 if measure is Measure.MIN else 1]


def _exceeds(limit: Limit, value: float) -> bool:
    return value < limit.value if limit.measure is Measure.MIN else value > limit.value


def describe_limit(limit: Limit, value: float) -> str:
    """Return the number and the limit in words, with as many digits as the difference needs.

    >>> describe_limit(Limit("age", Measure.NULL_SHARE, 0.1), 0.2)
    '20 % nulls, limit 10 %'
    >>> describe_limit(Limit("age", Measure.NULL_SHARE, 0.1), 0.1000012)
    '10.0001 % nulls, limit 10 %'
    >>> describe_limit(Limit("age", Measure.MAX, 120), 999)
    'largest value 999, limit 120'
    >>> describe_limit(Limit("income", Measure.MAX, 1e5), 123456.7)
    'largest value 123457, limit 100000'
    """
    words = WORDS[limit.measure]
    if limit.measure in (Measure.DISTANCE, Measure.MIN, Measure.MAX):
        shown, allowed = _digits(value, limit.value)
        return f"{words} {shown}, limit {allowed}"
    shown, allowed = _digits(100 * value, 100 * limit.value)
    return f"{shown} % {words}, limit {allowed} %"


def _digits(value: float, limit: float) -> tuple[str, str]:
    """Format a number with at least four digits, and as many as it takes to see that it is not the limit."""
    allowed, whole = f"{limit + 0.0:.15g}", len(f"{abs(value):.0f}")
    first = max(MIN_DIGITS, whole) if whole <= MAX_DIGITS else MIN_DIGITS
    texts = [f"{value + 0.0:.{digits}g}" for digits in range(first, MAX_DIGITS + 1)]
    return next((t for t in texts if float(t) != float(allowed)), texts[0]), allowed


def _plural(word: str, results: Sequence[LimitResult]) -> str:
    return word if len(results) == 1 else f"{word}s"


def _named(results: Sequence[LimitResult]) -> str:
    named = [f"{printable(r.column)}: {printable(r.reason, MAX_REASON)}" for r in results[:MAX_NAMED]]
    more = [f"{len(results) - MAX_NAMED} more"] if len(results) > MAX_NAMED else []
    return "; ".join([*named, *more])
