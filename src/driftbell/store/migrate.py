"""The tables of the log, brought up to date."""

from __future__ import annotations

import sqlalchemy as sa

from driftbell.errors import LogError
from driftbell.store.tables import HEAD, VERSION_TABLE


def migrate(engine: sa.Engine) -> tuple[str | None, str]:
    """Bring the tables up to date; a second process that does the same waits and then finds nothing to do.

    Returns:
        The version that was found, None where there was nothing, and the one that is there now.

    Raises:
        LogError: the tables were made by a newer release.
    """
    with engine.connect().execution_options(driftbell_migrates=True) as connection, connection.begin():
        version = version_of(connection)
        if version != HEAD:
            _run(connection)
        return version, HEAD


def version_of(connection: sa.Connection) -> str | None:
    """Read the version of the tables; None where there are none.

    Raises:
        LogError: they were made by a newer release.
    """
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    if version is not None and version > HEAD:
        raise LogError(f"the log has tables of a newer driftbell ({version}); this one knows {HEAD}")
    return None if version is None else str(version)


def _run(connection: sa.Connection) -> None:
    from alembic import command  # only here: it is not needed at every start
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "driftbell.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
