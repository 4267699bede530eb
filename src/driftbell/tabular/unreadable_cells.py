"""Why a cell of a column of numbers is no number, as far as its form shows it."""

from __future__ import annotations

import re

from driftbell.tabular.text_numbers import CODES, LIMIT, SYMBOLS

TEXT = "text"

FORMS = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"\[.*|\{.*", "list or structure"),
        (r"b(['\"]).*\1", "bytes"),
        (r"(?i:true|false)", "true or false"),
        (r"\d{4}-\d\d-\d\d.*|\d{1,2}([./])\d{1,2}\1(\d\d){1,2}\b.*", "date"),
        (r"[+-]?[\d.'’\s]*\d,\d+", "decimal comma"),
        (r"[+-]?[\d,'’\s]*\d\.\d+", "decimal point"),
        (r"[^%]*\d[^%]*[%％٪]", "percent sign"),
        (rf"[+-]?\s*({SYMBOLS}|{CODES}).*\d.*|.*\d.*({SYMBOLS}|{CODES})", "currency"),
        (rf"({LIMIT})[^<>]*\d.*|.*\d({LIMIT})", "mark of a limit"),
        (r"[+-]?\d[\d.,]*\s*[^\W\d_].*", "unit"),
    )
)


def form_of(cell: str) -> str:
    """Return the form of a cell that is not read as a number.

    >>> [form_of(cell) for cell in ("66,1", "1 234,5", "$12", "12 %", "60 kg", "True", "[1]", "error")]
    ['decimal comma', 'decimal comma', 'currency', 'percent sign', 'unit', 'true or false', 'list or structure', 'text']
    """  # noqa: E501 - one line of output
    text = cell.strip()
    return next((name for form, name in FORMS if form.fullmatch(text)), TEXT)
