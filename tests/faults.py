"""Fault injection: one call to the operating system or to SQLite fails, or is the last one of the process.

The calls are counted in the process itself, where Python's standard library makes them: `os.write`,
`os.rename` and others for files of one folder, and the statements and commits of `sqlite3`.
`bench/failures.py` has faults of real system calls, also those that SQLite makes.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FILES = ("open", "write", "ftruncate", "rename", "unlink", "mkdir")
FILE_CALLS = (*FILES, "fsync", "fdatasync", "dup", "pread", "stat", "fstat", "close", "flock")
STORE_CALLS = ("connect", "execute", "commit")

CRASH_STATUS = 77
"""Exit status of a process that was ended by a fault."""

Kind = str
KINDS: dict[Kind, tuple[str, ...]] = {
    "EIO": tuple(call for call in FILE_CALLS if call != "close"),
    "ENOSPC": ("open", "write", "rename", "mkdir", "ftruncate"),
    "EMFILE": ("open", "dup"),
    "EINTR": ("close",),
    "EACCES": ("open", "rename", "unlink", "mkdir"),
    "short": ("write", "pread"),
    "error before": STORE_CALLS,
    "error after": ("execute", "commit"),
    "crash": (*FILES, "execute", "commit"),
}
"""Calls that each kind of fault applies to.

`close` releases the descriptor also when it fails. A process ends before a call that changes something; the
next such call stands for the moment after it.
"""


@dataclass
class Faults:
    """Counts calls, and makes one of them fail.

    Args:
        folder: only calls for files in this folder are counted.
        kind: of the fault; "" only counts.
        number: of the call that fails, among those the kind applies to, from 1.

    Attributes:
        calls: names of the calls that the kind applies to; all calls without a kind.
        struck: name of the call that failed; "" before.
    """

    folder: Path
    kind: Kind = ""
    number: int = 0
    calls: list[str] = field(default_factory=list)
    struck: str = ""
    _on: bool = True

    def stop(self) -> None:
        """Let all further calls pass."""
        self._on = False

    def call(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function, unless its turn to fail has come."""
        if not self._on or (self.kind and name not in KINDS[self.kind]):
            return function(*args, **kwargs)
        self.calls.append(name)
        if not self.kind or len(self.calls) != self.number:
            return function(*args, **kwargs)
        self.struck = name
        if self.kind == "crash":
            os._exit(CRASH_STATUS)
        if self.kind == "short":
            return self._short(name, function, *args)
        if self.kind == "error after" or name == "close":
            function(*args, **kwargs)
        if name in STORE_CALLS:
            raise sqlite3.OperationalError("disk I/O error")
        number = getattr(errno, self.kind)
        raise OSError(number, os.strerror(number))

    def _short(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        if name == "write":
            fd, data = args
            return function(fd, bytes(data)[: max(1, len(data) // 2)])
        fd, size, offset = args
        return function(fd, max(1, size // 100), offset)


@contextmanager
def injected(faults: Faults) -> Iterator[Faults]:
    """Pass all calls for files of a folder, and all calls to SQLite, through a fault injector."""
    with pytest.MonkeyPatch.context() as patch:
        for name in FILE_CALLS:
            module: Any = os
            if name == "flock":
                import fcntl as module
            patch.setattr(module, name, _counted(faults, name, getattr(module, name)))
        patch.setattr(sqlite3.dbapi2, "connect", _connect(faults, sqlite3.connect))
        try:
            yield faults
        finally:
            faults.stop()


def _counted(faults: Faults, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    prefix, readlink = f"{faults.folder}/", os.readlink

    def call(target: Any, *args: Any, **kwargs: Any) -> Any:
        path = target
        if isinstance(target, int):
            try:
                path = readlink(f"/proc/self/fd/{target}")
            except OSError:
                path = ""
        if not f"{path}/".startswith(prefix):
            return real(target, *args, **kwargs)
        return faults.call(name, real, target, *args, **kwargs)

    return call


def _connect(faults: Faults, real: Callable[..., Any]) -> Callable[..., Any]:
    class Cursor(sqlite3.Cursor):
        def execute(self, *args: Any) -> Any:
            return faults.call("execute", super().execute, *args)

        def executemany(self, *args: Any) -> Any:
            return faults.call("execute", super().executemany, *args)

    class Connection(sqlite3.Connection):
        def cursor(self, *_: Any) -> Any:
            return super().cursor(Cursor)

        def execute(self, *args: Any) -> Any:
            return faults.call("execute", super().execute, *args)

        def commit(self) -> Any:
            return faults.call("commit", super().commit)

    def connect(*args: Any, **kwargs: Any) -> Any:
        return faults.call("connect", real, *args, **{**kwargs, "factory": Connection})

    return connect
