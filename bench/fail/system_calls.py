"""Faults of real system calls: `strace` makes a call of a running service fail, or kills it at the call."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from tests import postgres, processes
from tests.conftest import EXAMPLE, Running, ready, wait_until, with_models
from tests.ports import free_port

from fail.kills import Store

SMALL_FILES = (
    "from driftbell.journal import file; file.ROTATED_BYTES = 1000; from driftbell.cli import main; main()"
)
"""A service that starts a new journal file after a few lines, so that it renames and removes files."""

SQLITE_CALLS: dict[str, tuple[str, ...]] = {
    "write": ("EIO", "ENOSPC", "EINTR"),
    "pwrite64": ("EIO", "ENOSPC"),
    "pread64": ("EIO",),
    "fdatasync": ("EIO",),
    "fsync": ("EIO",),
    "ftruncate": ("EIO", "EINTR"),
    "openat": ("EMFILE", "EIO", "ENOSPC"),
    "rename": ("EIO", "ENOSPC"),
    "unlink": ("EIO",),
    "flock": ("EINTR", "ENOLCK"),
    "fcntl": ("EIO", "ENOLCK"),
    "newfstatat": ("EIO",),
}
"""Errors by system call. Python and SQLite repeat most calls that a signal interrupts."""

POSTGRES_CALLS: dict[str, tuple[str, ...]] = {
    "connect": ("ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "EINTR"),
    "socket": ("EMFILE",),
    "sendto": ("ECONNRESET", "EPIPE"),
    "recvfrom": ("ECONNRESET", "ETIMEDOUT"),
}

KILL = "SIGKILL"
NAMED = ("write", "pwrite64", "pread64", "ftruncate", "fcntl", "newfstatat", "fdatasync", "fsync")
"""Calls that other parts of the process make too: only those for files of the write path fail."""

REQUESTS = 12
PAUSE_SECONDS = 0.03
HEALTHY_SECONDS = 30


@dataclass
class Sweep:
    """Result of all faults of one system call.

    Attributes:
        call: its name.
        struck: number of faults that struck, by effect.
        statuses: answers by status; 0 for broken connections.
        answered: ids of all answers with 200.
        problems: what must not be, such as a service that did not recover.
    """

    call: str
    struck: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    answered: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def missing() -> str:
    """Return why no system call can be made to fail; "" if they can."""
    if shutil.which("strace") is None:
        return "no strace (Debian's package strace)"
    trace = ["strace", "-qq", "-e", "trace=none", "-e", "inject=getppid:error=EIO", "true"]
    done = subprocess.run(trace, capture_output=True, text=True)
    return "" if done.returncode == 0 else f"strace cannot trace here: {done.stderr.strip()[:100]}"


def sweeps(
    folder: Path, server: postgres.Server | None, numbers: int, chosen: tuple[str, ...] = ()
) -> Iterator[tuple[Sweep, int, int]]:
    """Make each call of the write path fail, the first one after a moment, the second, and so on.

    Args:
        folder: for data.
        server: a PostgreSQL; None for SQLite.
        numbers: how many numbers of each call are tried.
        chosen: calls; all if empty.

    Yields:
        For each call the result, and the lost and the doubled predictions.
    """
    store = Store(folder, server)
    calls = POSTGRES_CALLS if server else SQLITE_CALLS
    service = _Service(folder / "data", dict(store.settings))
    try:
        for call in chosen or calls:
            sweep = Sweep(call)
            for effect in (*calls[call], KILL):
                for number in range(1, numbers + 1):
                    if not _strike(service, sweep, store, effect, number):
                        break
            service.settle()
            ids = store.ids()
            yield sweep, len(set(sweep.answered) - set(ids)), len(ids) - len(set(ids))
    finally:
        service.end()


class _Service:
    """A service that is started again when it has ended."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder = with_models(folder)
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith("DRIFTBELL_")}
        named = {
            **settings,
            "DATA_DIR": str(folder),
            "CHECK__EVERY": "off",
            "REPORTS__EVIDENTLY": "off",
            "SERVER__ACCESS_LOG": "false",
        }
        self._environment |= {f"DRIFTBELL_{name}": value for name, value in named.items()}
        self._starts = 0
        self.running = self._start()

    def _start(self) -> Running:
        port, self._starts = free_port(), self._starts + 1
        output = self.folder / f"service{self._starts}.out"
        with output.open("wb") as out:
            process = processes.start(
                [sys.executable, "-c", SMALL_FILES, "serve", "--port", str(port)],
                env=self._environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        running = Running(process, f"http://127.0.0.1:{port}", self.folder, output)
        try:
            wait_until(lambda: ready(running), 60, "the service")
        except AssertionError:
            running.kill_tree()
            raise
        return running

    def has_ended(self) -> bool:
        return self.running.process.poll() is not None

    def restart(self) -> None:
        self.end()
        self.running = self._start()

    def settle(self) -> None:
        """Wait until the journal is empty."""
        wait_until(lambda: self.running.metric("driftbell_log_queue") == 0, 60, "an empty journal")

    def end(self) -> None:
        if not self.has_ended():
            self.running.stop()


def _strike(service: _Service, sweep: Sweep, store: Store, effect: str, number: int) -> bool:
    """Let one call of a service under load fail; return whether it was made so often."""
    what = f"{sweep.call} {effect} at call {number}"
    name = effect if effect == KILL else f"error={effect}"
    inject = f"inject={sweep.call}:{'signal=' if effect == KILL else ''}{name}:when={number}"
    with _traced(service.running, sweep.call, inject, _paths(service, sweep.call)) as has_struck:
        if store.server:  # so that the service connects again
            store.server.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'driftbell'"
            )
        for _ in range(REQUESTS):
            _send(service.running, sweep)
            time.sleep(PAUSE_SECONDS)
            if has_struck():
                break
        struck = has_struck()
    if struck:
        sweep.struck[effect] += 1
        if effect == KILL:
            service.running.process.wait(20)
    if service.has_ended():
        if effect != KILL:
            sweep.problems.append(f"{what}: the service ended")
        service.restart()
    try:
        wait_until(lambda: ready(service.running), HEALTHY_SECONDS, "a healthy service")
    except AssertionError:
        sweep.problems.append(f"{what}: not healthy {HEALTHY_SECONDS} s later")
        service.restart()
    return bool(struck)


def _paths(service: _Service, call: str) -> list[Path]:
    """Return the files that a call is made for; none if it fails for every file."""
    if call not in NAMED:
        return []
    data = service.folder
    return [
        data / "journal",
        *data.glob("journal/*"),
        *(data / f"log.sqlite{end}" for end in ("", "-wal", "-shm")),
    ]


@contextlib.contextmanager
def _traced(running: Running, call: str, inject: str, paths: list[Path]) -> Iterator[Any]:
    """Attach `strace` to a service; yields a function that returns whether the fault has struck."""
    trace = running.data_dir / "trace"
    trace.write_text("")
    command = ["strace", "-f", "-p", str(running.process.pid), "-o", str(trace)]
    command += ["-e", f"trace={call}", "-e", inject]
    command += [part for path in paths for part in ("-P", str(path))]
    process = processes.start(command, stderr=subprocess.PIPE)
    assert process.stderr
    for line in process.stderr:
        if b"attached" in line:
            break

    def has_struck() -> bool:
        text = trace.read_text("utf-8", "replace")
        return "(INJECTED)" in text or "SIGKILL" in text

    try:
        yield has_struck
    finally:
        if has_struck() and KILL in inject:
            process.kill()  # it would wait for threads of the dead process
        else:
            process.send_signal(signal.SIGINT)
        process.stderr.close()
        process.wait(20)


def _send(running: Running, sweep: Sweep) -> None:
    """Send a row and a batch; keep the ids of what was answered."""
    for path, body in (("/predict", EXAMPLE), ("/predict/batch", [EXAMPLE] * 4)):
        try:
            answer = httpx.post(f"{running.url}{path}", json=body, timeout=20)
        except httpx.HTTPError:
            sweep.statuses[0] += 1
            continue
        sweep.statuses[answer.status_code] += 1
        if answer.status_code == 200:
            found = answer.json()
            sweep.answered += [p["id"] for p in found.get("predictions", [found])]
        elif answer.status_code != 503:
            sweep.problems.append(f"{sweep.call}: {answer.status_code} {answer.text[:200]}")
