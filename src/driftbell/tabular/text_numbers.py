r"""Numbers in text: decimal marks, thousands separators, currencies, percent signs and units.

Plain numbers such as `-1.5e3` need no convention. All other numbers of a column are read by one convention,
the one that fits most cells: a point or a comma is the decimal mark, and the other one, a space or an
apostrophe separates thousands. `12%` is 0.12, `1.5M` is 1500000. A unit such as `kg` is left out. Numbers
with underscores are names. Quotes around a cell and the digits of other scripts are read; marks of limits
and approximations, such as `<5`, `90+` and `~5`, are left out where the reference has them in its numbers.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

SYMBOLS = "[$€£¥₹₽₩₺₴₦฿₫₪₱]"
CODES = (
    r"US\$|C\$|A\$|R\$|AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HUF|INR|JPY|MXN|NOK|PLN|RUB|SEK|TRY|USD|ZAR"
    r"|Fr\.|kr\.?|zł|Kč|Ft|Rs\.?"
)
PARTS = (
    rf"^(?P<currency0>{SYMBOLS}|{CODES})?\s*(?P<open>\()?\s*(?P<sign1>[+-])?\s*"
    rf"(?P<currency1>{SYMBOLS}|{CODES})?\s*(?P<sign2>[+-])?\s*"
    r"(?P<body>(?:\d|[.,]\d)[\d.,'’ ]*(?:[eE][+-]?\d+)?)\s*"
    rf"(?:(?P<scale>[kKMB])?\s*(?P<currency2>{SYMBOLS}|{CODES})?\s*(?P<percent>%)?\s*(?P<sign3>-)?(?P<close>\))?"
    r"|(?P<unit>[^\d\s.,'’()+\-%][^\d.,()]{0,11}))$"
)
SCALES = {"k": "e3", "K": "e3", "M": "e6", "B": "e9"}
"""Thousands, millions and billions, read if some cell also has a decimal mark: `1.5M`, but not `7B` alone.

A unit needs such a cell as well, so `12A` is a name."""

MIN_DIFFERENT = 41
"""A unit or scale is also read without any decimal if it is in 90 % of at least so many different texts.

A column with fewer is compared as categories: none of its changes is lost."""

QUOTED = r"""^\s*(?:'(.*)'|"(.*)"|‘(.*)’|“(.*)”|„(.*)[“”]|«(.*)»|'([+-]?[\d.,]+))\s*$"""
LIMIT = r"^\s*(?:<=|>=|[<>~≈≤≥＜＞～])\s*|\s*\+\s*$"
LIMIT_MARK = "~"
"""First character of the unit of a column of which numbers may have a mark such as `<`, `>` or `~`."""
OTHER_DIGITS = r"[\p{Nd}--[0-9]]"
OTHER_MARKS = {"．": ".", "，": ",", "－": "-", "＋": "+", "％": "%", "٫": ".", "٬": ",", "٪": "%"}

SPACES = "[\u00a0\u2007\u2009\u202f]"
"""Spaces that separate thousands: no-break, figure, thin, and narrow no-break space."""

BODY = (
    r"^(?:\d+|[1-9]\d{{0,2}}(?:{group}\d{{2,3}})*{group}\d{{3}}|[1-9]\d{{0,2}}(?:[ '’]\d{{3}})+)?"
    r"(?:{mark}\d*)?(?:[eE][+-]?\d+)?$"
)
POINT, COMMA = BODY.format(group=",", mark=r"\."), BODY.format(group=r"\.", mark=",")
LEADING_ZERO = r"^[+-]?0\d"

MIN_SHARE = 0.9
"""Share of the cells that must be of a kind."""


MAX_UNITS = 6
"""A column of numbers with more different units has names."""


@dataclass(frozen=True, slots=True, eq=False)
class NumberReading:
    """Numbers of n different texts.

    Attributes:
        values: the numbers, NaN for other texts, shape (n,).
        convention: what the column has, such as "decimal comma, percent"; "" for plain numbers.
        unit: currency, "%", or unit such as "kg"; "" if there is none; after `LIMIT_MARK` if numbers have
            marks of limits.
        any_unit: number of rows that are numbers with one of at most `MAX_UNITS` units.
    """

    values: NDArray[np.float64]
    convention: str
    unit: str
    any_unit: int = 0


def plain_numbers(texts: Any) -> Any:
    """Return texts without spaces around them as float64; null for those that are no plain number."""
    import polars as pl

    return texts.cast(pl.Float64, strict=False)


def without_quotes(texts: Any) -> Any:
    """Return texts without quotes around them, and with the digits 0 to 9 for those of other scripts."""
    import polars as pl

    if texts.str.contains(QUOTED).any():
        inner = pl.DataFrame([texts.str.extract(QUOTED, i).alias(str(i)) for i in range(1, 8)])
        texts = inner.select(pl.coalesce(pl.all(), pl.lit(texts))).to_series().str.strip_chars()
    if not texts.str.contains(OTHER_DIGITS).any():
        return texts
    digits = texts.str.extract_all(OTHER_DIGITS).explode().drop_nulls().unique().to_list()
    replacements = {d: str(unicodedata.decimal(d)) for d in digits} | OTHER_MARKS
    return texts.str.replace_many(list(replacements), list(replacements.values()))


def read_numbers(
    texts: Any, counts: NDArray[np.int64], decimal: str | None = None, unit: str | None = None
) -> NumberReading:
    """Read the numbers of a column, with marks of limits such as `<` if the reference has them.

    Args:
        texts: n different texts, a Polars series of strings.
        counts: rows of each text.
        decimal: decimal mark; None decides it, and a tie is a point.
        unit: `NumberReading.unit` of the reference; None decides it. See `_read_numbers`.
    """
    texts = without_quotes(texts)
    if unit is not None and not unit.startswith(LIMIT_MARK):
        return _read_numbers(texts, counts, decimal, unit)
    limited = bool(texts.str.contains(LIMIT).any())
    if unit is None:
        reading = _read_numbers(texts, counts, decimal, None)
        if not limited or counts[np.isfinite(reading.values)].sum() >= MIN_SHARE * counts.sum():
            return reading
    unit = unit and unit.removeprefix(LIMIT_MARK)
    reading = _read_numbers(texts.str.replace_all(LIMIT, ""), counts, decimal, unit)
    return replace(reading, unit=LIMIT_MARK + reading.unit)


def _read_numbers(
    texts: Any, counts: NDArray[np.int64], decimal: str | None = None, unit: str | None = None
) -> NumberReading:
    """Read the numbers of a column by the convention that fits most cells.

    Args:
        texts: n different texts, a Polars series of strings.
        counts: rows of each text.
        decimal: decimal mark; None decides it, and a tie is a point.
        unit: currency or unit of the reference, "" if it has none; None decides it. Numbers with another one
            are none, except that a currency may be missing on either side.
    """
    import polars as pl

    clean = texts.str.strip_chars().str.replace_all("−", "-", literal=True).str.replace_all(SPACES, " ")
    parts = clean.str.extract_groups(PARTS).struct.unnest()
    body = parts["body"].str.strip_chars()
    scale = parts["scale"]
    if not ((scale.is_not_null() & body.str.contains(r"\d[.,]\d")).any() or _is_common(scale.is_not_null())):
        body = body.set(scale.is_not_null(), None)
    suffix = parts["unit"]
    certain = body.str.contains(r"\d[.,]\d") | (suffix == (unit or ""))
    common = unit is None and any(_is_common(suffix == name) for name in suffix.drop_nulls().mode().to_list())
    if unit == "" or not ((suffix.is_not_null() & certain).any() or common):
        body = body.set(suffix.is_not_null(), None)
    balanced = parts["open"].is_not_null() == parts["close"].is_not_null()
    signs = sum((parts[name].is_not_null().cast(pl.Int8) for name in ("sign1", "sign2", "sign3", "open")), 0)
    balanced &= scale.is_null() | parts["percent"].is_null()
    valid = (body.is_not_null() & balanced & (pl.Series(signs) <= 1)).fill_null(False)
    fits = {
        mark: (valid & body.str.contains(pattern).fill_null(False)).to_numpy()
        for mark, pattern in ((".", POINT), (",", COMMA))
    }
    totals = {mark: int(counts[fit].sum()) for mark, fit in fits.items()}
    mark = decimal or ("," if totals[","] > totals["."] else ".")
    fit = fits[mark]
    used = [f"decimal {'comma' if mark == ',' else 'point'}"]
    if not fit.any():
        return NumberReading(np.full(len(texts), np.nan), used[0], "")
    percent = parts["percent"].is_not_null().to_numpy()
    currency = parts["currency0"].fill_null(parts["currency1"]).fill_null(parts["currency2"])
    units = np.where(percent, "%", currency.fill_null(suffix).fill_null("").to_numpy().astype(object))
    if unit and unit != "%":
        fit &= (units == unit) | (units == "")
    used_units = set(units[fit].tolist())
    any_unit = int(counts[fit].sum()) if len(used_units) <= MAX_UNITS else 0
    fit, main = _one_unit(fit, units, counts)
    separators = r"[,'’ ]" if mark == "." else r"[.'’ ]"
    digits = body.str.replace_all(separators, "").str.replace(",", ".", literal=True)
    negative = (
        (parts["sign1"] == "-").fill_null(False)
        | (parts["sign2"] == "-").fill_null(False)
        | parts["sign3"].is_not_null()
        | parts["open"].is_not_null()
    ).to_numpy()
    digits = digits + scale.replace_strict(SCALES, default="", return_dtype=pl.String).fill_null("")
    if main == "%":
        digits = digits + "e-2"
    values = digits.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy().copy()
    values[negative] *= -1
    values[~fit] = np.nan
    if main == "%":
        used.append("percent, 1 % is 0.01")
    elif main:
        used.append(f"{'currency' if (currency == main).any() else 'unit'} {main}")
    return NumberReading(values, ", ".join(used), main, any_unit)


def _is_common(rows: Any) -> bool:
    """Return whether enough of the different texts are true, and there are enough of them."""
    return len(rows) >= MIN_DIFFERENT and int(rows.sum() or 0) >= MIN_SHARE * len(rows)


def _one_unit(
    fit: NDArray[np.bool_], units: NDArray[np.object_], counts: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], str]:
    """Return which cells have the most frequent unit, and the unit; a currency may be missing in cells."""
    totals = {u: int(counts[fit & (units == u)].sum()) for u in dict.fromkeys(units[fit].tolist())}
    currencies = {u: n for u, n in totals.items() if u not in ("", "%")}
    shares, bare = totals.get("%", 0), totals.get("", 0)
    if shares > bare + sum(currencies.values()):
        return fit & (units == "%"), "%"
    main = max(currencies, key=currencies.__getitem__) if currencies else ""
    return fit & ((units == main) | (units == "")), main


def decimal_mark(samples: list[Any], *, semicolons: bool) -> str | None:
    """Return the decimal mark of a file, if some columns certainly have it and none has the other.

    Args:
        samples: texts of each column.
        semicolons: whether they separate the cells; then a comma that may be either is a decimal mark.
    """
    comma = r"^[+-]?(\d+,(\d{1,2}|\d{4,})|0,\d+|\d{1,3}(\.\d{3})+,\d+)$"
    point = r"^[+-]?(\d+\.(\d{1,2}|\d{4,})|0\.\d+|\d{1,3}(,\d{3})+\.\d+)$"
    marks = set()
    for texts in samples:
        clean = texts.str.strip_chars()
        n = len(clean) - clean.null_count()
        for mark, pattern in ((",", comma), (".", point)):
            if n and clean.str.contains(pattern).sum() >= 0.3 * n:
                marks.add(mark)
    three_digits = r"^\s*[+-]?\d{1,3},\d{3}\s*$"
    thousands = (s.str.contains(three_digits).any() or may_be_thousands(s) for s in samples)
    if not marks and semicolons and any(thousands):
        return ","
    return marks.pop() if len(marks) == 1 else None


SAMPLE_ROWS = 2000
"""Texts that are looked at before all are."""


def may_be_thousands(texts: Any) -> bool:
    """Return whether points may separate thousands in whole numbers, such as `949` and `1.234`.

    Then every number with a point has three digits after it, and all others have at most three digits.

    Args:
        texts: cells of a column, a Polars series of strings.
    """
    for cells in (texts.head(SAMPLE_ROWS), texts):
        clean = cells.drop_nulls().str.strip_chars()
        grouped = clean.str.contains(r"^[+-]?[1-9]\d{0,2}(\.\d{3})+$")
        if not grouped.any():
            return False
        short = clean.str.contains(r"^[+-]?(0|[1-9]\d{0,2})$")
        number = clean.str.contains(r"^[+-]?[\d.,]+$")
        if not short.any() or bool((number & ~grouped & ~short).any()):
            return False
    return True
