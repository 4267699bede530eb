"""Columns that time moves on by itself: parts of the calendar, times, and counters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

MIN_ROWS = 50
"""Fewer values do not show that they follow the order of the rows."""

MAX_STARTS = 1 / 3
"""At most this share of the changes of a part of the calendar go down, all of them back to the start."""

MIN_STEPS = 4

MIN_DIFFERENT, MIN_DIFFERENT_IDS = 0.95, 0.25
"""Share of different values of a counter, and of numbers that are called ids."""

MAX_GAPS = 3.0
"""A shuffled counter fills its range up to this factor."""

FIRST_YEAR, LAST_YEAR = 1900, 2100

EPOCH = (1e9, 2.2e9)
"""Unix seconds of 2001 to 2039."""

MAX_EPOCH_RATIO = 1.4
EPOCH_UNITS = (1.0, 1e3, 1e6, 1e9)

CYCLE_MARGIN = 0.1
"""Numbers beyond the range of a cycle by this share of it are none of the cycle."""

RUNNING = 10
"""A count that goes on beyond the calendar, such as the day of a study, has numbers up to this factor; so
have later Unix times."""

COUNTER = "counter"
TIME = "time"
CYCLE = "time of a cycle"

MAX_CYCLE = 400
"""Different values of a cycle, such as the share of a day in half hours."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the calendar: words of a column's name, and its smallest and largest value."""

    words: frozenset[str]
    low: int
    high: int


_PARTS = {
    "month": _Part(frozenset({"month", "mnth", "mon", "monat", "mois", "mes"}), 0, 12),
    "hour": _Part(frozenset({"hour", "hr", "hh", "stunde", "heure", "hora"}), 0, 24),
    "day of the week": _Part(frozenset({"weekday", "wday", "dow", "dayofweek", "wochentag"}), 0, 7),
    "day of the month": _Part(frozenset({"day", "dom", "mday", "dayofmonth", "tag", "jour"}), 1, 31),
    "day of the year": _Part(frozenset({"dayofyear", "yday", "doy"}), 0, 366),
    "week": _Part(frozenset({"week", "weekofyear", "isoweek", "kw", "woche"}), 0, 53),
    "quarter": _Part(frozenset({"quarter", "qtr"}), 1, 4),
    "season": _Part(frozenset({"season"}), 0, 4),
    "minute": _Part(frozenset({"minute"}), 0, 60),
    "second": _Part(frozenset({"second"}), 0, 60),
    "year": _Part(frozenset({"year", "yr", "yyyy", "jahr"}), FIRST_YEAR, LAST_YEAR),
}
_TIMES = frozenset({"time", "timestamp", "ts", "epoch", "unixtime", "unix", "date", "datetime", "dt"})
_COUNTERS = frozenset({"id", "index", "idx", "row", "rownum", "rownumber", "seq", "sequence", "counter"})
_PREFIXES = frozenset({"of", "the", "in", "pickup", "dropoff", "request", "event", "order", "calendar"})
"""Words beside that of the part; with others, such as in `years_employed` or `day_charge`, it is another."""

_UNITS = frozenset({"day", "week", "month", "year"})
_MONTHS = ["january", "february", "march", "april", "may", "june", "july"]
_MONTHS += ["august", "september", "october", "november", "december"]
_DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_SHORT_MONTHS = [name[:3] for name in _MONTHS] + ["june", "july", "sept"]
_SHORT_DAYS = [name[:3] for name in _DAYS] + ["tues", "thur", "thurs"]
_QUARTERS = ["q1", "q2", "q3", "q4"]
_SEASONS = ["winter", "spring", "summer", "autumn", "fall"]
_NAMES = [frozenset(x) for x in (_MONTHS, _SHORT_MONTHS, _DAYS, _SHORT_DAYS, _QUARTERS, _SEASONS)]
_DATE = re.compile(
    r"(19|20)\d\d[-/.]?(0[1-9]|1[0-2])([-/.]?(0[1-9]|[12]\d|3[01]))?([T ].*)?"  # 2026-12-31T10:00, 2026-12
    r"|(0?[1-9]|[12]\d|3[01])[-/.](0?[1-9]|[12]\d|3[01])[-/.]((19|20)\d\d|\d\d)( .*)?"  # 31.12.2026, 12/31/26
    r"|(19|20)\d\d[- ]?(Q[1-4]|W(0[1-9]|[1-4]\d|5[0-3]))"  # 2026Q4, 2026-W53
    r"|([01]?\d|2[0-4]):[0-5]\d(:[0-5]\d)?"  # 10:30
)


@np.errstate(over="ignore", invalid="ignore")  # of numbers near the largest ones
def calendar_kind(name: str, values: Vector) -> str:
    """Return which part of the calendar a column of numbers is, `time` or `counter`; "" for any other.

    New values of such a column are no fault, and one value for a while is none either. The kind is decided
    from the values, and from their order or the name of the column: integers from 1 to 12 alone are no month.

    Args:
        name: of the column.
        values: in the order of the rows, which may be shuffled; NaN is ignored.

    >>> calendar_kind("mnth", np.arange(100) % 12 + 1.0), calendar_kind("x7", np.arange(100) // 5 % 12 + 1.0)
    ('month', 'month')
    >>> calendar_kind("x7", np.random.default_rng(0).integers(1, 13, 500).astype(float))
    ''
    >>> calendar_kind("t", 1.7e9 + 60 * np.arange(100.0)), calendar_kind("order", np.arange(5000.0, 5100))
    ('time', 'counter')
    >>> calendar_kind("price", np.sort(np.random.default_rng(0).lognormal(3, 1, 500)))
    ''
    """
    present = values[np.isfinite(values)]
    if not len(present):
        return ""
    words = _words(name)
    if _are_times(present) or (words & _TIMES and _is_rising(present) and _distinct(present) > MIN_STEPS):
        return TIME
    follows = len(present) >= MIN_ROWS and _follows_order(present)
    if (present != np.round(present)).any():
        return CYCLE if follows and _is_cycle(present) else ""
    low, high = float(present.min()), float(present.max())
    for kind, part in _PARTS.items():
        named = _is_named(words, part.words) and part.low <= low and high <= part.high
        if named or (kind == "year" and words <= part.words and low >= 0 and high <= 60):
            return kind
    if _is_counter(present, words):
        return COUNTER
    if follows:
        return next((k for k, part in _PARTS.items() if part.low <= low and high <= part.high), "")
    return ""


def calendar_kind_of_categories(name: str, categories: Sequence[str], codes: Vector) -> str:
    """Return what `calendar_kind` does for categories, which may be numbers as text; "" for any other.

    Args:
        name: of the column.
        categories: by code.
        codes: code of each row, NaN for null.

    >>> calendar_kind_of_categories("month", ["1", "2", "12"], np.array([0.0, 1.0, 2.0, np.nan]))
    'month'
    """
    kind = calendar_kind_of_texts(categories)
    try:
        numbers = np.array([float(text) for text in categories])
    except ValueError:
        is_quarter = {_name(text) for text in categories} <= set(_QUARTERS)  # or a quartile
        return "quarter" if is_quarter and _is_named(_words(name), _PARTS["quarter"].words) else kind
    return kind or calendar_kind(name, numbers[codes[~np.isnan(codes)].astype(np.intp)])


@np.errstate(over="ignore", invalid="ignore")
def may_count_on(kind: str, values: Vector) -> bool:
    """Return whether a part of the calendar may be a count that goes on, such as the day of a study.

    It may unless the values start again, or have the whole cycle in any order. Seasons of a league and
    periods of a game go on as well.

    Args:
        kind: from `calendar_kind`.
        values: of the reference, in the order of its rows; NaN is ignored.

    >>> days = np.arange(100) // 5 + 1.0
    >>> may_count_on("day of the month", days), may_count_on("day of the month", np.arange(100) % 31 + 1.0)
    (True, False)
    """
    part, present = _PARTS.get(kind), values[np.isfinite(values)]
    if part is None or kind == "year" or not len(present):
        return False
    if kind in ("season", "quarter") or _is_rising(present):
        return True
    last = part.high - (kind != "day of the month")  # months from 0 end with 11
    return bool(present.max() < last and not (len(present) >= MIN_ROWS and _follows_order(present)))


def impossible_values(
    kind: str, known: tuple[float, float], values: Vector, *, counts_on: bool = False
) -> NDArray[np.bool_]:
    """Return which numbers a column that time moves on cannot have, such as a month of 12,000 or of 6.5.

    Args:
        kind: from `calendar_kind`; counters have no limits.
        known: smallest and largest number of the reference.
        values: NaN is ignored, shape (n,).
        counts_on: see `may_count_on`.

    >>> impossible_values("month", (1, 12), np.array([0.0, 12.0, 13.0, 6.5, np.nan])).tolist()
    [False, False, True, True, False]
    >>> impossible_values("time", (1.7e9, 1.8e9), np.array([1.9e9, 1.9e12, 0.0])).tolist()
    [False, True, True]
    """
    limits = _limits(kind, *known)
    if limits is None:
        return np.zeros(len(values), dtype=bool)
    impossible = (values < limits[0]) | (values > limits[1] * (RUNNING if counts_on else 1))
    return impossible | (values % 1 > 0) if kind in _PARTS else impossible


def _limits(kind: str, low: float, high: float) -> tuple[float, float] | None:
    """Return the smallest and largest possible number; None if it is not known."""
    if kind == "year":
        return (FIRST_YEAR, LAST_YEAR) if low >= FIRST_YEAR else (0, 99)
    if kind in _PARTS:
        return _PARTS[kind].low, _PARTS[kind].high
    if kind == CYCLE:
        margin = CYCLE_MARGIN * (high - low)
        return low - margin, high + margin
    if kind == TIME:
        for first, last in ((EPOCH[0] * unit, EPOCH[1] * unit) for unit in EPOCH_UNITS):
            if first <= low and high <= last:
                return first / RUNNING, last * RUNNING  # another unit is at least 1000 times as large
        return (FIRST_YEAR * 10_000, LAST_YEAR * 10_000 + 1231) if _are_dates(low, high) else None
    return None


def possible_texts(kind: str, known: Iterable[str], texts: Sequence[str | None]) -> NDArray[np.bool_]:
    """Return which texts a column of a part of the calendar, or of times, may have as well as those known.

    Names of months and days are written as the known ones: `January` is another category than `Jan`.

    Args:
        kind: from `calendar_kind_of_categories`.
        known: categories of the reference.
        texts: None is no such text, shape (n,).

    >>> possible_texts("month", ["Jan", "Feb"], ["May", "June", "January", "mar", "n/a", None]).tolist()
    [True, True, False, False, False, False]
    >>> possible_texts("month", ["1", "2"], ["3", "13", "03"]).tolist()
    [True, False, False]
    >>> possible_texts("month", ["08", "09"], ["10", "7"]).tolist()  # with a leading zero
    [True, False]
    """
    known = list(known)
    names = [group for group in _NAMES if all(_name(text) in group for text in known)]
    if not names and calendar_kind_of_texts(known) == kind != TIME:
        names = _NAMES  # some are short
    styles = {_style(text) for text in known}
    if styles & {"zero", "digit", "digits"}:  # 10 is written alike with leading zeros and without
        styles |= {"zero", "digit"} if styles == {"digits"} else {"digits"}
    if any(style.endswith(".") for style in styles):  # Jan., but March
        names, styles = names and _NAMES, styles | {style.rstrip(".") for style in styles}
    short = {_name(text)[:3] for text in known}
    numbers = [number for text in known if (number := _number(text)) is not None]
    limits = (min(numbers), max(numbers)) if numbers else None
    different = {text for text in texts if text is not None}
    different -= {text for text in different if names and _name(text)[:3] in short}  # `June` beside `Jun`
    possible = {text: _is_possible(kind, text, names, styles, limits) for text in different}
    return np.array([possible.get(text, False) if text is not None else False for text in texts], dtype=bool)


def _is_possible(
    kind: str, text: str, names: list[frozenset[str]], styles: set[str], known: tuple[float, float] | None
) -> bool:
    if names:
        return _style(text) in styles and any(_name(text) in group for group in names)
    number = _number(text)
    if number is None or known is None:
        return kind == TIME and _DATE.fullmatch(text.upper()) is not None
    return _style(text) in styles and not impossible_values(kind, known, np.array([number]))[0]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _name(text: str) -> str:
    return text.strip().lower().rstrip(".")


def _style(text: str) -> str:
    """Return how a text is written, apart from its letters and digits."""
    clean = text.strip()
    if clean[:1].isdigit():
        whole = clean.partition(".")[0]
        return "digit" if len(whole) == 1 else "zero" if whole[0] == "0" else "digits"
    case = "upper" if clean.isupper() else "lower" if clean.islower() else "title"
    return case + clean[-1:] * clean.endswith(".")


def calendar_note(kind: str) -> str:
    """Return the note about new values of a column that time moves on; "" for any other.

    >>> calendar_note("month"), calendar_note("counter"), calendar_note("")
    ('month: new values come with time', 'counter: values continue to grow', '')
    """
    if not kind:
        return ""
    return f"{kind}: {'values continue to grow' if kind in (COUNTER, TIME) else 'new values come with time'}"


def calendar_kind_of_texts(categories: Iterable[str]) -> str:
    """Return which part of the calendar a column of texts is, or `time` for dates; "" for any other.

    >>> calendar_kind_of_texts(["Jan", "Feb", "Dec"]), calendar_kind_of_texts(["2026-01-02", "2026-01-03"])
    ('month', 'time')
    >>> calendar_kind_of_texts(["basic", "pro"]), calendar_kind_of_texts([])
    ('', '')
    """
    texts = {_name(text) for text in categories}
    if len(texts) < 2:
        return ""
    if texts <= {*_MONTHS, *_SHORT_MONTHS}:
        return "month"
    if texts <= {*_DAYS, *_SHORT_DAYS}:
        return "day of the week"
    if texts <= set(_SEASONS):
        return "season"
    return TIME if all(_DATE.fullmatch(text.upper()) for text in texts) else ""


def _words(name: str) -> frozenset[str]:
    """Return the words of a name: `dayOfWeek` and `day_of_week` have the same."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return frozenset(re.findall(r"[a-z]+", spaced.lower()))


def _is_named(words: frozenset[str], of_part: frozenset[str]) -> bool:
    joined = {"dayofweek", "dayofyear", "dayofmonth", "weekofyear"} & of_part
    if any(words == frozenset(re.findall("day|week|month|year|of", name)) for name in joined):
        return True
    others = _PREFIXES | _UNITS if "of" in words else _PREFIXES
    return bool(words & of_part) and words - of_part <= others


def _distinct(values: Vector) -> int:
    return len(np.unique(values))


def _is_rising(values: Vector) -> bool:
    return bool((np.diff(values) >= 0).all())


def _are_times(values: Vector) -> bool:
    """Return whether all values are Unix times of one period, or dates written as the number 20261231."""
    low, high = float(values.min()), float(values.max())
    if (
        any(EPOCH[0] * u <= low and high <= EPOCH[1] * u for u in EPOCH_UNITS)
        and high <= MAX_EPOCH_RATIO * low
    ):
        return _distinct(values) > MIN_STEPS
    if not FIRST_YEAR * 10_000 <= low <= high <= LAST_YEAR * 10_000 + 1231 or (values % 1 != 0).any():
        return False
    distinct = np.unique(values)
    return len(distinct) > MIN_STEPS and _are_dates(*distinct.tolist())


def _are_dates(*numbers: float) -> bool:
    return all(_is_date(int(number)) for number in numbers)


def _is_date(number: int) -> bool:
    try:
        date(number // 10_000, number // 100 % 100, number % 100)
    except ValueError:
        return False
    return True


def _is_counter(values: Vector, words: frozenset[str]) -> bool:
    """Return whether integers rise by even steps in the order of the rows, fill their range, or are ids."""
    if len(values) < MIN_ROWS:
        return False
    distinct = _distinct(values)
    if "id" in words and distinct >= max(MIN_ROWS, MIN_DIFFERENT_IDS * len(values)):
        return True
    if distinct < MIN_DIFFERENT * len(values):
        return False
    steps = np.diff(values)
    if (steps > 0).all() and np.quantile(steps, 0.95) <= MAX_GAPS * np.median(steps):
        return True
    return float(np.ptp(values)) <= MAX_GAPS * len(values) or (bool(words & _COUNTERS) and _is_rising(values))


def _is_cycle(values: Vector) -> bool:
    """Return whether values are at even distances and start again at least a few times."""
    distinct = np.unique(values)
    gaps = np.diff(distinct)
    is_even = MIN_STEPS < len(distinct) <= MAX_CYCLE and gaps.max() <= MAX_GAPS * np.median(gaps)
    return bool(is_even and np.count_nonzero(np.diff(values) < 0) >= MIN_STEPS)


def _follows_order(values: Vector) -> bool:
    """Return whether values rise with the rows and start again, as those of a calendar."""
    steps = np.diff(values)
    moved, falls = np.count_nonzero(steps), steps < 0
    starts = np.count_nonzero(falls)
    if moved < MIN_STEPS or starts > MAX_STARTS * moved:
        return False
    if not starts:
        return bool(values.min() >= FIRST_YEAR)  # any column may be sorted
    gap = np.diff(np.unique(values)).min()
    return bool((-steps[falls] >= (np.ptp(values) + gap) / 2).all())
