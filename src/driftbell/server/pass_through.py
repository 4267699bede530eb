"""Own ids and metadata in requests: which fields are passed through, and how rows are split by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.datastructures import QueryParams
from starlette.types import Scope

from driftbell.phrases import printable
from driftbell.records import FieldProblem, Value
from driftbell.server.http.problems import Refused, check_each
from driftbell.tabular.pass_through import (
    ID,
    ID_PATTERN,
    MAX_ID_LENGTH,
    MAX_METADATA,
    MAX_NAME_LENGTH,
    MAX_SIZE,
    MAX_TEXT_LENGTH,
    METADATA,
    PassThrough,
    PassThroughFields,
    pass_through_fields,
)
from driftbell.tabular.schema import Schema


class Batch(NamedTuple):
    """The rows of one request.

    Attributes:
        rows: values of the features, in the schema's order.
        passed: what is passed through with each row; None if there is nothing for any row.
    """

    rows: list[list[Value]]
    passed: Sequence[PassThrough | None] | None = None


def requested_fields(scope: Scope, schema: Schema) -> PassThroughFields:
    """Return the fields that a request passes through: `?id=FIELD&metadata=FIELD,FIELD`, or the default ones.

    Raises:
        InputError: the request names a feature of the model.
    """
    query = scope["query_string"]
    if not query:
        return pass_through_fields(schema.names)
    parameters = QueryParams(query)
    names = [name for text in parameters.getlist(METADATA) for name in text.split(",") if name]
    return pass_through_fields(schema.names, parameters.get(ID), names)


def read_row(schema: Schema, fields: PassThroughFields, row: Any) -> tuple[list[Value], PassThrough | None]:
    """Check one row.

    Returns:
        The values of the features in the schema's order, and what is passed through.

    Raises:
        InputError: holds the problems of the row.
    """
    if not isinstance(row, dict):
        return schema.validate(row), None
    names = fields.names
    values = schema.validate({name: value for name, value in row.items() if name not in names})
    return values, fields.read(row)


def split_objects(
    rows: Sequence[Mapping[str, Any]], fields: PassThroughFields
) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]] | None]:
    """Return objects without the fields that are passed through, and the objects if they have such fields."""
    names = fields.names
    if not fields.named and not any(name in row for name in names for row in rows):
        return rows, None
    return [{name: value for name, value in row.items() if name not in names} for row in rows], rows


def split_table(
    columns: Sequence[str], data: Sequence[Sequence[Any]], named: Sequence[str]
) -> tuple[list[str], list[list[Any]], list[dict[str, Any]]]:
    """Return names and rows of a table without the columns that are passed through, and their cells by row.

    Args:
        columns: the names.
        data: rows with one cell for each column.
        named: the columns that are passed through.
    """
    places = {name: columns.index(name) for name in named if name in columns}
    rest = [place for place in range(len(columns)) if place not in places.values()]
    rows = [[row[place] for place in rest] for row in data]
    cells = [{name: row[place] for name, place in places.items()} for row in data]
    return [columns[place] for place in rest], rows, cells


def rows_of_columns(columns: Mapping[str, Sequence[Any]], rows: int) -> list[dict[str, Any]]:
    """Return the cells of columns by row."""
    if not columns:
        return [{} for _ in range(rows)]
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def read_passed(
    cells: Sequence[Mapping[str, Any]], fields: PassThroughFields
) -> Sequence[PassThrough | None] | None:
    """Return what is passed through with each row of a batch; None if there is nothing.

    Raises:
        InputError: values are not valid, or a named field is missing.
        Refused: 409, two rows have the same id.
    """
    passed = check_each(cells, fields.read)
    if not any(passed):
        return None
    seen: set[str] = set()
    for index, row in enumerate(passed):
        if row is None or not row.id:
            continue
        if row.id in seen:
            message = (
                f"'{printable(fields.id)}' is '{row.id}' in more than one row: each needs an id of its own"
            )
            problem = FieldProblem(fields.id, "own_id", message, index)
            raise Refused(409, "own_id", f"row {index}: {message}", errors=[problem])
        seen.add(row.id)
    return passed


def describe_fields(names: Iterable[str]) -> dict[str, Any]:
    """Return the JSON Schema of fields of a row that are passed through.

    Args:
        names: `id`, `metadata`, both or none.
    """
    return {name: _FIELDS[name] for name in (ID, METADATA) if name in names}


WITHOUT_NUL = r"^[^\u0000]*$"

_FIELDS: dict[str, dict[str, Any]] = {
    ID: {
        "description": "Your own id of the prediction, by which its label can follow.",
        "type": ["string", "integer", "null"],
        "minLength": 1,
        "maxLength": MAX_ID_LENGTH,
        "pattern": ID_PATTERN,
        "minimum": -MAX_SIZE,
        "maximum": MAX_SIZE,
    },
    METADATA: {
        "description": "Values that are stored with the prediction, and never given to the model.",
        "type": ["object", "null"],
        "maxProperties": MAX_METADATA,
        "propertyNames": {"maxLength": MAX_NAME_LENGTH, "pattern": WITHOUT_NUL},
        "additionalProperties": {
            "type": ["string", "number", "boolean", "null"],
            "maxLength": MAX_TEXT_LENGTH,
            "pattern": WITHOUT_NUL,
            "minimum": -MAX_SIZE,
            "maximum": MAX_SIZE,
        },
    },
}
