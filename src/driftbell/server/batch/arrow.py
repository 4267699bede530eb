"""Arrow IPC tables: bounded reading of request bodies, and answers in the same format."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from driftbell.errors import InputError
from driftbell.records import probability_column
from driftbell.server.batch.arrow_columns import check_header, checked_columns
from driftbell.server.batch.arrow_messages import file_messages, message_size
from driftbell.server.batch.arrow_pass_through import check_passed, passed_columns
from driftbell.server.batch.limit import Limit
from driftbell.server.http.problems import Refused, refused_together
from driftbell.server.pass_through import Batch, read_passed, rows_of_columns
from driftbell.server.predict.answers import PredictedRow
from driftbell.tabular.pass_through import PassThroughFields
from driftbell.tabular.schema import Schema

STREAM = "application/vnd.apache.arrow.stream"
FILE = "application/vnd.apache.arrow.file"
NAMES = {STREAM: "an Arrow IPC stream", FILE: "an Arrow IPC file"}
"""Description of each media type."""

NO_FIELDS = PassThroughFields()

PANDAS_INDEX = "__index_level_"
"""Prefix of columns that pandas adds for its row labels."""


def can_read() -> bool:
    """Return whether pyarrow is installed."""
    return importlib.util.find_spec("pyarrow") is not None


def read_rows(
    body: bytes,
    media_type: str,
    schema: Schema,
    limit: Limit,
    max_problems: int,
    fields: PassThroughFields = NO_FIELDS,
) -> Batch:
    """Read and check a table.

    Args:
        body: the request's body.
        media_type: one of `NAMES`.
        schema: the features of the model.
        limit: the largest table.
        max_problems: the most problems that are reported.
        fields: columns that are passed through.

    Raises:
        InputError: columns or cells do not fit the schema, or own ids or metadata are not valid.
        Refused: 400 the body is not Arrow IPC, 413 it is too large, 415 pyarrow is missing, 422 there are
            no rows.
    """
    if not can_read():
        detail = f"{NAMES[media_type]} needs pyarrow on the server: pip install 'driftbell[parquet]'"
        raise Refused(415, "content_type", detail)
    read_table = {STREAM: _read_stream, FILE: _read_file}[media_type]
    try:
        columns = fields.of_table()
        table = read_table(body, schema, limit, columns.named)
        table.validate(full=True)
        if not table.num_rows:
            raise Refused(422, "empty_batch", "the batch has no rows: send at least one")
        with refused_together(table.num_rows):
            rows = schema.rows(checked_columns(table, schema, limit, max_problems))
            if not columns.named:
                return Batch(rows)
            passed = passed_columns(table, columns.named, limit)
            return Batch(rows, read_passed(rows_of_columns(passed, len(rows)), columns))
    except (InputError, Refused):
        raise
    except Exception as error:  # a broken body can raise any error inside pyarrow
        cause = str(error).partition("\n")[0][:200]
        raise Refused(400, "not_arrow", f"the body cannot be read as {NAMES[media_type]}: {cause}") from error


def _read_stream(body: bytes, schema: Schema, limit: Limit, passed: Sequence[str]) -> Any:
    import pyarrow as pa

    buffer = pa.py_buffer(body)
    reader = pa.ipc.MessageReader.open_stream(buffer)
    messages = ((m.metadata.to_pybytes(), memoryview(m.body or b"")) for m in reader)
    with pa.ipc.open_stream(buffer) as stream:
        fields = stream.schema
    _check_table(fields, messages, schema, limit, passed)
    with pa.ipc.open_stream(buffer) as stream:
        return stream.read_all()


def _read_file(body: bytes, schema: Schema, limit: Limit, passed: Sequence[str]) -> Any:
    import pyarrow as pa

    messages = file_messages(body)
    with pa.ipc.open_file(pa.py_buffer(body)) as file:
        _check_table(file.schema, messages, schema, limit, passed)
        return file.read_all()


def _check_table(
    fields: Any,
    messages: Iterable[tuple[bytes, memoryview]],
    schema: Schema,
    limit: Limit,
    passed: Sequence[str],
) -> None:
    """Check the columns and the size of a table that is not read yet.

    Raises:
        InputError: columns do not fit the schema.
        Refused: 413 it is too large, 422 columns that are passed through have another type.
    """
    try:
        _check_fields(fields, schema, passed)
    except (InputError, Refused) as error:
        with suppress(Exception):  # a broken body can raise any error inside pyarrow
            error.rows = _check_sizes(messages, len(fields), limit)
        raise
    _check_sizes(messages, len(fields), limit)


def _check_sizes(messages: Iterable[tuple[bytes, memoryview]], columns: int, limit: Limit) -> int:
    """Return the number of rows.

    Raises:
        Refused: 413, the table is too large.
    """
    total_rows = total_size = 0
    for metadata, body in messages:
        rows, size = message_size(metadata, body)
        total_rows += rows
        total_size += size
        limit.check(rows=total_rows, columns=columns, size=total_size)
    return total_rows


def _check_fields(fields: Any, schema: Schema, passed: Sequence[str]) -> None:
    columns = [f for f in fields if not f.name.startswith(PANDAS_INDEX) or f.name in schema.names]
    check_header(schema, [(f.name, f.type) for f in columns if f.name not in passed])
    check_passed(fields, passed)


def write_answers(
    answers: Sequence[PredictedRow], classes: tuple[str, ...], metadata: Mapping[str, str], media_type: str
) -> bytes:
    """Write answers as a table: id, class, class id and the probability of each class; or id and value.

    Args:
        answers: predictions of one model version.
        classes: the classes of the model; none for a regression.
        metadata: key-value metadata of the table's schema.
        media_type: one of `NAMES`.
    """
    import pyarrow as pa

    columns: dict[str, Any] = {"id": pa.array([a.id for a in answers], pa.string())}
    if classes:
        columns["class"] = pa.array([classes[a.value] for a in answers], pa.string())
        columns["class_id"] = pa.array([a.value for a in answers], pa.int64())
    else:
        columns["value"] = pa.array([a.value for a in answers], pa.float64())
    if answers[0].probabilities:
        by_class = zip(*(a.probabilities for a in answers), strict=True)
        for name, probabilities in zip(classes, by_class, strict=True):
            columns[probability_column(name)] = pa.array(probabilities, pa.float64())
    table = pa.table(columns).replace_schema_metadata(dict(metadata))
    sink = pa.BufferOutputStream()
    new_writer = pa.ipc.new_file if media_type == FILE else pa.ipc.new_stream
    with new_writer(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
