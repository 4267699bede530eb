"""Write-ahead journal: answered predictions on local disk, on their way to the store.

Each process appends to a file of its own, with one `write` for the predictions of a batch. An answer waits
for that write only: data that the kernel has accepted survives the death of every process, not a power loss.
A thread, see `driftbell.journal.mover`, moves the lines to the store. The file of a process that has ended is
recognized by its lock, which the kernel has released; the first process that sees it moves its lines. A line
may be moved twice; the store keeps it once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from driftbell.atomic_write import sync_folder
from driftbell.errors import StoreError

ROTATED_BYTES = 16 * 1024 * 1024
"""Size at which a new file is started; the old one is removed once its lines are in the store."""

READ_BYTES = 128 * 1024
MIN_FREE_BYTES = 16 * 1024
"""A disk with less free space counts as full."""


@dataclass(slots=True)
class _File:
    path: Path
    fd: int
    written: int = 0
    moved: int = 0


class Journal:
    """The journal of one process: one thread calls `write` and `sync`, another `read` and `mark_moved`.

    Args:
        folder: the folder of the journals; created if missing.

    Attributes:
        waiting_rows: lines that are not in the store yet.
        written_bytes: bytes written since the start.
        moved_bytes: how many of them are in the store.

    Raises:
        StoreError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._partial = 0  # bytes of an incomplete line at the end of the newest file
        self._unsynced_to = 0  # bytes written before the last flush that failed
        self.waiting_rows = self.written_bytes = self.moved_bytes = 0
        self._files: deque[_File] = deque()
        self.renew()

    @property
    def waiting_bytes(self) -> int:
        """Bytes that are not in the store yet."""
        return self.written_bytes - self.moved_bytes

    def renew(self) -> None:
        """Start a new file; older ones are still read to their end, even if they were removed.

        Raises:
            StoreError: the folder cannot be written.
        """
        with self._lock:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._begin_file()
            except OSError as error:
                raise self._write_error(error) from error
            self._remove_moved_files()

    def write(self, lines: Sequence[bytes]) -> None:
        """Append lines, all or none, each with its line feed; they then survive the death of the process.

        Raises:
            StoreError: the disk is full, or fails.
        """
        data = b"".join(lines)
        with self._lock:
            file = self._files[-1]
            if self._partial:
                data = b"\n" + data
            try:
                written = os.write(file.fd, data)
            except OSError as error:
                raise self._write_error(error) from error
            if written < len(data):
                self._truncate(file, written)
                raise self._write_error(_disk_full())
            written += self._partial
            self._partial = 0
            file.written += written
            self.written_bytes += written
            self.waiting_rows += len(lines)

    def _truncate(self, file: _File, partial: int) -> None:
        """Remove an incomplete line; if that fails, the next write starts with a line feed."""
        try:
            os.ftruncate(file.fd, file.written)
            self._partial = 0
        except OSError:
            self._partial += partial

    def probe(self) -> None:
        """Check that the disk has free space.

        Raises:
            StoreError: it has none, or it cannot be written.
        """
        try:
            with tempfile.TemporaryFile(dir=self._folder, buffering=0) as file:
                if file.write(bytes(MIN_FREE_BYTES)) < MIN_FREE_BYTES:
                    raise _disk_full()
        except OSError as error:
            raise self._write_error(error) from error

    def sync(self, position: int) -> None:
        """Wait until lines survive a power loss.

        The kernel reports a failed flush once and then forgets the data. A flush that failed therefore fails
        for all lines written before its end, also if another thread flushes them again.

        Args:
            position: `written_bytes` after the last of the lines was written.

        Raises:
            StoreError: the disk fails.
        """
        handles: list[int] = []
        try:
            with self._lock:  # the mover may close files, or start new ones, meanwhile
                handles.extend(os.dup(file.fd) for file in self._files)
            for handle in handles:
                os.fdatasync(handle)
            sync_folder(self._folder)
        except OSError as error:
            with self._lock:
                self._unsynced_to = self.written_bytes
            raise self._write_error(error) from error
        finally:
            for handle in handles:
                _close(handle)
        with self._lock:
            is_lost = position <= self._unsynced_to
        if is_lost:
            raise self._write_error(OSError(errno.EIO, os.strerror(errno.EIO)))

    def read(self) -> bytes:
        """Return the oldest complete lines that are not in the store yet; b"" if there are none."""
        file = self._files[0]
        return _complete_lines(file.fd, file.moved, file.written)

    def mark_moved(self, size: int, rows: int) -> None:
        """Skip lines that are in the store, and remove a file that is moved completely.

        Args:
            size: bytes of these lines.
            rows: number of these lines.
        """
        with self._lock:
            file = self._files[0]
            file.moved += size
            self.moved_bytes += size
            self.waiting_rows -= rows
            if self._files[-1].written > ROTATED_BYTES:
                with suppress(OSError):  # the disk is full: try again next time
                    self._begin_file()
            self._remove_moved_files()
            if file is self._files[0] and file.moved == file.written:
                with suppress(OSError):  # it is truncated after the next move; the store keeps a line once
                    os.ftruncate(file.fd, 0)
                    file.written = file.moved = self._partial = self.waiting_rows = 0

    def _begin_file(self) -> None:
        self._files.append(self._new_file())
        self._partial = 0

    def _remove_moved_files(self) -> None:
        while len(self._files) > 1 and self._files[0].moved == self._files[0].written:
            file = self._files.popleft()
            with suppress(OSError):  # the scan for orphaned journals tries again
                file.path.unlink(missing_ok=True)
            _close(file.fd)

    def is_removed(self) -> bool:
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
                with suppress(OSError):  # the disk became read-only: the next process moves the lines again
                    if file.moved == file.written:
                        file.path.unlink(missing_ok=True)
                _close(file.fd)

    def _write_error(self, error: OSError) -> StoreError:
        return StoreError(
            f"cannot write to the journal {self._folder}: {error.strerror}",
            public=f"predictions cannot be written to the service's disk: {error.strerror}",
        )

    def _new_file(self) -> _File:
        path = self._folder / f"{os.getpid()}-{secrets.token_hex(6)}.jsonl"
        hidden = path.with_suffix(".new")  # until it is locked: else another process takes it for an orphan
        fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.rename(hidden, path)
        except OSError:
            _close(fd)
            with suppress(OSError):
                hidden.unlink(missing_ok=True)
            raise
        return _File(path, fd)


class OrphanedJournal:
    """The journal of a process that has ended, read from its beginning."""

    def __init__(self, path: Path, fd: int) -> None:
        self._file = _File(path, fd, written=os.fstat(fd).st_size)
        self.path = path

    def read(self) -> bytes:
        """Return the next complete lines; an incomplete last line was never acknowledged, and is skipped."""
        return _complete_lines(self._file.fd, self._file.moved, self._file.written)

    def mark_moved(self, size: int) -> None:
        """Skip lines that are in the store."""
        self._file.moved += size

    def remove(self) -> None:
        """Remove the file: all its lines are in the store."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the lock; if the file was not removed, another process may move it."""
        _close(self._file.fd)


def orphaned_journals(
    folder: Path, *, on_error: Callable[[Path, OSError], None] = lambda path, error: None
) -> Iterator[OrphanedJournal]:
    """Yield the locked journals of processes that have ended, one by one.

    Args:
        folder: the folder of the journals.
        on_error: called with a journal, or the folder, that cannot be read, and the reason.
    """
    try:
        paths = sorted(folder.glob("*.jsonl"))
    except OSError as error:
        on_error(folder, error)
        return
    for path in paths:
        try:
            orphan = _open_orphan(path)
        except OSError as error:
            on_error(path, error)
            continue
        if orphan:
            yield orphan


def _open_orphan(path: Path) -> OrphanedJournal | None:
    """Open and lock a journal; return None if its process runs, or another one has moved it.

    Raises:
        OSError: it cannot be opened, such as the journal of another user.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    orphan = None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink:
            orphan = OrphanedJournal(path, fd)
    except BlockingIOError:
        pass
    finally:
        if orphan is None:
            _close(fd)
    return orphan


def read_journals(folder: Path) -> Iterator[bytes]:
    """Yield chunks of the complete lines of all journals, also of running processes, without changing them.

    A line that is moved meanwhile may be in both the chunks and the store, or in the store only.
    """
    for path in sorted(folder.glob("*.jsonl")):
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError:  # its lines are in the store
            continue
        with file:
            size, start = os.fstat(file.fileno()).st_size, 0
            while chunk := _complete_lines(file.fileno(), start, size):
                yield chunk
                start += len(chunk)


def _complete_lines(fd: int, start: int, end: int) -> bytes:
    """Read complete lines between two positions; b"" if there is none before `end` or the end of the file."""
    chunk = bytearray()
    while start + len(chunk) < end:
        part = os.pread(fd, min(READ_BYTES, end - start - len(chunk)), start + len(chunk))
        chunk += part
        if complete := chunk.rfind(b"\n") + 1:
            return bytes(chunk[:complete])
        if not part:
            break
    return b""


def _close(fd: int) -> None:
    """Close a file descriptor; Linux releases it also if that fails."""
    with suppress(OSError):
        os.close(fd)


def _disk_full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
