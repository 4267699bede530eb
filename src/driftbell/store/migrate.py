"""Migrate the tables of the store."""

from __future__ import annotations

import sqlalchemy as sa

from driftbell.errors import StoreError
from driftbell.store.tables import HEAD, VERSION_TABLE


def migrate(engine: sa.Engine) -> tuple[str | None, str]:
    """Create or migrate the tables; a second process waits, and then has nothing to migrate.

    Returns:
        The version before, None for an empty database, and the version after.

    Raises:
        StoreError: a newer release created the tables.
    """
    with engine.connect().execution_options(driftbell_migrates=True) as connection, connection.begin():
        version = read_version(connection)
        if version != HEAD:
            _upgrade(connection)
        return version, HEAD


def read_version(connection: sa.Connection) -> str | None:
    """Read the version of the tables; None for an empty database.

    Raises:
        StoreError: a newer release created the tables.
    """
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    if version is not None and version > HEAD:
        raise StoreError(
            f"the log has tables of a newer driftbell ({version}), this one knows {HEAD}: upgrade driftbell"
        )
    return None if version is None else str(version)


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command  # imported here, since most starts migrate nothing
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "driftbell.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
