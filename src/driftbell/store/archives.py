"""Retention: plan, archive and delete expired predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from driftbell.records import Archive, ArchivedPrediction, ArchiveTotals, Lease
from driftbell.store import leases, prune
from driftbell.store.connections import Connections
from driftbell.store.labels import day_of, newest_label
from driftbell.store.predictions import prediction_from
from driftbell.store.tables import archives, checks, labels, outcomes, predictions

PLANNED, CLOSED, WRITTEN, DONE = "planned", "closed", "written", "done"
ID_DIGITS = 12
"""Digits of the first row's id in the name of a file: another store may have the same sequence numbers."""

NAME = "retention"
END = 2**62
"""Larger than every sequence number."""


class SqlRetention:
    """Retention in SQL; implements `driftbell.ports.RetentionStore`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def plan(
        self, before: datetime, rows: int, lease: Lease, *, now: datetime, to_file: bool
    ) -> Archive | None:
        with self._connections.read() as connection:
            archive = _unfinished(connection) or _next(connection, before, rows, now, to_file)
        if archive is None or archive.seq:
            return archive
        with self._connections.write() as connection:
            leases.fence(connection, lease)
            row = {name: value for name, value in asdict(archive).items() if name != "seq"}
            (seq,) = connection.execute(archives.insert(), row).inserted_primary_key or (0,)
            return replace(archive, seq=seq)

    def rows(self, archive: Archive) -> tuple[list[ArchivedPrediction], int]:
        last = (
            sa.select(sa.func.max(labels.c.seq).label("seq"))
            .where(*_labels_in(archive))
            .group_by(labels.c.prediction_seq)
            .subquery()
        )
        newest = sa.select(labels.c.prediction_seq, labels.c.value, labels.c.time)
        newest = newest.join(last, last.c.seq == labels.c.seq)
        query = sa.select(predictions).where(*_rows_in(archive)).order_by(predictions.c.seq)
        with self._connections.read() as connection:
            label_seq = connection.execute(sa.select(sa.func.max(labels.c.seq))).scalar() or 0
            label_by_seq = {r.prediction_seq: (r.value, r.time) for r in connection.execute(newest)}
            archived = [
                ArchivedPrediction(prediction_from(row), *label_by_seq.get(row.seq, (None, None)))
                for row in connection.execute(query)
            ]
        return archived, label_seq

    def mark_written(self, archive: Archive, label_seq: int, lease: Lease) -> bool:
        newer = sa.select(labels.c.seq).where(*_labels_in(archive), labels.c.seq > label_seq).limit(1)
        with self._connections.write() as connection:
            leases.fence(connection, lease)
            if connection.execute(newer).scalar():
                return False
            _update(connection, archive, state=WRITTEN, error="")
            return True

    def close_labels(self, archive: Archive, lease: Lease) -> None:
        with self._connections.write() as connection:
            leases.fence(connection, lease)
            _update(connection, archive, state=CLOSED)

    def record_outcome(self, error: str, lease: Lease) -> None:
        with self._connections.write() as connection:
            leases.fence(connection, lease)
            values = {"error": error}
            if not connection.execute(
                outcomes.update().where(outcomes.c.name == NAME).values(values)
            ).rowcount:
                connection.execute(outcomes.insert(), {"name": NAME, **values})

    def record_failure(self, archive: Archive, error: str, lease: Lease) -> None:
        with self._connections.write() as connection:
            leases.fence(connection, lease)
            _update(connection, archive, error=error)

    def delete(self, archive: Archive, rows: int, lease: Lease) -> int:
        query = sa.select(predictions.c.seq).where(*_rows_in(archive)).order_by(predictions.c.seq)
        with self._connections.write() as connection:
            leases.fence(connection, lease)
            seqs = connection.execute(query.limit(rows)).scalars().all()
            deleted = _delete(connection, archive, seqs) if seqs else 0
            if deleted == len(seqs) < rows:
                _update(connection, archive, state=DONE)
        return deleted

    def prune(self, before: datetime, rows: int, lease: Lease) -> int:
        with self._connections.write() as connection:
            leases.fence(connection, lease)
            return prune.prune(connection, before, rows)

    def totals(self) -> ArchiveTotals:
        in_file = (archives.c.file != "").label("in_file")
        query = sa.select(in_file, sa.func.sum(archives.c.rows), sa.func.count())
        query = query.where(archives.c.state == DONE).group_by("in_file")
        with self._connections.read() as connection:
            counts = {bool(row[0]): (int(row[1]), row[2]) for row in connection.execute(query)}
            oldest = connection.execute(sa.select(sa.func.min(predictions.c.time))).scalar()
            unfinished = _unfinished(connection)
            outcome = connection.execute(sa.select(outcomes.c.error).where(outcomes.c.name == NAME)).scalar()
        archived, files = counts.get(True, (0, 0))
        deleted = counts.get(False, (0, 0))[0]
        return ArchiveTotals(
            archived, deleted, files, oldest, (unfinished and unfinished.error) or outcome or ""
        )


def _unfinished(connection: sa.Connection) -> Archive | None:
    query = sa.select(archives).where(archives.c.state != DONE).order_by(archives.c.seq).limit(1)
    row = connection.execute(query).one_or_none()
    return Archive(**row._mapping) if row else None


def _next(
    connection: sa.Connection, before: datetime, rows: int, now: datetime, to_file: bool
) -> Archive | None:
    """Return the next expired rows of one model version and day, in the order of their numbers."""
    baselines = list(_baselines(connection))
    free = [~baseline.covers() for baseline in baselines]
    oldest = connection.execute(
        sa.select(predictions.c.seq, predictions.c.model, predictions.c.version, predictions.c.time)
        .where(predictions.c.time < before, *free)
        .order_by(predictions.c.time)
        .limit(1)
    ).one_or_none()
    if oldest is None:
        return None
    day = oldest.time.date().isoformat()
    archive = Archive(0, oldest.model, oldest.version, day, oldest.seq - rows, END, 0, "", now, PLANNED, "")
    # only near the oldest row: a day may have millions
    near = sa.select(predictions.c.seq).where(*_numbers_in(archive)).order_by(predictions.c.seq)
    last = sa.select(sa.func.max(near.limit(2 * rows).subquery().c.seq))
    archive = replace(archive, last=connection.execute(last).scalar_one())
    query = sa.select(predictions.c.seq, predictions.c.id).where(*_rows_in(archive), *free)
    chosen: Sequence[Any] = connection.execute(query.order_by(predictions.c.seq).limit(rows)).all()
    for baseline in baselines:  # it would lie inside the range
        same = (baseline.model, baseline.version) == (oldest.model, oldest.version)
        if same and chosen[0].seq < baseline.first:
            chosen = [row for row in chosen if row.seq < baseline.first]
    first, last_seq = chosen[0].seq, chosen[-1].seq
    name = f"{quote(oldest.version, '')}-{first}-{last_seq}-{quote(chosen[0].id[-ID_DIGITS:], '')}.parquet"
    file = f"model={quote(oldest.model, '')}/date={day}/{name}" if to_file else ""
    state = PLANNED if to_file else WRITTEN
    return replace(archive, first=first, last=last_seq, rows=len(chosen), file=file, state=state)


@dataclass(frozen=True, slots=True)
class _BaselineRows:
    """Predictions of the baselines, which are never deleted."""

    model: str
    version: str
    first: int
    last: int

    def covers(self) -> sa.ColumnElement[bool]:
        """Select the predictions of the baseline; one without an end goes on to the newest."""
        return (
            (predictions.c.model == self.model)
            & (predictions.c.version == self.version)
            & predictions.c.seq.between(self.first, self.last or END)
        )


def _baselines(connection: sa.Connection) -> Iterator[_BaselineRows]:
    newest = sa.select(sa.func.max(checks.c.seq)).group_by(checks.c.model, checks.c.version)
    query = sa.select(
        checks.c.model, checks.c.version, checks.c.baseline_first, checks.c.baseline_last
    ).where(checks.c.seq.in_(newest), checks.c.baseline_first.is_not(None))
    for row in connection.execute(query):
        yield _BaselineRows(*row)


def _rows_in(archive: Archive) -> list[sa.ColumnElement[bool]]:
    # a range of numbers first, since a day may have millions of rows
    return [*_numbers_in(archive), day_of(predictions.c.time) == archive.day]


def _numbers_in(archive: Archive) -> list[sa.ColumnElement[bool]]:
    return [
        predictions.c.model == archive.model,
        predictions.c.version == archive.version,
        predictions.c.seq.between(archive.first, archive.last),
    ]


def _labels_in(archive: Archive) -> list[sa.ColumnElement[bool]]:
    return [
        labels.c.model == archive.model,
        labels.c.version == archive.version,
        labels.c.prediction_seq.between(archive.first, archive.last),
    ]


def _delete(connection: sa.Connection, archive: Archive, seqs: Sequence[int]) -> int:
    """Delete the predictions before the next one of another day, with their labels: one range, which is fast.

    The newest label of the model version stays, since it holds the totals.
    """
    part = replace(archive, first=seqs[0], last=seqs[-1])
    other_day = sa.select(predictions.c.seq).where(*_numbers_in(part), day_of(predictions.c.time) != part.day)
    stop = connection.execute(other_day.order_by(predictions.c.seq).limit(1)).scalar()
    expired = [seq for seq in seqs if stop is None or seq < stop]
    part = replace(part, last=expired[-1])
    newest = newest_label(connection, part.model, part.version)
    connection.execute(labels.delete().where(*_labels_in(part), labels.c.seq != (newest or 0)))
    connection.execute(predictions.delete().where(*_numbers_in(part)))
    return len(expired)


def _update(connection: sa.Connection, archive: Archive, **values: Any) -> None:
    connection.execute(archives.update().where(archives.c.seq == archive.seq).values(**values))
