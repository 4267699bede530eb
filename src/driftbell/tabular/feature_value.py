"""The definition of a valid value of a feature, as JSON has it, and every check derived from it.

`RULES` is the definition. The check of one value, the check of a column, the type by which msgspec parses
a request and the JSON Schema in OpenAPI all read it, so that they cannot disagree.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from types import NoneType
from typing import Annotated, Any

import msgspec
import numpy as np

from driftbell.phrases import printable
from driftbell.records import Column, Feature, FieldProblem, Kind, Value
from driftbell.tabular.columns import as_column
from driftbell.tabular.dtypes import INT64, feature_column, has_integers

MAX_NUMBER = float(np.finfo(np.float32).max)
"""Largest absolute value of a number: most models compute in single precision, where more is infinite."""


MAX_VALUE_LENGTH = 80
"""Characters of a refused value that are stored."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Definition of the valid values of one kind of feature.

    Attributes:
        types: Python types of its JSON values; `bool` is not an `int` here.
        json_type: its type in JSON Schema.
        expected: the end of the sentence "… must be" in an error.
        max_size: the largest absolute value of a number.
        text_check: accepts or rejects a text; None accepts all.
        text_error: the end of the sentence "… must be" for a text that is rejected; None for `expected`.
        json_format: the format of a text in JSON Schema.
    """

    types: tuple[type, ...]
    json_type: str
    expected: str
    max_size: float | None = None
    text_check: Callable[[str], bool] | None = None
    text_error: str | None = None
    json_format: str | None = None

    def has_type(self, value: Any) -> bool:
        """Return whether a value other than null has the right type."""
        return isinstance(value, self.types) and (bool in self.types or not isinstance(value, bool))

    def accepts(self, value: Any) -> bool:
        """Return whether a value other than null is valid."""
        if not self.has_type(value):
            return False
        if self.max_size is not None:
            return bool(abs(value) <= self.max_size)  # false for NaN
        return self.text_check is None or self.text_check(value)


def is_unicode_text(text: str) -> bool:
    """Return whether a text can be stored: Unicode without NUL or half a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def is_iso_time(text: str) -> bool:
    """Return whether a text is a date, or a date and time, in ISO 8601."""
    if not (text.isascii() and text.isprintable()):  # Python accepts any character between date and time
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


RULES: dict[Kind, Rule] = {
    Kind.NUMERIC: Rule((int, float), "number", "a number", max_size=MAX_NUMBER),
    Kind.BOOLEAN: Rule((bool,), "boolean", "true or false"),
    Kind.CATEGORICAL: Rule(
        (str,),
        "string",
        "a string",
        text_check=is_unicode_text,
        text_error="valid Unicode text without NUL",
    ),
    Kind.DATETIME: Rule(
        (str,),
        "string",
        "an ISO 8601 date and time such as '2026-01-31T12:00:00Z'",
        text_check=is_iso_time,
        json_format="date-time",
    ),
}
"""The one definition of a valid value, by kind of feature. A nullable feature also accepts null."""


def find_problem(feature: Feature, value: Any, row: int | None = None) -> FieldProblem | None:
    """Return what is wrong with one value; None if it is valid.

    Args:
        feature: the feature it belongs to.
        value: any JSON value.
        row: its row in a batch, for the message.
    """
    name, rule = feature.name, RULES[feature.kind]
    if value is None:
        message = f"'{name}' must not be null: the reference has no nulls in it"
        return None if feature.nullable else FieldProblem(name, "null", message, row)
    if rule.accepts(value):
        return None
    if not rule.has_type(value):
        return replace(wrong_type(feature, json_type_of(value), row), value=short_value(value))
    if rule.max_size is not None:
        message = _not_finite(feature, value, rule.max_size)
        return FieldProblem(name, "not_finite", message, row, short_value(value))
    message = f"'{name}' must be {rule.text_error or rule.expected}"
    return FieldProblem(name, "type", message, row, short_value(value))


def short_value(value: Any, max_length: int = MAX_VALUE_LENGTH) -> str:
    r"""Return a refused value as a short text that can be stored; an array or object is only named.

    >>> short_value("n/a"), short_value(4.0), short_value([1, 2]), short_value("a" + chr(0))
    ('n/a', '4', 'an array', 'a\\x00')
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return json.dumps(value) if isinstance(value, bool | None) else json_type_of(value)
    text = str(value)[: 2 * max_length].encode("utf-8", "backslashreplace").decode("utf-8")
    return printable(text, max_length)


def _not_finite(feature: Feature, value: float, max_size: float) -> str:
    """Return the message for a number that is NaN, infinite or too large for a model."""
    limit = f"{max_size:.1e}".replace("+", "")
    hint = ": send null for a missing value" if feature.nullable else ""
    if value != value:
        hint = hint or ": the reference has no missing values in it"
        return f"'{feature.name}' must be a finite number, got NaN{hint}"
    must = f"'{feature.name}' must be a finite number of at most {limit} in size, got"
    if value in (np.inf, -np.inf):  # JSON is parsed as infinite beyond double precision
        sign = "-" if value < 0 else ""
        return f"{must} {sign}Infinity or a number beyond {sign}1.8e308{hint}"
    return f"{must} {short_value(value)}"


def wrong_type(feature: Feature, actual: str, row: int | None = None) -> FieldProblem:
    """Build the problem of a value, or a whole column, of the wrong type.

    Args:
        feature: the feature it belongs to.
        actual: what it is, such as "a string".
        row: its row in a batch.
    """
    expected = RULES[feature.kind].expected
    suffix = "" if feature.kind is Kind.DATETIME else f", got {actual}"
    return FieldProblem(feature.name, "type", f"'{feature.name}' must be {expected}{suffix}", row)


def read_column(feature: Feature, cells: Sequence[Any]) -> Column | None:
    """Build a column of n JSON values; None if `find_problem` refuses one of them."""
    rule = RULES[feature.kind]
    if not set(map(type, cells)) <= {*rule.types, *((NoneType,) if feature.nullable else ())}:
        return None
    if rule.max_size is not None:
        try:
            numbers = np.array(cells, dtype=np.float64)
        except OverflowError:  # an integer of hundreds of digits
            return None
        nulls = cells.count(None) if feature.nullable else 0
        if np.count_nonzero(np.abs(numbers) <= rule.max_size) + nulls != len(cells):
            return None
        return feature_column(feature, cells) if has_integers(feature.dtype) else numbers
    if rule.text_check and not all(text is None or rule.text_check(text) for text in set(cells)):
        return None
    return as_column(cells, feature.kind)


def parsed_type(feature: Feature) -> Any:
    """Return the type by which msgspec parses a value.

    It accepts at least the valid values; texts with a `text_check` are to be checked after parsing.
    """
    rule = RULES[feature.kind]
    parsed: Any = rule.types[0]
    if rule.max_size is not None:
        parsed = Annotated[float, msgspec.Meta(ge=-rule.max_size, le=rule.max_size)]
        if has_integers(feature.dtype):  # a float has no integers beyond 2**53
            parsed |= Annotated[int, msgspec.Meta(ge=int(INT64.min), le=int(INT64.max))]
    return parsed | None if feature.nullable else parsed


def json_schema(feature: Feature) -> dict[str, Any]:
    """Describe the valid values of a feature as JSON Schema."""
    rule = RULES[feature.kind]
    schema: dict[str, Any] = {"type": [rule.json_type, "null"] if feature.nullable else rule.json_type}
    if rule.max_size is not None:
        schema |= {"minimum": -rule.max_size, "maximum": rule.max_size}
    if rule.json_format:
        schema["format"] = rule.json_format
    return schema | {"examples": [feature.example]}


def as_stored(feature: Feature, value: Any) -> Value:
    """Convert a valid value to the type in which it is stored."""
    if value is None:
        return None
    match feature.kind:
        case Kind.NUMERIC:
            return int(value) if has_integers(feature.dtype) and value % 1 == 0 else float(value)
        case Kind.BOOLEAN:
            return bool(value)
        case Kind.DATETIME if isinstance(value, date):
            return value.isoformat()
        case _:
            return str(value)


def json_type_of(value: object) -> str:
    """Return JSON's name of a value's type, such as "an array"."""
    names = {
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        list: "an array",
        dict: "an object",
    }
    return "null" if value is None else names.get(type(value), type(value).__name__)
