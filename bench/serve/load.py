"""Load by `wrk`, and what a server uses meanwhile, as Linux tells it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).parent / "wrk.lua"
TICK = os.sysconf("SC_CLK_TCK")
LONGEST_ANSWER = 30
"""Seconds that wrk waits for one answer; slow servers are slow, not wrong."""


@dataclass(frozen=True)
class Found:
    """What came back in one phase.

    Attributes:
        requests: how many answers were complete.
        seconds: how long it took.
        p50: milliseconds; likewise `p99` and `p999`.
        errors: answers other than 200, broken connections, and answers that did not come.
        cpu_us: time of the processor that the server's processes took for one answer, in microseconds.
        checks: how many checks ran meanwhile, the last one to its end after the load.
    """

    requests: int
    seconds: float
    p50: float
    p99: float
    p999: float
    errors: int
    cpu_us: float = 0.0
    checks: int = 0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds


def wrk() -> str | None:
    """Tell where wrk is."""
    return shutil.which("wrk")


def load(url: str, bodies: Path, pid: int, *, connections: int, seconds: float, trigger: str = "") -> Found:
    """Send for some seconds over some connections; with a trigger's URL one check follows the other."""
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds:.0f}s"]
    command += ["--timeout", f"{LONGEST_ANSWER}s", "--script", str(SCRIPT), url, str(bodies)]
    before = cpu_seconds(pid)
    with checking(trigger) as checks:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + 2 * LONGEST_ANSWER, check=True
        )
        spent = cpu_seconds(pid) - before
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Found(**found, cpu_us=spent / max(found["requests"], 1) * 1e6, checks=len(checks))


@contextmanager
def checking(url: str) -> Iterator[list[float]]:
    """Ask for check after check, in a thread, as long as the block runs; give how long each one took."""
    took: list[float] = []
    problems: list[Exception] = []
    over = threading.Event()

    def ask() -> None:
        while url and not over.is_set():
            try:
                took.append(check(url))
            except OSError as error:
                problems.append(error)
                return

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield took
    finally:
        over.set()
        asking.join()
    if problems:
        raise problems[0]


def check(url: str) -> float:
    """Ask for one check and wait for it; give how many seconds it took."""
    start = time.monotonic()
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=120) as answer:
        answer.read()
    return time.monotonic() - start


def tree(pid: int) -> list[int]:
    """Give a process and all below it."""
    children: dict[int, list[int]] = {}
    for each, stat in _stats():
        children.setdefault(int(stat[1]), []).append(each)
    found = [pid]
    for known in found:  # it grows meanwhile
        found += children.get(known, [])
    return found


def in_session(leader: int) -> list[int]:
    """Give every process of a session, the orphans too."""
    return [pid for pid, stat in _stats() if int(stat[3]) == leader]


def _stats() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            yield int(entry.name), stat


def _stat(pid: int) -> list[str]:
    """Read `/proc/PID/stat` from the state on; nothing where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu_seconds(pid: int) -> float:
    """Give the time of the processor that a tree of processes has taken, its dead children's too."""
    stats = [_stat(p) for p in tree(pid)]
    return sum(float(ticks) for stat in stats for ticks in stat[11:15]) / TICK


def memory_mb(pid: int) -> float:
    """Give the resident memory of a tree of processes in 10⁶ bytes; what several share counts once (PSS)."""
    pids = tree(pid)
    kind, total = "Rss:" if len(pids) == 1 else "Pss:", 0
    for each in pids:
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith(kind))
    return total * 1024 / 1e6


def wait_until_idle(pid: int, seconds: float = 15.0) -> None:
    """Wait until a tree of processes has done nothing for half a second, at most some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = cpu_seconds(pid)
        time.sleep(0.5)
        if cpu_seconds(pid) - before < 0.05:
            return
