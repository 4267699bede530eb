"""Files of model versions: from the disk to the store, and from the store to the data folder."""

from __future__ import annotations

import hashlib
import io
import math
import tarfile
from collections.abc import Iterator
from pathlib import Path

from driftbell.atomic_write import write_atomically
from driftbell.data_folder import exclusive_setup
from driftbell.errors import ConfigError, ModelError
from driftbell.models.mlflow_folder import inside
from driftbell.ports import VersionStore
from driftbell.records.versions import VersionFile

MAX_BYTES = 256 * 1024**2
"""The largest file of a version that the store holds."""

PART_BYTES = 1024**2

FILES_FOLDER = Path("models") / "files"
"""Folder below the data folder: one folder for each content, named by its hash."""


def write_version_file(versions: VersionStore, role: str, path: Path) -> VersionFile:
    """Write a file, or an archive of a folder, to the store, unless it is there already.

    Raises:
        ConfigError: it cannot be read, or is too large.
    """
    content = _archive(path) if path.is_dir() else _read(path)
    sha256 = hashlib.sha256(content).hexdigest()
    if not versions.has_file(sha256, _parts(len(content))):
        versions.write_file(sha256, _split(content))
    return VersionFile(role, path.name, sha256, len(content), path.is_dir())


def open_version_file(versions: VersionStore, file: VersionFile, data_dir: Path) -> Path:
    """Return a file of a version in the data folder, written from the store if it is not there.

    Its hash is checked each time, as it is by whoever loads a model.

    Raises:
        ConfigError: the file cannot be written, or the store's content is damaged.
    """
    with exclusive_setup(data_dir / FILES_FOLDER):  # each worker of a server opens it at the same time
        return _open_file(versions, file, data_dir / FILES_FOLDER / file.sha256)


def _open_file(versions: VersionStore, file: VersionFile, folder: Path) -> Path:
    target = folder / file.name
    try:
        if file.is_folder:
            if (folder / ".complete").exists():
                return target
        elif target.is_file() and _sha256(target) == file.sha256:
            return target
        content = b"".join(versions.read_file(file.sha256))
        if hashlib.sha256(content).hexdigest() != file.sha256:
            reason = "is damaged" if content else "is missing"
            raise ModelError(f"{file.name} (SHA-256 {file.sha256}) {reason} in the registry: add it again")
        folder.mkdir(parents=True, exist_ok=True)
        if file.is_folder:
            _unpack(content, target)
            (folder / ".complete").touch()
        else:
            write_atomically(target, content)
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}") from error
    return target


def _read(path: Path) -> bytes:
    """Read a file that is not too large.

    Raises:
        ConfigError: it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(
            f"{path} is larger than {MAX_BYTES // 1024**2} MiB, the limit of a registered file: use a "
            "smaller reference, or serve the model by a URL or as 'module:function'"
        )
    return content


def _archive(folder: Path) -> bytes:
    """Return a folder as a tar archive that depends on its content alone.

    Raises:
        ConfigError: a file cannot be read, lies outside the folder, or all are too large.
    """
    buffer = io.BytesIO()
    left = MAX_BYTES
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        paths = sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        for path in paths:
            name = path.relative_to(folder).as_posix()
            inside(folder, name)
            left -= path.stat().st_size
            if left < 0:
                raise ConfigError(
                    f"{folder} is larger than {MAX_BYTES // 1024**2} MiB, the limit of a registered folder: "
                    "serve the model by a URL"
                )
            content = _read(path)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _unpack(content: bytes, folder: Path) -> None:
    """Write the regular files of an archive below a folder.

    Raises:
        ModelError: an entry is no regular file, or lies outside the folder.
    """
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for entry in archive:
            path = (folder / entry.name).resolve()
            file = archive.extractfile(entry) if entry.isfile() else None
            if file is None or not path.is_relative_to(folder.resolve()):
                raise ModelError(f"the archive of {folder.name} has '{entry.name}', which is not allowed")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, file.read())


def _split(content: bytes) -> Iterator[bytes]:
    for start in range(0, max(len(content), 1), PART_BYTES):
        yield content[start : start + PART_BYTES]


def _parts(size: int) -> int:
    return max(1, math.ceil(size / PART_BYTES))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
