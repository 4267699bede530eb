"""One server at a time: started, asked once, loaded, counted, stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serve.load import Found, check, in_session, load, memory_mb, wait_until_idle
from serve.targets import SERVE, TARGETS, Row, Target, bodies, fit_forest, free_port, python_for

ENOUGH, LONGEST = 10, 60.0
"""A phase with fewer answers a connection is made anew, longer, up to so many seconds: ends cut some off."""
BENCH = Path(__file__).parent.parent
START_SECONDS, STOP_SECONDS, FOLD_SECONDS, UNMOVED_SECONDS = 90, 40, 120, 10
QUIET = {"DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "True", "OMP_NUM_THREADS": "1"}


class NotMeasuredError(Exception):
    """A server cannot be had, or does not start; the words say why."""


@dataclass
class Outcome:
    """What one target did in one round.

    Attributes:
        target: its name.
        start_s: from its process's start to the first 200.
        idle_mb: resident memory before the load.
        memory_mb: the same after the load.
        phases: what came back, by connections, and with " + checks" where checks ran.
        answered: answers in all, as the client counted them.
        logged: rows in the log once it has taken all; None where they need not be there.
        fold_s: how long after the load the log had them all.
    """

    target: str
    start_s: float = 0.0
    idle_mb: float = 0.0
    memory_mb: float = 0.0
    phases: dict[str, Found] = field(default_factory=dict)
    answered: int = 0
    logged: int | None = None
    fold_s: float = 0.0


@dataclass(frozen=True)
class Plan:
    """How it is measured: seconds a phase, connections, and how many of them send while checks run."""

    seconds: float
    connections: Sequence[int]
    check_connections: Sequence[int]


class Stand:
    """The place of a whole run: its folder, the forests, a data folder whose model is cached."""

    def __init__(self, folder: Path, pythons: Sequence[str], rows: Sequence[Row]) -> None:
        self._folder, self._pythons, self._rows = folder, pythons, rows
        self._forests: dict[str, dict[str, str]] = {}
        self._template: Path | None = None

    def measure(self, target: Target, plan: Plan) -> Outcome:
        """Start a target, load it over each number of connections, and stop it.

        Raises:
            NotMeasuredError: it cannot be started.
        """
        folder = self._folder / "served"
        with contextlib.ExitStack() as stack:
            self._lay(target, folder)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            start = time.monotonic()
            pid, address = stack.enter_context(self._started(target, folder))
            outcome = Outcome(target.name, start_s=time.monotonic() - start)
            wait_until_idle(pid)
            outcome.idle_mb = memory_mb(pid)
            sent = folder / "bodies"
            sent.write_text("\n".join(bodies(target, self._rows)), encoding="utf-8")
            ask(target, address, sent)
            outcome.answered = 1
            loading = Loading(outcome, target, address, sent, pid)
            loading.one(connections=16, seconds=1)  # warms it up
            loading.all(plan)
            outcome.memory_mb = memory_mb(pid)
            if target.logs:
                over = time.monotonic()
                outcome.logged = rows_in(folder, at_least=outcome.answered)
                outcome.fold_s = time.monotonic() - over
        return outcome

    def _lay(self, target: Target, folder: Path) -> None:
        if target.ours:
            shutil.copytree(self._prepared(), folder)
        else:
            folder.mkdir()

    def _prepared(self) -> Path:
        """Give a data folder in which driftbell has started once, so that its model is there."""
        if self._template is None:
            self._template = self._folder / "template"
            self._template.mkdir()
            ours = next(t for t in TARGETS if t.name == SERVE)
            with self._started(ours, self._template):
                pass
        return self._template

    @contextlib.contextmanager
    def _started(self, target: Target, folder: Path) -> Iterator[tuple[int, str]]:
        """Start a target and wait until it serves; give its process and its address."""
        python = python_for(target, self._pythons)
        if python is None:
            raise NotMeasuredError(f"pip install {target.install}")
        port = free_port()
        environment = self._environment(target, python, folder, port)
        command = [python, "-W", "ignore", *target.command(port, folder)]
        with (folder / "out").open("wb") as out:
            process = subprocess.Popen(
                command, cwd=BENCH, env=environment, stdout=out, stderr=out, start_new_session=True
            )
        address = f"http://127.0.0.1:{port}"
        try:
            wait_until_ready(target, process, address, folder)
            yield process.pid, address
        finally:
            stop(process)

    def _environment(self, target: Target, python: str, folder: Path, port: int) -> Mapping[str, str]:
        found = {k: v for k, v in os.environ.items() if not k.startswith("DRIFTBELL_")}
        found |= target.environment
        if target.ours:
            own = {"DATA_DIR": str(folder), "SERVER__PORT": str(port), "CHECK__EVERY": "off"}
            return found | {f"DRIFTBELL_{key}": value for key, value in own.items()}
        if "sklearn" in target.needs or "mlserver" in target.needs:
            if python not in self._forests:
                self._forests[python] = fit_forest(
                    python, self._folder / f"forest{len(self._forests)}.joblib"
                )
            found |= self._forests[python]
        return found | QUIET | {"PYTHONPATH": str(BENCH), "BENTOML_HOME": str(self._folder / "bentoml")}


@dataclass(frozen=True)
class Loading:
    """The load on one server; what came back goes into its outcome."""

    outcome: Outcome
    target: Target
    address: str
    sent: Path
    pid: int

    def all(self, plan: Plan) -> None:
        """Load it over each number of connections, then again while checks run, where it has any."""
        for number in plan.connections:
            self._phase(str(number), number, plan.seconds)
        if self.target.trigger and plan.check_connections:
            trigger = self.address + self.target.trigger
            check(trigger)  # what a check needs is loaded once
            wait_until_idle(self.pid)
            for number in plan.check_connections:
                self._phase(f"{number} again", number, plan.seconds)
                self._phase(f"{number} + checks", number, plan.seconds, trigger)

    def _phase(self, name: str, connections: int, seconds: float, trigger: str = "") -> None:
        found = self.one(connections, seconds, trigger)
        if found.requests < ENOUGH * connections:
            longer = seconds * ENOUGH * connections / max(found.requests, 1)
            found = self.one(connections, min(longer, LONGEST), trigger)
        self.outcome.phases[name] = found

    def one(self, connections: int, seconds: float, trigger: str = "") -> Found:
        """Load it once."""
        url = self.address + self.target.path
        found = load(url, self.sent, self.pid, connections=connections, seconds=seconds, trigger=trigger)
        self.outcome.answered += found.requests - found.errors
        return found


def ask(target: Target, address: str, sent: Path) -> None:
    """Send the first row and look at the answer.

    Raises:
        NotMeasuredError: it is not the right one.
    """
    body = sent.read_bytes().splitlines()[0]
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address + target.path, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        said = answer.read().decode().replace(": ", ":").replace(", ", ",")
    if target.expects not in said:
        raise NotMeasuredError(f"it answers {said[:200]}")


def wait_until_ready(target: Target, process: subprocess.Popen[bytes], address: str, folder: Path) -> None:
    """Wait for the first 200.

    Raises:
        NotMeasuredError: it ended, or takes too long; with its last words.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            words = (folder / "out").read_text(errors="replace").strip()[-300:]
            raise NotMeasuredError(f"it does not start: {words}")
        with contextlib.suppress(OSError), urllib.request.urlopen(address + target.ready, timeout=2) as found:
            if found.status == 200:
                return
        time.sleep(0.01)
    raise NotMeasuredError(f"it is not ready after {START_SECONDS} s")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server with all that it has started: it leads a session of its own."""
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    for pid in in_session(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def rows_in(folder: Path, *, at_least: int) -> int:
    """Count the predictions in the log once there are enough, or none has come for some seconds."""
    deadline, count, moved = time.monotonic() + FOLD_SECONDS, -1, time.monotonic()
    while count < at_least and time.monotonic() < min(deadline, moved + UNMOVED_SECONDS):
        time.sleep(0.1)
        with contextlib.closing(sqlite3.connect(folder / "log.sqlite", timeout=30)) as log:
            now = int(log.execute("SELECT count(*) FROM predictions").fetchone()[0])
        if now != count:
            count, moved = now, time.monotonic()
    return count
