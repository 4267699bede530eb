"""The mover: while the log fails nothing is lost, and the thread goes on."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.unit.journal.test_journal import ids, line

from driftbell.errors import StoreError
from driftbell.journal.file import Journal, orphaned_journals
from driftbell.journal.mover import JournalMover, move_orphans
from driftbell.store.sql import SqlStore


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


class Flaky:
    """A log that can be switched off."""

    def __init__(self, log: SqlStore) -> None:
        self.log = log
        self.off = threading.Event()
        self.tries = 0

    @property
    def predictions(self) -> Flaky:
        return self

    def append_lines(self, lines: list[bytes]) -> int:
        self.tries += 1
        if self.off.is_set():
            raise StoreError("switched off")
        return self.log.predictions.append_lines(lines)

    def ping(self) -> None:
        self.append_lines([])


def test_while_the_log_fails_it_is_tried_again_and_nothing_is_lost(folder: Path, log: SqlStore) -> None:
    flaky = Flaky(log)
    mine = Journal(folder)
    mover = JournalMover(flaky, mine, folder)  # type: ignore[arg-type]
    flaky.off.set()
    mine.write([line(1)])
    mover.notify()
    until(lambda: mover.failure)
    assert not mover.settle(0.1)
    mine.write([line(2)])
    tries = flaky.tries
    until(lambda: flaky.tries > tries)
    assert ids(log) == []
    flaky.off.clear()
    until(lambda: not mover.failure)
    assert mover.settle(20)
    assert ids(log) == ["id000001", "id000002"]
    mover.close(5)
    mine.close()


def test_a_failure_that_somebody_else_saw_ends_when_the_log_can_be_written(
    folder: Path, log: SqlStore
) -> None:
    mine = Journal(folder)
    mover = JournalMover(log, mine, folder)
    mover.report_failure(StoreError("seen elsewhere"))
    until(lambda: not mover.failure)
    mover.close(5)
    mine.close()


def test_what_the_log_does_not_take_until_the_end_stays_for_the_next(folder: Path, log: SqlStore) -> None:
    flaky = Flaky(log)
    flaky.off.set()
    mine = Journal(folder)
    mover = JournalMover(flaky, mine, folder)  # type: ignore[arg-type]
    mine.write([line(1)])
    mover.close(5)
    mine.close()
    again = Journal(folder)
    mover = JournalMover(log, again, folder)
    assert mover.settle(20)
    assert ids(log) == ["id000001"]
    mover.close(5)
    again.close()


@pytest.mark.parametrize("rows_between", [0, 1])
def test_a_journal_that_somebody_removed_is_begun_anew(
    folder: Path, log: SqlStore, rows_between: int
) -> None:
    mine = Journal(folder)
    mover = JournalMover(log, mine, folder)
    mine.write([line(1)])
    assert mover.settle(20)
    shutil.rmtree(folder)
    mine.write([line(n) for n in range(2, 2 + rows_between)])
    mover.notify()
    until(lambda: folder.exists() and not mine.is_removed())
    mine.write([line(9)])
    mover.notify()
    assert mover.settle(20)
    assert len(ids(log)) == 2 + rows_between
    assert not mover.failure
    mover.close(5)
    mine.close()
    assert list(folder.iterdir()) == []


def test_a_journal_that_cannot_be_begun_anew_is_a_failure_until_it_can(folder: Path, log: SqlStore) -> None:
    mine = Journal(folder)
    mover = JournalMover(log, mine, folder)
    assert mover.settle(20)
    shutil.rmtree(folder)
    folder.touch()
    mover.notify()
    until(lambda: mover.failure)
    assert "cannot write to the journal" in str(mover.failure)
    folder.unlink()
    until(lambda: not mover.failure)
    mover.close(5)
    mine.close()


def test_whatever_a_log_raises_the_thread_goes_on(folder: Path, log: SqlStore) -> None:
    class Odd(Flaky):
        def append_lines(self, lines: list[bytes]) -> int:
            if self.off.is_set():
                raise IndexError("a value that is nobody's business")
            return super().append_lines(lines)

    odd = Odd(log)
    odd.off.set()
    mine = Journal(folder)
    mover = JournalMover(odd, mine, folder)  # type: ignore[arg-type]
    mine.write([line(1)])
    mover.notify()
    until(lambda: mover.failure)
    assert str(mover.failure) == "predictions cannot be moved to the log: IndexError"
    odd.off.clear()
    until(lambda: not mover.failure)
    assert mover.settle(20)
    assert ids(log) == ["id000001"]
    assert mover.close(5)
    mine.close()


def test_journals_that_were_left_are_moved_once_the_log_is_back_however_many(
    folder: Path, log: SqlStore
) -> None:
    """Those behind the one that failed must neither stay locked nor open."""
    folder.mkdir()
    for number in range(5):
        (folder / f"1-{number}.jsonl").write_bytes(line(number))
    flaky = Flaky(log)
    flaky.off.set()
    mine = Journal(folder)
    before = len(os.listdir("/proc/self/fd"))
    mover = JournalMover(flaky, mine, folder)  # type: ignore[arg-type]
    until(lambda: flaky.tries > 3)
    assert len(os.listdir("/proc/self/fd")) <= before + 5  # the log's own
    flaky.off.clear()
    until(lambda: not mover.failure)
    assert ids(log) == [f"id{n:06}" for n in range(5)]
    mover.close(5)
    mine.close()
    assert list(folder.iterdir()) == []


def test_who_waits_under_load_waits_for_what_was_there_and_no_longer(folder: Path, log: SqlStore) -> None:
    mine = Journal(folder)
    mover = JournalMover(log, mine, folder)
    over = threading.Event()

    def send() -> None:
        number = 0
        while not over.is_set():
            mine.write([line(number)])
            mover.notify()
            number += 1
            time.sleep(0.0005)

    sending = threading.Thread(target=send)
    sending.start()
    try:
        time.sleep(0.2)
        for _ in range(10):
            wrote = mine.written_bytes
            assert mover.settle(60)
            assert mine.moved_bytes >= wrote
    finally:
        over.set()
        sending.join()
    mover.close(5)
    mine.close()


@pytest.mark.parametrize("bad", [b"\0\0\0\0", b"not json", b'{"id": "x"}', b"\xff\xfe", b"[1]"])
@pytest.mark.parametrize("orphaned", [False, True])
def test_lines_that_cannot_be_read_are_kept_and_named_in_the_log(
    folder: Path, log: SqlStore, bad: bytes, orphaned: bool
) -> None:
    mine = Journal(folder)
    mine.write([line(1), bad + b"\n", line(2)])
    with capture_logs() as lines:
        if orphaned:
            mine.close()
            assert move_orphans(log, folder) == 1
        else:
            mover = JournalMover(log, mine, folder)
            assert mover.settle(20)
            mover.close(5)
            assert mover.skipped_lines == 1
    assert ids(log) == ["id000001", "id000002"]
    (kept,) = (folder / "invalid").iterdir()
    assert kept.read_bytes() == bad + b"\n"
    assert kept.stat().st_mode & 0o777 == 0o600
    (error,) = [event for event in lines if event["log_level"] == "error"]
    assert (error["lines"], error["file"]) == (1, str(kept))
    assert list(orphaned_journals(folder)) == [], "what is kept is no journal"


def test_lines_that_cannot_be_kept_stay_in_the_journal(folder: Path, log: SqlStore) -> None:
    mine = Journal(folder)
    mine.write([b"damaged\n", line(1)])
    mine.close()
    (folder / "invalid").write_text("a file in the way")
    with pytest.raises(StoreError, match="cannot keep invalid lines"):
        move_orphans(log, folder)
    (folder / "invalid").unlink()
    assert move_orphans(log, folder) == 1
    assert ids(log) == ["id000001"]
    assert (folder / "invalid").is_dir()
