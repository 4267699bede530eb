"""A test run that is killed leaves no server behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests import postgres
from tests.conftest import alive, wait_until

ROOT = Path(__file__).parents[2]
SLEEP = """
from tests import processes
child = processes.start(["sleep", "600"])
print(child.pid, flush=True)
child.wait()
"""
POSTGRES = """
from tests import postgres
server = postgres.Server(*postgres.FAST)
print(server.process.pid, server.folder, flush=True)
server.process.wait()
"""


@pytest.mark.parametrize(
    "code", [SLEEP, pytest.param(POSTGRES, marks=pytest.mark.postgres)], ids=["sleep", "PostgreSQL"]
)
def test_a_child_ends_with_its_killed_parent(code: str) -> None:
    if code == POSTGRES:
        postgres.required()
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    pid, *folders = parent.stdout.readline().decode().split()
    child = int(pid)
    parent.kill()
    parent.wait(10)
    parent.stdout.close()
    try:
        wait_until(lambda: not alive(child), 60, "the end of the child")
    finally:
        if alive(child):
            os.kill(child, signal.SIGKILL)
        for folder in folders:  # a killed process removes none
            shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_test_run_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "1",
        "-p",
        "no:cacheprovider",
        "tests/repository/hanging.py",
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "TEST_"))}
    run = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment | {"HANGING": str(tmp_path / "pids"), "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until((tmp_path / "pids").exists, 60, "the test")
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        run.send_signal(number)
        run.wait(60)
        wait_until(lambda: not any(alive(pid) for pid in pids), 60, "the end of the worker and its child")
    finally:
        run.kill()
        run.wait()
