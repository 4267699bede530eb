"""Decide the kind of a column of a reference."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.records import Kind
from driftbell.stats.samples import distinct_counts
from driftbell.tabular.cells import Cells, Form
from driftbell.tabular.text_column import TextColumn
from driftbell.tabular.text_numbers import MIN_SHARE

MIN_ROWS = 20
"""Fewer cells are neither identifiers nor free text, even if all are different."""

MAX_CATEGORIES = 40
"""A column with more different texts than these, and than half of its cells, has no categories."""

MIN_WORDS = 3
"""Mean number of words of free text."""

MIN_EVIDENCE = 9.2
"""An all-different sample of integers is an identifier if that has a probability below exp(-9.2) = 1e-4."""

EVEN_SHARE, MAX_STEP = 0.95, 3
"""Running numbers have at least this share of their steps below this multiple of the median step."""

MAX_EXACT = 2**53
"""Larger integers, all different, are keys: float64 cannot hold them."""

IDENTIFIER_NAME = re.compile(
    r"(?i:(^|[_\s.-])(id|ids|uuid|guid|key|pk|rownum|row_?(id|no|nr|number)|index|idx)$)|[a-z](Id|ID)$"
    r"|(?i:^(unnamed: ?\d+|column 1|row|#|no\.?|nr\.?)$)"
)
"""Names of columns with identifiers or row numbers."""

MOSTLY_DIFFERENT = "its name says so, and most values are different"
RUNNING_TIMES = "running times: all different, in order"
RUNNING_NUMBERS = "running numbers: all different, in order"
RUNNING = (RUNNING_TIMES, RUNNING_NUMBERS)
"""Reasons of identifiers with values that grow for ever."""

EPOCHS = ((5e8, 5e9), (5e11, 5e12), (5e14, 5e15), (5e17, 5e18))
"""Numbers that are times since 1970 in seconds, milli-, micro- and nanoseconds."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Kind of a column.

    Attributes:
        kind: the kind; None if every cell is null.
        reason: why it is not the obvious one; "" if it is.
        order: "day first" or "month first" for dates in text.
        basic: the kind of an identifier or of free text if it has a role, such as the predictions.
    """

    kind: Kind | None
    reason: str = ""
    order: str = ""
    basic: Kind | None = None


def decide_kind(name: str, cells: Cells, texts: TextColumn | None) -> Decision:
    """Decide the kind of a column.

    Args:
        name: its name.
        cells: its cells.
        texts: its content, if the cells are texts.
    """
    match cells.form:
        case Form.NULLS:
            return Decision(None)
        case Form.NESTED:
            what = "binary data" if cells.stored_as == "bytes" else f"nested ({cells.stored_as})"
            return Decision(Kind.NESTED, what)
        case Form.BOOLEANS:
            return Decision(Kind.BOOLEAN if any(v is not None for v in cells.data.tolist()) else None)
        case Form.TIMES:
            return _decide_times(cells.data)
        case Form.NUMBERS:
            return _decide_numbers(name, cells.data)
    if texts is None:
        raise ValueError("the content of texts is missing")
    return _decide_texts(name, cells, texts)


def _decide_times(times: NDArray[Any]) -> Decision:
    present = times[~np.isnat(times)]
    if not len(present):
        return Decision(None)
    if _increases(present.astype(np.int64)):
        return Decision(Kind.IDENTIFIER, RUNNING_TIMES, basic=Kind.DATETIME)
    return Decision(Kind.DATETIME)


def _decide_numbers(name: str, values: NDArray[Any]) -> Decision:
    present = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    if not len(present):
        return Decision(None)
    if len(present) < MIN_ROWS:
        return Decision(Kind.NUMERIC)
    if values.dtype.kind == "f":
        if _are_epochs(present) and _increases(present):
            return Decision(Kind.IDENTIFIER, RUNNING_TIMES, basic=Kind.NUMERIC)
        return Decision(Kind.NUMERIC)
    return _decide_integers(name, present)


def _decide_integers(name: str, present: NDArray[Any]) -> Decision:
    if _increases(present):
        if _are_epochs(present):
            return Decision(Kind.IDENTIFIER, RUNNING_TIMES, basic=Kind.NUMERIC)
        if _has_even_steps(present):
            return Decision(Kind.IDENTIFIER, RUNNING_NUMBERS, basic=Kind.NUMERIC)
    n = len(present)
    different = len(distinct_counts(np.sort(present))[0])
    if different < n:
        if IDENTIFIER_NAME.search(name) and different > max(MAX_CATEGORIES, n / 2):
            return Decision(Kind.IDENTIFIER, MOSTLY_DIFFERENT, basic=Kind.NUMERIC)
        return Decision(Kind.NUMERIC)
    span = float(present.max()) - float(present.min()) + 1
    large = abs(float(present.min())) > MAX_EXACT or float(present.max()) > MAX_EXACT
    if n * (n - 1) / 2 / span > MIN_EVIDENCE or large or IDENTIFIER_NAME.search(name):
        return Decision(Kind.IDENTIFIER, "integers that are all different", basic=Kind.NUMERIC)
    return Decision(Kind.NUMERIC)


def _are_epochs(values: NDArray[Any]) -> bool:
    """Return whether the first and the last value may be times since 1970."""
    low, high = sorted((float(values[0]), float(values[-1])))
    return any(a < low and high < b for a, b in EPOCHS)


def _increases(values: NDArray[Any]) -> bool:
    """Return whether values are strictly ordered."""
    if len(values) < MIN_ROWS:
        return False
    return bool((values[1:] > values[:-1]).all() or (values[1:] < values[:-1]).all())


def _has_even_steps(values: NDArray[Any]) -> bool:
    """Return whether most steps between values are alike, as in counters and not in sorted amounts."""
    steps = np.sort(np.abs(np.diff(values.astype(np.float64))))
    return bool(steps[int(EVEN_SHARE * (len(steps) - 1))] <= MAX_STEP * steps[len(steps) // 2])


def _decide_texts(name: str, cells: Cells, texts: TextColumn) -> Decision:
    if not texts.present:
        return Decision(None)
    reason = ""
    if not cells.is_category:
        share = texts.number_share
        if share >= MIN_SHARE:
            if not texts.has_codes:
                return _decide_number_texts(name, texts)
            reason = "digits with leading zeros, such as postcodes"
        elif texts.all_boolean:
            return Decision(Kind.BOOLEAN)
        else:
            if share > 0:
                reason = f"{_percent(share)} of the cells are numbers, fewer than {MIN_SHARE:.0%}"
            if texts.might_be_times:
                decision = _decide_time_texts(texts)
                if decision.kind:
                    return decision
                reason = decision.reason or reason
    return _decide_categories(name, texts, reason)


def _percent(share: float) -> str:
    return f"{share:.0%}" if 0.01 <= share < 0.895 else f"{share:.1%}"


def _decide_number_texts(name: str, texts: TextColumn) -> Decision:
    values = texts.numbers
    present = values[~np.isnan(values)]
    whole = bool((np.abs(present) < 2**63).all() and (present == np.floor(present)).all())
    if len(present) < MIN_ROWS or not whole or not texts.are_whole:
        return _decide_numbers(name, present)
    exact = texts.series.str.strip_chars().cast(int, strict=False).drop_nulls().to_numpy()
    return _decide_numbers(name, exact if len(exact) == len(present) else present.astype(np.int64))


def _decide_time_texts(texts: TextColumn) -> Decision:
    if texts.duration_cells >= MIN_SHARE * texts.present:
        return Decision(Kind.NUMERIC)
    reading = texts.times()
    if reading.ambiguous >= MIN_SHARE * texts.present:
        return Decision(None, "dates of which either number may be the day")
    count = np.count_nonzero(~np.isnat(reading.values))
    if count < MIN_SHARE * texts.present:
        share = count / texts.present
        return Decision(
            None, f"{_percent(share)} of the cells are dates, fewer than {MIN_SHARE:.0%}" if count else ""
        )
    decision = _decide_times(reading.values)
    return Decision(decision.kind, decision.reason, reading.order, decision.basic)


def _decide_categories(name: str, texts: TextColumn, reason: str) -> Decision:
    distinct = texts.distinct[0]
    n, different = texts.present, len(distinct)
    if n < MIN_ROWS:
        return Decision(Kind.CATEGORICAL, reason)
    if different > max(MAX_CATEGORIES, n / 2) and texts.has_several_units:
        return Decision(Kind.NUMERIC, f"numbers in several units, of which '{texts.unit}' is compared")
    words = float(distinct.head(1000).str.count_matches(r"\S+").mean() or 0)
    if different == n:
        if words >= MIN_WORDS:
            return Decision(Kind.TEXT, "free text: all cells are different")
        return Decision(Kind.IDENTIFIER, "texts that are all different")
    if different > max(MAX_CATEGORIES, n / 2):
        if IDENTIFIER_NAME.search(name) and words < MIN_WORDS:
            return Decision(Kind.IDENTIFIER, MOSTLY_DIFFERENT)
        return Decision(Kind.TEXT, f"free text: {different:,} of {n:,} cells are different")
    return Decision(Kind.CATEGORICAL, reason)
