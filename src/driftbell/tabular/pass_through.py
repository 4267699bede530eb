"""Own ids and metadata of clients: stored with a prediction, never given to the model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from driftbell.errors import InputError
from driftbell.phrases import printable
from driftbell.records import FieldProblem, Value
from driftbell.tabular.feature_value import is_unicode_text, json_type_of

ID, METADATA = "id", "metadata"
"""Fields of a row with the client's own id and metadata, unless the model has features of these names."""

MAX_ID_LENGTH = 128
MAX_METADATA = 20
"""Values of one prediction's metadata."""

MAX_NAME_LENGTH, MAX_TEXT_LENGTH = 64, 128
"""Characters of a name and of a text of the metadata."""

MAX_SIZE = 10**18
"""Largest absolute value of a number, which every reader of JSON can read."""

ID_RULE = f"a text of 1 to {MAX_ID_LENGTH} characters without control characters, or a whole number"
ID_PATTERN = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$"
_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f]+")


class PassThrough(NamedTuple):
    """Own id and metadata of one row.

    Attributes:
        id: the client's own id; "" if the service makes one.
        metadata: values by name; None if there are none.
    """

    id: str = ""
    metadata: Mapping[str, Value] | None = None


def is_id(text: str) -> bool:
    """Return whether a text can be a client's own id."""
    return len(text) <= MAX_ID_LENGTH and bool(_ID.fullmatch(text)) and is_unicode_text(text)


def read_id(value: Any) -> str:
    """Return a client's own id as text; "" for null.

    Raises:
        ValueError: what an id must be.

    >>> read_id("order-1"), read_id(17), read_id(17.0), read_id(None)
    ('order-1', '17', '17', '')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_SIZE:
        text = ""
    else:
        text = str(int(value)) if value == int(value) else ""
    if not is_id(text):
        raise ValueError(f"must be {ID_RULE}")
    return text


def read_metadata(value: Any) -> dict[str, Value] | None:
    """Return the metadata of one prediction without nulls; None if nothing is left.

    Raises:
        ValueError: what metadata must be; the message has no values.

    >>> read_metadata({"shop": "Bern", "test": None})
    {'shop': 'Bern'}
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ValueError(f"must be an object of texts, numbers and booleans, got {json_type_of(value)}")
    metadata = {name: item for name, item in value.items() if item is not None}
    if len(metadata) > MAX_METADATA:
        raise ValueError(f"must have at most {MAX_METADATA} values, got {len(metadata)}")
    for name, item in metadata.items():
        if len(name) > MAX_NAME_LENGTH or not is_unicode_text(name):
            raise ValueError(f"must have names of at most {MAX_NAME_LENGTH} characters, without NUL")
        problem = _problem(item)
        if problem:
            raise ValueError(
                f"must have texts, numbers and booleans: the value of '{printable(name)}' {problem}"
            )
    return metadata or None


def _problem(value: Any) -> str:
    """Return why a value is not one of metadata; "" if it is."""
    if isinstance(value, str):
        if len(value) > MAX_TEXT_LENGTH:
            return f"has {len(value)} characters, and at most {MAX_TEXT_LENGTH} are accepted"
        return "" if is_unicode_text(value) else "is not valid Unicode text without NUL"
    if isinstance(value, int | float):  # also a boolean
        return (
            "" if abs(value) <= MAX_SIZE else f"is no number of at most {MAX_SIZE:.0e} in size: send a text"
        )
    return f"is {json_type_of(value)}"


@dataclass(frozen=True, slots=True)
class PassThroughFields:
    """Fields of objects, or columns of tables, that are passed through.

    Attributes:
        id: field with the id; "" if there is none.
        metadata: field with an object of metadata; "" if there is none.
        values: fields, each with one value of the metadata.
        named: fields that the request names itself, so that every row has them, and tables too.
    """

    id: str = ""
    metadata: str = ""
    values: tuple[str, ...] = ()
    named: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """All fields that are passed through."""
        return frozenset({self.id, self.metadata, *self.values} - {""})

    def of_table(self) -> PassThroughFields:
        """Return the columns of tables: only those that the request names."""
        return PassThroughFields(self.id if self.id in self.named else "", "", self.values, self.named)

    def read(self, cells: Mapping[str, Any], index: int | None = None) -> PassThrough | None:
        """Return what is passed through with one row; None if there is nothing.

        Args:
            cells: values of the fields that the row has.
            index: the row's position in a batch, for messages.

        Raises:
            InputError: a named field is missing, or a value is not valid.
        """
        missing = [name for name in self.named if name not in cells]
        if missing:
            message = f"'{printable(missing[0])}' is missing: the address names it as id or metadata"
            raise InputError([FieldProblem(missing[0], "missing", message, index)])
        problems: list[FieldProblem] = []
        own_id, metadata = "", None
        try:
            own_id = read_id(cells.get(self.id))
        except ValueError as error:
            problems.append(FieldProblem(self.id, "own_id", f"'{printable(self.id)}' {error}", index))
        try:
            values = {name: cells[name] for name in self.values}
            metadata = read_metadata(values if values else cells.get(self.metadata))
        except ValueError as error:
            problems.append(FieldProblem(METADATA, "metadata", f"'metadata' {error}", index))
        if problems:
            raise InputError(problems)
        return PassThrough(own_id, metadata) if own_id or metadata else None


def pass_through_fields(
    features: Iterable[str], own_id: str | None = None, metadata: Iterable[str] = ()
) -> PassThroughFields:
    """Return the fields that are passed through.

    Args:
        features: the features of the model, which are never passed through.
        own_id: field that the request names as the id; None if it names none.
        metadata: fields that the request names as metadata.

    Raises:
        InputError: the request names a feature.

    >>> pass_through_fields(["age", "id"])
    PassThroughFields(id='', metadata='metadata', values=(), named=())
    """
    known, values = frozenset(features), tuple(dict.fromkeys(metadata))
    named = tuple(dict.fromkeys([own_id, *values] if own_id else values))
    for name in named:
        if name in known:
            message = f"'{printable(name)}' is a feature of the model, and cannot be passed through"
            raise InputError([FieldProblem(name, "pass_through", message)])
    if len(values) > MAX_METADATA:
        message = f"'metadata' must name at most {MAX_METADATA} fields, got {len(values)}"
        raise InputError([FieldProblem(METADATA, "metadata", message)])
    field = own_id or (ID if ID not in known and ID not in values else "")
    return PassThroughFields(field, "" if values or METADATA in {*known, field} else METADATA, values, named)
