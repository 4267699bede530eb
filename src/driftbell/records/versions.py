"""Versions of a model, their aliases, and the server processes that switch between them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from driftbell.records.checks import Check

CHAMPION = "champion"
"""The alias of the version that answers requests."""

CHALLENGER = "challenger"
"""The alias of the version that answers a share of the requests, or predicts copies of them."""

STICKY_FEATURE, STICKY_HEADER = "feature", "header"
"""Sources of a sticky key; see `AliasChange.sticky`."""

SETTINGS_AUTHOR = "settings"
"""The author of what the settings file did: a registration, or a change of the champion."""

MONITOR_AUTHOR = "monitor"
"""The author of what the monitor did: the end of a challenge."""

MODEL_FILE, REFERENCE_FILE, GOLDEN_FILE = "model", "reference", "golden"
"""Roles of the files of a version."""


@dataclass(frozen=True, slots=True)
class VersionFile:
    """A file of a version; the store holds its content.

    Attributes:
        role: `model`, `reference` or `golden`.
        name: the file's name; its suffix decides its format.
        sha256: its hash.
        size: its size in bytes.
        is_folder: whether it is an archive of a folder.
        encrypted_with: name of the key that its stored content is encrypted with; "" if it is not.
    """

    role: str
    name: str
    sha256: str
    size: int
    is_folder: bool = False
    encrypted_with: str = ""

    @property
    def content_id(self) -> str:
        """Name of its content in the store: an encrypted content has another one than the plain content."""
        if not self.encrypted_with:
            return self.sha256
        return hashlib.sha256(f"{self.sha256} {self.encrypted_with}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class VersionFeature:
    """Type of a feature of a version; see `driftbell.records.Feature`."""

    name: str
    kind: str
    nullable: bool
    dtype: str


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered version of a model; immutable.

    Attributes:
        model: the model's name.
        version: see `driftbell.ports.Model.version`.
        source: what `model.path` or the user named; "" for the default model.
        options: the sections `model` and `columns` of the settings that open it.
        files: its files; none of a function, a URL or the default model.
        features: its features, in order.
        classes: its classes, by class id; none for a regression.
        task: `classification` or `regression`.
        added: the time (UTC).
        author: who added it; `SETTINGS_AUTHOR` for the model of the settings.
        note: the author's note.
    """

    model: str
    version: str
    source: str
    options: Mapping[str, Mapping[str, Any]]
    files: tuple[VersionFile, ...]
    features: tuple[VersionFeature, ...]
    classes: tuple[str, ...]
    task: str
    added: datetime
    author: str
    note: str = ""

    def file(self, role: str) -> VersionFile | None:
        """Return the file with a role."""
        return next((file for file in self.files if file.role == role), None)


@dataclass(frozen=True, slots=True)
class AliasChange:
    """One change of an alias; the newest one with a time in the past is in force.

    Attributes:
        model: the model's name.
        alias: `CHAMPION` or `CHALLENGER`.
        version: the version that it names; None if the alias was removed.
        active_from: when it takes effect (UTC).
        author: who did it; `SETTINGS_AUTHOR` for the settings.
        reason: the author's reason.
        configured: the version that the settings named then.
        share: share of the requests that the challenger answers, or that it predicts copies of; None for the
            champion.
        is_shadow: whether the challenger only predicts copies of requests, after the champion has answered.
        sticky: what decides which version answers: "" for chance, "feature:NAME" for the value of a feature,
            "header:NAME" for the value of a request header. Equal values are answered by one version.
        is_rollback: of a challenger, whether the monitor ends the challenge if it performs worse than the
            champion; of the end of a challenge, whether the monitor ended it for that.
    """

    model: str
    alias: str
    version: str | None
    active_from: datetime
    author: str
    reason: str
    configured: str
    share: float | None = None
    is_shadow: bool = False
    sticky: str = ""
    is_rollback: bool = False


@dataclass(frozen=True, slots=True)
class ServerWorker:
    """A server process that serves a model.

    Attributes:
        id: its host, process and a random part.
        model: the model's name.
        seen: its last report (UTC).
        ready: the versions that it can serve at once.
        errors: why it cannot load the version of a promotion, by the id of the promotion.
    """

    id: str
    model: str
    seen: datetime
    ready: tuple[str, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Promotion:
    """A promotion in progress: server processes load the version, and report that they are ready.

    Attributes:
        id: identifies it.
        model: the model's name.
        version: the version to load.
        author: who started it.
        started: the time (UTC).
    """

    id: str
    model: str
    version: str
    author: str
    started: datetime


@dataclass(frozen=True, slots=True)
class VersionState:
    """State of the aliases of a model, which server processes and monitors follow.

    Attributes:
        champion: the change of the champion in force; None before the first.
        upcoming: a change of the champion that takes effect later.
        challenger: the change that made a version the challenger; None if there is no challenger now. Every
            change of the champion ends it.
        upcoming_challenger: a change of the challenger that takes effect later.
        promotion: the promotion in progress, or the start of a challenger.
    """

    champion: AliasChange | None = None
    upcoming: AliasChange | None = None
    challenger: AliasChange | None = None
    upcoming_challenger: AliasChange | None = None
    promotion: Promotion | None = None


class VersionRole(StrEnum):
    """Part of a version in a service."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    SERVING = "serving"
    """It answers requests without an alias: a server process has not followed the registry yet."""
    REPLACED = "replaced"
    """It answered requests before, and its labels may still arrive."""


@dataclass(frozen=True, slots=True)
class VersionInUse:
    """A version that answers requests, or did so recently.

    Attributes:
        version: the version.
        role: its part in the service.
        since: when it became the champion or the challenger (UTC); None if it is neither, or unknown.
        last_prediction: the time of its newest prediction (UTC); None without any.
        last_check: its newest check; None without any.
    """

    version: str
    role: VersionRole
    since: datetime | None = None
    last_prediction: datetime | None = None
    last_check: Check | None = None

    @property
    def serves(self) -> bool:
        """True if it answers requests."""
        return self.role is not VersionRole.REPLACED
