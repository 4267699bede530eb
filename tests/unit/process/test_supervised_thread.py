"""A thread that is started again when its loop fails."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from driftbell import jsonlog
from driftbell.process import supervised_thread
from driftbell.process.supervised_thread import SupervisedThread, on_failure


@pytest.fixture
def failed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads whose loops fail."""
    names: list[str] = []
    monkeypatch.setattr(supervised_thread, "_listeners", [])
    on_failure(names.append)
    return names


def test_a_failing_loop_is_started_again_logged_and_counted(failed: list[str]) -> None:
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


class RustPanic(BaseException):
    """Stands for the panic of a library in Rust, which is no `Exception`."""


@pytest.mark.parametrize(
    "error", [ValueError, OSError, MemoryError, RecursionError, SystemExit, KeyboardInterrupt, RustPanic]
)
def test_an_error_of_any_kind_is_counted_and_logged_as_json_and_the_loop_runs_again(
    failed: list[str], error: type[BaseException], tmp_path: Path
) -> None:
    runs = 0

    def loop() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise error("a value of a customer")

    with (tmp_path / "log").open("w+") as file:
        jsonlog.configure(file)
        SupervisedThread(loop, name="mover", first_pause=0.001).start().join(20)
        file.seek(0)
        (line,) = file.read().splitlines()
    assert (runs, failed) == (2, ["mover"])
    event = json.loads(line)
    assert (event["level"], event["event"], event["thread"]) == ("ERROR", "thread failed", "mover")
    assert error.__name__ in line
    assert "customer" not in line


def test_every_loop_of_the_product_runs_in_a_supervised_thread() -> None:
    """Threads that do one thing and end may be plain ones."""
    root = Path(supervised_thread.__file__).parents[1]
    plain = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if re.search(r"\bThread\(", path.read_text("utf-8").replace("SupervisedThread(", ""))
    }
    assert plain == {
        "integrations/client.py",  # in somebody else's process
        "models/foreign_code.py",  # one call, abandoned after a time limit
        "ops/grafana.py",  # one request, abandoned after a time limit
        "process/stop_signal.py",  # one signal
        "process/supervised_thread.py",
        "publish/notify.py",  # one message, abandoned after a time limit
        "server/http/tracing.py",  # the last spans
        "wiring/monitor.py",  # one import
    }
