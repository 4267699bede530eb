"""Dates, times and durations in text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.tabular.text_numbers import MIN_SHARE

MAX_SAMPLE = 1000
"""Different texts that are looked at for the formats of dates."""

MIN_FORMAT_SHARE = 0.01
"""Share of the dates of a column that have a format which is usual there."""

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
TIME = (
    r"(?:(?:\s*[T ]\s*|,\s*)(?P<hour>\d{1,2}):(?P<minute>\d{2})"
    r"(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?\s*(?P<half>[AaPp])?(?:\.?[Mm]\.?)?"
    r"\s*(?P<zone>Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?(?:\[[\w/]+\])?)?$"
)
DAY, YEAR = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?", r"(?P<year>\d{4}|\d{2})"
WEEKDAY = r"^(?:(?i:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+)?"
NAME = r"(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
FORMS = {
    "year first": r"^(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d{1,2})[-/.](?P<day>\d{1,2})" + TIME,
    "numbers": rf"^(?P<first>\d{{1,2}})(?P<mark>[-/.])(?P<other>\d{{1,2}})[-/.]{YEAR}{TIME}",
    "day, name": rf"{WEEKDAY}{DAY}[-\s./]*(?P<name>{NAME})[-\s./,]*{YEAR}{TIME}",
    "name, day": rf"{WEEKDAY}(?P<name>{NAME})\.?\s+{DAY},?\s+(?P<year>\d{{4}}){TIME}",
    "year, month": r"^(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])$",
    "basic": (
        r"^(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})T(?P<hour>\d{2})(?P<minute>\d{2})"
        r"(?P<second>\d{2})?(?P<zone>Z)?$"
    ),
    "digits": r"^(?P<year>(?:19|20)\d{2})(?P<month>\d{2})(?P<day>\d{2})$",
}
DURATION = (
    r"^(?:(?P<days>-?\d+) days?,?\s*|(?P<sign>-))?\+?"
    r"(?P<hours>\d{1,3}):(?P<minutes>[0-5]\d)(?::(?P<seconds>[0-5]\d(?:\.\d+)?))?$"
)


@dataclass(frozen=True, slots=True, eq=False)
class TimeReading:
    """Times of n texts.

    Attributes:
        values: datetime64[us] in UTC, NaT for other texts, shape (n,).
        order: "day first" or "month first" for dates such as 03/04/2026; "" for others.
        ambiguous: number of texts that are dates in either order, where no other text decides it.
    """

    values: NDArray[np.datetime64]
    order: str = ""
    ambiguous: int = 0


def read_times(texts: Any, *, order: str = "", digits: bool = False) -> TimeReading:
    """Read the dates and times of a column in the one form that fits most texts.

    Args:
        texts: n texts, a Polars series of strings.
        order: "day first" or "month first"; "" decides it on the whole column.
        digits: whether `20260131` is a date.
    """
    clean = texts.str.strip_chars()
    sample = clean.drop_nulls().head(1000)
    hits = {
        form: int(sample.str.contains(pattern).sum())
        for form, pattern in FORMS.items()
        if digits or form != "digits"
    }
    form = max(hits, key=hits.__getitem__)
    none = TimeReading(np.full(len(texts), "NaT", dtype="datetime64[us]"))
    if not hits[form]:
        return none
    parts = clean.str.extract_groups(FORMS[form]).struct.unnest()
    ambiguous = 0
    if form == "numbers":
        parts, order, ambiguous = _day_and_month(parts, order)
        if ambiguous:
            return TimeReading(none.values, "", ambiguous)
    else:
        order = ""
    if "name" in parts.columns:
        month = parts["name"].str.slice(0, 3).str.to_lowercase()
        parts = parts.with_columns(
            month.replace_strict(MONTHS, [f"{i:02}" for i in range(1, 13)], default=None).alias("month")
        )
    return TimeReading(_build(parts), order)


def _day_and_month(parts: Any, order: str) -> tuple[Any, str, int]:
    """Decide which number is the day; a point between them means that it is the first."""
    import polars as pl

    first, other = (parts[name].cast(pl.Int16, strict=False) for name in ("first", "other"))
    if not order:
        day_first, month_first = int((first > 12).sum()), int((other > 12).sum())
        if (parts["mark"] == ".").any() and not month_first:
            order = "day first"
        elif day_first or month_first:
            order = "day first" if day_first > month_first else "month first"
        elif bool(((first == other) | first.is_null()).all()):
            order = "day first"
        else:
            return parts, "", int(first.is_not_null().sum())
    names = ("day", "month") if order == "day first" else ("month", "day")
    return parts.with_columns(parts["first"].alias(names[0]), parts["other"].alias(names[1])), order, 0


def _build(parts: Any) -> NDArray[np.datetime64]:
    """Return the times of parts; dates that do not exist become NaT."""
    import polars as pl

    def column(name: str, default: str) -> Any:
        return parts[name].fill_null(default) if name in parts.columns else pl.Series([default] * len(parts))

    year = column("year", "")
    short = year.str.len_chars() == 2
    century = pl.Series(
        np.where((year.cast(pl.Int16, strict=False).fill_null(0) < 69).to_numpy(), "20", "19")
    )
    year = year.zip_with(~short, century + year)
    hour = column("hour", "0").cast(pl.Int16, strict=False)
    half = column("half", "").str.to_lowercase()
    hour = hour.zip_with(half == "", hour % 12 + (half == "p").cast(pl.Int16) * 12)
    zone = (
        column("zone", "Z").str.replace(r"^(?i:z|utc|gmt)$", "+00:00").str.replace(r"^([+-]\d{2})$", "$1:00")
    )
    zone = zone.str.replace(r"^([+-]\d{2})(\d{2})$", "$1:$2")
    day = year + "-" + column("month", "1").str.zfill(2) + "-" + column("day", "1").str.zfill(2)
    clock = hour.cast(pl.String).str.zfill(2) + ":" + column("minute", "0").str.zfill(2)
    seconds = (
        column("second", "0").str.zfill(2) + "." + column("fraction", "0").str.slice(0, 6).str.pad_end(6, "0")
    )
    texts = day + " " + clock + ":" + seconds + zone
    times = texts.str.to_datetime("%Y-%m-%d %H:%M:%S%.6f%:z", strict=False, time_unit="us", time_zone="UTC")
    result: NDArray[np.datetime64] = times.dt.replace_time_zone(None).to_numpy()
    return result


def read_durations(texts: Any) -> NDArray[np.float64]:
    """Return durations such as `1 days 02:03:04.5` or `12:30` in seconds; NaN for other texts."""
    import polars as pl

    parts = texts.str.strip_chars().str.extract_groups(DURATION).struct.unnest()
    numbers = {
        name: parts[name].cast(pl.Float64, strict=False) for name in ("days", "hours", "minutes", "seconds")
    }
    clock = 3600 * numbers["hours"] + 60 * numbers["minutes"] + numbers["seconds"].fill_null(0)
    sign = pl.Series(np.where((parts["sign"] == "-").fill_null(False).to_numpy(), -1.0, 1.0))
    seconds = sign * (86400 * numbers["days"].fill_null(0) + clock)
    return np.asarray(seconds.fill_null(np.nan).to_numpy(), dtype=np.float64)


def date_formats(texts: Any) -> Any:
    """Return the format of each date in text, with `#` for a year and `a` for a word; null for null.

    Fractions of seconds and the sign of a zone are no part of it.

    Args:
        texts: n texts, a Polars series of strings.

    >>> import polars as pl
    >>> date_formats(pl.Series(["2024-02-01", "2024-02-01T10:30:00.5Z", "1.2.2024", "Feb 1, 2024"])).to_list()
    ['#-0-0', '#-0-0a0:0:0a', '0.0.#', 'a 0, #']
    """
    clean = texts.str.strip_chars().str.replace(r"(:\d{2})[.,]\d+", "$1")
    clean = clean.str.replace_all(r"\p{L}+", "a").str.replace_all(r"\d{3,}", "#").str.replace_all(r"\d+", "0")
    return clean.str.replace_all(r"\s+", " ").str.replace(r"(:0)-(0|0:0|#)$", "$1+$2")


def usual_formats(texts: Any) -> dict[str, str]:
    """Return the formats of at least `MIN_FORMAT_SHARE` of dates, the most frequent first, each with a date.

    Args:
        texts: the dates, a Polars series of strings without null.
    """
    import polars as pl

    table = pl.DataFrame({"format": date_formats(texts), "text": texts})
    table = table.group_by("format", maintain_order=True).agg(pl.len(), pl.col("text").first())
    table = table.filter(pl.col("len") >= MIN_FORMAT_SHARE * len(texts))
    return dict(table.sort("len", descending=True, maintain_order=True).select("format", "text").rows())


def date_pattern(date: str) -> str:
    """Return a date in text without its digits and words, in the same format.

    >>> date_pattern("31. August 2026, 10:30Z")
    '00. Jan 0000, 00:00Z'
    """
    return re.sub(r"\d", "0", re.sub(r"[^\W\d_]{3,}", "Jan", date))


def unclear_dates(texts: Any) -> str:
    """Return why dates in text cannot be read, with examples; "" if they can be, or most texts are no dates.

    They are in several formats, or it is not clear whether the day or the month comes first.

    >>> import polars as pl
    >>> unclear_dates(pl.Series(["2024-02-01", "01/02/2024"]))
    "dates in several formats such as '2024-02-01' and '01/02/2024'"
    >>> unclear_dates(pl.Series(["13/02/2024", "02/13/2024"]))
    "dates with the day first such as '13/02/2024' and the month first such as '02/13/2024'"
    """
    import polars as pl

    clean = texts.str.strip_chars().drop_nulls().unique(maintain_order=True).head(MAX_SAMPLE)
    by_form = {form: clean.filter(clean.str.contains(p)) for form, p in FORMS.items() if form != "digits"}
    examples = [matches[0] for matches in by_form.values() if len(matches)]
    if not len(clean) or sum(map(len, by_form.values())) < MIN_SHARE * len(clean):
        return ""
    if len(examples) > 1:
        return f"dates in several formats such as '{examples[0]}' and '{examples[1]}'"
    numbers = by_form["numbers"]
    if not len(numbers):
        return ""
    parts = numbers.str.extract_groups(FORMS["numbers"]).struct.unnest()
    day_first, month_first = (numbers.filter(parts[n].cast(pl.Int16) > 12) for n in ("first", "other"))
    if len(day_first) and len(month_first):
        examples = [day_first[0], month_first[0]]
        return f"dates with the day first such as '{examples[0]}' and the month first such as '{examples[1]}'"
    if len(day_first) or len(month_first) or (parts["mark"] == ".").any():
        return ""
    return f"dates such as '{numbers[0]}' of which either number may be the day"
