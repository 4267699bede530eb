"""Registered versions as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from driftbell.records.versions import AliasChange, ModelVersion, VersionState


def version_view(version: ModelVersion, aliases: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return a version as JSON, with its aliases.

    Args:
        version: the version.
        aliases: the aliases in force by version.
    """
    view = asdict(version)
    return {
        **view,
        "added": version.added.isoformat(),
        "aliases": aliases.get(version.version, []),
    }


def change_view(change: AliasChange) -> dict[str, Any]:
    """Return a change of an alias as JSON."""
    return {**asdict(change), "active_from": change.active_from.isoformat()}


def aliases_by_version(state: VersionState) -> dict[str, list[str]]:
    """Return the aliases in force by version."""
    aliases: dict[str, list[str]] = {}
    for change in (state.champion, state.challenger):
        if change and change.version:
            aliases.setdefault(change.version, []).append(change.alias)
    return aliases
