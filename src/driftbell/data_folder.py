"""File locks on the data folder, released by the kernel when their process ends."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from driftbell.errors import ConfigError


def restrict_access(folder: Path, umask: int) -> None:
    """Create files with this umask from now on, and take its permissions from what is in the data folder.

    Files of other users stay as they are.
    """
    os.umask(umask)
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        status = path.lstat()
        if not stat.S_ISLNK(status.st_mode) and status.st_mode & umask and status.st_uid == os.geteuid():
            path.chmod(stat.S_IMODE(status.st_mode) & ~umask)


@contextmanager
def exclusive_setup(folder: Path, mask: int | None = None) -> Iterator[None]:
    """Lock a data folder while one process creates or migrates files; others wait.

    Args:
        folder: the data folder.
        mask: the umask meanwhile; None for that of the process.

    Raises:
        ConfigError: the folder cannot be written.
    """
    with masked(mask), _locked(folder, ".lock", fcntl.LOCK_EX):
        yield


@contextmanager
def mark_in_use(folder: Path) -> Iterator[None]:
    """Mark a data folder as used by a service or a monitor; any number may use it.

    Raises:
        ConfigError: the folder cannot be written.
    """
    with _locked(folder, ".running", fcntl.LOCK_SH):
        yield


@contextmanager
def require_unused(folder: Path, mask: int | None = None) -> Iterator[None]:
    """Require that no service and no monitor uses a data folder; those that start meanwhile wait.

    Args:
        folder: the data folder.
        mask: the umask meanwhile; None for that of the process.

    Raises:
        ConfigError: the folder is in use, or cannot be written.
    """
    with masked(mask), _locked(folder, ".running", fcntl.LOCK_EX | fcntl.LOCK_NB):
        yield


@contextmanager
def masked(mask: int | None) -> Iterator[None]:
    """Set a umask for a while, unless it is None."""
    if mask is None:
        yield
        return
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def _locked(folder: Path, name: str, operation: int) -> Iterator[None]:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (folder / name).open("w")
    except OSError as error:
        raise ConfigError(f"cannot write to the data folder {folder}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, operation)
        except BlockingIOError as error:
            raise ConfigError(f"a service or a monitor runs on {folder}: stop it first") from error
        except OSError as error:
            raise ConfigError(f"cannot lock the data folder {folder}: {error.strerror}") from error
        yield
