"""Files of model versions: from the disk to the store, and from the store to the data folder."""

from __future__ import annotations

import hashlib
import io
import math
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from driftbell.atomic_write import write_atomically
from driftbell.data_folder import exclusive_setup
from driftbell.errors import ConfigError, ModelError
from driftbell.journal.encryption import decrypt, encrypt
from driftbell.models.mlflow_folder import inside
from driftbell.ports import VersionStore
from driftbell.records.versions import ModelVersion, VersionFile
from driftbell.tabular.logged_values import key_id

MAX_BYTES = 256 * 1024**2
"""The largest file of a version that the store holds."""

PART_BYTES = 1024**2

FILES_FOLDER = Path("models") / "files"
"""Folder below the data folder: one folder for each content, named by its hash."""


def write_version_file(versions: VersionStore, role: str, path: Path, key: bytes = b"") -> VersionFile:
    """Write a file, or an archive of a folder, to the store, unless it is there already.

    Args:
        versions: the store.
        role: role of the file.
        path: the file or folder.
        key: the secret that the content is encrypted with; b"" leaves it as it is.

    Raises:
        ConfigError: it cannot be read, or is too large.
    """
    content = _archive(path) if path.is_dir() else _read(path)
    sha256 = hashlib.sha256(content).hexdigest()
    file = VersionFile(role, path.name, sha256, len(content), path.is_dir(), key_id(key) if key else "")
    _write_content(versions, file, content, key)
    return file


def encrypt_version_files(versions: VersionStore, version: ModelVersion, key: bytes) -> None:
    """Encrypt the files of a version that are stored as they are, once; the plain contents are deleted.

    A file with a damaged or missing content stays: opening it says so.

    Raises:
        StoreError: the store cannot be read or written.
    """
    files = []
    for file in version.files:
        content = b"" if file.encrypted_with else b"".join(versions.read_file(file.content_id))
        if file.encrypted_with or hashlib.sha256(content).hexdigest() != file.sha256:
            files.append(file)
            continue
        encrypted = replace(file, encrypted_with=key_id(key))
        _write_content(versions, encrypted, content, key)
        files.append(encrypted)
    if tuple(files) != version.files:
        versions.replace_files(replace(version, files=tuple(files)))


def _write_content(versions: VersionStore, file: VersionFile, content: bytes, key: bytes) -> None:
    if not versions.has_file(file.content_id, _parts(file.size)):
        parts = _split(content)
        versions.write_file(file.content_id, (encrypt(part, key) for part in parts) if key else parts)


def open_version_file(versions: VersionStore, file: VersionFile, data_dir: Path, key: bytes = b"") -> Path:
    """Return a file of a version in the data folder, written from the store if it is not there.

    Its hash is checked each time, as it is by whoever loads a model.

    Args:
        versions: the store.
        file: the file.
        data_dir: the data folder.
        key: the secret of an encrypted content.

    Raises:
        ConfigError: the file cannot be written, or the store's content is damaged or has another key.
    """
    with exclusive_setup(data_dir / FILES_FOLDER):  # each worker of a server opens it at the same time
        return _open_file(versions, file, data_dir / FILES_FOLDER / file.sha256, key)


def _read_content(versions: VersionStore, file: VersionFile, key: bytes) -> bytes:
    """Read the content of a file.

    Raises:
        ModelError: it is encrypted with another key.
    """
    parts = versions.read_file(file.content_id)
    if not file.encrypted_with:
        return b"".join(parts)
    if file.encrypted_with != key_id(key):
        raise ModelError(
            f"{file.name} (SHA-256 {file.sha256}) is encrypted in the registry with another key than that of "
            "columns.log: bring back the old key, or add the version again from its files"
        )
    return b"".join(decrypt(part, key) or b"" for part in parts)


def _open_file(versions: VersionStore, file: VersionFile, folder: Path, key: bytes) -> Path:
    target = folder / file.name
    try:
        if file.is_folder:
            if (folder / ".complete").exists():
                return target
        elif target.is_file() and _sha256(target) == file.sha256:
            return target
        content = _read_content(versions, file, key)
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
        if path.exists() and not path.is_file():  # opening a pipe waits for its writer
            raise ConfigError(f"cannot read {path}: it is no regular file; copy it into one")
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
