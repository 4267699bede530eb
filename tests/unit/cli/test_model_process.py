"""A model that ends or blocks the process that loads it is reported with an exit code that is not 0."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

CODE = """
import ctypes, os, signal, sys, threading, time

def crashes(table): os.kill(os.getpid(), signal.SIGSEGV)
def killed(table): os.kill(os.getpid(), signal.SIGKILL)
def leaves(table): os._exit(0)

def prints(table):
    print("hello")
    return [0.5] * len(table)

def threaded(table):
    threading.Thread(target=threading.Event().wait).start()
    return [0.5] * len(table)

def blocks(table):
    print("blocking", flush=True)
    ctypes.PyDLL(None).pause()  # native code that never returns, and lets no other thread run
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems run it in the same process")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wild.py").write_text(CODE)
    pd.DataFrame({"age": [*range(20)] * 2, "left": [0, 1] * 20}).to_csv(tmp_path / "past.csv", index=False)
    return tmp_path


def command(name: str, *more: str) -> list[str]:
    options = ["--reference", "past.csv", "--classes", "no,yes", *more]
    return [sys.executable, "-m", "driftbell", "init", f"wild:{name}", *options]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "crashes",
            "driftbell: the library of the model wild:crashes ended the process with SIGSEGV: the file",
        ),
        (
            "killed",
            "driftbell: the process that loaded the model wild:killed was killed, probably because the",
        ),
        (
            "leaves",
            "driftbell: the model wild:leaves ended the process that loaded it with exit code 0: remove",
        ),
    ],
)
def test_the_end_of_the_process_is_reported(name: str, problem: str, folder: Path) -> None:
    result = subprocess.run(command(name), cwd=folder, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2
    assert result.stderr.startswith(problem)
    assert len(result.stderr.splitlines()) == 1
    assert sorted(p.name for p in folder.iterdir() if p.suffix in (".toml", ".json")) == []


def test_prints_of_a_model_are_no_result(folder: Path) -> None:
    result = subprocess.run(
        command("prints", "--json"), cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["name"] == "wild"
    assert "hello" in result.stderr


def test_a_thread_that_never_ends_does_not_keep_the_command_from_ending(folder: Path) -> None:
    result = subprocess.run(command("threaded"), cwd=folder, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert (folder / "driftbell.toml").exists()


def test_native_code_that_never_returns_is_interrupted(folder: Path) -> None:
    process = subprocess.Popen(command("blocks"), cwd=folder, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "blocking\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 128 + signal.SIGINT
    process.stderr.close()
