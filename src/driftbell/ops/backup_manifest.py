"""The contents of a backup, in a file of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from driftbell.config.further_models import NAME
from driftbell.errors import ConfigError
from driftbell.phrases import count_of

MANIFEST = "manifest.json"
FORMAT = 2
"""Version of the format; a backup without further models has the first one, which older releases read."""

LOG, MODELS, REPORTS = "log.sqlite", "models", "reports"
FURTHER = "further"
"""Folder with the backup of each further model of the service, which can be restored by itself too."""


@dataclass(frozen=True, slots=True)
class SavedFile:
    """One file of a backup.

    Attributes:
        sha256: hash of its content.
        size: its size in bytes.
    """

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of a backup.

    Attributes:
        format: version of the backup's format; newer releases may write a higher one.
        driftbell: the release that wrote it.
        time: when it was written (UTC).
        schema: version of the prediction log's tables.
        rows: number of rows by table.
        files: the files by their path in the backup.
        further: the manifests of the further models by name.
    """

    format: int
    driftbell: str
    time: str
    schema: str
    rows: Mapping[str, int]
    files: Mapping[str, SavedFile]
    further: Mapping[str, Manifest] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """A summary of the contents."""
        size = sum(f.size for f in self.files.values())
        counts = {n: count_of(self.rows.get(f"{n}s", 0), n) for n in ("prediction", "check")}
        reports = sum(name.startswith(f"{REPORTS}/") for name in self.files)
        return (
            f"{counts['prediction']}, {counts['check']}, {count_of(reports, 'report')}, {size / 1e6:.1f} MB"
        )


def read_manifest(source: Path) -> Manifest:
    """Read the manifest of a backup.

    Raises:
        ConfigError: it is missing or damaged, or of a newer release.
    """
    try:
        body: Any = json.loads((source / MANIFEST).read_text("utf-8"))
        if body["format"] > FORMAT:
            raise ConfigError(f"the backup {source} was written by a newer driftbell, {body['driftbell']}")
        manifest = _manifest(body)
        paths = [PurePosixPath(name) for name in manifest.files]
        has_names = all(NAME.fullmatch(name) for name in manifest.further)
        if LOG in manifest.files and all(_is_backup_path(path) for path in paths) and has_names:
            return manifest
    except FileNotFoundError as error:
        raise ConfigError(f"{source} is no backup, or is incomplete: {MANIFEST} is missing") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # not a manifest: raised below
        pass
    raise ConfigError(f"the backup {source} is damaged: {MANIFEST} cannot be read")


def _manifest(body: Mapping[str, Any]) -> Manifest:
    files = {name: SavedFile(**entry) for name, entry in body["files"].items()}
    further = {name: _manifest(own) for name, own in body.get("further", {}).items()}
    return Manifest(**{**body, "files": files, "further": further})


def manifest_view(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as JSON."""
    view = asdict(manifest)
    if manifest.further:
        return {**view, "further": {name: manifest_view(own) for name, own in manifest.further.items()}}
    del view["further"]
    return view


def _is_backup_path(path: PurePosixPath) -> bool:
    inner = path.parts[:1] in ((MODELS,), (REPORTS,)) and len(path.parts) > 1
    is_hidden = any(part.startswith(".") for part in path.parts)  # `..`, or what a backup skips
    return (inner and not is_hidden) or path == PurePosixPath(LOG)
