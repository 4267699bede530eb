"""Starts and stops under load: every service ends in time, with code 0, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
from tests import processes
from tests.conftest import descendants, wait_until, with_models
from tests.failing import Load

from driftbell.data_folder import require_unused
from driftbell.errors import ConfigError
from driftbell.wiring.server import METRICS_PREFIX
from fail.kills import Records

SETTINGS = {
    "REPORTS__EVIDENTLY": "off",
    "REPORTS__KEEP": "5",
    "ALARMS__BUDGET": "1 per 200 checks",
    "CHECK__EVERY": "2s",
}
COMMANDS = (("serve",), ("serve", "--workers", "2"), ("monitor",), ("up",), ("up", "--workers", "2"))
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STOP_SECONDS = 10.0
START_SECONDS = 3.0
"""Starts are interrupted within this time, from the first millisecond."""

REMAINS_SECONDS = 3.0
"""Processes that watch their parent have so long to notice its end."""


@dataclass
class Cycles(Records):
    """The outcomes of starts and stops.

    Attributes:
        stops: how many, by command and by what was signalled.
        seconds: from each signal to the end of the process.
        early: processes that were signalled before their own code ran, which Python ends by the signal.
        problems: one sentence for each that did not end as it should.
        slow: one sentence for each that took too long.
    """

    stops: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    early: int = 0
    problems: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)


def cycles(number: int, folder: Path, chance: random.Random, *, side_by_side: int = 2) -> Cycles:
    """Start and stop services so many times, some side by side, each on a folder and port of its own."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background; children inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    outcome = Cycles()
    seeds = [chance.random() for _ in range(side_by_side)]
    remaining = iter(range(number))
    turns = threading.Lock()

    def next_turn() -> int | None:
        with turns:
            return next(remaining, None)

    def run(lane: int) -> None:
        own = folder / f"lane{lane}"
        own.mkdir()
        try:
            _Lane(own, random.Random(seeds[lane]), outcome).run(iter(next_turn, None))
        except Exception as error:  # noqa: BLE001 - a thread's error is a result too
            outcome.problems.append(f"lane {lane}: {error!r}")

    threads = [threading.Thread(target=run, args=(lane,)) for lane in range(side_by_side)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcome


class _Lane:
    """Services on one data folder and one port, one after the other."""

    def __init__(self, folder: Path, chance: random.Random, outcome: Cycles) -> None:
        self._folder = with_models(folder)
        self._chance = chance
        self._outcome = outcome
        self._port = _free_port()
        self._url = f"http://127.0.0.1:{self._port}"
        clean = {k: v for k, v in os.environ.items() if not k.startswith("DRIFTBELL_")}
        own = {**SETTINGS, "DATA_DIR": str(folder), "SERVER__PORT": str(self._port)}
        self._environment = clean | {f"DRIFTBELL_{k}": v for k, v in own.items()}

    def run(self, turns: Iterator[int]) -> None:
        """Start and stop under load, and count what is in the log at the end."""
        with Load(self._url, clients=2, pause=0.02) as load:
            for _ in turns:
                self._cycle()
        command = ("serve",)
        with self._started(command) as process:
            wait_until(self._is_ready, 60, "a service after the last stop")
            with contextlib.suppress(AssertionError):  # which is what is counted
                wait_until(lambda: set(load.answered) <= set(self._ids()), 60, "the log")
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)
        logged = set(self._ids())
        if lost := [name for name in load.answered if name not in logged]:
            times = [datetime.fromtimestamp(int(name[:12], 16) / 1000, UTC).isoformat() for name in lost]
            self._outcome.problems.append(f"{self._folder}: lost {list(zip(lost, times, strict=True))[:20]}")
        self._outcome.answered += load.answered
        self._outcome.logged += self._ids()

    def _cycle(self) -> None:
        command = self._chance.choice(COMMANDS)
        number = self._chance.choice(STOP_SIGNALS)
        target = self._chance.choice(("process", "process", "process", "tree", "twice"))
        is_early = self._chance.random() < 0.6 or command == ("monitor",)
        with self._started(command) as process:
            if is_early:
                time.sleep(self._chance.uniform(0.0, START_SECONDS))
            else:
                with contextlib.suppress(AssertionError):
                    wait_until(self._is_ready, 60, "the service")
                time.sleep(self._chance.uniform(0.0, 1.0))
            if process.poll() is not None:
                self._report(command, "before a signal", f"ended with {process.returncode}")
                return
            begun = _catches(process.pid, signal.SIGTERM)
            self._outcome.early += not begun
            below = descendants(process.pid) if target == "tree" else []
            moment = time.monotonic()
            process.send_signal(number)
            for pid in below:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if target == "twice":
                time.sleep(self._chance.uniform(0.0, 0.2))
                process.send_signal(self._chance.choice(STOP_SIGNALS))
            words = f"{number.name} to the {target}"
            try:
                code = process.wait(2 * STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._report(command, words, f"still runs after {2 * STOP_SECONDS:.0f} s")
                return
            seconds = time.monotonic() - moment
            self._outcome.seconds.append(seconds)
            self._outcome.stops[f"{' '.join(command)}, {target}"] += 1
            if seconds > STOP_SECONDS:
                self._outcome.slow.append(f"{' '.join(command)}, {words}: took {seconds:.1f} s")
            for problem in self._problems(process.pid, code, begun=begun, twice=target == "twice"):
                self._report(command, words, problem)

    def _problems(self, pid: int, code: int, *, begun: bool, twice: bool) -> Iterator[str]:
        by_signal = {code for number in STOP_SIGNALS for code in (128 + number, -number)}
        if begun and code and not (twice and code in by_signal):
            yield f"ended with {code}"
        deadline = time.monotonic() + REMAINS_SECONDS
        while (remains := list(self._remains())) and time.monotonic() < deadline:
            time.sleep(0.05)
        yield from remains
        for place in (Path("/dev/shm"), Path(tempfile.gettempdir())):
            if not twice and (place / f"{METRICS_PREFIX}{pid}").exists():
                yield f"left {place / METRICS_PREFIX}{pid}"

    def _remains(self) -> Iterator[str]:
        """Yield what an ended service has left."""
        if pids := _processes_of(self._folder):
            yield f"left processes: {pids}"
        try:
            socket.create_server(("127.0.0.1", self._port)).close()
        except OSError as error:
            yield f"left the port: {error}"
        try:
            with require_unused(self._folder):
                pass
        except ConfigError as error:
            yield f"left a lock: {error}"

    def _report(self, command: tuple[str, ...], words: str, problem: str) -> None:
        end = (self._folder / "output").read_text("utf-8", "replace")[-2000:]
        self._outcome.problems.append(f"{' '.join(command)}, {words}: {problem}\n{end}")

    @contextlib.contextmanager
    def _started(self, command: tuple[str, ...]) -> Iterator[subprocess.Popen[bytes]]:
        with (self._folder / "output").open("wb") as output:
            process = processes.start(
                [sys.executable, "-m", "driftbell", *command],
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                process_group=0,
            )
        try:
            yield process
        finally:
            for pid in [process.pid, *descendants(process.pid)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(10)

    def _is_ready(self) -> bool:
        return httpx.get(f"{self._url}/health", timeout=5).is_success

    def _ids(self) -> list[str]:
        with contextlib.closing(sqlite3.connect(self._folder / "log.sqlite", timeout=20)) as log:
            return [row[0] for row in log.execute("SELECT id FROM predictions")]


def _free_port() -> int:
    """Return a free port that no test takes while the service is down: its answers would count as lost."""
    for port in random.sample(range(31_000, 32_000), 1_000):
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            return port
    raise OSError("no port is free")


def _catches(pid: int, number: signal.Signals) -> bool:
    """Return whether a process has a handler of a signal."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def _processes_of(folder: Path) -> list[int]:
    """Return the processes that were started for a data folder."""
    wanted = f"DRIFTBELL_DATA_DIR={folder}\0".encode()
    pids = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in environment.read_bytes():
                pids.append(int(environment.parent.name))
    return pids
