"""Who may touch a data folder: locks that the kernel lets go when their process ends, however it ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from driftbell.errors import ConfigError


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes on the same data folder out while something is made there.

    Raises:
        ConfigError: the folder cannot be written.
    """
    with _locked(folder, ".lock", fcntl.LOCK_EX):
        yield


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Say that a service or a monitor works on a data folder; any number may.

    Raises:
        ConfigError: the folder cannot be written.
    """
    with _locked(folder, ".running", fcntl.LOCK_SH):
        yield


@contextmanager
def unused(folder: Path) -> Iterator[None]:
    """Make sure that no service and no monitor works on a data folder; those that start now wait.

    Raises:
        ConfigError: one does, or the folder cannot be written.
    """
    with _locked(folder, ".running", fcntl.LOCK_EX | fcntl.LOCK_NB):
        yield


@contextmanager
def _locked(folder: Path, name: str, kind: int) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / name).open("w")
    except OSError as error:
        raise ConfigError(f"cannot write to the data folder {folder}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, kind)
        except BlockingIOError as error:
            raise ConfigError(f"a service or a monitor runs on {folder}: stop it first") from error
        except OSError as error:
            raise ConfigError(f"cannot lock the data folder {folder}: {error.strerror}") from error
        yield
