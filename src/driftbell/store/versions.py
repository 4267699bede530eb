"""The tables of model versions, their files and aliases, and of server processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from driftbell.records import Lease, Notification
from driftbell.records.versions import (
    CHALLENGER,
    CHAMPION,
    SETTINGS_AUTHOR,
    AliasChange,
    ModelVersion,
    Promotion,
    ServerWorker,
    VersionFeature,
    VersionFile,
    VersionState,
)
from driftbell.store import leases, notifications
from driftbell.store.connections import Connections
from driftbell.store.tables import model_aliases, model_files, model_versions, promotions, server_workers

FORGET = timedelta(hours=1)
"""Reports of workers are deleted after this time without a new one."""


class SqlVersions:
    """Versions in SQL; implements `driftbell.ports.VersionStore`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def add(self, version: ModelVersion) -> bool:
        values = asdict(version)
        with self._connections.write() as connection:
            known = _select_version(version.model, version.version)
            row = connection.execute(known).one_or_none()
            if row is None:
                connection.execute(model_versions.insert(), values)
                return True
            if row.author == version.author == SETTINGS_AUTHOR and _version(row) != replace(
                version, added=row.added
            ):
                update = model_versions.update().where(model_versions.c.seq == row.seq)
                connection.execute(update.values({**values, "added": row.added}))
        return False

    def get(self, version: str, *, model: str) -> ModelVersion | None:
        with self._connections.read() as connection:
            row = connection.execute(_select_version(model, version)).one_or_none()
        return _version(row) if row else None

    def newest(self, *, model: str) -> list[ModelVersion]:
        query = sa.select(model_versions).where(model_versions.c.model == model)
        with self._connections.read() as connection:
            return [_version(row) for row in connection.execute(query.order_by(model_versions.c.seq.desc()))]

    def replace_files(self, version: ModelVersion) -> None:
        mine = (model_versions.c.model == version.model) & (model_versions.c.version == version.version)
        files = sa.select(model_versions.c.files)
        with self._connections.write() as connection:
            before = connection.execute(files.where(mine)).scalar_one()
            connection.execute(model_versions.update().where(mine).values(files=asdict(version)["files"]))
            rows = connection.execute(files).scalars()
            used = {VersionFile(**entry).content_id for entries in rows for entry in entries}
            unused = {VersionFile(**entry).content_id for entry in before} - used
            if unused:
                if connection.dialect.name == "sqlite":  # overwrite the content, which may be plain
                    connection.exec_driver_sql("PRAGMA secure_delete = ON")
                connection.execute(model_files.delete().where(model_files.c.sha256.in_(unused)))

    def has_file(self, content_id: str, parts: int) -> bool:
        query = sa.select(sa.func.count()).where(model_files.c.sha256 == content_id)
        with self._connections.read() as connection:
            return connection.execute(query).scalar() == parts

    def write_file(self, content_id: str, parts: Iterable[bytes]) -> None:
        for number, content in enumerate(parts):
            query = sa.select(model_files.c.part).where(
                model_files.c.sha256 == content_id, model_files.c.part == number
            )
            with self._connections.write() as connection:
                if connection.execute(query).scalar() is None:
                    row = {"sha256": content_id, "part": number, "content": content}
                    connection.execute(model_files.insert(), row)

    def read_file(self, content_id: str) -> Iterator[bytes]:
        number = 0
        while True:
            query = sa.select(model_files.c.content).where(
                model_files.c.sha256 == content_id, model_files.c.part == number
            )
            with self._connections.read() as connection:
                content = connection.execute(query).scalar()
            if content is None:
                return
            yield bytes(content)
            number += 1

    def state(self, now: datetime, *, model: str) -> VersionState:
        promotion = sa.select(promotions).where(promotions.c.model == model)
        with self._connections.read() as connection:
            champion, upcoming, after = _in_force(connection, model, CHAMPION, now)
            challenger, next_challenger, _ = _in_force(connection, model, CHALLENGER, now, after)
            row = connection.execute(promotion).one_or_none()
        if challenger and challenger.version is None:
            challenger = None
        in_progress = Promotion(**row._mapping) if row else None
        return VersionState(champion, upcoming, challenger, next_challenger, in_progress)

    def challengers(self, now: datetime, *, model: str) -> tuple[AliasChange, ...]:
        challenger = self.state(now, model=model).challenger
        return (challenger,) if challenger else ()

    def history(self, limit: int, *, model: str, alias: str) -> list[AliasChange]:
        with self._connections.read() as connection:
            return [_change(row) for row in connection.execute(_select_alias(model, alias).limit(limit))]

    def settle(self, configured: str, now: datetime, *, model: str) -> AliasChange:
        with self._connections.write() as connection:
            newest = connection.execute(_select_alias(model, CHAMPION).limit(1)).one_or_none()
            if newest is None or newest.configured != configured:
                reason = "the settings name this version"
                change = AliasChange(model, CHAMPION, configured, now, SETTINGS_AUTHOR, reason, configured)
                connection.execute(model_aliases.insert(), asdict(change))
                return change
            champion, _, _ = _in_force(connection, model, CHAMPION, now)
        return champion or _change(newest)

    def set_alias(self, change: AliasChange) -> None:
        with self._connections.write() as connection:
            connection.execute(model_aliases.insert(), asdict(change))

    def end_challenge(
        self, change: AliasChange, running: AliasChange, notification: Notification | None, lease: Lease
    ) -> bool:
        with self._connections.write() as connection:
            leases.fence(connection, lease)
            newest = connection.execute(_select_alias(change.model, CHALLENGER).limit(1)).one_or_none()
            champion, upcoming, after = _in_force(connection, change.model, CHAMPION, change.active_from)
            is_over = newest is None or newest.seq < after or upcoming is not None
            if champion is None or is_over or _change(newest) != running:
                return False
            connection.execute(model_aliases.insert(), asdict(change))
            if notification:
                notifications.insert(connection, notification)
        return True

    def rollbacks(self, *, model: str) -> int:
        query = sa.select(sa.func.count()).where(
            model_aliases.c.model == model, model_aliases.c.version.is_(None), model_aliases.c.is_rollback
        )
        with self._connections.read() as connection:
            return connection.execute(query).scalar() or 0

    def start_promotion(self, promotion: Promotion, *, stale: datetime) -> Promotion | None:
        own = promotions.c.model == promotion.model
        with self._connections.write() as connection:
            row = connection.execute(sa.select(promotions).where(own)).one_or_none()
            if row and row.started > stale:
                return Promotion(**row._mapping)
            connection.execute(promotions.delete().where(own))
            connection.execute(promotions.insert(), asdict(promotion))
        return None

    def cancel_promotion(self, promotion: Promotion) -> None:
        with self._connections.write() as connection:
            connection.execute(promotions.delete().where(promotions.c.id == promotion.id))

    def complete_promotion(
        self, promotion: Promotion, change: Callable[[], AliasChange], *, alive: datetime
    ) -> list[ServerWorker] | None:
        own = promotions.c.id == promotion.id
        with self._connections.write() as connection:
            if connection.execute(sa.select(promotions.c.id).where(own)).scalar() is None:
                return None
            workers = _workers(connection, promotion.model, alive)
            waiting = [worker for worker in workers if promotion.version not in worker.ready]
            if not waiting:
                connection.execute(promotions.delete().where(own))
                connection.execute(model_aliases.insert(), asdict(change()))
            return waiting

    def report_worker(self, worker: ServerWorker) -> None:
        row = {**asdict(worker), "ready": list(worker.ready), "errors": dict(worker.errors)}
        own = server_workers.c.id == worker.id
        with self._connections.write() as connection:
            if not connection.execute(server_workers.update().where(own).values(row)).rowcount:
                connection.execute(server_workers.insert(), row)
                old = server_workers.c.seen < worker.seen - FORGET
                connection.execute(server_workers.delete().where(old))

    def remove_worker(self, worker_id: str) -> None:
        with self._connections.write() as connection:
            connection.execute(server_workers.delete().where(server_workers.c.id == worker_id))

    def workers(self, since: datetime, *, model: str) -> list[ServerWorker]:
        with self._connections.read() as connection:
            return _workers(connection, model, since)


def _select_version(model: str, version: str) -> sa.Select[Any]:
    return sa.select(model_versions).where(
        model_versions.c.model == model, model_versions.c.version == version
    )


def _select_alias(model: str, alias: str) -> sa.Select[Any]:
    query = sa.select(model_aliases).where(model_aliases.c.model == model, model_aliases.c.alias == alias)
    return query.order_by(model_aliases.c.seq.desc())


def _in_force(
    connection: sa.Connection, model: str, alias: str, now: datetime, after: int = 0
) -> tuple[AliasChange | None, AliasChange | None, int]:
    """Read the newest change with a time in the past, and the next one with a time in the future.

    There are several in the future if `now` is long ago when the query runs.

    Only changes after a sequence number count. The third value is the number of the change in force.
    """
    query = _select_alias(model, alias).where(model_aliases.c.seq > after)
    row = connection.execute(query.where(model_aliases.c.active_from <= now).limit(1)).one_or_none()
    later = query.where(model_aliases.c.active_from > now)
    if row:
        later = later.where(model_aliases.c.seq > row.seq)
    next_row = connection.execute(later.order_by(None).order_by(model_aliases.c.seq).limit(1)).one_or_none()
    seq = row.seq if row else after
    return _change(row) if row else None, _change(next_row) if next_row else None, seq


def _workers(connection: sa.Connection, model: str, since: datetime) -> list[ServerWorker]:
    query = sa.select(server_workers).where(server_workers.c.model == model, server_workers.c.seen >= since)
    rows = connection.execute(query.order_by(server_workers.c.id))
    return [ServerWorker(row.id, row.model, row.seen, tuple(row.ready), row.errors) for row in rows]


def _change(row: Any) -> AliasChange:
    return AliasChange(**{key: value for key, value in row._mapping.items() if key != "seq"})


def _version(row: Any) -> ModelVersion:
    values = {key: value for key, value in row._mapping.items() if key != "seq"}
    return ModelVersion(
        **values
        | {
            "files": tuple(VersionFile(**entry) for entry in row.files),
            "features": tuple(VersionFeature(**entry) for entry in row.features),
            "classes": tuple(row.classes),
        }
    )
