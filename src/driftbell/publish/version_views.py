"""Registered versions as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from driftbell.records import Alarm
from driftbell.records.versions import CHALLENGER, AliasChange, ModelVersion, VersionInUse, VersionState


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


def version_in_use_view(item: VersionInUse, share: float | None, alarm: Alarm | None) -> dict[str, Any]:
    """Return a version in use as JSON, with the result of its last check.

    Args:
        item: the version.
        share: its share of the newest predictions; None without any.
        alarm: its open alarm.
    """
    check = item.last_check
    degradation = check.judgement.degradation if check else None
    performance = degradation.performance if degradation else None
    last_check = check and {
        "id": check.id,
        "time": check.time.isoformat(),
        "verdict": check.judgement.verdict.value,
        "sentence": check.judgement.sentence,
    }
    return {
        "version": item.version,
        "role": item.role.value,
        "since": item.since and item.since.isoformat(),
        "last_prediction": item.last_prediction and item.last_prediction.isoformat(),
        "share": share,
        "last_check": last_check,
        "performance": asdict(performance) if performance else None,
        "alarm": alarm and alarm.id,
    }


def change_view(change: AliasChange) -> dict[str, Any]:
    """Return a change of an alias as JSON; that of a challenger with its traffic."""
    view = {**asdict(change), "active_from": change.active_from.isoformat()}
    if change.alias != CHALLENGER:
        for name in ("share", "is_shadow", "sticky", "is_rollback"):
            del view[name]
    return view


def traffic_text(change: AliasChange) -> str:
    """Describe the traffic of a challenger.

    >>> from datetime import UTC, datetime
    >>> when = datetime(2026, 1, 31, tzinfo=UTC)
    >>> traffic_text(AliasChange("iris", "challenger", "v2", when, "", "", "v1", 0.1, False, "header:x-user"))
    'answers 10 % of the requests, by the header x-user'
    """
    share = f"{100 * (change.share or 0):.4g} % of the requests"
    end = ", until it performs worse" if change.is_rollback else ""
    if change.is_shadow:
        return f"predicts copies of {share} and answers none{end}"
    source, _, name = change.sticky.partition(":")
    return f"answers {share}{f', by the {source} {name}' if name else ''}{end}"


def aliases_by_version(state: VersionState) -> dict[str, list[str]]:
    """Return the aliases in force by version."""
    aliases: dict[str, list[str]] = {}
    for change in (state.champion, state.challenger):
        if change and change.version:
            aliases.setdefault(change.version, []).append(change.alias)
    return aliases
