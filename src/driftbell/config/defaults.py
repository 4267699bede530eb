"""Default settings of a check of two tables, without the import of pydantic if nothing is set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from driftbell.config.sources import values_of_environment, values_of_file
from driftbell.tabular.column_options import ColumnOptions

if TYPE_CHECKING:
    from driftbell.config.settings import Settings


TABLE_SECTIONS = ("columns", "check", "limits")
"""Sections of the settings that apply to a check of two tables."""

MODEL_SETTINGS = ("columns.dtypes", "check.every", "check.refused_share")
"""Settings in these sections that only apply to a service."""


@dataclass(frozen=True, slots=True)
class DefaultCheck:
    """Defaults of `[check]` for tables; see `CheckSettings`."""

    minimum_rows: int = 10
    false_discovery_rate: float = 0.05
    smallest_effect: float = 0.02
    smallest_effects: Mapping[str, float] = field(default_factory=dict)
    exact_rows: int = 200_000


class _Defaults:
    """Default settings; those of other sections are loaded when they are used."""

    check = DefaultCheck()
    columns = ColumnOptions()
    limits: Mapping[str, float] = MappingProxyType({})

    def __getattr__(self, name: str) -> Any:
        from driftbell.config.settings import Settings

        return getattr(Settings(), name)


def load_for_tables(file: Path | None = None) -> Settings:
    """Load the settings for a check of two tables, as `driftbell.config.settings.load` does.

    Args:
        file: the TOML file; see `load`.

    Raises:
        ConfigError: see `load`.
    """
    if values_of_file(file, os.environ) or values_of_environment(os.environ):
        from driftbell.config.settings import load

        return load(file).settings
    return cast("Settings", _Defaults())


def table_settings(file: Path | None = None) -> dict[str, list[str]]:
    """Return the names of the settings that apply to a check of two tables, by their source.

    Args:
        file: the TOML file; see `load`.

    Raises:
        ConfigError: the file cannot be read.
    """
    names: dict[str, list[str]] = {}
    for name, _, source in (*values_of_file(file, os.environ), *values_of_environment(os.environ)):
        if name.partition(".")[0] in TABLE_SECTIONS and name not in MODEL_SETTINGS:
            names.setdefault(source.removeprefix("environment, "), []).append(name)
    return names
