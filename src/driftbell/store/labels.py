"""The table of labels: each accepted label is a row, and nothing is overwritten."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from driftbell.journal.line import time_text
from driftbell.records import ErrorTotals, Label, LabelledPrediction, LabelReceipt, LabelTotals, Share
from driftbell.records.comparison import LabelledOutcome
from driftbell.store.connections import Connections
from driftbell.store.predictions import id_parts, prediction_from
from driftbell.store.tables import archives, labels, predictions


class SqlLabels:
    """Labels in SQL; implements `driftbell.ports.LabelStore`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def add(self, new: Sequence[Label]) -> LabelReceipt:
        if not new:
            return LabelReceipt()
        with self._connections.write() as connection:
            return _add(connection, new)

    def after(self, seq: int, limit: int, *, model: str, version: str) -> list[LabelledPrediction]:
        query = _served(_with_predictions(), model, version).where(labels.c.seq > seq)
        return self._read(query.order_by(labels.c.seq).limit(limit))

    def newest(
        self, rows: int, *, model: str, version: str, as_of: datetime | None = None
    ) -> list[LabelledPrediction]:
        last = _newest(rows, model, version, as_of)
        joined = _with_predictions().join(last, last.c.seq == labels.c.seq)
        return self._read(joined.order_by(predictions.c.seq))

    def realized(self, rows: int, *, model: str, version: str, as_of: datetime | None = None) -> Share:
        last = _newest(rows, model, version, as_of)
        correct = sa.func.sum(sa.cast(labels.c.value == predictions.c.output, sa.Integer))
        query = (
            sa.select(sa.func.coalesce(correct, 0), sa.func.count())
            .select_from(last)
            .join(labels, labels.c.seq == last.c.seq)
            .join(predictions, predictions.c.seq == last.c.prediction_seq)
        )
        with self._connections.read() as connection:
            return Share(*connection.execute(query).one())

    def realized_errors(
        self, rows: int, *, model: str, version: str, as_of: datetime | None = None
    ) -> ErrorTotals:
        last = _newest(rows, model, version, as_of)
        error = sa.cast(labels.c.value, sa.Double) - sa.cast(predictions.c.output, sa.Double)
        totals = (sa.func.coalesce(sa.func.sum(total), 0.0) for total in (sa.func.abs(error), error * error))
        query = (
            sa.select(sa.func.count(), *totals)
            .select_from(last)
            .join(labels, labels.c.seq == last.c.seq)
            .join(predictions, predictions.c.seq == last.c.prediction_seq)
        )
        with self._connections.read() as connection:
            return ErrorTotals(*connection.execute(query).one())

    def coverage(self, rows: int, *, model: str, version: str) -> Share:
        window = (
            sa.select(predictions.c.seq)
            .where(predictions.c.model == model, predictions.c.version == version)
            .order_by(predictions.c.seq.desc())
            .limit(rows)
            .subquery()
        )
        labelled = sa.exists().where(
            labels.c.model == model, labels.c.version == version, labels.c.prediction_seq == window.c.seq
        )
        count = sa.func.coalesce(sa.func.sum(sa.cast(labelled, sa.Integer)), 0)
        with self._connections.read() as connection:
            row = connection.execute(sa.select(count, sa.func.count()).select_from(window)).one()
        return Share(*row)

    def between(self, start: datetime, end: datetime, *, model: str, version: str) -> dict[str, str]:
        of_period = sa.select(predictions.c.seq).where(
            *(predictions.c.model == model, predictions.c.version == version),
            *(predictions.c.time >= start, predictions.c.time < end),
        )
        newest = _served(sa.select(sa.func.max(labels.c.seq)), model, version)
        newest = newest.where(labels.c.prediction_seq.in_(of_period)).group_by(labels.c.prediction_seq)
        query = sa.select(labels.c.prediction_id, labels.c.value).where(labels.c.seq.in_(newest))
        with self._connections.read() as connection:
            return {row.prediction_id: row.value for row in connection.execute(query)}

    def labelled(self, ids: Sequence[str]) -> frozenset[str]:
        known: set[str] = set()
        with self._connections.read() as connection:
            for part in id_parts(ids):
                query = sa.select(labels.c.prediction_id).where(labels.c.prediction_id.in_(part))
                known |= {row.prediction_id for row in connection.execute(query)}
        return frozenset(known)

    def outcomes(
        self, limit: int, *, model: str, version: str, since: datetime | None = None
    ) -> list[LabelledOutcome]:
        first, newest = sa.func.min(labels.c.seq).label("first"), sa.func.max(labels.c.seq).label("newest")
        labelled = _served(sa.select(first, newest), model, version).group_by(labels.c.prediction_seq)
        if since is not None:
            begin = sa.select(predictions.c.seq).where(predictions.c.time >= since)
            begin = begin.where(predictions.c.model == model, predictions.c.version == version)
            begin = begin.order_by(predictions.c.time, predictions.c.seq).limit(1)
            labelled = labelled.where(labels.c.prediction_seq >= begin.scalar_subquery())
        arrived = labelled.order_by(first.desc() if since is None else first).limit(limit).subquery()
        query = (
            sa.select(
                arrived.c.first,
                predictions.c.time,
                predictions.c.output,
                labels.c.value,
                predictions.c.latency_ms,
            )
            .select_from(arrived)
            .join(labels, labels.c.seq == arrived.c.newest)
            .join(predictions, predictions.c.seq == labels.c.prediction_seq)
            .order_by(arrived.c.first)
        )
        with self._connections.read() as connection:
            return [LabelledOutcome(*row) for row in connection.execute(query)]

    def counts(self, first: int, last: int, *, model: str, version: str) -> dict[str, int]:
        newest = _served(sa.select(sa.func.max(labels.c.seq).label("seq")), model, version)
        newest = newest.where(labels.c.prediction_seq.between(first, last))
        chosen = newest.group_by(labels.c.prediction_seq).subquery()
        query = sa.select(labels.c.value, sa.func.count()).join(chosen, chosen.c.seq == labels.c.seq)
        query = query.group_by(labels.c.value).order_by(labels.c.value)
        with self._connections.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def totals(self, *, model: str, version: str) -> LabelTotals:
        newest = _served(sa.select(labels), model, version).order_by(labels.c.seq.desc()).limit(1)
        newest_seq = _served(sa.select(sa.func.max(labels.c.prediction_seq)), model, version)
        newest_time = sa.select(predictions.c.time).where(predictions.c.seq == newest_seq.scalar_subquery())
        with self._connections.read() as connection:
            last = connection.execute(newest).one_or_none()
            if last is None:
                return LabelTotals()
            predicted = connection.execute(newest_time).scalar()
        return LabelTotals(last.labelled, last.corrections, last.time, predicted)

    def _read(self, query: sa.Select[Any]) -> list[LabelledPrediction]:
        with self._connections.read() as connection:
            return [_labelled(row) for row in connection.execute(query)]


@dataclass(slots=True)
class _Predicted:
    """A prediction that a new label belongs to, and the value of its newest label."""

    seq: int
    model: str
    version: str
    value: str | None = None


def _add(connection: sa.Connection, new: Sequence[Label]) -> LabelReceipt:
    """Insert labels in the order given; the caller's transaction is the only one that writes."""
    predicted = _predicted(connection, list(dict.fromkeys(label.prediction_id for label in new)))
    versions = {(p.model, p.version) for p in predicted.values()}
    totals = {version: _newest_totals(connection, *version) for version in versions}
    rows: list[dict[str, Any]] = []
    unknown: dict[str, None] = {}
    duplicates = 0
    for label in new:
        prediction = predicted.get(label.prediction_id)
        if prediction is None:
            unknown[label.prediction_id] = None
            continue
        if prediction.value == label.value:
            duplicates += 1
            continue
        total = totals[prediction.model, prediction.version]
        total["labelled" if prediction.value is None else "corrections"] += 1
        rows.append(
            {
                "prediction_id": label.prediction_id,
                "prediction_seq": prediction.seq,
                "model": prediction.model,
                "version": prediction.version,
                "value": label.value,
                "before": prediction.value,
                "time": label.time,
                **total,
            }
        )
        prediction.value = label.value
    if rows:
        _insert(connection, rows)
    corrected = sum(row["before"] is not None for row in rows)
    return LabelReceipt(len(rows) - corrected, corrected, duplicates, tuple(unknown))


def _predicted(connection: sa.Connection, ids: list[str]) -> dict[str, _Predicted]:
    """Read the predictions with these ids, each with the value of its newest label."""
    predicted: dict[str, _Predicted] = {}
    for part in id_parts(ids):
        query = sa.select(
            predictions.c.id, predictions.c.seq, predictions.c.model, predictions.c.version
        ).where(predictions.c.id.in_(part), ~_archived())
        predicted |= {r.id: _Predicted(r.seq, r.model, r.version) for r in connection.execute(query)}
        newest = sa.select(sa.func.max(labels.c.seq)).where(labels.c.prediction_id.in_(part))
        values = sa.select(labels.c.prediction_id, labels.c.value).where(
            labels.c.seq.in_(newest.group_by(labels.c.prediction_id))
        )
        for prediction_id, value in connection.execute(values):
            if prediction_id in predicted:  # else the prediction has expired
                predicted[prediction_id].value = value
    return predicted


def _insert(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    """Insert rows in order; in PostgreSQL in one round trip, since other writers wait meanwhile."""
    if connection.dialect.name == "postgresql":
        text = json.dumps(rows, default=lambda moment: f"{time_text(moment)}Z")
        connection.execute(_INSERT_ALL, {"rows": text})
    else:
        connection.execute(labels.insert(), rows)


_NAMES = ", ".join(f'"{column.name}"' for column in labels.c if column.name != "seq")
_INSERT_ALL = sa.text(
    f"INSERT INTO labels ({_NAMES}) SELECT {_NAMES} "  # noqa: S608
    "FROM json_populate_recordset(CAST(NULL AS labels), CAST(:rows AS json))"
)


def _archived() -> sa.ColumnElement[bool]:
    """Select predictions that are archived and about to be deleted: a label would be lost."""
    return sa.exists().where(
        archives.c.state.in_(("closed", "written")),
        archives.c.model == predictions.c.model,
        archives.c.version == predictions.c.version,
        predictions.c.seq.between(archives.c.first, archives.c.last),
        day_of(predictions.c.time) == archives.c.day,
    )


def day_of(time: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """Return the date of a time (UTC) as a text, such as 2026-01-31."""
    return sa.cast(sa.func.date(time), sa.String)


def newest_label(connection: sa.Connection, model: str, version: str) -> int | None:
    """Read the sequence number of the newest label of a model version."""
    query = _served(sa.select(labels.c.seq), model, version).order_by(labels.c.seq.desc()).limit(1)
    return connection.execute(query).scalar()


def _newest_totals(connection: sa.Connection, model: str, version: str) -> dict[str, int]:
    query = _served(sa.select(labels.c.labelled, labels.c.corrections), model, version)
    row = connection.execute(query.order_by(labels.c.seq.desc()).limit(1)).one_or_none()
    return {"labelled": row.labelled, "corrections": row.corrections} if row else dict(_NO_LABELS)


_NO_LABELS = {"labelled": 0, "corrections": 0}


def _newest(rows: int, model: str, version: str, as_of: datetime | None) -> sa.Subquery:
    """Select the newest label of each of the newest labelled predictions."""
    query = _served(
        sa.select(labels.c.prediction_seq, sa.func.max(labels.c.seq).label("seq")), model, version
    )
    if as_of is not None:
        query = query.where(labels.c.time <= as_of)
    grouped = query.group_by(labels.c.prediction_seq)
    return grouped.order_by(labels.c.prediction_seq.desc()).limit(rows).subquery()


def _served(query: sa.Select[Any], model: str, version: str) -> sa.Select[Any]:
    return query.where(labels.c.model == model, labels.c.version == version)


def _columns(table: sa.Table, names: Iterable[str]) -> list[Any]:
    return [table.c[name].label(f"label_{name}") for name in names]


def _with_predictions() -> sa.Select[Any]:
    return (
        sa.select(predictions, *_columns(labels, ("seq", "value", "before", "time")))
        .select_from(labels)
        .join(predictions, predictions.c.seq == labels.c.prediction_seq)
    )


def _labelled(row: Any) -> LabelledPrediction:
    prediction = prediction_from(row)
    return LabelledPrediction(prediction, row.label_value, row.label_time, row.label_seq, row.label_before)
