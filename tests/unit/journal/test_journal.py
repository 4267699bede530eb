"""The journal: what it took is moved into the log once, whatever happens between."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from driftbell.errors import StoreError
from driftbell.journal import file as journal
from driftbell.journal.file import Journal, orphaned_journals
from driftbell.journal.line import encode_line
from driftbell.journal.mover import JournalMover
from driftbell.records import Prediction
from driftbell.store.sql import SqlStore

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def line(number: int, text: str = "") -> bytes:
    p = Prediction(f"id{number:06}", NOW, "m", "v1", {"x": float(number), "t": text}, "a", {"a": 1.0}, 0.5)
    return encode_line(p) + b"\n"


def ids(log: SqlStore) -> list[str]:
    return [p.id for p in log.predictions.window(100_000, model="m", version="v1").predictions]


def drained(found: Journal) -> list[bytes]:
    lines: list[bytes] = []
    while chunk := found.read():
        lines += chunk.splitlines(keepends=True)
        found.mark_moved(len(chunk), chunk.count(b"\n"))
    return lines


def test_what_is_written_is_read_in_order_and_then_forgotten(folder: Path) -> None:
    found = Journal(folder)
    found.write([line(1), line(2)])
    found.write([line(3)])
    assert found.waiting_rows == 3
    assert drained(found) == [line(1), line(2), line(3)]
    assert (found.waiting_rows, found.waiting_bytes) == (0, 0)
    (file,) = folder.iterdir()
    assert file.stat().st_size == 0
    found.close()
    assert list(folder.iterdir()) == []


def test_lines_longer_than_one_read_come_whole(folder: Path) -> None:
    found = Journal(folder)
    long = line(1, "x" * (3 * journal.READ_BYTES))
    found.write([long, line(2)])
    assert drained(found) == [long, line(2)]
    found.close()


def test_a_large_file_is_left_for_a_new_one_and_goes_when_it_is_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "ROTATED_BYTES", 1000)
    monkeypatch.setattr(journal, "READ_BYTES", 400)
    found = Journal(folder)
    wrote = []
    for number in range(200):  # one is read for five that are written
        wrote.append(line(number))
        found.write([wrote[-1]])
        if number % 5 == 0:
            chunk = found.read()
            wrote = wrote[chunk.count(b"\n") :]
            found.mark_moved(len(chunk), chunk.count(b"\n"))
    assert len(list(folder.iterdir())) > 1
    assert drained(found) == wrote
    assert len(list(folder.iterdir())) == 1
    found.close()


def test_half_a_line_on_a_full_disk_is_taken_back_and_refused(folder: Path) -> None:
    """The limit on a file's size stands for the disk's end: the kernel writes what fits."""
    found = Journal(folder)
    found.write([line(1)])
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(line(1)) + 20, hard))
    try:
        with pytest.raises(StoreError, match="No space left"):
            found.write([line(2)])
        with pytest.raises(StoreError, match="cannot write to the journal"):
            found.write([line(2, "x" * 100)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    found.write([line(3)])
    assert drained(found) == [line(1), line(3)]
    found.close()


def test_where_half_a_line_cannot_be_taken_back_only_it_is_broken(
    folder: Path, log: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Journal(folder)
    found.write([line(1)])
    tear(found, monkeypatch)
    found.write([line(3)])
    mover = JournalMover(log, found, folder)
    assert mover.settle(20)
    assert ids(log) == ["id000001", "id000003"]
    assert mover.skipped_lines == 1
    mover.close(5)
    found.close()


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("then", ["a new file", "nothing", "a line"])
def test_half_a_line_that_stays_keeps_nothing_after_it_from_the_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch, times: int, then: str
) -> None:
    found = Journal(folder)
    found.write([line(1)])
    for _ in range(times):
        tear(found, monkeypatch)
    if then == "a new file":
        found.renew()
        found.write([line(3)])
    elif then == "a line":
        found.write([line(3)])
    whole = [got for got in drained(found) if got in (line(1), line(3))]
    assert whole == ([line(1)] if then == "nothing" else [line(1), line(3)])
    assert found.waiting_bytes == 0
    found.write([line(4)])
    assert drained(found)[-1] == line(4)
    assert found.waiting_bytes == 0
    found.close()
    assert list(folder.iterdir()) == []


def tear(found: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have half a line written, and the disk refuse to take it back."""
    half = line(2)[:30]

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", lambda fd, data, real=os.write: real(fd, half))
        broken.setattr(os, "ftruncate", refuse)
        with pytest.raises(StoreError):
            found.write([line(2)])


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot write to the journal"):
        Journal(tmp_path / "file" / "journal")


def write_and_die(folder: Path, rows: int) -> None:
    found = Journal(folder)
    found.write([line(number) for number in range(rows)])
    os.write(found._files[-1].fd, line(rows)[:40])
    os.kill(os.getpid(), signal.SIGKILL)


def killed_writer(folder: Path, rows: int) -> None:
    process = multiprocessing.get_context("spawn").Process(target=write_and_die, args=(folder, rows))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def test_what_a_killed_process_left_is_moved_by_the_next_and_half_a_line_is_not(
    folder: Path, log: SqlStore
) -> None:
    killed_writer(folder, 500)
    mine = Journal(folder)
    mine.write([line(1000)])
    mover = JournalMover(log, mine, folder)
    assert mover.settle(20)
    assert sorted(ids(log)) == [f"id{n:06}" for n in [*range(500), 1000]]
    mover.close(5)
    mine.close()
    assert list(folder.iterdir()) == []


def test_a_journal_in_use_belongs_to_its_process(folder: Path) -> None:
    mine = Journal(folder)
    mine.write([line(1)])
    assert list(orphaned_journals(folder)) == []
    os.close(mine._files[0].fd)
    (left,) = orphaned_journals(folder)
    assert list(orphaned_journals(folder)) == []  # one at a time
    left.close()
    (left,) = orphaned_journals(folder)
    left.remove()
    assert list(orphaned_journals(folder)) == []
    left.close()


def test_a_line_that_is_moved_twice_is_logged_once(folder: Path, log: SqlStore) -> None:
    log.predictions.append_lines(
        [line(n) for n in range(10)]
    )  # as a process does that dies before it forgets them
    mine = Journal(folder)
    mine.write([line(n) for n in range(20)])
    mover = JournalMover(log, mine, folder)
    assert mover.settle(20)
    assert ids(log) == [f"id{n:06}" for n in range(20)]
    mover.close(5)
    mine.close()


def test_room_on_the_disk_is_told(folder: Path) -> None:
    mine = Journal(folder)
    mine.probe()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StoreError, match="cannot write to the journal"):
            mine.probe()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    mine.write([line(1)])
    mine.sync(mine.written_bytes)
    assert len(list(folder.iterdir())) == 1
    mine.close()
