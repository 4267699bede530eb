"""What is too old, planned, then gone: the log's side of retention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from driftbell.records import Archive, Archived, ArchiveTotals, Lease
from driftbell.records.checks import BASE
from driftbell.store import leases, prune
from driftbell.store.labels import day_of, newest_of
from driftbell.store.predictions import prediction_of
from driftbell.store.tables import archives, checks, labels, predictions

PLANNED, WRITTEN, DONE = "planned", "written", "done"
ID_DIGITS = 12
"""Of the first row's id, in the name of a file: another log may have the same numbers."""


class ArchivesInSql:
    """What `driftbell.ports.Log` says about archives."""

    _read: Callable[[], AbstractContextManager[sa.Connection]]
    _write: Callable[[], AbstractContextManager[sa.Connection]]

    def plan_archive(
        self, before: datetime, rows: int, lease: Lease, *, now: datetime, to_file: bool
    ) -> Archive | None:
        """Decide which predictions go next, or read what was decided and not finished."""
        with self._read() as connection:
            found = _unfinished(connection) or _next(connection, before, rows, now, to_file)
        if found is None or found.seq:
            return found
        with self._write() as connection:
            leases.fence(connection, lease)
            row = {k: v for k, v in asdict(found).items() if k != "seq"}
            (seq,) = connection.execute(archives.insert(), row).inserted_primary_key or (0,)
            return replace(found, seq=seq)

    def archived_rows(self, archive: Archive) -> tuple[list[Archived], int]:
        """Read the predictions of an archive in their order, with what must be unchanged at `written`."""
        with self._read() as connection:
            label_seq = connection.execute(sa.select(sa.func.max(labels.c.seq))).scalar() or 0
            last = (
                sa.select(sa.func.max(labels.c.seq).label("seq"))
                .where(*_labels_in(archive))
                .group_by(labels.c.prediction_seq)
                .subquery()
            )
            mine = sa.select(labels.c.prediction_seq, labels.c.value, labels.c.time)
            newest = connection.execute(mine.join(last, last.c.seq == labels.c.seq))
            told = {row.prediction_seq: (row.value, row.time) for row in newest}
            query = sa.select(predictions).where(*_rows_of(archive)).order_by(predictions.c.seq)
            found = [
                Archived(prediction_of(row), *told.get(row.seq, (None, None)))
                for row in connection.execute(query)
            ]
        return found, label_seq

    def archive_written(self, archive: Archive, label_seq: int, lease: Lease) -> bool:
        """Say that the file is there; from then on the predictions take no label. False: a label came."""
        with self._write() as connection:
            leases.fence(connection, lease)
            newer = sa.select(labels.c.seq).where(*_labels_in(archive), labels.c.seq > label_seq).limit(1)
            if connection.execute(newer).scalar():
                return False
            _update(connection, archive, state=WRITTEN, error="")
            return True

    def archive_failed(self, archive: Archive, error: str, lease: Lease) -> None:
        """Say why an archive could not be written."""
        with self._write() as connection:
            leases.fence(connection, lease)
            _update(connection, archive, error=error)

    def delete_archived(self, archive: Archive, rows: int, lease: Lease) -> int:
        """Delete the next of an archive's predictions with their labels, and tell how many; 0 is the end."""
        with self._write() as connection:
            leases.fence(connection, lease)
            query = sa.select(predictions.c.seq).where(*_rows_of(archive)).order_by(predictions.c.seq)
            seqs = connection.execute(query.limit(rows)).scalars().all()
            deleted = _delete(connection, archive, seqs) if seqs else 0
            if deleted == len(seqs) < rows:
                _update(connection, archive, state=DONE)
            return deleted

    def prune(self, before: datetime, rows: int, lease: Lease) -> int:
        """Delete checks, notifications, closed alarms and requests that are too old, and tell how many."""
        with self._write() as connection:
            leases.fence(connection, lease)
            return prune.prune(connection, before, rows)

    def archive_totals(self) -> ArchiveTotals:
        """Count what is gone, and tell what is oldest and what went wrong."""
        done = archives.c.state == DONE
        with self._read() as connection:
            in_file = (archives.c.file != "").label("in_file")
            query = sa.select(in_file, sa.func.sum(archives.c.rows), sa.func.count())
            query = query.where(done).group_by("in_file")
            counts = {bool(row[0]): (int(row[1]), row[2]) for row in connection.execute(query)}
            oldest = connection.execute(sa.select(sa.func.min(predictions.c.time))).scalar()
            unfinished = _unfinished(connection)
        archived, files = counts.get(True, (0, 0))
        deleted = counts.get(False, (0, 0))[0]
        return ArchiveTotals(archived, deleted, files, oldest, unfinished.error if unfinished else "")


def _unfinished(connection: sa.Connection) -> Archive | None:
    query = sa.select(archives).where(archives.c.state != DONE).order_by(archives.c.seq).limit(1)
    row = connection.execute(query).one_or_none()
    return Archive(**row._mapping) if row else None


def _next(
    connection: sa.Connection, before: datetime, rows: int, now: datetime, to_file: bool
) -> Archive | None:
    """Find the next rows of one model version and day, in the order of their numbers."""
    kept = list(_kept(connection))
    free = [
        ~((predictions.c.model == k.model) & (predictions.c.version == k.version) & k.within) for k in kept
    ]
    oldest = connection.execute(
        sa.select(predictions.c.seq, predictions.c.model, predictions.c.version, predictions.c.time)
        .where(predictions.c.time < before, *free)
        .order_by(predictions.c.time)
        .limit(1)
    ).one_or_none()
    if oldest is None:
        return None
    day = oldest.time.date().isoformat()
    whole = Archive(0, oldest.model, oldest.version, day, oldest.seq - rows, 2**62, 0, "", now, PLANNED, "")
    # only near the oldest: to look for all rows of a day would be to look at all there are
    near = sa.select(predictions.c.seq).where(*_numbers_of(whole)).order_by(predictions.c.seq)
    last = sa.select(sa.func.max(near.limit(2 * rows).subquery().c.seq))
    whole = replace(whole, last=connection.execute(last).scalar_one())
    query = sa.select(predictions.c.seq, predictions.c.id).where(*_rows_of(whole), *free)
    found: Sequence[Any] = connection.execute(query.order_by(predictions.c.seq).limit(rows)).all()
    for k in kept:  # which would be inside the range
        if (k.model, k.version) == (oldest.model, oldest.version) and found[0].seq < k.first:
            found = [row for row in found if row.seq < k.first]
    first, last = found[0].seq, found[-1].seq
    name = f"{quote(oldest.version, '')}-{first}-{last}-{quote(found[0].id[-ID_DIGITS:], '')}.parquet"
    file = f"model={quote(oldest.model, '')}/date={day}/{name}" if to_file else ""
    state = PLANNED if to_file else WRITTEN
    return replace(whole, first=first, last=last, rows=len(found), file=file, state=state)


class _Kept:
    """Rows that stay, however old they are: somebody said that they are what is normal now."""

    def __init__(self, model: str, version: str, first: int, last: int) -> None:
        self.model = model
        self.version = version
        self.first = first
        self.within = predictions.c.seq.between(first, last or 2**62)


def _kept(connection: sa.Connection) -> Iterator[_Kept]:
    newest = sa.select(sa.func.max(checks.c.seq)).group_by(checks.c.model, checks.c.version)
    query = sa.select(checks.c.model, checks.c.version, checks.c.body).where(checks.c.seq.in_(newest))
    for model, version, body in connection.execute(query):
        base = body.get("state", {}).get(BASE)
        if base:
            yield _Kept(model, version, base["first"], base["last"])


def _rows_of(archive: Archive) -> list[sa.ColumnElement[bool]]:
    # the date is no use of the index of times: a day may have millions of rows
    return [*_numbers_of(archive), day_of(predictions.c.time) == archive.day]


def _numbers_of(archive: Archive) -> list[sa.ColumnElement[bool]]:
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
    """Delete predictions and their labels up to the next of another day, by range, which is fast.

    The newest label of the model version stays, since it has the totals.
    """
    part = replace(archive, first=seqs[0], last=seqs[-1])
    other = sa.select(predictions.c.seq).where(*_numbers_of(part), day_of(predictions.c.time) != part.day)
    stop = connection.execute(other.order_by(predictions.c.seq).limit(1)).scalar()
    mine = [seq for seq in seqs if stop is None or seq < stop]
    part = replace(part, last=mine[-1])
    newest = newest_of(connection, part.model, part.version)
    connection.execute(labels.delete().where(*_labels_in(part), labels.c.seq != (newest or 0)))
    connection.execute(predictions.delete().where(*_numbers_of(part)))
    return len(mine)


def _update(connection: sa.Connection, archive: Archive, **values: Any) -> None:
    connection.execute(archives.update().where(archives.c.seq == archive.seq).values(**values))
