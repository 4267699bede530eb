"""Words for the categories of a feature that are new, gone, renamed, or have other shares."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from driftbell.phrases import folded_name, name_difference

MAX_NAMED = 3
MAX_CATEGORY_LENGTH = 40

MIN_LOST = 5.0
"""A category is gone if at least this many rows of it are expected, and none is there."""

MIN_LIKE = 0.02
"""Share of a category that can be known again by its share."""

MAX_DEVIATIONS = 2.0
"""A new category has the share of a lost one if they differ by at most this number of standard errors."""

Vector = NDArray[np.float64]
Counts = Mapping[str | None, int]


def count_categories(codes: Vector, categories: Sequence[str]) -> Counter[str | None]:
    """Return the number of rows of each category of encoded values; None is null."""
    values, counts = np.unique(codes[~np.isnan(codes)], return_counts=True)
    counted: Counter[str | None] = Counter(
        {categories[int(v)]: int(n) for v, n in zip(values, counts, strict=True)}
    )
    if nulls := int(np.isnan(codes).sum()):
        counted[None] = nulls
    return counted


def count_new(rows: NDArray[np.bool_], cells: Sequence[str | None]) -> Counter[str]:
    """Return the number of rows of each category that the reference lacks.

    Args:
        rows: which rows have one.
        cells: the category of each row, None for null.
    """
    return Counter(cell for cell, is_new in zip(cells, rows, strict=True) if is_new and cell is not None)


def with_new(counts: Counter[str | None], new: Counter[str]) -> Counter[str | None]:
    """Return numbers of rows of encoded values, where new categories are null, with these by name.

    >>> with_new(Counter({"basic": 70, None: 30}), Counter({"trial": 30})) == {"basic": 70, "trial": 30}
    True
    """
    return Counter(counts | new) - Counter({None: new.total()})


def describe_new(before: Counts, now: Counts) -> str:
    """Return in words which categories are new, and which known ones they may replace; "" for none.

    Args:
        before: rows of each category in the reference; None is null.
        now: the same of a block.

    >>> describe_new({"basic": 900, "pro": 100}, {"basic": 400, "N/A": 60, "trial": 40})
    "new categories 'N/A' (12%) and 'trial' (8%); 'pro' is gone (10% in the reference)"
    >>> describe_new({"basic": 800, "partner_b": 200}, {"basic": 396, "PARTNER-B": 104})
    "new category 'PARTNER-B' (21%), 'partner_b' is gone (20% in the reference): renamed?"
    >>> describe_new({"Zürich": 700, "Bern": 1300}, {"Zurich": 42, "Bern": 58})
    "new category 'Zurich' (42%), 'Zürich' is gone (35% in the reference): renamed?"
    >>> describe_new({"basic": 900, "pro": 100}, {"basic": 400, "basic ": 50, "pro": 50})
    "new category 'basic ' (10%), which is 'basic' but for spaces at the ends"
    >>> describe_new({"basic": 900}, {"basic": 400})
    ''
    """
    rows = sum(now.values())
    new = Counter({name: n for name, n in now.items() if name is not None and name not in before})
    if not new:
        return ""
    lost = lost_categories(before, now)
    if len(new) == 1:
        (name,) = new
        return _describe_one(name, new[name] / rows, before, now, lost)
    names = [f"{quoted(name)} ({_percent(count / rows)})" for name, count in new.most_common(MAX_NAMED)]
    more = f" and {len(new) - MAX_NAMED:,} more" if len(new) > MAX_NAMED else ""
    listed = ", ".join(names) if more else f"{', '.join(names[:-1])} and {names[-1]}"
    renamed = [
        f"{quoted(old)} → {quoted(name)}"
        for name, _ in new.most_common()
        if (old := _same_name(name, lost, now))
    ]
    words = f"new categories {listed}{more}"
    if renamed:
        return f"{words}: renamed ({', '.join(renamed[:MAX_NAMED])})?"
    return f"{words}; {_gone(lost, before)}" if lost else words


def _describe_one(name: str, share: float, before: Counts, now: Counts, lost: Sequence[str]) -> str:
    words = f"new category {quoted(name)} ({_percent(share)})"
    old = _same_name(name, lost, now) or _same_share(share, lost, before, now)
    if old:
        return f"{words}, {_gone([old], before)}: renamed?"
    for known in before:
        if known is not None and (difference := name_difference(name, known)):
            return f"{words}, which is {quoted(known)} but for {difference}"
    return f"{words}; {_gone(lost, before)}" if lost else words


def describe_shares(before: Counts, now: Counts) -> str:
    """Return in words which categories of a block have another share than in the reference.

    >>> describe_shares({"basic": 600, "pro": 300, "x": 100}, {"basic": 100, "pro": 390, "x": 10})
    "'pro' 30% → 78%, 'basic' 60% → 20%"
    >>> describe_shares({"basic": 600, "pro": 400}, {"basic": 500})
    "'basic' 60% → 100%, 'pro' is gone (40% in the reference)"
    """
    n, m = sum(before.values()), sum(now.values())
    if not n or not m:
        return ""
    lost = lost_categories(before, now)
    changes = {name: now.get(name, 0) / m - before.get(name, 0) / n for name in {**before, **now}}
    largest = sorted(changes, key=lambda name: -abs(changes[name]))[:2]
    largest.sort(key=lambda name: -changes[name])
    words = [
        f"{'null' if name is None else quoted(name)} {_percent(before.get(name, 0) / n)} → "
        f"{_percent(now.get(name, 0) / m)}"
        for name in largest
        if name not in lost
    ]
    return ", ".join([*words, _gone(lost, before)] if lost else words)


def lost_categories(before: Counts, now: Counts) -> list[str]:
    """Return the categories of the reference that a block lacks although some rows are expected."""
    n, m = sum(before.values()), sum(now.values())
    lost = [
        k for k, count in before.items() if k is not None and not now.get(k) and count * m >= MIN_LOST * n
    ]
    return sorted(lost, key=lambda name: -before[name])


def _gone(lost: Sequence[str], before: Counts) -> str:
    n = sum(before.values())
    share = _percent(sum(before[name] for name in lost) / n)
    if len(lost) > 1 and len(lost) == len(before) - (None in before):
        return "all known ones are gone"
    if len(lost) == 1:
        return f"{quoted(lost[0])} is gone ({share} in the reference)"
    names = ", ".join(quoted(name) for name in lost[:MAX_NAMED])
    more = f" and {len(lost) - MAX_NAMED:,} more" if len(lost) > MAX_NAMED else ""
    return f"{names}{more} are gone ({share} in the reference)"


def _same_name(name: str, lost: Sequence[str], now: Counts) -> str:
    """Return the lost category that differs from a new one in case, accents, spaces, punctuation; or ""."""
    plain = _plain(name)
    return next((old for old in lost if plain and _plain(old) == plain and not now.get(old)), "")


def _same_share(share: float, lost: Sequence[str], before: Counts, now: Counts) -> str:
    """Return the only lost category if a new one has its share; "" otherwise."""
    if len(lost) != 1 or share < MIN_LIKE:
        return ""
    n, m = sum(before.values()), sum(now.values())
    usual = before[lost[0]] / n
    error = (usual * (1 - usual) * (1 / n + 1 / m)) ** 0.5
    return lost[0] if abs(share - usual) <= MAX_DEVIATIONS * error else ""


def _plain(name: str) -> str:
    """Return a name without case, accents, spaces and punctuation.

    >>> _plain("Zürich-Süd"), _plain("zurich sud")
    ('zurichsud', 'zurichsud')
    """
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKD", folded_name(name)))


def quoted(category: str) -> str:
    """Return a category in quotes, shortened, without characters that databases and mail refuse."""
    text = "".join(c if c.isprintable() else "\ufffd" for c in category[:MAX_CATEGORY_LENGTH])
    return f"'{text}'"


def _percent(share: float) -> str:
    """Return a share in percent, with a decimal below one percent.

    >>> _percent(0.123), _percent(0.004)
    ('12%', '0.4%')
    """
    return f"{share:.0%}" if share >= 0.01 or not share else f"{share:.1%}"
