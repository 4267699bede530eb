"""Texts that mean null."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from driftbell.phrases import count_of, join_names

PANDAS_WORDS = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)  # fmt: skip
MARKS = ("?", "??", "-", "--", "–", "—", ".", "..", "\\N")
OTHER_WORDS = ("na", "N.A.", "n.a.", "Null", "NONE", "NAN", "NaT", "<null>", "(null)", "[null]")
SPREADSHEET_ERRORS = ("#NULL!", "#VALUE!", "#DIV/0!", "#REF!", "#NAME?", "#NUM!")
NULL_WORDS = frozenset({*PANDAS_WORDS, *MARKS, *OTHER_WORDS, *SPREADSHEET_ERRORS})
"""Null as pandas, spreadsheets, R, SAS, Oracle and MySQL write it; spaces around it are ignored."""


def null_words(more: Iterable[str] = ()) -> frozenset[str]:
    """Return the texts that mean null, without spaces around them.

    Args:
        more: further texts.
    """
    return NULL_WORDS | {text.strip() for text in more}


def count_words(counts: Mapping[str, int]) -> str:
    """Return how many cells have which words; "" for none.

    >>> count_words({"NA": 46, "?": 1})
    "47 cells 'NA' and '?'"
    """
    words = join_names(f"'{word}'" for word in counts)
    return f"{count_of(sum(counts.values()), 'cell')} {words}" if counts else ""
