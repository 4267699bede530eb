"""Where archive files are stored: a local folder or an fsspec URL."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from driftbell.atomic_write import write_atomically
from driftbell.errors import ArchiveError, ConfigError, MissingExtraError


class FileStore(Protocol):
    """Where files go."""

    def put(self, name: str, content: bytes) -> None:
        """Write a file, all or nothing; writing it again is the same.

        Raises:
            ArchiveError: it could not.
        """


class LocalStore:
    """A folder on this machine.

    Args:
        folder: made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, content: bytes) -> None:
        """Write a file beside its place, and move it there once it is on the disk."""
        target = self._folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, content)  # readers skip its temporary file, whose name has a dot
        except OSError as error:
            raise ArchiveError(f"cannot write {target}: {error.strerror}") from error


class ObjectStore:
    """Anything that fsspec knows, such as `s3://bucket/prefix`.

    Args:
        url: of the folder.

    Raises:
        ConfigError: fsspec does not know it, a package of it is missing, or it cannot be reached.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise MissingExtraError("retention.archive", "archive") from error
        try:
            self._files, self._folder = fsspec.core.url_to_fs(url)
        except Exception as error:  # each store has its own; some connect at once
            raise ConfigError(f"retention.archive cannot be used: {error}") from error

    def put(self, name: str, content: bytes) -> None:
        """Write a file in one request; until it has ended nobody sees anything."""
        path = f"{self._folder.rstrip('/')}/{name}"
        try:
            self._files.pipe_file(path, content)
        except Exception as error:  # each store has its own
            raise ArchiveError(f"cannot write {path}: {type(error).__name__}: {error}") from error


def open_store(place: str) -> FileStore:
    """Open an archive.

    Args:
        place: a folder, or a URL with a scheme.

    Raises:
        ConfigError: a package is missing, or the URL is of no kind that is known.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("retention.archive", "archive") from error
    scheme, found, path = place.partition("://")
    if not found or scheme == "file":
        return LocalStore(Path(path if found else place).expanduser())
    return ObjectStore(place)
