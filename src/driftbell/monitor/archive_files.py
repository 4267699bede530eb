"""Storage of archive files: a local folder or an fsspec URL."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from driftbell.atomic_write import write_atomically
from driftbell.config.display import without_credentials
from driftbell.error_capture import ErrorCapture
from driftbell.errors import ArchiveError, ConfigError, MissingExtraError


class ArchiveFiles(Protocol):
    """Storage for archive files."""

    def put(self, name: str, content: bytes) -> None:
        """Write a file atomically; writing it again replaces it.

        Raises:
            ArchiveError: it could not be written.
        """

    def get(self, name: str) -> bytes:
        """Read a file.

        Raises:
            ArchiveError: it could not be read.
        """


class LocalFiles:
    """A folder on this machine.

    Args:
        folder: created if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, content: bytes) -> None:
        """Write a temporary file, flush it to disk and rename it."""
        target = self._folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, content)  # readers skip the temporary file: its name starts with a dot
        except OSError as error:
            raise ArchiveError(f"cannot write {target}: {error.strerror}") from error

    def get(self, name: str) -> bytes:
        """Read a file."""
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            raise ArchiveError(f"cannot read {self._folder / name}: {error.strerror}") from error


class ObjectFiles:
    """A folder on any file system of fsspec, such as `s3://bucket/prefix`; these raise errors of any type.

    Args:
        url: the folder's URL.

    Raises:
        ConfigError: fsspec does not know the scheme, its package is missing, or it cannot be reached.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise MissingExtraError("retention.archive", "archive") from error
        with ErrorCapture() as captured:  # some file systems connect here
            self._files, self._folder = fsspec.core.url_to_fs(url)
        if captured.error:
            message = f"retention.archive cannot be used: {without_credentials(str(captured.error))}"
            raise ConfigError(message) from captured.error

    def put(self, name: str, content: bytes) -> None:
        """Write a file in one request; readers see it only when it is complete."""
        path = self._path(name)
        with ErrorCapture() as captured:
            self._files.pipe_file(path, content)
        if error := captured.error:
            message = without_credentials(f"cannot write {path}: {type(error).__name__}: {error}")
            raise ArchiveError(message) from error

    def get(self, name: str) -> bytes:
        """Read a file in one request."""
        path, content = self._path(name), b""
        with ErrorCapture() as captured:
            content = self._files.cat_file(path)
        if error := captured.error:
            message = without_credentials(f"cannot read {path}: {type(error).__name__}: {error}")
            raise ArchiveError(message) from error
        return content

    def _path(self, name: str) -> str:
        return f"{self._folder.rstrip('/')}/{name}"


def open_archive(place: str) -> ArchiveFiles:
    """Open the storage for archive files.

    Args:
        place: a folder, or a URL with a scheme.

    Raises:
        ConfigError: a package is missing, or the scheme is unknown.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("retention.archive", "archive") from error
    scheme, separator, path = place.partition("://")
    if not separator or scheme == "file":
        return LocalFiles(Path(path if separator else place).expanduser())
    return ObjectFiles(place)
