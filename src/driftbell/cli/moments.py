"""Options that are a moment: a time, or a duration before now."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from driftbell.errors import ConfigError


def parse_moment(_context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """Parse a time, or a duration before now.

    Raises:
        BadParameter: it is neither.
    """
    from driftbell.alarms.budget import parse_every

    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    except ValueError:
        pass
    try:
        return datetime.now(UTC) - parse_every(value)
    except ConfigError as error:
        message = "must be a time such as 2026-01-31, or a duration such as 3d"
        raise click.BadParameter(message, param=parameter) from error
