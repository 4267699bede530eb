"""Fast path of `POST /predict`: parse a row with msgspec, in one pass and without the framework."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from starlette.types import Scope

from driftbell.errors import InputError
from driftbell.records import Value
from driftbell.tabular.feature_value import RULES, parsed_type
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
    fields = {f"f{number}": feature for number, feature in enumerate(schema.features)}
    try:
        row_type = msgspec.defstruct(
            "Row",
            [(field, parsed_type(feature)) for field, feature in fields.items()],
            rename={field: feature.name for field, feature in fields.items()},
            forbid_unknown_fields=True,
            gc=False,
        )
    except ValueError:  # a name that msgspec cannot have
        return lambda body: None
    decode = msgspec.json.Decoder(row_type).decode
    to_tuple = msgspec.structs.astuple
    key_quotes = 2 * len(fields)
    has_texts = any(str in RULES[feature.kind].types for feature in schema.features)

    def parse_numbers(body: bytes) -> list[Value] | None:
        try:
            row = decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        # more quotes than the names have: a name is there twice, which msgspec accepts
        return list(to_tuple(row)) if body.count(b'"') == key_quotes else None

    def parse_values(body: bytes) -> list[Value] | None:
        try:
            row = list(to_tuple(decode(body)))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        quotes = key_quotes + 2 * sum(isinstance(value, str) for value in row)
        if body.count(b'"') != quotes:
            return None
        try:
            return schema.validate(dict(zip(schema.names, row, strict=True)))
        except InputError:
            return None

    return parse_values if has_texts else parse_numbers
