"""The journal on a disk that fails: nothing that was answered is lost, and the service goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.unit.journal.test_journal import NOW, drained, ids, line
from tests.unit.journal.test_mover import Flaky

from driftbell.errors import StoreError
from driftbell.journal import file as journal
from driftbell.journal.file import Journal
from driftbell.journal.line import encode_line
from driftbell.journal.mover import JournalMover, append_chunk, is_prediction, move_orphans
from driftbell.records import Prediction
from driftbell.store.sql import SqlStore


def failing(
    number: int, *, at: Callable[..., bool] = lambda *_: True, real: Any = None
) -> Callable[..., Any]:
    """Return a call that fails with an error number where a condition holds for its arguments."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if at(*args):
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    return call


def test_without_free_descriptors_lines_cannot_be_flushed_and_none_is_leaked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "ROTATED_BYTES", 0)
    mine = Journal(folder)
    for _ in range(2):  # two files, of which the second cannot be duplicated
        mine.write([line(1), line(2)])
        mine.mark_moved(len(line(1)), 1)
    first, second = (file.fd for file in list(mine._files)[:2])
    before = os.listdir("/proc/self/fd")
    with monkeypatch.context() as patch:
        patch.setattr(os, "dup", failing(errno.EMFILE, at=lambda fd: fd != first, real=os.dup))
        with pytest.raises(StoreError, match="Too many open files"):
            mine.sync(mine.written_bytes)
    assert second != first
    assert os.listdir("/proc/self/fd") == before
    mine.write([line(3)])
    mine.sync(mine.written_bytes)
    mine.close()


def test_a_failed_flush_fails_for_all_lines_that_were_written_before_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel reports it to the first thread only."""
    mine = Journal(folder)
    mine.write([line(1)])
    first = mine.written_bytes
    mine.write([line(2)])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing(errno.EIO))
        with pytest.raises(StoreError, match="Input/output error"):
            mine.sync(mine.written_bytes)
    with pytest.raises(StoreError, match="Input/output error"):
        mine.sync(first)
    mine.write([line(3)])
    mine.sync(mine.written_bytes)
    mine.close()


def test_a_read_of_a_few_bytes_loses_no_lines(
    folder: Path, log: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = Journal(folder)
    left.write([line(number) for number in range(50)])
    left.close()
    monkeypatch.setattr(os, "pread", lambda fd, size, at, real=os.pread: real(fd, min(size, 7), at))
    move_orphans(log, folder)
    assert ids(log) == [f"id{n:06}" for n in range(50)]


def test_a_journal_that_became_shorter_ends_there(folder: Path) -> None:
    mine = Journal(folder)
    mine.write([line(1), line(2)])
    os.truncate(mine._files[0].path, len(line(1)))
    assert mine.read() == line(1)
    mine.mark_moved(len(line(1)), 1)
    assert mine.read() == b""
    mine.close()


@pytest.mark.parametrize("call", ["open", "pread", "unlink", "flock"])
def test_a_journal_that_cannot_be_moved_is_logged_once_and_the_others_are_moved(
    folder: Path, log: SqlStore, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    folder.mkdir()
    paths = [folder / f"1-{number}.jsonl" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(line(number))

    def is_first(target: Any, *_: Any) -> bool:
        name = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else target
        return str(name) == str(paths[0])

    mine = Journal(folder)
    with monkeypatch.context() as patch, capture_logs() as lines:
        module: Any = journal.fcntl if call == "flock" else os  # type: ignore[attr-defined]
        patch.setattr(module, call, failing(errno.EACCES, at=is_first, real=getattr(module, call)))
        patch.setattr("driftbell.journal.mover.SCAN_SECONDS", 0.0)
        mover = JournalMover(log, mine, folder)
        for number in range(3, 6):
            mine.write([line(number)])
            assert mover.settle(60)
        assert mover.failure is None
        assert mover.close(60)
    (error,) = [event for event in lines if event["log_level"] == "error"]
    assert (error["file"], error["error"]) == (str(paths[0]), "Permission denied")
    moved = range(0 if call == "unlink" else 1, 6)
    assert sorted(ids(log)) == [f"id{n:06}" for n in moved]
    assert paths[0].exists()
    assert move_orphans(log, folder) == 0
    assert sorted(ids(log)) == [f"id{n:06}" for n in range(6)]
    mine.close()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("call", ["ftruncate", "unlink"])
def test_a_moved_line_that_cannot_be_removed_is_no_failure(
    folder: Path, log: SqlStore, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(journal, "ROTATED_BYTES", 500)
    mine = Journal(folder)
    with monkeypatch.context() as patch, capture_logs():
        patch.setattr(os, call, failing(errno.EROFS))
        mover = JournalMover(log, mine, folder)
        for number in range(9):
            mine.write([line(number)])
            assert mover.settle(60)
            assert mover.failure is None
    assert mover.settle(60)
    mine.write([line(9)])
    assert mover.close(60)
    assert (mine.waiting_bytes, drained(mine)) == (0, [])
    mine.close()
    move_orphans(log, folder)
    assert ids(log) == [f"id{n:06}" for n in range(10)]
    assert list(folder.iterdir()) == []


def test_a_prediction_with_half_a_surrogate_pair_survives_a_store_that_fails_once(
    log: SqlStore, tmp_path: Path
) -> None:
    """A store that refuses a chunk has its lines sorted into predictions and others."""
    p = Prediction("id1", NOW, "m", "v1", {"t": "\ud800"}, "a", {"a": 1.0}, 0.5)
    encoded = encode_line(p)
    assert is_prediction(encoded)
    assert not is_prediction(b'{"id":"\\ud800"}')
    assert not is_prediction(encoded[:-1])

    class FailsOnce(Flaky):
        def append_lines(self, lines: Sequence[bytes]) -> int:
            self.tries += 1
            if self.tries == 1:
                raise StoreError("busy")
            return self.log.predictions.append_lines(lines)

    store: Any = FailsOnce(log)
    chunk = encoded + b"\n" + line(2)
    for _ in range(2):
        try:
            assert append_chunk(store, chunk, tmp_path / "invalid") == 0
        except StoreError:
            continue
    assert ids(log) == ["id1", "id000002"]
    assert not (tmp_path / "invalid").exists()
