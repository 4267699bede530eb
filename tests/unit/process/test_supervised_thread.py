"""A thread that is started again when its loop fails."""

from __future__ import annotations

import threading

import pytest
from structlog.testing import capture_logs

from driftbell.process import supervised_thread
from driftbell.process.supervised_thread import SupervisedThread, on_failure


def test_a_failing_loop_is_started_again_logged_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised_thread, "_listeners", [])
    failed: list[str] = []
    on_failure(failed.append)
    runs = 0

    def loop() -> None:
        nonlocal runs
        runs += 1
        if runs < 4:
            raise ValueError("secret")

    with capture_logs() as lines:
        thread = SupervisedThread(loop, name="mover", first_pause=0.001).start()
        thread.join(20)
    assert not thread.is_alive()
    assert runs == 4
    assert failed == ["mover"] * 3
    assert [(line["event"], line["thread"], line["log_level"]) for line in lines] == [
        ("thread failed", "mover", "error")
    ] * 3
    assert [line["restart_in_s"] for line in lines] == [0.001, 0.002, 0.004]


def test_a_failing_listener_does_not_end_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised_thread, "_listeners", [lambda name: 1 / 0])
    done, runs = threading.Event(), 0

    def loop() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise OSError
        done.set()

    SupervisedThread(loop, name="x", first_pause=0.001).start()
    assert done.wait(20)
