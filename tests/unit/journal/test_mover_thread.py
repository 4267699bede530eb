"""The thread of the mover: an error at any call inside its loop costs no prediction and no later pass."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.conftest import wait_until
from tests.unit.journal.test_journal import ids, line

from driftbell.errors import StoreError
from driftbell.journal import mover as journal_mover
from driftbell.journal.file import Journal
from driftbell.journal.mover import JournalMover
from driftbell.process import supervised_thread
from driftbell.store.predictions import SqlPredictions
from driftbell.store.sql import SqlStore

CALLS: dict[str, tuple[Any, str]] = {
    "Journal.is_removed": (Journal, "is_removed"),
    "Journal.read": (Journal, "read"),
    "Journal.mark_moved": (Journal, "mark_moved"),
    "append_lines": (SqlPredictions, "append_lines"),
    "append_chunk": (journal_mover, "append_chunk"),
    "move_orphans": (journal_mover, "move_orphans"),
    "ping": (SqlStore, "ping"),
    "_pass": (JournalMover, "_pass"),
    "_move": (JournalMover, "_move"),
    "Condition.notify_all": (threading.Condition, "notify_all"),
    "Event.clear": (threading.Event, "clear"),
    "sleep": (journal_mover.time, "sleep"),  # type: ignore[attr-defined]
}


class RustPanic(BaseException):
    """Stands for the panic of a library in Rust, which is no `Exception`."""


class Once:
    """Raises an error at the first call in the mover's thread that follows `arm`."""

    def __init__(self, real: Callable[..., Any], error: BaseException) -> None:
        self._real, self._error = real, error
        self.armed = self.raised = False

    def __get__(self, instance: Any, _: type | None = None) -> Callable[..., Any]:
        return lambda *args, **kwargs: self(instance, *args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.armed and not self.raised and threading.current_thread().name == "journal":
            self.raised = True
            raise self._error
        return self._real(*args, **kwargs)


@pytest.mark.parametrize("error", [OSError(5, "x"), RustPanic()])
@pytest.mark.parametrize("call", CALLS)
def test_an_error_at_any_call_inside_the_loop_loses_nothing(
    folder: Path, log: SqlStore, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
    monkeypatch.setattr(supervised_thread, "_listeners", failed := [])
    monkeypatch.setattr(journal_mover, "SCAN_SECONDS", 0.01)
    owner, name = CALLS[call]
    once = Once(getattr(owner, name), error)
    monkeypatch.setattr(owner, name, once)
    threads: list[str] = []
    failed.append(threads.append)
    mine = Journal(folder)
    with capture_logs() as lines:
        mover = JournalMover(log, mine, folder)
        mine.write([line(1)])
        assert mover.settle(60)
        once.armed = True
        if call == "ping":  # which is called after a failure only
            mover.report_failure(StoreError("seen elsewhere"))
        mine.write([line(2)])
        mover.notify()
        wait_until(lambda: once.raised)
        wait_until(lambda: not mover.failure and mover.settle(1))
        mine.write([line(3)])
        wait_until(lambda: not mover.failure and mover.settle(1))
        assert mover.close(60)
    mine.close()
    assert ids(log) == [f"id{n:06}" for n in (1, 2, 3)]
    assert threads == ["journal"] * len([e for e in lines if e["event"] == "thread failed"])
    assert [e for e in lines if e["log_level"] == "error"], "nobody is told"
