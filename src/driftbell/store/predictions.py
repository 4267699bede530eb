"""Predictions in the log."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from driftbell.errors import LogError
from driftbell.records import Prediction, TrafficBucket, Window
from driftbell.store.tables import predictions

_NAMES = ("id", "time", "model", "version", "features", "output", "probabilities", "latency_ms")
_INTO = f"INSERT INTO predictions ({', '.join(_NAMES)})"
_OF_LINE = ", ".join(f"json_extract(value, '$.{name}')" for name in _NAMES)
_INGEST = {
    "sqlite": sa.text(
        f"{_INTO} SELECT {_OF_LINE} FROM json_each(:lines) WHERE true ON CONFLICT (id) DO NOTHING"  # noqa: S608
    ),
    "postgresql": sa.text(
        f"{_INTO} SELECT id, time AT TIME ZONE 'UTC', model, version, features, output, probabilities, "  # noqa: S608
        "latency_ms FROM json_to_recordset(CAST(:lines AS json)) AS line (id text, time timestamp, "
        "model text, version text, features json, output text, probabilities json, "
        "latency_ms double precision) ON CONFLICT (id) DO NOTHING"
    ),
}
"""Whatever the dialect: one statement for any number of rows, so that others can use Python meanwhile."""

_UNREADABLE = re.compile(r"\\u0000|\\u[dD][89a-fA-F]")
"""NUL and half a surrogate pair; PostgreSQL keeps them in its JSON as they are written, but reads none."""

_ROW_BY_ROW = sa.text(
    f"{_INTO} VALUES (:id, CAST(:time AS timestamp) AT TIME ZONE 'UTC', :model, :version, "
    "CAST(:features AS json), :output, CAST(:probabilities AS json), :latency_ms) ON CONFLICT (id) DO NOTHING"
)


def ingest(connection: sa.Connection, lines: Sequence[bytes]) -> None:
    """Write predictions that are lines of JSON, skipping known ids; the database reads them, not Python."""
    text = (b"[%b]" % b",".join(lines)).decode()
    if connection.dialect.name == "postgresql" and _UNREADABLE.search(text):
        connection.execute(_ROW_BY_ROW, [_row(line) for line in lines])
    else:
        connection.execute(_INGEST[connection.dialect.name], {"lines": text})


def _row(line: bytes) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(line)
        return row | {name: json.dumps(row[name]) for name in ("features", "probabilities")}
    except (ValueError, KeyError, TypeError) as error:
        raise LogError("the prediction cannot be logged: its line is not JSON, or incomplete") from error


def newest(
    connection: sa.Connection, rows: int, model: str, version: str, after: int = 0, last: int | None = None
) -> Window:
    """Read the last predictions of one model version whose number is larger than `after`, up to `last`."""
    query = (
        sa.select(predictions)
        .where(predictions.c.model == model, predictions.c.version == version, predictions.c.seq > after)
        .order_by(predictions.c.seq.desc())
        .limit(rows)
    )
    if last is not None:
        query = query.where(predictions.c.seq <= last)
    found = connection.execute(query).all()[::-1]
    if not found:
        return Window()
    return Window(tuple(prediction_of(row) for row in found), found[0].seq, found[-1].seq)


def one(connection: sa.Connection, prediction_id: str) -> Prediction | None:
    """Read one prediction."""
    row = connection.execute(sa.select(predictions).where(predictions.c.id == prediction_id)).one_or_none()
    return prediction_of(row) if row else None


def count(connection: sa.Connection, model: str, version: str, limit: int | None) -> int:
    """Count predictions of one model version, stopping at `limit`."""
    rows = (
        sa.select(predictions.c.seq)
        .where(predictions.c.model == model, predictions.c.version == version)
        .order_by(predictions.c.seq.desc())  # the order of the index, which alone is quick in any table
        .limit(limit)
        .subquery()
    )
    return connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one()


def traffic(connection: sa.Connection, since: datetime, bucket_seconds: int) -> list[TrafficBucket]:
    """Count predictions and latencies by bucket."""
    seconds: Any = sa.func.unixepoch(predictions.c.time)
    if connection.dialect.name == "postgresql":
        seconds = sa.func.floor(sa.extract("epoch", predictions.c.time))
    bucket = (sa.cast(seconds, sa.BigInteger) // bucket_seconds).label("bucket")
    latency = predictions.c.latency_ms
    query = (
        sa.select(bucket, sa.func.count(), sa.func.avg(latency), sa.func.max(latency))
        .where(predictions.c.time >= since)
        .group_by("bucket")
        .order_by(bucket)
    )
    return [
        TrafficBucket(datetime.fromtimestamp(b * bucket_seconds, UTC), rows, mean, largest)
        for b, rows, mean, largest in connection.execute(query)
    ]


def prediction_of(row: Any) -> Prediction:
    """Make a row of the table a prediction."""
    return Prediction(
        row.id,
        row.time,
        row.model,
        row.version,
        row.features,
        row.output,
        row.probabilities,
        row.latency_ms,
    )
