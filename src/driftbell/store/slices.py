"""The tables of time slices: counts of predictions by day, and the last prediction that is counted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from driftbell.errors import LeaseLostError
from driftbell.records import CountedDays, Lease, SliceKey, TimeSlice
from driftbell.store import leases
from driftbell.store.connections import Connections
from driftbell.store.tables import slice_marks, time_slices


class SqlSlices:
    """Time slices in SQL; implements `driftbell.ports.SliceStore`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def read(self, key: SliceKey, first_day: str) -> CountedDays:
        columns = (time_slices.c[name] for name in ("day", "rows", "first", "last", "counts"))
        days = sa.select(*columns).where(*_of(time_slices, key), time_slices.c.day >= first_day)
        with self._connections.read() as connection:
            mark = connection.execute(_mark(key)).scalar()
            if mark is None:
                return CountedDays()
            rows = connection.execute(days.order_by(time_slices.c.day)).all()
        return CountedDays(mark, tuple(TimeSlice(*row) for row in rows))

    def save(
        self,
        key: SliceKey,
        before: int | None,
        seq: int,
        slices: Iterable[TimeSlice],
        lease: Lease,
        *,
        first_day: str,
    ) -> None:
        with self._connections.write() as connection:
            leases.fence(connection, lease)
            if connection.execute(_mark(key)).scalar() != before:
                raise LeaseLostError("another monitor has counted these predictions, so nothing was saved")
            if before is None:
                for table in (time_slices, slice_marks):
                    connection.execute(table.delete().where(*_of(table, key)))
                connection.execute(slice_marks.insert(), {**_row(key), "seq": seq})
            else:
                connection.execute(slice_marks.update().where(*_of(slice_marks, key)).values(seq=seq))
            for one in slices:
                same_day = (*_of(time_slices, key), time_slices.c.day == one.day)
                connection.execute(time_slices.delete().where(*same_day))
                values = {name: getattr(one, name) for name in TimeSlice.__slots__}
                connection.execute(
                    time_slices.insert(), {"model": key.model, "version": key.version, **values}
                )
            expired = (time_slices.c.model == key.model, time_slices.c.day < first_day)
            connection.execute(time_slices.delete().where(*expired))

    def clear(self, model: str) -> None:
        with self._connections.write() as connection:
            for table in (time_slices, slice_marks):
                connection.execute(table.delete().where(table.c.model == model))


def _of(table: sa.Table, key: SliceKey) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.model == key.model, table.c.version == key.version


def _mark(key: SliceKey) -> sa.Select[Any]:
    """Select the last counted prediction; slices of other bins do not count."""
    return sa.select(slice_marks.c.seq).where(*_of(slice_marks, key), slice_marks.c.bins == key.bins)


def _row(key: SliceKey) -> dict[str, str]:
    return {"model": key.model, "version": key.version, "bins": key.bins}
