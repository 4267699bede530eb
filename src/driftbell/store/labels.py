"""Labels in the log: every arrival that changes something is a row, and nothing is overwritten."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from driftbell.journal.line import time_text
from driftbell.records import Label, Labelled, LabelReceipt, LabelTotals, Share
from driftbell.store.predictions import prediction_of
from driftbell.store.tables import archives, labels, predictions

AT_ONCE = 5000
"""Ids in one query; SQLite takes some thirty thousand parameters."""


@dataclass(slots=True)
class _Known:
    seq: int
    model: str
    version: str
    value: str | None


def add(connection: sa.Connection, new: Sequence[Label]) -> LabelReceipt:
    """Write labels in the order given; nobody else may write meanwhile."""
    known = _known(connection, list(dict.fromkeys(label.prediction_id for label in new)))
    totals = {
        whose: _newest_totals(connection, *whose) for whose in {(k.model, k.version) for k in known.values()}
    }
    rows: list[dict[str, Any]] = []
    unknown: dict[str, None] = {}
    duplicates = 0
    for label in new:
        of = known.get(label.prediction_id)
        if of is None:
            unknown[label.prediction_id] = None
            continue
        if of.value == label.value:
            duplicates += 1
            continue
        total = totals[of.model, of.version]
        total["labelled" if of.value is None else "corrections"] += 1
        rows.append(
            {
                "prediction_id": label.prediction_id,
                "prediction_seq": of.seq,
                "model": of.model,
                "version": of.version,
                "value": label.value,
                "before": of.value,
                "time": label.time,
                **total,
            }
        )
        of.value = label.value
    if rows:
        _insert(connection, rows)
    corrected = sum(row["before"] is not None for row in rows)
    return LabelReceipt(len(rows) - corrected, corrected, duplicates, tuple(unknown))


def after(connection: sa.Connection, seq: int, limit: int, model: str, version: str) -> list[Labelled]:
    """Read the labels after a sequence number in the order of arrival."""
    query = (
        _joined()
        .where(labels.c.model == model, labels.c.version == version, labels.c.seq > seq)
        .order_by(labels.c.seq)
        .limit(limit)
    )
    return [_labelled(row) for row in connection.execute(query)]


def newest(
    connection: sa.Connection, rows: int, model: str, version: str, as_of: datetime | None
) -> list[Labelled]:
    """Read the newest labelled predictions, oldest first, each with its newest label."""
    last = _newest(rows, model, version, as_of)
    query = _joined().join(last, last.c.seq == labels.c.seq).order_by(predictions.c.seq)
    return [_labelled(row) for row in connection.execute(query)]


def realized(connection: sa.Connection, rows: int, model: str, version: str, as_of: datetime | None) -> Share:
    """Count the newest labelled predictions, and the right ones among them."""
    last = _newest(rows, model, version, as_of)
    right = sa.func.sum(sa.cast(labels.c.value == predictions.c.output, sa.Integer))
    query = (
        sa.select(sa.func.coalesce(right, 0), sa.func.count())
        .select_from(last)
        .join(labels, labels.c.seq == last.c.seq)
        .join(predictions, predictions.c.seq == last.c.prediction_seq)
    )
    return Share(*connection.execute(query).one())


def share(connection: sa.Connection, rows: int, model: str, version: str) -> Share:
    """Count the last predictions, and those of them that have a label."""
    window = (
        sa.select(predictions.c.seq)
        .where(predictions.c.model == model, predictions.c.version == version)
        .order_by(predictions.c.seq.desc())
        .limit(rows)
        .subquery()
    )
    has_one = sa.exists().where(
        labels.c.model == model, labels.c.version == version, labels.c.prediction_seq == window.c.seq
    )
    query = sa.select(sa.func.coalesce(sa.func.sum(sa.cast(has_one, sa.Integer)), 0), sa.func.count())
    return Share(*connection.execute(query.select_from(window)).one())


def totals(connection: sa.Connection, model: str, version: str) -> LabelTotals:
    """Read the running totals, and the time of the newest labelled prediction."""
    last = connection.execute(
        _of(sa.select(labels), model, version).order_by(labels.c.seq.desc()).limit(1)
    ).one_or_none()
    if last is None:
        return LabelTotals()
    newest_seq = _of(sa.select(sa.func.max(labels.c.prediction_seq)), model, version).scalar_subquery()
    predicted = connection.execute(sa.select(predictions.c.time).where(predictions.c.seq == newest_seq))
    return LabelTotals(last.labelled, last.corrections, last.time, predicted.scalar())


def _known(connection: sa.Connection, ids: list[str]) -> dict[str, _Known]:
    """Read the predictions with these ids, each with the newest value of its label."""
    found: dict[str, _Known] = {}
    for part in _parts(ids):
        query = sa.select(
            predictions.c.id, predictions.c.seq, predictions.c.model, predictions.c.version
        ).where(predictions.c.id.in_(part), ~_leaving())
        found |= {row.id: _Known(row.seq, row.model, row.version, None) for row in connection.execute(query)}
        mine = sa.select(sa.func.max(labels.c.seq)).where(labels.c.prediction_id.in_(part))
        values = sa.select(labels.c.prediction_id, labels.c.value).where(
            labels.c.seq.in_(mine.group_by(labels.c.prediction_id))
        )
        for prediction_id, value in connection.execute(values):
            if prediction_id in found:  # else the prediction is gone
                found[prediction_id].value = value
    return found


def _insert(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    """Write rows in their order; in PostgreSQL in one round trip, since the others wait."""
    if connection.dialect.name == "postgresql":
        text = json.dumps(rows, default=lambda moment: f"{time_text(moment)}Z")
        connection.execute(_ALL_AT_ONCE, {"rows": text})
    else:
        connection.execute(labels.insert(), rows)


_NAMES = ", ".join(f'"{column.name}"' for column in labels.c if column.name != "seq")
_ALL_AT_ONCE = sa.text(
    f"INSERT INTO labels ({_NAMES}) SELECT {_NAMES} "  # noqa: S608
    "FROM json_populate_recordset(CAST(NULL AS labels), CAST(:rows AS json))"
)


def _leaving() -> sa.ColumnElement[bool]:
    """Predictions that are in the archive already, and deleted in a moment: a label would be lost."""
    return sa.exists().where(
        archives.c.state == "written",
        archives.c.model == predictions.c.model,
        archives.c.version == predictions.c.version,
        predictions.c.seq.between(archives.c.first, archives.c.last),
        day_of(predictions.c.time) == archives.c.day,
    )


def day_of(time: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """Give the date of a time (UTC) as a text, such as 2026-01-31."""
    return sa.cast(sa.func.date(time), sa.String)


def newest_of(connection: sa.Connection, model: str, version: str) -> int | None:
    """Read the number of the newest label of a model version."""
    query = _of(sa.select(labels.c.seq), model, version).order_by(labels.c.seq.desc()).limit(1)
    return connection.execute(query).scalar()


def _parts(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start : start + AT_ONCE]


def _newest_totals(connection: sa.Connection, model: str, version: str) -> dict[str, int]:
    query = _of(sa.select(labels.c.labelled, labels.c.corrections), model, version)
    row = connection.execute(query.order_by(labels.c.seq.desc()).limit(1)).one_or_none()
    return {"labelled": row.labelled, "corrections": row.corrections} if row else dict(_NOTHING)


_NOTHING = {"labelled": 0, "corrections": 0}


def _newest(rows: int, model: str, version: str, as_of: datetime | None) -> sa.Subquery:
    """The newest label of each of the newest labelled predictions."""
    query = _of(sa.select(labels.c.prediction_seq, sa.func.max(labels.c.seq).label("seq")), model, version)
    if as_of is not None:
        query = query.where(labels.c.time <= as_of)
    grouped = query.group_by(labels.c.prediction_seq)
    return grouped.order_by(labels.c.prediction_seq.desc()).limit(rows).subquery()


def _of(query: sa.Select[Any], model: str, version: str) -> sa.Select[Any]:
    return query.where(labels.c.model == model, labels.c.version == version)


def _columns(table: sa.Table, names: Iterable[str]) -> list[Any]:
    return [table.c[name].label(f"label_{name}") for name in names]


def _joined() -> sa.Select[Any]:
    mine = _columns(labels, ("seq", "value", "before", "time"))
    return (
        sa.select(predictions, *mine)
        .select_from(labels)
        .join(predictions, predictions.c.seq == labels.c.prediction_seq)
    )


def _labelled(row: Any) -> Labelled:
    return Labelled(prediction_of(row), row.label_value, row.label_time, row.label_seq, row.label_before)
