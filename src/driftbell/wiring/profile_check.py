"""Check a table against a profile."""

from __future__ import annotations

from driftbell.alarms.limits import parse_limits
from driftbell.config.settings import Settings
from driftbell.errors import ConfigError
from driftbell.tabular.typed_column import count_rows
from driftbell.wiring.model_roles import ModelRoles
from driftbell.wiring.sql_tables import is_database
from driftbell.wiring.table_check import TableCheck
from driftbell.wiring.table_profile import TableProfile, judge_with_profile, select_profile
from driftbell.wiring.tables import TableOptions, configured_effects, open_table, public_name, type_columns


def check_with_profile(
    profile: TableProfile,
    names: tuple[str, str],
    options: TableOptions,
    settings: Settings,
    roles: ModelRoles,
) -> TableCheck:
    """Check a file or the rows of a query against a profile, as `driftbell check` does.

    Args:
        profile: the reference.
        names: the file of the profile, and the source of the other table.
        options: the user's options of reading tables.
        settings: all settings.
        roles: columns of the model.

    Raises:
        ConfigError: the table cannot be read, or an option does not fit the profile.
    """
    if len(options.queries) > 1 or (options.queries and not is_database(names[1])):
        raise ConfigError("--query: with a profile, pass one query, for the database of the current table")
    profile = select_profile(profile, options.columns)
    raw = open_table(names[1], options.file, options.queries[0] if options.queries else None)
    current = type_columns(raw, names[1], profile.options, profile.decided)
    judgement = judge_with_profile(
        profile,
        current,
        roles,
        limits=parse_limits(settings.limits),
        minimum_rows=settings.check.minimum_rows,
        false_discovery_rate=settings.check.false_discovery_rate,
        smallest_effect=configured_effects(settings, list(profile.decided)),
        unit="rows of the file",
    )
    detected = {"reference": profile.facts, "current": raw.detected}
    return TableCheck(
        judgement, (profile.rows, count_rows(current)), (names[0], public_name(names[1])), detected
    )
