"""The table of predictions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from driftbell.errors import StoreError
from driftbell.journal.line import encode_line
from driftbell.records import Prediction, TrafficBucket, Window
from driftbell.store.connections import Connections
from driftbell.store.tables import predictions

MAX_IDS = 5000
"""Ids in one query; SQLite allows some thirty thousand parameters."""

_NAMES = ("id", "time", "model", "version", "features", "output", "probabilities", "latency_ms", "metadata")
_INTO = f"INSERT INTO predictions ({', '.join(_NAMES)})"


def _insert_in_sqlite(names: Sequence[str]) -> sa.TextClause:
    fields = ", ".join(f"json_extract(value, '$.{name}')" for name in names)
    return sa.text(
        f"INSERT INTO predictions ({', '.join(names)}) SELECT {fields} FROM json_each(:lines) WHERE true "  # noqa: S608
        "ON CONFLICT (id) DO NOTHING"
    )


_INSERT_PLAIN = _insert_in_sqlite(_NAMES[:-1])
"""For lines without metadata: SQLite would look for it in each of them."""

_INSERT = {
    "sqlite": _insert_in_sqlite(_NAMES),
    "postgresql": sa.text(
        f"{_INTO} SELECT id, time AT TIME ZONE 'UTC', model, version, features, output, probabilities, "  # noqa: S608
        "latency_ms, metadata FROM json_to_recordset(CAST(:lines AS json)) AS line (id text, time timestamp, "
        "model text, version text, features json, output text, probabilities json, "
        "latency_ms double precision, metadata json) ON CONFLICT (id) DO NOTHING"
    ),
}
"""One statement for any number of rows: the database parses the JSON, without Python's global lock."""

_METADATA = '"metadata"'
"""Part of every line with metadata, and of a line with a feature of this name."""

_UNREADABLE = re.compile(r"\\u0000|\\u[dD][89a-fA-F]")
"""NUL and unpaired surrogates: PostgreSQL stores them in a `json` column, but cannot extract them."""

_INSERT_ROW = sa.text(
    f"{_INTO} VALUES (:id, CAST(:time AS timestamp) AT TIME ZONE 'UTC', :model, :version, "
    "CAST(:features AS json), :output, CAST(:probabilities AS json), :latency_ms, CAST(:metadata AS json)) "
    "ON CONFLICT (id) DO NOTHING"
)


def _window(rows: Sequence[Any]) -> Window:
    """Return rows of the table as a window, oldest first."""
    if not rows:
        return Window()
    sequences = tuple(row.seq for row in rows)
    return Window(tuple(map(prediction_from, rows)), sequences[0], sequences[-1], sequences)


class SqlPredictions:
    """Predictions in SQL; implements `driftbell.ports.PredictionStore`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def append(self, new: Sequence[Prediction]) -> int:
        return self.append_lines([encode_line(prediction) for prediction in new])

    def append_lines(self, lines: Sequence[bytes]) -> int:
        if not lines:
            return 0
        with self._connections.write() as connection:
            text = (b"[%b]" % b",".join(lines)).decode()
            if connection.dialect.name == "postgresql" and _UNREADABLE.search(text):
                return sum(connection.execute(_INSERT_ROW, _parse(line)).rowcount for line in lines)
            insert = _INSERT[connection.dialect.name]
            if connection.dialect.name == "sqlite" and _METADATA not in text:
                insert = _INSERT_PLAIN
            return connection.execute(insert, {"lines": text}).rowcount

    def window(self, rows: int, *, model: str, version: str) -> Window:
        return self.after(0, rows, model=model, version=version)

    def after(self, seq: int, limit: int, *, model: str, version: str, last: int | None = None) -> Window:
        query = (
            sa.select(predictions)
            .where(predictions.c.model == model, predictions.c.version == version, predictions.c.seq > seq)
            .order_by(predictions.c.seq.desc())
            .limit(limit)
        )
        if last is not None:
            query = query.where(predictions.c.seq <= last)
        with self._connections.read() as connection:
            rows = connection.execute(query).all()[::-1]
        return _window(rows)

    def get(self, prediction_id: str) -> Prediction | None:
        query = sa.select(predictions).where(predictions.c.id == prediction_id)
        with self._connections.read() as connection:
            row = connection.execute(query).one_or_none()
        return prediction_from(row) if row else None

    def count(self, *, model: str, version: str, limit: int | None = None, after: int = 0) -> int:
        rows = (
            sa.select(predictions.c.seq)
            .where(predictions.c.model == model, predictions.c.version == version, predictions.c.seq > after)
            .order_by(predictions.c.seq.desc())  # else the planner may scan the whole table
            .limit(limit)
            .subquery()
        )
        with self._connections.read() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one()

    def traffic(self, since: datetime, bucket_seconds: int) -> list[TrafficBucket]:
        return self._traffic(predictions.c.time >= since, bucket_seconds)

    def traffic_between(self, after: int, last: int, bucket_seconds: int) -> list[TrafficBucket]:
        return self._traffic((predictions.c.seq > after) & (predictions.c.seq <= last), bucket_seconds)

    def _traffic(self, rows: sa.ColumnElement[bool], bucket_seconds: int) -> list[TrafficBucket]:
        latency = predictions.c.latency_ms
        with self._connections.read() as connection:
            seconds: Any = sa.func.unixepoch(predictions.c.time)
            if connection.dialect.name == "postgresql":
                seconds = sa.func.floor(sa.extract("epoch", predictions.c.time))
            bucket = (sa.cast(seconds, sa.BigInteger) // bucket_seconds).label("bucket")
            query = (
                sa.select(bucket, sa.func.count(), sa.func.avg(latency), sa.func.max(latency))
                .where(rows)
                .group_by("bucket")
                .order_by(bucket)
            )
            return [
                TrafficBucket(datetime.fromtimestamp(number * bucket_seconds, UTC), count, mean, largest)
                for number, count, mean, largest in connection.execute(query)
            ]

    def numbers_since(self, time: datetime) -> tuple[int | None, int]:
        first = sa.select(predictions.c.seq).where(predictions.c.time >= time)
        query = sa.select(
            first.order_by(predictions.c.time).limit(1).scalar_subquery(),
            sa.select(sa.func.max(predictions.c.seq)).scalar_subquery(),
        )
        with self._connections.read() as connection:
            row = connection.execute(query).one()
        return row[0], row[1] or 0

    def first_since(self, time: datetime, *, model: str, version: str) -> int | None:
        query = (
            sa.select(predictions.c.seq)
            .where(predictions.c.time >= time, *served_by_time(model, version))
            .order_by(predictions.c.time, predictions.c.seq)
            .limit(1)
        )
        with self._connections.read() as connection:
            return connection.execute(query).scalar()

    def oldest(self, *, model: str, version: str) -> datetime | None:
        query = (
            sa.select(predictions.c.time)
            .where(predictions.c.model == model, predictions.c.version == version)
            .order_by(predictions.c.time)
            .limit(1)
        )
        with self._connections.read() as connection:
            return connection.execute(query).scalar()

    def between(
        self, start: datetime, end: datetime, limit: int, *, model: str, version: str
    ) -> tuple[int, Window]:
        period = sa.and_(
            *served_by_time(model, version), predictions.c.time >= start, predictions.c.time < end
        )
        with self._connections.read() as connection:
            count = connection.execute(sa.select(sa.func.count()).where(period)).scalar_one()
            step = -(-count // limit)
            query = sa.select(predictions).where(period).order_by(predictions.c.seq)
            if step > 1:
                query = query.where(predictions.c.seq % step == 0)
            rows = connection.execute(query).all()
        return count, _window(rows)

    def newest_time(self, *, model: str, version: str) -> datetime | None:
        query = sa.select(predictions.c.time).where(
            predictions.c.model == model, predictions.c.version == version
        )
        with self._connections.read() as connection:
            return connection.execute(query.order_by(predictions.c.seq.desc()).limit(1)).scalar()

    def counts_by_version(self, rows: int, *, model: str) -> dict[str, int]:
        last = sa.select(predictions.c.model, predictions.c.version).order_by(predictions.c.seq.desc())
        newest = last.limit(rows).subquery()  # of all models: the order needs no sorting then
        query = sa.select(newest.c.version, sa.func.count()).where(newest.c.model == model)
        with self._connections.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(newest.c.version))}

    def versions_by_id(self, ids: Sequence[str], *, model: str) -> dict[str, str]:
        versions: dict[str, str] = {}
        with self._connections.read() as connection:
            for part in id_parts(ids):
                query = sa.select(predictions.c.id, predictions.c.version).where(
                    predictions.c.id.in_(part), predictions.c.model == model
                )
                versions |= {row.id: row.version for row in connection.execute(query)}
        return versions

    def versions(self, model: str) -> list[str]:
        following = sa.select(sa.func.min(predictions.c.version)).where(
            predictions.c.model == model, predictions.c.version > sa.bindparam("last")
        )
        newest = sa.select(sa.func.max(predictions.c.seq)).where(
            predictions.c.model == model, predictions.c.version == sa.bindparam("last")
        )
        last, seqs = "", dict[str, int]()
        with self._connections.read() as connection:
            # one jump in the index for each version: DISTINCT would read every row
            while last := connection.execute(following, {"last": last}).scalar() or "":
                seqs[last] = connection.execute(newest, {"last": last}).scalar_one()
        return sorted(seqs, key=seqs.__getitem__)


def served_by_time(model: str, version: str) -> tuple[sa.ColumnElement[bool], ...]:
    """Select the predictions of a model version for a query of a period.

    The model is an expression: by the index of model and version, SQLite would read and sort all rows of the
    version instead of those of the period.
    """
    return predictions.c.model + "" == model, predictions.c.version == version


def id_parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield ids in parts of at most `MAX_IDS`."""
    for start in range(0, len(ids), MAX_IDS):
        yield ids[start : start + MAX_IDS]


def prediction_from(row: Any) -> Prediction:
    """Build a prediction from a row of the table."""
    return Prediction(
        row.id,
        row.time,
        row.model,
        row.version,
        row.features,
        row.output,
        row.probabilities,
        row.latency_ms,
        row.metadata or {},
    )


def _parse(line: bytes) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(line)
        metadata = None if row.get("metadata") is None else json.dumps(row["metadata"])
        texts = {name: json.dumps(row[name]) for name in ("features", "probabilities")}
        return {**row, **texts, "metadata": metadata}
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError("the prediction cannot be logged: its line is not JSON, or incomplete") from error
