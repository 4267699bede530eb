"""The table of the predictions of shadows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from driftbell.journal.line import time_text
from driftbell.records import ShadowPrediction
from driftbell.records.comparison import ShadowPair
from driftbell.store.connections import Connections
from driftbell.store.tables import labels, predictions, shadow_predictions

_NAMES = ("prediction_id", "time", "model", "version", "output", "probabilities", "latency_ms")
_INTO = f"INSERT INTO shadow_predictions ({', '.join(_NAMES)})"
_FIELDS = ", ".join(f"json_extract(value, '$.{name}')" for name in _NAMES)
_END = "ON CONFLICT (prediction_id, version) DO NOTHING"
_INSERT = {
    "sqlite": sa.text(f"{_INTO} SELECT {_FIELDS} FROM json_each(:rows) WHERE true {_END}"),  # noqa: S608
    "postgresql": sa.text(
        f"{_INTO} SELECT prediction_id, time AT TIME ZONE 'UTC', model, version, output, probabilities, "  # noqa: S608
        "latency_ms FROM json_to_recordset(CAST(:rows AS json)) AS row (prediction_id text, time timestamp, "
        f"model text, version text, output text, probabilities json, latency_ms double precision) {_END}"
    ),
}
"""One statement for any number of rows, as for predictions."""


class SqlShadows:
    """Predictions of shadows in SQL; implements `driftbell.ports.ShadowStore`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def append(self, predictions: Sequence[ShadowPrediction]) -> int:
        if not predictions:
            return 0
        rows = msgspec.json.encode([_line(row) for row in predictions]).decode()
        with self._connections.write() as connection:
            insert = _INSERT[connection.dialect.name]
            return connection.execute(insert, {"rows": rows}).rowcount

    def pairs(self, limit: int, *, model: str, champion: str, shadow: str) -> list[ShadowPair]:
        newest = _of(sa.select(shadow_predictions), model, shadow)
        newest = newest.order_by(shadow_predictions.c.seq.desc()).limit(limit)
        own = newest.subquery()
        query = (
            sa.select(
                own.c.seq,
                predictions.c.time,
                predictions.c.output,
                own.c.output,
                sa.null(),
                predictions.c.latency_ms,
                own.c.latency_ms,
            )
            .join(predictions, predictions.c.id == own.c.prediction_id)
            .where(predictions.c.version == champion)
            .order_by(own.c.seq)
        )
        return self._read(query)

    def labelled_pairs(
        self, limit: int, *, model: str, champion: str, shadow: str, since: datetime | None = None
    ) -> list[ShadowPair]:
        first, newest = sa.func.min(labels.c.seq).label("first"), sa.func.max(labels.c.seq).label("newest")
        own = shadow_predictions
        arrived = (
            _of(sa.select(own.c.prediction_id, own.c.output, own.c.latency_ms, first, newest), model, shadow)
            .join(labels, labels.c.prediction_id == own.c.prediction_id)
            .where(labels.c.model == model, labels.c.version == champion)
            .group_by(own.c.prediction_id, own.c.output, own.c.latency_ms)
        )
        if since is not None:
            arrived = arrived.where(own.c.time >= since)
        chosen = arrived.order_by(first.desc() if since is None else first).limit(limit).subquery()
        query = (
            sa.select(
                chosen.c.first,
                predictions.c.time,
                predictions.c.output,
                chosen.c.output,
                labels.c.value,
                predictions.c.latency_ms,
                chosen.c.latency_ms,
            )
            .select_from(chosen)
            .join(labels, labels.c.seq == chosen.c.newest)
            .join(predictions, predictions.c.id == chosen.c.prediction_id)
            .order_by(chosen.c.first)
        )
        return self._read(query)

    def versions(self, model: str) -> list[str]:
        column = shadow_predictions.c.version
        of_model = shadow_predictions.c.model == model
        following = sa.select(sa.func.min(column)).where(of_model, column > sa.bindparam("last"))
        last, versions = "", []
        with self._connections.read() as connection:
            # one jump in the index for each version: DISTINCT would read every row
            while last := connection.execute(following, {"last": last}).scalar() or "":
                versions.append(last)
        return versions

    def _read(self, query: sa.Select[Any]) -> list[ShadowPair]:
        with self._connections.read() as connection:
            return [ShadowPair(*row) for row in connection.execute(query)]


class _Line(msgspec.Struct, gc=False):
    """One row as JSON."""

    prediction_id: str
    time: str
    model: str
    version: str
    output: str
    probabilities: Any
    latency_ms: float | None


def _line(row: ShadowPrediction) -> _Line:
    time = time_text(row.time)
    return _Line(
        row.prediction_id, time, row.model, row.version, row.output, row.probabilities, row.latency_ms
    )


def _of(query: sa.Select[Any], model: str, version: str) -> sa.Select[Any]:
    return query.where(shadow_predictions.c.model == model, shadow_predictions.c.version == version)
