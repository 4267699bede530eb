"""Write-ahead journal: answered predictions on local disk, on their way to the store.

A process appends to a file of its own with one `write` for all that came in together, which is all an answer
waits for: what the kernel has taken survives the death of every process (not a power cut). A thread, see
`driftbell.journal.mover`, moves the lines on. Files of processes that are gone are found by the lock
that the kernel let go, and are moved by whoever looks first. A line may be moved twice, and is logged once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from driftbell.atomic_write import sync_folder
from driftbell.errors import StoreError

ROTATED_BYTES = 16 * 1024 * 1024
"""A file that is larger is left for a new one, and removed once it is in the log."""

READ_BYTES = 128 * 1024
ROOM_BYTES = 16 * 1024
"""A disk that has no room for so much counts as full."""


@dataclass(slots=True)
class _File:
    path: Path
    fd: int
    written: int = 0
    moved: int = 0


class Journal:
    """What one process appends to; `write` and `sync` belong to one thread, `read` and `moved` to another.

    Args:
        folder: where journals are, made if it is not there.

    Attributes:
        waiting_rows: how many lines are not in the log yet.
        written_bytes: how much was ever written.
        moved_bytes: how much of it is in the log.

    Raises:
        StoreError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._torn = 0  # bytes of half a line at the end of the newest file
        self.waiting_rows = self.written_bytes = self.moved_bytes = 0
        self._files: deque[_File] = deque()
        self.renew()

    @property
    def waiting_bytes(self) -> int:
        """How much is not in the log yet."""
        return self.written_bytes - self.moved_bytes

    def renew(self) -> None:
        """Go on in a new file; an older one, even where somebody removed it, is still read to its end.

        Raises:
            StoreError: the folder cannot be written.
        """
        with self._lock:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._begin_file()
            except OSError as error:
                raise self._cannot_write(error) from error
            self._leave_what_is_done()

    def write(self, lines: Sequence[bytes]) -> None:
        """Append lines, all or none, each with its line break; once this returns, they outlive the process.

        Raises:
            StoreError: the disk is full, or fails.
        """
        data = b"".join(lines)
        with self._lock:
            file = self._files[-1]
            if self._torn:
                data = b"\n" + data
            try:
                done = os.write(file.fd, data)
            except OSError as error:
                raise self._cannot_write(error) from error
            if done < len(data):
                self._cut(file, done)
                raise self._cannot_write(_full())
            done += self._torn
            self._torn = 0
            file.written += done
            self.written_bytes += done
            self.waiting_rows += len(lines)

    def _cut(self, file: _File, done: int) -> None:
        """Truncate half a line; if that fails, the next write starts with a line feed."""
        try:
            os.ftruncate(file.fd, file.written)
            self._torn = 0
        except OSError:
            self._torn += done

    def probe(self) -> None:
        """Check that the disk has room.

        Raises:
            StoreError: there is none, or it cannot be written.
        """
        try:
            with tempfile.TemporaryFile(dir=self._folder, buffering=0) as file:
                if file.write(bytes(ROOM_BYTES)) < ROOM_BYTES:
                    raise _full()
        except OSError as error:
            raise self._cannot_write(error) from error

    def sync(self) -> None:
        """Wait until what was written outlives a power cut.

        Raises:
            StoreError: the disk fails.
        """
        with self._lock:  # they may go, or become more, meanwhile
            handles = [os.dup(file.fd) for file in self._files]
        try:
            for handle in handles:
                os.fdatasync(handle)
            sync_folder(self._folder)
        except OSError as error:
            raise self._cannot_write(error) from error
        finally:
            for handle in handles:
                os.close(handle)

    def read(self) -> bytes:
        """Return the oldest complete lines that are not in the store yet; b"" if there are none."""
        file = self._files[0]
        return _whole_lines(file.fd, file.moved, file.written)

    def moved(self, size: int, rows: int) -> None:
        """Forget lines that are in the store, and remove a finished file.

        Args:
            size: bytes of it.
            rows: lines of it.
        """
        with self._lock:
            file = self._files[0]
            file.moved += size
            self.moved_bytes += size
            self.waiting_rows -= rows
            if self._files[-1].written > ROTATED_BYTES:
                with suppress(OSError):  # the disk is full: the next time
                    self._begin_file()
            self._leave_what_is_done()
            if file is self._files[0] and file.moved == file.written:
                os.ftruncate(file.fd, 0)
                file.written = file.moved = self._torn = self.waiting_rows = 0

    def _begin_file(self) -> None:
        self._files.append(self._new_file())
        self._torn = 0

    def _leave_what_is_done(self) -> None:
        while len(self._files) > 1 and self._files[0].moved == self._files[0].written:
            file = self._files.popleft()
            try:
                file.path.unlink(missing_ok=True)
            finally:
                os.close(file.fd)

    def gone(self) -> bool:
        """Return whether the current file was removed."""
        file = self._files[-1]
        try:
            return file.path.stat().st_ino != os.fstat(file.fd).st_ino
        except OSError:
            return True

    def close(self) -> None:
        """Release the files; lines that are not in the store yet stay for the next process."""
        with self._lock:
            for file in self._files:
                with suppress(OSError):  # the disk became read-only; what is logged already is moved again
                    if file.moved == file.written:
                        file.path.unlink(missing_ok=True)
                os.close(file.fd)

    def _cannot_write(self, error: OSError) -> StoreError:
        return StoreError(f"cannot write to the journal {self._folder}: {error.strerror}")

    def _new_file(self) -> _File:
        path = self._folder / f"{os.getpid()}-{secrets.token_hex(6)}.jsonl"
        hidden = path.with_suffix(".new")  # until it is locked, else another process would take it for left
        fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.rename(hidden, path)
        except OSError:
            hidden.unlink(missing_ok=True)
            os.close(fd)
            raise
        return _File(path, fd)


class Left:
    """A journal of a process that is gone, read from its beginning."""

    def __init__(self, path: Path, fd: int) -> None:
        self._file = _File(path, fd, written=os.fstat(fd).st_size)
        self.path = path

    def read(self) -> bytes:
        """Return the next complete lines; half a line at the end was never acknowledged, and is left out."""
        return _whole_lines(self._file.fd, self._file.moved, self._file.written)

    def moved(self, size: int) -> None:
        """Go on behind what was read."""
        self._file.moved += size

    def remove(self) -> None:
        """Remove it: all is in the log."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave it, if it was not removed, to the next who looks."""
        os.close(self._file.fd)


def left_behind(folder: Path) -> Iterator[Left]:
    """Yield the locked journals of processes that have ended, one by one."""
    for path in sorted(folder.glob("*.jsonl")):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:  # another was faster
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            gone = not os.fstat(fd).st_nlink
        except OSError:  # its process lives
            gone = True
        if gone:
            os.close(fd)
        else:
            yield Left(path, fd)


def peek(folder: Path) -> Iterator[bytes]:
    """Read the whole lines of all journals, whomever they belong to, in pieces, and leave them as they are.

    What goes into the log meanwhile may be in both, or in the log alone.
    """
    for path in sorted(folder.glob("*.jsonl")):
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError:  # it is in the log
            continue
        with file:
            size, start = os.fstat(file.fileno()).st_size, 0
            while chunk := _whole_lines(file.fileno(), start, size):
                yield chunk
                start += len(chunk)


def _whole_lines(fd: int, start: int, end: int) -> bytes:
    size = READ_BYTES
    while start < end:
        found = os.pread(fd, min(size, end - start), start)
        whole = found.rfind(b"\n") + 1
        if whole or len(found) < size:
            return found[:whole]
        size *= 4
    return b""


def _full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
