"""The table of API keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from driftbell.records.api_keys import ApiKey
from driftbell.store.connections import Connections
from driftbell.store.tables import api_keys, ended_sessions


class SqlKeys:
    """API keys in SQL; implements `driftbell.ports.KeyStore`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def add(self, key: ApiKey) -> bool:
        namesake = (
            sa.select(api_keys.c.seq)
            .where(api_keys.c.name == key.name, api_keys.c.revoked.is_(None))
            .limit(1)
        )
        row = {
            "id": key.id,
            "name": key.name,
            "scopes": sorted(key.scopes),
            "digest": key.digest,
            "created": key.created,
            "expires": key.expires,
        }
        with self._connections.write() as connection:
            if connection.execute(namesake).first():
                return False
            connection.execute(api_keys.insert(), row)
        return True

    def all(self) -> list[ApiKey]:
        with self._connections.read() as connection:
            return [_key(row) for row in connection.execute(sa.select(api_keys).order_by(api_keys.c.seq))]

    def revoke(self, name_or_id: str, now: datetime) -> list[ApiKey]:
        where = api_keys.c.revoked.is_(None) & sa.or_(
            api_keys.c.name == name_or_id, api_keys.c.id == name_or_id
        )
        with self._connections.write() as connection:
            keys = [_key(row) for row in connection.execute(sa.select(api_keys).where(where))]
            connection.execute(api_keys.update().where(where).values(revoked=now))
        return keys

    def mark_used(self, ids: Collection[str], now: datetime) -> None:
        later = sa.or_(api_keys.c.last_used.is_(None), api_keys.c.last_used < now)
        with self._connections.write() as connection:
            connection.execute(
                api_keys.update().where(api_keys.c.id.in_(list(ids)) & later).values(last_used=now)
            )

    def end_sessions(self, sessions: Mapping[str, datetime], now: datetime) -> None:
        with self._connections.write() as connection:
            connection.execute(ended_sessions.delete().where(ended_sessions.c.until <= now))
            known = sa.select(ended_sessions.c.id).where(ended_sessions.c.id.in_(list(sessions)))
            new = sessions.keys() - set(connection.execute(known).scalars())
            if new:
                rows = [{"id": name, "until": sessions[name]} for name in sorted(new)]
                connection.execute(ended_sessions.insert(), rows)

    def ended_sessions(self, now: datetime) -> frozenset[str]:
        with self._connections.read() as connection:
            query = sa.select(ended_sessions.c.id).where(ended_sessions.c.until > now)
            return frozenset(connection.execute(query).scalars())


def _key(row: Any) -> ApiKey:
    return ApiKey(
        row.id,
        row.name,
        frozenset(row.scopes),
        row.digest,
        row.created,
        row.expires,
        row.last_used,
        row.revoked,
    )
