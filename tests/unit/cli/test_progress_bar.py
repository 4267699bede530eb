"""The progress bar is on a terminal only, and is gone at the end."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from driftbell.cli import progress_bar as bar
from driftbell.progress import begin_stage, observed, track


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("may.parquet", "june.parquet"):
        pl.DataFrame({f"x{i}": rng.normal(size=100) for i in range(5)}).write_parquet(tmp_path / name)
    return tmp_path


def run(folder: Path, *options: str) -> tuple[int, str, str]:
    """Run a check whose stderr is a terminal; return its exit code, its stdout, and what the terminal got."""
    terminal, stderr = pty.openpty()
    program = "from driftbell.cli import main, progress_bar\nprogress_bar.DELAY_SECONDS = 0\nmain()\n"
    with subprocess.Popen(
        [sys.executable, "-c", program, "check", "may.parquet", "june.parquet", *options],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=stderr,
    ) as process:
        os.close(stderr)
        assert process.stdout
        output = process.stdout.read().decode()
        received = b""
        try:
            while part := os.read(terminal, 65536):
                received += part
        except OSError:  # the other end is closed
            pass
        os.close(terminal)
    return process.returncode, output, received.decode()


def test_a_terminal_shows_the_progress_and_no_trace_of_it_at_the_end(tables: Path) -> None:
    code, output, terminal = run(tables)
    assert code == 0
    assert output.startswith("OK  No drift")
    assert "\x1b" not in output
    stages = (
        "reading may.parquet",
        "reading june.parquet",
        "preparing the reference",
        "comparing the columns",
    )
    places = [terminal.index(stage) for stage in stages]
    assert places == sorted(places)
    assert "100% comparing the columns" in terminal
    assert terminal.endswith(bar.CLEAR_LINE)


def test_json_shows_no_progress(tables: Path) -> None:
    code, output, terminal = run(tables, "--json")
    assert (code, output[0], terminal) == (0, "{", "")


def test_a_pipe_shows_no_progress(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bar, "DELAY_SECONDS", 0.0)
    with bar.progress_bar():
        begin_stage("reading", 0.0, 1.0)
        assert list(track(["a", "b"])) == ["a", "b"]
    assert capsys.readouterr().err == ""


def test_an_error_removes_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    shown = threading.Event()

    def write(text: str) -> None:
        written.append(text)
        shown.set()

    def fail() -> None:
        with bar.progress_bar():
            begin_stage("reading \x1b[31mevil\n", 0.0, 1.0)
            assert shown.wait(60)  # also while the stage reports nothing
            raise ValueError("broken")

    monkeypatch.setattr(bar, "DELAY_SECONDS", 0.05)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "write", write)
    with pytest.raises(ValueError, match="broken"):
        fail()
    assert written[-1] == bar.CLEAR_LINE
    assert "\\x1b[31mevil\\n" in written[0]


def test_short_work_shows_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(bar, "DELAY_SECONDS", 3600)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "write", written.append)
    with bar.progress_bar():
        begin_stage("reading", 0.0, 1.0)
    assert not written


def test_work_without_an_observer_reports_nothing() -> None:
    with observed(lambda text, share: None):
        pass
    begin_stage("reading", 0.0, 1.0)
    assert list(track(range(3))) == [0, 1, 2]
