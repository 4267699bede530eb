"""Pages of predictions with only what a comparison needs, without a record for each row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from driftbell.errors import StoreError
from driftbell.records import Archive, LoggedRows
from driftbell.store.archives import DONE, WRITTEN
from driftbell.store.connections import Connections
from driftbell.store.labels import day_of
from driftbell.store.predictions import served_by_time
from driftbell.store.tables import archives, predictions

_TIME = sa.type_coerce(predictions.c.time, sa.types.NullType())
"""The time as the driver returns and accepts it: to convert each takes longer than to read the rest."""

_COLUMNS = (
    predictions.c.seq,
    _TIME.label("raw_time"),
    day_of(predictions.c.time).label("day"),
    sa.cast(predictions.c.features, sa.Text).label("features"),
    predictions.c.output,
    sa.cast(predictions.c.probabilities, sa.Text).label("probabilities"),
)
"""JSON stays a text, since one call decodes that of a whole page."""

IDLE_SECONDS = 60
"""PostgreSQL ends a reading transaction that is idle for this time, while the rows before are counted."""


class SqlRows:
    """Rows of predictions in SQL; implements `driftbell.ports.RowStore`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def between(
        self,
        start: datetime,
        end: datetime,
        limit: int,
        *,
        model: str,
        version: str,
        after: int = 0,
        archived: Sequence[Archive] = (),
    ) -> Iterator[LoggedRows]:
        query = sa.select(*_COLUMNS).where(
            *served_by_time(model, version),
            *(predictions.c.time >= start, predictions.c.time < end, predictions.c.seq > after),
        )
        for archive in archived:
            inside = predictions.c.seq.between(archive.first, archive.last)
            query = query.where(~(inside & (day_of(predictions.c.time) == archive.day)))
        query = query.order_by(predictions.c.time, predictions.c.seq).limit(limit)
        rest = query
        while True:
            with self._connections.read() as connection:
                if connection.dialect.name == "postgresql":
                    setting = f"idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'"
                    connection.exec_driver_sql(f"SET LOCAL {setting}")
                rows = connection.execute(rest).all()
            if rows:
                yield _logged_rows(rows)
            if len(rows) < limit:
                return
            time, seq = rows[-1].raw_time, rows[-1].seq
            same_time = (time == _TIME) & (predictions.c.seq > seq)
            rest = query.where(time <= _TIME, (time < _TIME) | same_time)

    def after(self, seq: int, limit: int, *, model: str, version: str) -> LoggedRows:
        query = sa.select(*_COLUMNS).where(
            *(predictions.c.model == model, predictions.c.version == version, predictions.c.seq > seq)
        )
        with self._connections.read() as connection:
            return _logged_rows(connection.execute(query.order_by(predictions.c.seq).limit(limit)).all())

    def first_number(self, start: datetime, *, model: str, version: str) -> int | None:
        query = sa.select(predictions.c.seq).where(
            *(predictions.c.model == model, predictions.c.version == version, predictions.c.time >= start)
        )
        with self._connections.read() as connection:
            return connection.execute(query.order_by(predictions.c.seq).limit(1)).scalar()

    def archived(self, start: datetime, end: datetime, *, model: str, version: str) -> list[Archive]:
        days = start.astimezone(UTC).date().isoformat(), end.astimezone(UTC).date().isoformat()
        query = sa.select(archives).where(
            *(archives.c.model == model, archives.c.version == version),
            *(archives.c.day.between(*days), archives.c.state.in_((WRITTEN, DONE))),
        )
        with self._connections.read() as connection:
            return [Archive(**row._mapping) for row in connection.execute(query.order_by(archives.c.seq))]

    def first_archived_day(self, *, model: str, version: str) -> datetime | None:
        query = sa.select(sa.func.min(archives.c.day)).where(
            *(archives.c.model == model, archives.c.version == version),
            *(archives.c.file != "", archives.c.state.in_((WRITTEN, DONE))),
        )
        with self._connections.read() as connection:
            day = connection.execute(query).scalar()
        return None if day is None else datetime.fromisoformat(day).replace(tzinfo=UTC)


def _logged_rows(rows: Sequence[Any]) -> LoggedRows:
    """Return rows of the table by column.

    Raises:
        StoreError: the JSON of a row is damaged.
    """
    if not rows:
        return LoggedRows((), (), ())
    seqs, _, days, features, outputs, probabilities = zip(*rows, strict=True)
    return LoggedRows(_decode(features, seqs), outputs, _decode(probabilities, seqs), seqs, days)


def _decode(texts: Sequence[str], seqs: Sequence[int]) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode(f"[{','.join(texts)}]", type=list[dict[str, Any]])
    except (msgspec.DecodeError, UnicodeEncodeError):
        return [_decode_one(text, seq) for text, seq in zip(texts, seqs, strict=True)]


def _decode_one(text: str, seq: int) -> dict[str, Any]:
    """Decode JSON that msgspec does not read, such as half a surrogate pair."""
    try:
        value: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise StoreError(f"prediction number {seq} of the log is damaged: {error}") from error
    return value
