"""Phrases of messages: names, amounts, points of accuracy, addresses, suggestions for misspelled names."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable

MAX_NAMES = 8
MAX_NAME_LENGTH = 80
MAX_COMPARED = 1000
"""Longer names are not compared."""

MIN_BEGINNING = 4
"""Characters of a name that resembles a longer one with the same beginning."""

MIN_P_VALUE = 1e-300
"""Smaller ones are numbers without full precision, or 0."""

SPACES, CASE = "spaces at the ends", "upper and lower case"
NORMAL_FORM = "how Unicode writes accents (NFC and NFD)"
INVISIBLE = (SPACES, NORMAL_FORM)
"""Differences of names that cannot be seen."""


def join_names(names: Iterable[str], *, max_names: int = MAX_NAMES) -> str:
    """Return names as the words of a sentence; a long list ends in the number of the remaining names.

    Args:
        names: n names; each as `printable` returns it.
        max_names: number of names that are listed.

    >>> join_names(["age", "city", "income"])
    'age, city and income'
    >>> join_names(["a", "b", "c", "d"], max_names=2)
    'a, b and 2 more'
    """
    texts = [printable(name) for name in names]
    if len(texts) > max_names:
        return f"{', '.join(texts[:max_names])} and {len(texts) - max_names:,} more"
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun in the singular or plural.

    >>> count_of(1, "row"), count_of(3000, "row"), count_of(0, "new class")
    ('1 row', '3,000 rows', '0 new classes')
    """
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def printable(text: object, max_length: int = MAX_NAME_LENGTH) -> str:
    r"""Return a text of the user on one line, with control characters escaped, and a long text shortened.

    >>> printable("a" + chr(10) + "b"), printable("x" * 200, 5), printable("größe")
    ('a\\nb', 'xxxx…', 'größe')
    """
    characters = str(text)
    if len(characters) > max_length:
        characters = f"{characters[: max_length - 1]}…"
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in characters
    )


def format_amount(value: float) -> str:
    """Return a number with three significant digits; all digits of a thousand and more.

    >>> format_amount(0.042), format_amount(3.14159), format_amount(41234.4), format_amount(2)
    ('0.042', '3.14', '41,234', '2')
    """
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.3g}"


def format_value(value: float, digits: int = 4) -> str:
    """Return a value of a column with significant digits, and all digits before the point of a large one.

    >>> format_value(5.1), format_value(2026), format_value(143_000.4), format_value(-0.00001234)
    ('5.1', '2026', '143,000', '-1.234e-05')
    >>> format_value(1234.6, 2), format_value(99.4, 2)
    ('1,235', '99')
    """
    if not min(10**digits, 10_000) - 0.5 <= abs(value) < 1e15:
        return f"{value:.{digits}g}"
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def format_points(share: float) -> str:
    """Return a share in percentage points, with two digits if one decimal would round it to zero.

    >>> format_points(0.042), format_points(-0.0012), format_points(0.00024), format_points(0)
    ('4.2', '-0.1', '0.024', '0.0')
    """
    points = 100 * share
    return f"{points:.1f}" if abs(points) >= 0.1 or not points else f"{points:.2g}"


def suggest_name(name: str, candidates: Iterable[str]) -> str:
    """Return the question "did you mean …?" with the candidate most similar to a name; "" if none is similar.

    >>> suggest_name("agee", ["age", "income"])
    "did you mean 'age'?"
    >>> suggest_name("age ", ["age", "income"])
    "did you mean 'age' (they differ only in spaces at the ends)?"
    >>> suggest_name("prediction", ["age", "pred"])
    "did you mean 'pred'?"
    >>> suggest_name("height", ["age", "income"])
    ''
    """
    similar = similar_name(name, candidates)
    if similar is None:
        return ""
    difference = name_difference(name, similar)
    note = f" (they differ only in {difference})" if difference in INVISIBLE else ""
    return f"did you mean '{similar}'{note}?"


def suggest_column(name: str, columns: Iterable[str]) -> str:
    """Return the column most similar to a name as a question, else the columns; "" if there is none.

    >>> suggest_column("agee", ["age", "income"])
    "did you mean 'age'?"
    >>> suggest_column("height", ["age", "income"])
    'the columns are age and income'
    """
    names = list(columns)
    return suggest_name(name, names) or (f"the columns are {join_names(names)}" if names else "")


def similar_name(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate most similar to a name; None if none is similar."""
    import difflib  # used in messages of errors only: every command would pay for it at its start

    candidates = list(candidates)
    equal = next((c for c in candidates if name_difference(name, c)), None)
    if equal is not None:
        return equal
    matches = difflib.get_close_matches(name[:MAX_NAME_LENGTH], candidates, n=1)
    if matches:
        return matches[0]
    beginnings = (c for c in candidates if len(c) >= MIN_BEGINNING and name.startswith(c))
    return max(beginnings, key=len, default=None)


def name_difference(name: str, other: str) -> str:
    """Return what two names differ in that people hardly see; "" if they differ in more, or are equal.

    >>> name_difference("age ", "age"), name_difference("Age", "age"), name_difference("age", "wage")
    ('spaces at the ends', 'upper and lower case', '')
    """
    if name == other or len(name) > MAX_COMPARED or len(other) > MAX_COMPARED:
        return ""
    if name.strip() == other.strip():
        return SPACES
    if folded_name(name) != folded_name(other):
        return ""
    texts = [unicodedata.normalize("NFC", text.strip()) for text in (name, other)]
    return NORMAL_FORM if texts[0] == texts[1] else CASE


def folded_name(name: str) -> str:
    """Return what names have in common that differ only in spaces at the ends, case, or normal form.

    >>> folded_name(" Age ")
    'age'
    """
    return unicodedata.normalize("NFC", name.strip()).casefold()


def network_address(host: str, port: int) -> str:
    """Return a host and a port as they stand in a URL: an IPv6 address in brackets.

    >>> network_address("localhost", 8000), network_address("::1", 8000)
    ('localhost:8000', '[::1]:8000')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def format_p_value(p_value: float) -> str:
    """Return a p-value with its sign.

    >>> format_p_value(0.0213), format_p_value(0)
    ('p 0.021', 'p < 1e-300')
    """
    return f"p {p_value:.2g}" if p_value >= MIN_P_VALUE else f"p < {MIN_P_VALUE:.0e}"
