"""Fast path of `POST /predict`: parse a row with msgspec, in one pass and without the framework."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from starlette.types import Scope

from driftbell.errors import InputError
from driftbell.records import Value
from driftbell.tabular.feature_value import RULES, parsed_type
from driftbell.tabular.pass_through import PassThrough, pass_through_fields
from driftbell.tabular.schema import Schema


def is_plain_json(scope: Scope, body_limit: int) -> bool:
    """Return whether the headers declare an uncompressed JSON body of a valid length."""
    content_type = length = b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            content_type = value if not content_type else b"duplicate"
        elif name == b"content-length":
            length = value
        elif name == b"content-encoding":
            return False
    return content_type == b"application/json" and length.isdigit() and int(length) <= body_limit


def row_parser(schema: Schema) -> Callable[[bytes], list[Value] | None]:
    """Return a function that parses and checks a body as one row.

    Returns:
        A function from a body to the values in the schema's order, as `Schema.validate` returns them; or to
        None if the body is not valid or needs a closer look.
    """
    try:
        decode = _decoder(schema, omittable=False)
        decode_partial = (
            _decoder(schema, omittable=True) if any(f.nullable for f in schema.features) else None
        )
    except ValueError:  # a name that msgspec cannot have
        return lambda body: None
    to_tuple = msgspec.structs.astuple
    key_quotes = 2 * len(schema.features)
    has_texts = any(str in RULES[feature.kind].types for feature in schema.features)

    def parse_partial(body: bytes) -> list[Value] | None:
        """Parse a row that may lack nullable features, which are null."""
        if decode_partial is None:
            return None
        try:
            cells = to_tuple(decode_partial(body))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        quotes = 2 * sum((cell is not msgspec.UNSET) + isinstance(cell, str) for cell in cells)
        if body.count(b'"') != quotes:
            return None
        return _valid(schema, [None if cell is msgspec.UNSET else cell for cell in cells])

    def parse_numbers(body: bytes) -> list[Value] | None:
        try:
            row = decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return parse_partial(body)
        # more quotes than the names have: a name is there twice, which msgspec accepts
        return list(to_tuple(row)) if body.count(b'"') == key_quotes else None

    def parse_values(body: bytes) -> list[Value] | None:
        try:
            row = list(to_tuple(decode(body)))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return parse_partial(body)
        quotes = key_quotes + 2 * sum(isinstance(value, str) for value in row)
        return _valid(schema, row) if body.count(b'"') == quotes else None

    return parse_values if has_texts else parse_numbers


def passed_row_parser(schema: Schema) -> Callable[[bytes], tuple[list[Value], PassThrough | None] | None]:
    """Return a function that parses and checks a body as one row with the client's own id and metadata.

    Returns:
        A function from a body to the values in the schema's order, and what is passed through; or to None
        if the body is not valid or needs a closer look.
    """
    fields = pass_through_fields(schema.names)
    passed = sorted(fields.names)
    try:
        decode = _decoder(schema, omittable=True, passed=passed)
    except ValueError:
        return lambda body: None
    to_tuple, count = msgspec.structs.astuple, len(schema.features)

    def parse(body: bytes) -> tuple[list[Value], PassThrough | None] | None:
        try:
            cells = to_tuple(decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        row = [None if cell is msgspec.UNSET else cell for cell in cells[:count]]
        present = {n: v for n, v in zip(passed, cells[count:], strict=True) if v is not msgspec.UNSET}
        metadata = present.get(fields.metadata) or {}
        texts = sum(isinstance(value, str) for value in (*cells, *metadata.values()))
        names = sum(cell is not msgspec.UNSET for cell in cells) + len(metadata)
        if body.count(b'"') != 2 * (names + texts):  # a name is there twice, or a text has a quote
            return None
        values = _valid(schema, row)
        try:
            return None if values is None else (values, fields.read(present))
        except InputError:
            return None

    return parse


_PASSED_TYPES = {
    "id": str | int | None,
    "metadata": dict[str, str | int | float | bool | None] | None,
}


def _decoder(schema: Schema, *, omittable: bool, passed: Iterable[str] = ()) -> Callable[[bytes], Any]:
    """Return a decoder of rows.

    Args:
        schema: the features.
        omittable: whether a row may lack nullable features; they are `msgspec.UNSET` then.
        passed: further fields that a row may have, after the features.

    Raises:
        ValueError: msgspec cannot have a feature's name.
    """
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for number, feature in enumerate(schema.features):
        kind = parsed_type(feature)
        if omittable and feature.nullable:
            fields.append((f"f{number}", kind | msgspec.UnsetType, msgspec.UNSET))
        else:
            fields.append((f"f{number}", kind))
    names = {f"f{number}": feature.name for number, feature in enumerate(schema.features)}
    for name in passed:
        fields.append((f"p_{name}", _PASSED_TYPES[name] | msgspec.UnsetType, msgspec.UNSET))
        names[f"p_{name}"] = name
    row_type = msgspec.defstruct(
        "Row",
        fields,
        rename=names,
        forbid_unknown_fields=True,
        kw_only=True,  # features with a default may come before features without
        gc=False,
    )
    return msgspec.json.Decoder(row_type).decode


def _valid(schema: Schema, row: list[Value]) -> list[Value] | None:
    try:
        return schema.validate(dict(zip(schema.names, row, strict=True)))
    except InputError:
        return None
