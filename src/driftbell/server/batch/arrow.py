"""Arrow IPC and Parquet: bounded reading of bodies, and answers in the same format."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from driftbell.errors import InputError
from driftbell.records import Value, probability_column
from driftbell.server.batch.arrow_columns import check_header, checked_columns
from driftbell.server.batch.parquet_pages import Limit, file_messages, message_size, parquet_outline
from driftbell.server.http.problems import Refused
from driftbell.server.predict.predictor import Answered
from driftbell.tabular.schema import Schema

STREAM = "application/vnd.apache.arrow.stream"
FILE = "application/vnd.apache.arrow.file"
PARQUET = "application/vnd.apache.parquet"
NAMES = {STREAM: "an Arrow IPC stream", FILE: "an Arrow IPC file", PARQUET: "a Parquet file"}
"""What each media type holds."""

PANDAS_INDEX = "__index_level_"
"""Columns that pandas adds for its row labels."""


def can_read() -> bool:
    """Return whether pyarrow is installed."""
    return importlib.util.find_spec("pyarrow") is not None


def read_rows(
    body: bytes, media_type: str, schema: Schema, limit: Limit, most_problems: int
) -> list[list[Value]]:
    """Read and check a table.

    Args:
        body: as it was sent.
        media_type: one of `NAMES`.
        schema: what its columns must be.
        limit: how large it may be.
        most_problems: with so many, the rest is not told.

    Returns:
        Rows of values in the schema's order.

    Raises:
        InputError: with what is wrong, by column or by row.
        Refused: 400 it cannot be read, 413 it is too large, 415 it is not read here, 422 it is empty.
    """
    if not can_read():
        detail = f"{NAMES[media_type]} needs pyarrow on the server: pip install 'driftbell[parquet]'"
        raise Refused(415, "content_type", detail)
    try:
        table = {STREAM: _stream, FILE: _file, PARQUET: _parquet}[media_type](body, schema, limit)
        table.validate(full=True)
        if not table.num_rows:
            raise Refused(422, "empty_batch", "the batch has no rows: send at least one")
        return schema.rows(checked_columns(table, schema, limit, most_problems))
    except (InputError, Refused):
        raise
    except Exception as error:  # a broken body can raise anything
        words = str(error).partition("\n")[0][:200]
        raise Refused(400, "not_arrow", f"the body cannot be read as {NAMES[media_type]}: {words}") from error


def _stream(body: bytes, schema: Schema, limit: Limit) -> Any:
    import pyarrow as pa

    buffer = pa.py_buffer(body)
    with pa.ipc.open_stream(buffer) as stream:
        _check_fields(stream.schema, schema)
        columns = len(stream.schema)
    messages = pa.ipc.MessageReader.open_stream(buffer)
    _check_sizes(((m.metadata.to_pybytes(), memoryview(m.body or b"")) for m in messages), columns, limit)
    with pa.ipc.open_stream(buffer) as stream:
        return stream.read_all()


def _file(body: bytes, schema: Schema, limit: Limit) -> Any:
    import pyarrow as pa

    messages = file_messages(body)
    with pa.ipc.open_file(pa.py_buffer(body)) as file:
        _check_fields(file.schema, schema)
        _check_sizes(messages, len(file.schema), limit)
        return file.read_all()


def _check_sizes(messages: Iterable[tuple[bytes, memoryview]], columns: int, limit: Limit) -> None:
    rows = size = 0
    for metadata, body in messages:
        found = message_size(metadata, body)
        rows, size = rows + found[0], size + found[1]
        limit.check(rows=rows, columns=columns, size=size)


def _parquet(body: bytes, schema: Schema, limit: Limit) -> Any:
    outline = parquet_outline(body, limit)
    if outline.nested:  # not even its description is left to another reader
        check_header(schema, [(name, outline.nested.get(name, "")) for name in outline.names])
    import pyarrow as pa
    from pyarrow import parquet

    # texts as dictionaries: one long text that a million rows refer to stays one
    file = parquet.ParquetFile(pa.BufferReader(body), read_dictionary=list(outline.texts), pre_buffer=False)
    _check_fields(file.schema_arrow, schema)
    return file.read(use_threads=False)


def _check_fields(fields: Any, schema: Schema) -> None:
    kept = [f for f in fields if not f.name.startswith(PANDAS_INDEX) or f.name in schema.names]
    check_header(schema, [(f.name, f.type) for f in kept])


def answer(
    found: Sequence[Answered], classes: tuple[str, ...], whose: Mapping[str, str], media_type: str
) -> bytes:
    """Write answers as a table: id, class, class id and the probability of each class.

    Args:
        found: of one model version.
        classes: what the model answers.
        whose: the table's metadata.
        media_type: one of `NAMES`.
    """
    import pyarrow as pa

    columns: dict[str, Any] = {
        "id": pa.array([p.id for p in found], pa.string()),
        "class": pa.array([classes[p.class_id] for p in found], pa.string()),
        "class_id": pa.array([p.class_id for p in found], pa.int64()),
    }
    if found[0].probabilities:
        for name, shares in zip(classes, zip(*(p.probabilities for p in found), strict=True), strict=True):
            columns[probability_column(name)] = pa.array(shares, pa.float64())
    table = pa.table(columns).replace_schema_metadata(dict(whose))
    sink = pa.BufferOutputStream()
    if media_type == PARQUET:
        from pyarrow import parquet

        parquet.write_table(table, sink)
    else:
        new = pa.ipc.new_file if media_type == FILE else pa.ipc.new_stream
        with new(sink, table.schema) as writer:
            writer.write_table(table)
    return bytes(sink.getvalue())
