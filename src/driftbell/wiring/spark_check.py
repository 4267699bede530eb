"""Check two tables on Spark, as `driftbell check --engine spark` does."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from driftbell.engines.spark_session import spark_session
from driftbell.engines.spark_tables import read_source
from driftbell.errors import ConfigError
from driftbell.progress import begin_stage
from driftbell.wiring.large_tables import LargeCheck
from driftbell.wiring.model_roles import ModelRoles
from driftbell.wiring.sql_tables import is_database
from driftbell.wiring.tables import TableOptions, judge_counts

if TYPE_CHECKING:
    from driftbell.config.settings import Settings


def judge_on_spark(
    sources: tuple[str, str],
    options: TableOptions,
    settings: Settings,
    roles: Callable[[Collection[str]], ModelRoles],
    master: str | None,
) -> LargeCheck:
    """Judge two tables by counts that the executors of Spark make.

    Args:
        sources: Parquet files or a table of the catalog for each side; a small file of another format here is
            read by this process.
        options: the user's options.
        settings: all settings.
        roles: returns the columns of the model for the columns of the reference.
        master: see `spark_session`.

    Raises:
        ConfigError: a table cannot be read, or an option does not fit.
    """
    if options.queries or any(map(is_database, sources)):
        raise ConfigError("--engine spark reads no databases: use --engine polars, or a table of its catalog")
    begin_stage("starting Spark", 0.0, 0.1)
    with spark_session(master) as session:
        tables = read_source(session, sources[0]), read_source(session, sources[1])
        if tables == (None, None):
            raise ConfigError(
                f"--engine spark reads Parquet files and tables of its catalog, and neither {sources[0]} nor "
                f"{sources[1]} is one: use --engine polars"
            )
        return judge_counts(tables, sources, options, settings, roles)
