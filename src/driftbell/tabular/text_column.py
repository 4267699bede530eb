"""Content of a column of texts: nulls, numbers, booleans, times, and the number of different texts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.tabular.null_words import PANDAS_WORDS, null_words
from driftbell.tabular.text_numbers import (
    LEADING_ZERO,
    LIMIT_MARK,
    MIN_SHARE,
    may_be_thousands,
    plain_numbers,
    read_numbers,
    without_quotes,
)
from driftbell.tabular.text_times import TimeReading, read_durations, read_times

BOOLEANS = {"true": True, "false": False}
BOOLEAN_PAIRS = (
    {"t", "f"}, {"wahr", "falsch"}, {"vrai", "faux"}, {"vero", "falso"}, {"verdadero", "falso"},
)  # fmt: skip
"""Pairs of texts that are booleans if a column has both and nothing else; yes and no are categories."""
MORE_BOOLEANS = BOOLEANS | {
    "yes": True, "no": False, "y": True, "n": False, "t": True, "f": False, "on": True, "off": False,
    "1": True, "0": False, "1.0": True, "0.0": False,
    "wahr": True, "falsch": False, "vrai": True, "faux": False, "vero": True, "falso": False,
    "verdadero": True,
}  # fmt: skip
"""Texts that are booleans where the column's kind is already known."""

MIN_NUMBERS, MIN_NUMBER_SHARE = 40, 0.5
"""A column of more different texts than these, with at least this share of numbers, is hardly meant as one
of categories."""


class TextColumn:
    """Cells of a column of texts.

    Args:
        series: n texts, a Polars series of strings.
        nulls: further texts that mean null.
        decimal: decimal mark; None decides it on the column.
        reference_unit: see `read_numbers`.
        keep_null_words: whether the usual words such as NA are texts.
        stored_numbers: cells that were stored as numbers, so that the others alone decide how texts are read;
            None if none was.
        stored_dates: the same for dates.
    """

    def __init__(
        self,
        series: Any,
        nulls: tuple[str, ...] = (),
        decimal: str | None = None,
        reference_unit: str | None = None,
        *,
        keep_null_words: bool = False,
        stored_numbers: NDArray[np.bool_] | None = None,
        stored_dates: NDArray[np.bool_] | None = None,
    ) -> None:
        import polars as pl

        self.series = series
        self._decimal = decimal
        self._reference_unit = reference_unit
        self._words = frozenset({"", *map(str.strip, nulls)}) if keep_null_words else null_words(nulls)
        self._keeps_null_words = keep_null_words
        self._stored_numbers, self._stored_dates = stored_numbers, stored_dates
        self._more_nulls = frozenset(nulls)
        self._pl = pl

    @cached_property
    def _plain(self) -> Any:
        return plain_numbers(self.series)

    @cached_property
    def _values(self) -> NDArray[np.float64]:
        """Plain numbers of the cells as they are written, NaN for null and all other texts, shape (n,)."""
        return np.asarray(self._plain.to_numpy(), dtype=np.float64)

    @cached_property
    def _odd(self) -> tuple[Any, NDArray[np.int64]]:
        """Different texts that are no plain number, without null words, and their rows."""
        if self._plain.null_count() == self.series.null_count():
            return self.series.head(0), np.zeros(0, dtype=np.int64)
        if self._plain.null_count() == len(self.series):
            return self.distinct
        odd = self.series.filter(self._plain.is_null() & self.series.is_not_null())
        return self._counted(odd)

    def _counted(self, series: Any) -> tuple[Any, NDArray[np.int64]]:
        pl = self._pl
        table = series.alias("text").to_frame().group_by("text", maintain_order=True).len()
        words = pl.Series(sorted(self._words), dtype=pl.String)
        table = table.filter(
            pl.col("text").is_not_null() & ~pl.col("text").str.strip_chars().is_in(words.implode())
        )
        return table["text"], table["len"].cast(pl.Int64).to_numpy()

    @cached_property
    def distinct(self) -> tuple[Any, NDArray[np.int64]]:
        """Different texts in the order of their first rows, without null words, and the rows of each."""
        return self._counted(self.series)

    def usual_nulls(self, *, literal: bool = False, known: Collection[str] = ()) -> dict[str, int]:
        """Return the number of cells by each word that is null by default, such as NA.

        Args:
            literal: see `null`.
            known: see `null`.
        """
        pl = self._pl
        cells = self.series if literal else self.series.str.strip_chars()
        words = set(PANDAS_WORDS).difference(known) if literal else self._words
        words = words.difference({""}, map(str.strip, self._more_nulls))
        counted = cells.filter(cells.is_in(pl.Series(sorted(words), dtype=pl.String).implode()))
        return dict(sorted(counted.value_counts().rows()))

    @cached_property
    def present(self) -> int:
        """Number of cells that are not null."""
        return int(self.distinct[1].sum()) if self._odd[1].size else self._plain_present

    @cached_property
    def _plain_present(self) -> int:
        plain = len(self._plain) - int(self._plain.null_count())
        # `nan` and null words such as -999 are plain numbers
        if self._more_nulls or np.count_nonzero(np.isnan(self._values)) > len(self._plain) - plain:
            return int(self.distinct[1].sum())
        return plain

    @cached_property
    def numbers(self) -> NDArray[np.float64]:
        """Numbers of the cells, NaN for null and all other texts, shape (n,)."""
        texts, counts = self._odd
        if not len(texts) and self._decimal != "," and not self._more_nulls:
            return self._values
        has_digit = texts.str.contains(r"\d")
        needs_convention = bool(has_digit.any()) or self._decimal == ","
        if not needs_convention and not self._more_nulls:
            return self._values
        texts, counts = self.distinct
        if self._stored_numbers is not None:
            return self._among_numbers(self._stored_numbers)
        reading = read_numbers(texts, counts, self._decimal, self._reference_unit)
        self.convention, self.unit, self._any_unit = reading.convention, reading.unit, reading.any_unit
        if self._decimal != "," and not np.isfinite(reading.values).any():
            return self._values
        extra = plain_numbers(texts.str.strip_chars()).to_numpy()
        infinite = np.isinf(extra)
        found = np.where(infinite, extra, reading.values)
        return self._map(texts, found)

    def _among_numbers(self, stored: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return numbers as they are, and texts among them by the convention that fits most of the texts.

        Percentages are no numbers there: 0.12 and `12 %` are no values of one unit.
        """
        texts, counts = self._counted(self.series.filter(~stored))
        reading = read_numbers(texts, counts, self._decimal, self._reference_unit)
        plain = plain_numbers(texts.str.strip_chars()).to_numpy()
        self.convention, self.unit, self._any_unit = reading.convention, reading.unit, reading.any_unit
        known = np.where(np.isinf(plain), plain, reading.values)
        if reading.unit.removeprefix(LIMIT_MARK) == "%":
            self.convention = self.unit = ""
            known = np.asarray(plain, dtype=np.float64)
        return np.where(stored, self._values, self._map(texts, known))

    @property
    def is_read_by_cell(self) -> bool:
        """True if the numbers of these cells do not depend on the other cells of the column.

        So it is for plain numbers and for words. Units, separators of thousands and a decimal comma are read
        as in most cells, and words and durations as numbers only if there are no numbers.
        """
        texts, _ = self._odd
        if self._decimal == "," or self._more_nulls or texts.str.contains(r"\d").any():
            return False
        return not len(texts) or not np.isnan(self._values).all()

    convention = ""
    unit = ""
    _any_unit = 0

    @property
    def has_several_units(self) -> bool:
        """True if most cells are numbers, but fewer have the same currency or unit."""
        return self.number_share < MIN_SHARE <= self._any_unit / max(1, self.present)

    @cached_property
    def may_be_thousands(self) -> bool:
        """True if it is not known whether the points in numbers separate thousands or decimals."""
        if self._stored_numbers is not None:
            return False
        return self._decimal is None and not self.convention and may_be_thousands(self.series)

    @cached_property
    def is_plain(self) -> bool:
        """True if every cell is a plain number or null."""
        texts, _ = self._odd
        return not plain_numbers(texts.str.strip_chars()).is_null().any()

    @cached_property
    def plain(self) -> NDArray[np.float64]:
        """Plain numbers of the cells, NaN for null and all other texts, shape (n,)."""
        if not len(self._odd[0]):
            return self._values
        return np.asarray(plain_numbers(self.series.str.strip_chars()).to_numpy(), dtype=np.float64)

    def _map(self, texts: Any, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the value of each row's text; NaN for rows with another text."""
        pl = self._pl
        mapped = self.series.replace_strict(texts, pl.Series(values), default=None, return_dtype=pl.Float64)
        return np.asarray(mapped.to_numpy(), dtype=np.float64)

    @property
    def are_whole(self) -> bool:
        """True if no number has a decimal mark, an exponent or a unit; thousands may be separated."""
        if self.unit:
            return False
        marks = r"[,eE]" if self.convention.startswith("decimal comma") else r"[.eE]"
        plain = r"[.,eE]" if not self.convention else marks
        return not self.series.filter(self.series.str.contains(r"^\s*[+-]?\d")).str.contains(plain).any()

    @property
    def number_share(self) -> float:
        """Share of the cells that are numbers; 0 without cells."""
        return float(np.count_nonzero(~np.isnan(self.numbers))) / self.present if self.present else 0.0

    def other_than_numbers(self) -> str:
        """Return a cell that is no number, of many different ones that mostly are numbers; "" for others."""
        texts, _ = self.distinct
        if len(texts) <= MIN_NUMBERS or not MIN_NUMBER_SHARE <= self.number_share < MIN_SHARE:
            return ""
        numbers = self._pl.Series(self.numbers, nan_to_null=True)
        others = self.series.filter(numbers.is_null())
        clean = others.filter(~self._pl.Series(self._null_words(others, literal=False, known=())))
        return str(clean[0])

    @cached_property
    def has_codes(self) -> bool:
        """True if the numbers are digits of which some have leading zeros, such as postcodes."""
        if not self.series.str.contains(r"""^\s*['"‘“„«]?[+-]?[\p{Nd}--[1-9]]\d""").any():
            return False
        texts = without_quotes(self.distinct[0].str.strip_chars())
        digits = texts.filter(texts.str.contains(r"\d"))
        return bool(digits.str.contains(r"^\d+$").mean() >= MIN_SHARE) and bool(
            digits.str.contains(LEADING_ZERO).any()
        )

    def booleans(self, words: dict[str, bool]) -> NDArray[np.float64]:
        """Return 1 for true, 0 for false, NaN for all other texts."""
        texts = self.distinct[0]
        clean = texts.str.strip_chars().str.to_lowercase().to_list()
        return self._map(texts, np.array([float(words.get(t, np.nan)) for t in clean], dtype=np.float64))

    @cached_property
    def all_boolean(self) -> bool:
        """True if every cell is true or false."""
        texts = self.distinct[0]
        if not 0 < len(texts) <= 12:
            return False
        words = {t.strip().lower() for t in texts.to_list()}
        return words <= BOOLEANS.keys() or words in BOOLEAN_PAIRS

    def durations(self) -> NDArray[np.float64]:
        """Return durations in seconds, NaN for all other texts."""
        return read_durations(self.series)

    @property
    def duration_cells(self) -> int:
        """Number of cells that are durations."""
        texts, rows = self.distinct
        return int(rows[~np.isnan(read_durations(texts))].sum())

    def times(self, *, order: str = "", digits: bool = False) -> TimeReading:
        """Return times; see `read_times`. Stored dates do not decide how texts among them are read."""
        stored = self._stored_dates
        if stored is None:
            return read_times(self.series, order=order, digits=digits)
        mask = self._pl.Series(stored)
        reading = read_times(self.series.set(mask, None), order=order, digits=digits)
        values = reading.values.copy()
        values[stored] = read_times(self.series.filter(mask)).values
        return replace(reading, values=values)

    @cached_property
    def might_be_times(self) -> bool:
        """True if some of the first texts have the form of a time, date or duration."""
        sample = self.distinct[0].head(100)
        return bool(
            sample.str.contains(
                r"\d[-/.:]\d|(?i:\d.*(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)|^[a-z,. ]+\d)"
            ).any()
        )

    @cached_property
    def looks_like_durations(self) -> bool:
        """True if most of the first texts are durations."""
        if not self.might_be_times:
            return False
        durations = read_durations(self.distinct[0].head(100))
        return bool(np.count_nonzero(~np.isnan(durations)) >= MIN_SHARE * len(durations))

    @cached_property
    def looks_like_times(self) -> bool:
        """True if most of the first texts are times."""
        if not self.might_be_times:
            return False
        reading = read_times(self.distinct[0].head(100))
        size = len(reading.values)
        return max(int(np.count_nonzero(~np.isnat(reading.values))), reading.ambiguous) >= MIN_SHARE * size

    def null(self, *, literal: bool = False, known: Collection[str] = ()) -> NDArray[np.bool_]:
        """Return which cells are null.

        Args:
            literal: read null words as pandas does by default: only exactly as it knows them; blank cells and
                the user's own words are null too.
            known: words that are values with `literal`.
        """
        if self._are_plain(literal):
            return np.isnan(self._values)
        return self._null_words(self.series, literal=literal, known=known)

    def _are_plain(self, literal: bool) -> bool:
        return not (literal or self._keeps_null_words or len(self._odd[0]) or self._more_nulls)

    def _null_words(self, series: Any, *, literal: bool, known: Collection[str]) -> NDArray[np.bool_]:
        pl = self._pl
        words = {"", *(w.strip() for w in self._more_nulls)} if literal else self._words
        clean = series.str.strip_chars()
        is_word = clean.is_in(pl.Series(sorted(words), dtype=pl.String).implode())
        if literal:
            exact = sorted(set(PANDAS_WORDS).difference(known))
            is_word |= series.is_in(pl.Series(exact, dtype=pl.String).implode())
        return np.asarray((is_word | clean.is_null()).fill_null(True).to_numpy(), dtype=np.bool_)

    def texts(
        self, *, literal: bool = False, exact: bool = False, known: Collection[str] = ()
    ) -> NDArray[np.object_]:
        """Return the cells as objects with None for null; equal texts are one object.

        Args:
            literal: see `null`.
            exact: whether whole numbers keep their `.0`.
            known: see `null`.
        """
        pl = self._pl
        names = self.series.unique().drop_nulls()
        whole = names if exact else names.str.replace(r"^(-?(?:0|[1-9]\d*))\.0+$", "$1")
        pool = np.empty(len(names) + 1, dtype=object)
        pool[:-1] = whole.to_list()
        numbers = pl.Series(range(len(names)), dtype=pl.Int64)
        index = self.series.replace_strict(names, numbers, default=len(names), return_dtype=pl.Int64)
        if not self._are_plain(literal):
            pool[:-1][self._null_words(names, literal=literal, known=known)] = None
        result: NDArray[np.object_] = pool[index.to_numpy()]
        if self._are_plain(literal):
            result[np.isnan(self._values)] = None
        return result
