"""The largest negligible size of a change, by column."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from driftbell.errors import ConfigError
from driftbell.phrases import printable, suggest_column


def effects_by_column(
    smallest_effect: float | Mapping[str, float],
    columns: Collection[str],
    by_column: Mapping[str, float] | None = None,
    *,
    setting: str = "smallest_effect",
) -> float | Mapping[str, float]:
    """Return the largest negligible size of a change, as `judge` takes it.

    Args:
        smallest_effect: for all columns, or by column.
        columns: names of the reference's columns.
        by_column: other sizes of single columns.
        setting: name of the setting or argument, for messages.

    Raises:
        ConfigError: a name is no column of the reference.

    >>> effects_by_column(0.02, ["age", "zip"], {"zip": 0.1})
    {'age': 0.02, 'zip': 0.1}
    """
    named = smallest_effect if isinstance(smallest_effect, Mapping) else by_column or {}
    for name in named:
        check_column(name, columns, setting)
    if isinstance(smallest_effect, Mapping) or not by_column:
        return smallest_effect
    return {name: by_column.get(name, smallest_effect) for name in columns}


def check_column(name: str, columns: Collection[str], setting: str) -> None:
    """Raise an error that names the setting if there is no such column.

    Raises:
        ConfigError: the name is no column of the reference.
    """
    if name not in columns:
        hint = suggest_column(name, columns)
        raise ConfigError(f"{setting}: the reference has no column '{printable(name)}': {hint}")
