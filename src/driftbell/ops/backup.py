"""Online backup and restore of the data folder: the prediction log, the models and the reports."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import driftbell
from driftbell.atomic_write import sync_folder
from driftbell.config.settings import Settings, log_database
from driftbell.data_folder import exclusive_setup, require_unused
from driftbell.errors import ConfigError
from driftbell.journal.file import read_journals
from driftbell.ops.backup_manifest import (
    FORMAT,
    FURTHER,
    LOG,
    MANIFEST,
    MODELS,
    REPORTS,
    Manifest,
    SavedFile,
    manifest_view,
    read_manifest,
)
from driftbell.store.snapshot import append_journal, copy_store, read_facts

REBUILT = ("files", "onnx", "versions")
"""Folders of models that a start writes again from the registry and the reference, with all their values."""

STAGE = ".restoring"
JOURNALED = ".journaled"
CHUNK = 1024 * 1024


def back_up(
    settings: Settings, target: Path, *, now: datetime, further: Mapping[str, Settings] = MappingProxyType({})
) -> Manifest:
    """Write a backup of log, models and reports, while a service and a monitor may run.

    The log is copied first, so the backup contains the reports of every check in it that still existed.
    Predictions that are still in a journal are added to the copy. The folder appears atomically.

    Args:
        settings: settings with the data folder.
        target: a folder that does not exist, or is empty.
        now: the time.
        further: settings of the further models by name.

    Raises:
        ConfigError: a model has no prediction log, or the folder cannot be used.
        StoreError: a log cannot be copied, or is damaged.
    """
    target = Path(os.path.abspath(target))
    for own in (settings, *further.values()):
        _require_sqlite(own)
        if not own.log_path.is_file():
            option = "--data-dir" if own is settings else "data_dir, or leave the model out with --model"
            raise ConfigError(f"there is no prediction log {own.log_path}: name its folder with {option}")
        _require_usable_target(target, own)
    part = target.with_name(f"{target.name}.part")
    with _translate_errors(f"cannot write the backup {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.mkdir(mode=0o700)
        except FileExistsError as error:
            raise ConfigError(
                f"{part} exists: another backup is running, or one was killed; remove it in that case"
            ) from error
        with ExitStack() as cleanup:
            cleanup.callback(shutil.rmtree, part, ignore_errors=True)
            manifests = {}
            for name, own in further.items():
                folder = part / FURTHER / name
                folder.mkdir(mode=0o700, parents=True)
                manifests[name] = _fill(folder, own, now)
            manifest = _fill(part, settings, now, manifests)
            part.replace(target)
            sync_folder(target.parent)
            cleanup.pop_all()
    return manifest


def restore(settings: Settings, source: Path, *, further: Mapping[str, Settings] | None = None) -> Manifest:
    """Restore a backup to data folders without a log; older tables are migrated at the next start.

    Args:
        settings: settings with the data folder.
        source: the backup.
        further: settings of the further models by name; None restores the first model alone.

    Raises:
        ConfigError: the backup is damaged or incomplete, a further model has no settings, or a data folder is
            in use or not empty; nothing was changed.
        StoreError: a log is damaged, or was written by a newer release.
    """
    for own in (settings, *(further or {}).values()):
        _require_sqlite(own)
    manifest = verify(source)
    chosen = manifest.further if further is not None else {}
    unknown = sorted(set(chosen) - set(further or {}))
    if unknown:
        raise ConfigError(
            f"the backup {source} has the further model {unknown[0]}, which [models] of the settings does "
            "not name: name its settings file there, or restore one model with --model"
        )
    models = {name: (further or {})[name] for name in chosen}
    for own in (settings, *models.values()):
        with require_unused(own.data_dir) if own.data_dir.is_dir() else nullcontext():
            _require_empty_data_folder(own)
    for name, own in models.items():
        _restore_model(own, source / FURTHER / name, chosen[name])
    _restore_model(settings, source, manifest)
    return manifest


def _restore_model(settings: Settings, source: Path, manifest: Manifest) -> None:
    stage = settings.data_dir / STAGE
    # the reports may be on another file system, and a rename works only within one
    stages = {LOG: stage, MODELS: stage, REPORTS: settings.reports_dir / STAGE}
    with (
        require_unused(settings.data_dir, settings.mask),
        exclusive_setup(settings.data_dir, settings.mask),
        _translate_errors(f"cannot restore {source}"),
    ):
        _require_empty_data_folder(settings)
        try:
            for stage in stages.values():
                shutil.rmtree(stage, ignore_errors=True)  # remains of a killed restore
            for name, saved in manifest.files.items():
                new = stages[PurePosixPath(name).parts[0]] / name
                _make_folders(new.parent, mode=0o777)
                _require_no_link(source, name)
                if _copy(source / name, new, mode=0o666) != saved:
                    raise ConfigError(f"the backup {source} changed while it was read: {name}")
            _move_into_place(settings, stages)
        finally:
            for stage in stages.values():
                shutil.rmtree(stage, ignore_errors=True)


def verify(source: Path) -> Manifest:
    """Read a backup's manifest and verify the hash of every file, those of further models too.

    Raises:
        ConfigError: a file is missing or was changed.
        StoreError: its log is damaged, or was written by a newer release.
    """
    with _translate_errors(f"cannot read the backup {source}"):
        _require_no_link(source, MANIFEST)
        manifest = read_manifest(source)
        for name, saved in manifest.files.items():
            _require_no_link(source, name)
            if not (source / name).is_file():
                raise ConfigError(f"the backup {source} is incomplete: {name} is missing")
            if _hashed(source / name) != saved:
                raise ConfigError(f"the backup {source} is damaged: {name} was changed")
    facts = read_facts(source / LOG)
    if (facts.schema, facts.rows) != (manifest.schema, manifest.rows):
        raise ConfigError(f"the backup {source} is damaged: {MANIFEST} does not match {LOG}")
    for name, own in manifest.further.items():
        _require_no_link(source, f"{FURTHER}/{name}")
        if verify(source / FURTHER / name) != own:
            raise ConfigError(f"the backup {source} is damaged: {FURTHER}/{name}/{MANIFEST} was changed")
    return manifest


def _require_no_link(source: Path, name: str) -> None:
    """Require that no part of a path in the backup is a link: it may point to any file of this machine."""
    path = source
    for part in PurePosixPath(name).parts:
        path /= part
        if path.is_symlink():
            raise ConfigError(f"the backup {source} is damaged: {path} is a link, a backup has none")


def _fill(
    part: Path, settings: Settings, now: datetime, further: Mapping[str, Manifest] = MappingProxyType({})
) -> Manifest:
    log, journaled = part / LOG, part / JOURNALED
    with open(
        journaled, "xb", opener=_private
    ) as file:  # before the log, so that lines that are moved meanwhile are in both
        for lines in read_journals(settings.journals_dir):
            file.write(lines)
    log.touch(mode=0o600)
    copy_store(settings.log_path, log)
    append_journal(journaled, log)
    journaled.unlink()
    facts = read_facts(log)
    files = {LOG: _hashed(log)}
    with exclusive_setup(settings.data_dir, settings.mask):  # waits for a model that is being trained
        left_out = REBUILT if settings.columns.masks_features else ()
        files |= _copy_tree(settings.data_dir / MODELS, part / MODELS, left_out)
    files |= _copy_tree(settings.reports_dir, part / REPORTS)
    version = FORMAT if further else 1
    manifest = Manifest(
        version, driftbell.__version__, now.isoformat(), facts.schema, facts.rows, files, dict(further)
    )
    with open(part / MANIFEST, "x", opener=_private) as file:
        json.dump(manifest_view(manifest), file, indent=1)
    for folder, _, names in os.walk(part):
        for name in names:
            sync_folder(Path(folder, name))
        sync_folder(Path(folder))
    return manifest


def _copy_tree(source: Path, target: Path, left_out: Sequence[str] = ()) -> dict[str, SavedFile]:
    """Copy the files below a folder, if it exists; hidden files are temporary and are skipped.

    Args:
        source: the folder.
        target: the copy.
        left_out: names of folders in it that are not copied.
    """
    files: dict[str, SavedFile] = {}
    for folder, folders, names in os.walk(source):
        unwanted = left_out if Path(folder) == source else ()
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in unwanted)
        for linked in (f for f in folders if Path(folder, f).is_symlink()):
            raise ConfigError(f"{Path(folder, linked)} is a link to a folder: replace it by the folder")
        here = target / Path(folder).relative_to(source)
        _make_folders(here, mode=0o700)
        for name in sorted(n for n in names if not n.startswith(".")):
            try:
                saved = _copy(Path(folder, name), here / name, mode=0o600)
            except FileNotFoundError:  # the monitor has just deleted an old report
                continue
            files[(here / name).relative_to(target.parent).as_posix()] = saved
    return files


def _move_into_place(settings: Settings, stages: Mapping[str, Path]) -> None:
    """Move the staged files into place, the log last: without a log the data folder counts as empty."""
    reports, models = stages[REPORTS] / REPORTS, stages[MODELS] / MODELS
    moves = [(new, settings.reports_dir / new.name) for new in sorted(reports.glob("*"))]
    moves += [(models, settings.data_dir / MODELS)] if models.exists() else []
    moves.append((stages[LOG] / LOG, settings.log_path))
    with ExitStack() as undo:
        for new, home in moves:
            new.replace(home)
            undo.callback(shutil.rmtree if home.is_dir() else Path.unlink, home)
        for folder in {home.parent for _, home in moves}:
            sync_folder(folder)
        undo.pop_all()


def _require_sqlite(settings: Settings) -> None:
    if log_database(settings.log) is not None:
        raise ConfigError(
            "the prediction log is in PostgreSQL: use pg_dump and pg_restore for it, and copy "
            f"the folders {settings.data_dir / MODELS} and {settings.reports_dir}"
        )


def _require_usable_target(target: Path, settings: Settings) -> None:
    for inner in (settings.data_dir / MODELS, settings.reports_dir):
        if target.is_relative_to(os.path.abspath(inner)):
            raise ConfigError(f"the backup {target} would be in a folder that is backed up: choose another")
    if os.path.ismount(target):
        raise ConfigError(f"the backup {target} is the root of a file system: use a folder in it")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"the backup {target} already exists and is not an empty folder: choose another")


def _require_empty_data_folder(settings: Settings) -> None:
    """Require a data folder without a log; SQLite would apply an old -wal file to the restored log."""
    log = settings.log_path
    existing = [f for f in (log, Path(f"{log}-wal"), Path(f"{log}-shm")) if f.exists()]
    for folder in (settings.data_dir / MODELS, settings.reports_dir):
        existing += [f for f in folder.glob("*") if not f.name.startswith(".")][:1]
    if existing:
        raise ConfigError(
            f"the data folder is not empty, it contains {existing[0]}: "
            "choose another with --data-dir, or move it away"
        )


def _copy(source: Path, target: Path, *, mode: int) -> SavedFile:
    """Copy a file, flush it to disk, and return its hash and size."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as old, open(target, "xb", opener=lambda p, f: os.open(p, f, mode)) as new:
        while chunk := old.read(CHUNK):
            new.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        new.flush()
        os.fsync(new.fileno())
    return SavedFile(digest.hexdigest(), size)


def _hashed(path: Path) -> SavedFile:
    with open(path, "rb", opener=_no_link) as file:
        return SavedFile(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)


def _make_folders(folder: Path, *, mode: int) -> None:
    if not folder.is_dir():
        _make_folders(folder.parent, mode=mode)
        folder.mkdir(mode=mode)


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def _translate_errors(what: str) -> Iterator[None]:
    """Raise an error of the file system as a `ConfigError` of one sentence."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise ConfigError(f"{what}: {error.strerror}{where}") from error
