"""Save what driftbell keeps, while it runs, and bring it back: the log, the models, the reports."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import driftbell
from driftbell.atomic_write import sync_folder
from driftbell.config.settings import Settings, log_database
from driftbell.data_folder import exclusive_setup, require_unused
from driftbell.errors import ConfigError
from driftbell.journal.file import peek
from driftbell.store.snapshot import append_journal, copy_store, read_facts

MANIFEST = "manifest.json"
FORMAT = 1
LOG, MODELS, REPORTS = "log.sqlite", "models", "reports"
STAGE = ".restoring"
WAITING = ".waiting"
CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SavedFile:
    """One file of a backup.

    Attributes:
        sha256: hash of its content.
        size: bytes.
    """

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds.

    Attributes:
        format: of the backup; a higher one is a newer release's.
        driftbell: the release that wrote it.
        time: when, in UTC.
        schema: version of the log's tables.
        rows: rows of each of them.
        files: by their path in the backup.
    """

    format: int
    driftbell: str
    time: str
    schema: str
    rows: Mapping[str, int]
    files: Mapping[str, SavedFile]

    @property
    def sentence(self) -> str:
        """What there is, in short."""
        size = sum(f.size for f in self.files.values())
        counts = {n: f"{self.rows.get(n, 0)} {n}" for n in ("predictions", "checks")}
        reports = sum(name.startswith(f"{REPORTS}/") for name in self.files)
        return f"{counts['predictions']}, {counts['checks']}, {reports} reports, {size / 1e6:.1f} MB"


def back_up(settings: Settings, target: Path, *, now: datetime) -> Manifest:
    """Save log, models and reports to a folder, while a service and a monitor may be at work.

    The log is copied first, so every check in it has its reports in the backup, if they still existed. What
    was answered and is still in a journal is in the copy's log.
    The folder is there whole or not at all.

    Args:
        settings: name the data folder.
        target: a folder that does not exist, or is empty.
        now: the time.

    Raises:
        ConfigError: there is nothing to save, or the folder cannot be used.
        StoreError: the log cannot be copied, or is damaged.
    """
    _must_be_a_file(settings)
    if not settings.log_path.is_file():
        raise ConfigError(f"there is no prediction log {settings.log_path}: name its folder with --data-dir")
    target = Path(os.path.abspath(target))
    _must_be_usable(target, settings)
    part = target.with_name(f"{target.name}.part")
    with _told(f"cannot write the backup {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.mkdir(mode=0o700)
        except FileExistsError as error:
            raise ConfigError(
                f"{part} is there: another backup is at work, or one was killed; then remove it"
            ) from error
        try:
            manifest = _fill(part, settings, now)
            part.replace(target)
            sync_folder(target.parent)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    return manifest


def restore(settings: Settings, source: Path) -> Manifest:
    """Bring a backup back to a data folder that has no log yet; older tables are migrated at the next start.

    Args:
        settings: name the data folder.
        source: the backup.

    Raises:
        ConfigError: the backup is damaged or incomplete, or the data folder is in use or not empty;
            nothing has changed then.
        StoreError: its log is damaged, or of a newer release.
    """
    _must_be_a_file(settings)
    manifest = verified(source)
    stage = settings.data_dir / STAGE
    # the reports may be on a file system of their own, from which alone they can be moved in place
    stages = {LOG: stage, MODELS: stage, REPORTS: settings.reports_dir / STAGE}
    with (
        require_unused(settings.data_dir),
        exclusive_setup(settings.data_dir),
        _told(f"cannot restore {source}"),
    ):
        _must_be_empty(settings)
        try:
            for stage in stages.values():
                shutil.rmtree(stage, ignore_errors=True)  # of one that was killed
            for name, saved in manifest.files.items():
                new = stages[PurePosixPath(name).parts[0]] / name
                _make_folders(new.parent, mode=0o777)
                if _copy(source / name, new, mode=0o666) != saved:
                    raise ConfigError(f"the backup {source} changed while it was read: {name}")
            _put_in_place(settings, stages)
        finally:
            for stage in stages.values():
                shutil.rmtree(stage, ignore_errors=True)
    return manifest


def verified(source: Path) -> Manifest:
    """Read a backup's manifest and make sure that every file is what was saved.

    Raises:
        ConfigError: a file is missing, or is another.
        StoreError: its log is damaged, or of a newer release.
    """
    with _told(f"cannot read the backup {source}"):
        manifest = _read_manifest(source)
        for name, saved in manifest.files.items():
            if not (source / name).is_file():
                raise ConfigError(f"the backup {source} is incomplete: {name} is missing")
            if _hashed(source / name) != saved:
                raise ConfigError(f"the backup {source} is damaged: {name} is not what was saved")
    facts = read_facts(source / LOG)
    if (facts.schema, facts.rows) != (manifest.schema, manifest.rows):
        raise ConfigError(f"the backup {source} is damaged: {MANIFEST} tells of another log than {LOG}")
    return manifest


def _fill(part: Path, settings: Settings, now: datetime) -> Manifest:
    log, waiting = part / LOG, part / WAITING
    with open(
        waiting, "xb", opener=_private
    ) as file:  # before the log: what moves there meanwhile is in both
        for lines in peek(settings.journals_dir):
            file.write(lines)
    log.touch(mode=0o600)
    copy_store(settings.log_path, log)
    append_journal(waiting, log)
    waiting.unlink()
    facts = read_facts(log)
    files = {LOG: _hashed(log)}
    with exclusive_setup(settings.data_dir):  # a model that is being trained there is whole afterwards
        files |= _copy_tree(settings.data_dir / MODELS, part / MODELS)
    files |= _copy_tree(settings.reports_dir, part / REPORTS)
    manifest = Manifest(FORMAT, driftbell.__version__, now.isoformat(), facts.schema, facts.rows, files)
    with open(part / MANIFEST, "x", opener=_private) as file:
        json.dump(asdict(manifest), file, indent=1)
    for folder, _, names in os.walk(part):
        for name in names:
            sync_folder(Path(folder, name))
        sync_folder(Path(folder))
    return manifest


def _copy_tree(source: Path, target: Path) -> dict[str, SavedFile]:
    """Copy the files below a folder, if it exists; hidden ones are unfinished, and stay."""
    found: dict[str, SavedFile] = {}
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for linked in (f for f in folders if Path(folder, f).is_symlink()):
            raise ConfigError(f"{Path(folder, linked)} links to a folder: put the folder itself there")
        here = target / Path(folder).relative_to(source)
        _make_folders(here, mode=0o700)
        for name in sorted(n for n in names if not n.startswith(".")):
            try:
                saved = _copy(Path(folder, name), here / name, mode=0o600)
            except FileNotFoundError:  # an old report that the monitor has just removed
                continue
            found[(here / name).relative_to(target.parent).as_posix()] = saved
    return found


def _put_in_place(settings: Settings, stages: Mapping[str, Path]) -> None:
    """Move what is staged to where it belongs, the log last: it is what makes a data folder one."""
    reports, models = stages[REPORTS] / REPORTS, stages[MODELS] / MODELS
    moves = [(new, settings.reports_dir / new.name) for new in sorted(reports.glob("*"))]
    moves += [(models, settings.data_dir / MODELS)] if models.exists() else []
    moves.append((stages[LOG] / LOG, settings.log_path))
    done: list[Path] = []
    try:
        for new, home in moves:
            new.replace(home)
            done.append(home)
        for folder in {home.parent for home in done}:
            sync_folder(folder)
    except BaseException:
        for home in reversed(done):
            shutil.rmtree(home) if home.is_dir() else home.unlink()
        raise


def _must_be_a_file(settings: Settings) -> None:
    if log_database(settings.log) is not None:
        raise ConfigError(
            "the prediction log is in PostgreSQL: save and restore it with pg_dump and pg_restore, and copy "
            f"the folders {settings.data_dir / MODELS} and {settings.reports_dir} as they are"
        )


def _must_be_usable(target: Path, settings: Settings) -> None:
    for inner in (settings.data_dir / MODELS, settings.reports_dir):
        if target.is_relative_to(os.path.abspath(inner)):
            raise ConfigError(f"the backup {target} would be in what is backed up: choose another folder")
    if os.path.ismount(target):
        raise ConfigError(f"the backup {target} would be a file system's root: name a folder in it")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"the backup {target} is there already, and not an empty folder: choose another")


def _must_be_empty(settings: Settings) -> None:
    """A left -wal file would be played into the restored log."""
    log = settings.log_path
    taken = [f for f in (log, Path(f"{log}-wal"), Path(f"{log}-shm")) if f.exists()]
    for folder in (settings.data_dir / MODELS, settings.reports_dir):
        taken += [f for f in folder.glob("*") if not f.name.startswith(".")][:1]
    if taken:
        raise ConfigError(
            f"the data folder is in use, it has {taken[0]}: choose another with --data-dir, or move it away"
        )


def _read_manifest(source: Path) -> Manifest:
    try:
        body: Any = json.loads((source / MANIFEST).read_text("utf-8"))
        if body["format"] > FORMAT:
            raise ConfigError(f"the backup {source} was written by a newer driftbell, {body['driftbell']}")
        manifest = Manifest(**{**body, "files": {n: SavedFile(**f) for n, f in body["files"].items()}})
        paths = [PurePosixPath(name) for name in manifest.files]
        if LOG in manifest.files and all(_is_ours(path) for path in paths):
            return manifest
    except FileNotFoundError as error:
        raise ConfigError(f"{source} is no backup of driftbell, or incomplete: no {MANIFEST}") from error
    except (ValueError, KeyError, TypeError, AttributeError):  # not what was written: said below
        pass
    raise ConfigError(f"the backup {source} is damaged: {MANIFEST} cannot be read")


def _is_ours(path: PurePosixPath) -> bool:
    inner = path.parts[:1] in ((MODELS,), (REPORTS,)) and len(path.parts) > 1 and ".." not in path.parts
    return inner or path == PurePosixPath(LOG)


def _copy(source: Path, target: Path, *, mode: int) -> SavedFile:
    """Copy a file, durably, and tell what was copied."""
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
    with path.open("rb") as file:
        return SavedFile(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)


def _make_folders(folder: Path, *, mode: int) -> None:
    if not folder.is_dir():
        _make_folders(folder.parent, mode=mode)
        folder.mkdir(mode=mode)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Make an error of the file system one sentence."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise ConfigError(f"{what}: {error.strerror}{where}") from error
