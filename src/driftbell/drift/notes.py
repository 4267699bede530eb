"""Descriptions of changes: numbers with as many digits as the difference needs, and safe short names."""

from __future__ import annotations

from datetime import UTC, datetime

from driftbell.phrases import format_value, printable
from driftbell.tabular.text_times import date_formats

MAX_CATEGORY_LENGTH = 40
MAX_EXAMPLE_LENGTH = 30
MIN_DIGITS, MAX_DIGITS = 4, 17


def short(value: float) -> str:
    """Format a number with four significant digits.

    >>> short(48.14159), short(-0.0), short(10115)
    ('48.14', '0', '10,115')
    """
    return format_value(value + 0.0, MIN_DIGITS)


def numbers_changed(before: float, now: float) -> str:
    """Describe the change of a number, with at least four digits and as many as the difference needs.

    >>> numbers_changed(48.14159, 48.14291), numbers_changed(170, 190)
    ('48.142 → 48.143', '170 → 190')
    """
    return " → ".join(told_apart(before, now))


def told_apart(first: float, second: float) -> tuple[str, str]:
    """Format two numbers with at least four digits, and as many as their difference needs.

    >>> told_apart(0.9999983, 0.9999991), told_apart(89, 94)
    (('0.999998', '0.999999'), ('89', '94'))
    """
    first, second = first + 0.0, second + 0.0  # no minus before a zero
    for digits in range(MIN_DIGITS, MAX_DIGITS + 1):
        a, b = format_value(first, digits), format_value(second, digits)
        if a != b:
            break
    return a, b


def rows_beyond(rows: int, total: int, where: str, limit: float, end: float | None) -> str:
    """Describe how many rows are beyond a limit; "" for none.

    Args:
        rows: number of these rows.
        total: number of all rows.
        where: side and name of the limit.
        limit: its value.
        end: the value that is farthest beyond; None if that is no finite number.

    >>> rows_beyond(1, 3000, "above the reference's maximum", 0.9999983, 0.9999991)
    "1 of 3,000 rows above the reference's maximum 0.999998"
    """
    if not rows:
        return ""
    text = short(limit) if end is None else told_apart(limit, end)[0]
    return f"{rows:,} of {total:,} rows {where} {text}"


def shares_changed(before: float, now: float) -> str:
    """Describe the change of a share in percent, with as many digits as the difference needs.

    >>> shares_changed(0.25, 1.0), shares_changed(0.83301, 0.83299), shares_changed(0.0, 0.00001)
    ('25.0% → 100.0%', '83.301% → 83.299%', '0.000% → 0.001%')
    """
    for digits in range(1, 7):
        a, b = f"{before:.{digits}%}", f"{now:.{digits}%}"
        if a != b:
            break
    else:
        return f"{before:.1%} → {now:.1%}"
    return f"{a} → {b}"


def category_name(category: str) -> str:
    r"""Return a category as one short word of a sentence.

    One with spaces at its ends, or that reads like a list, is quoted.

    >>> category_name("two" + chr(10) + "lines"), category_name(" basic")
    ('two\\nlines', "' basic'")
    """
    name = printable(category, MAX_CATEGORY_LENGTH) or "(empty)"
    return f"'{name}'" if category != category.strip() or "; " in category or category == "null" else name


def examples_of(cells: tuple[str, ...]) -> str:
    """Return " such as 'n/a'" for examples of cells; "" without any.

    >>> examples_of(("n/a", "?"))
    " such as 'n/a' and '?'"
    """
    quoted = [f"'{printable(cell, MAX_EXAMPLE_LENGTH)}'" for cell in cells[:2]]
    return f" such as {' and '.join(quoted)}" if quoted else ""


def moment(microseconds: int) -> str:
    """Format a time, without its time of day at midnight.

    >>> moment(0), moment(3_600_000_000)
    ('1970-01-01', '1970-01-01 01:00')
    """
    try:
        time = datetime.fromtimestamp(microseconds / 1e6, UTC)
    except (OverflowError, ValueError, OSError):
        return "a time out of range"
    return f"{time:%Y-%m-%d}" if microseconds % 86_400_000_000 == 0 else f"{time:%Y-%m-%d %H:%M}"


def other_date_format(before: str, now: str) -> str:
    """Return a note on dates in text that have another format in current than in the reference; "" if not.

    >>> other_date_format("2026-01-31", "31.01.2026")
    "dates such as '2026-01-31' in the reference and '31.01.2026' in current, compared after conversion"
    >>> other_date_format("2026-01-31", "2025-12-01")
    ''
    """
    if not before or not now:
        return ""
    import polars as pl

    if date_formats(pl.Series([before, now])).n_unique() == 1:
        return ""
    old, new = (printable(cell, MAX_EXAMPLE_LENGTH) for cell in (before, now))
    return f"dates such as '{old}' in the reference and '{new}' in current, compared after conversion"
