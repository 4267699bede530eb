"""The peers in the Pythons that have them, each Python with a process of its own."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alarm.fitted import Table
from alarm.methods import FALSE_ALARMS_A_CHECK, LATE_SHARE, LATE_WINDOWS, MODES, Outcome, in_units, known
from alarm.scenarios import LABEL, Run, limits
from driftbell.records import PREDICTION_COLUMN

HERE = Path(__file__).parent
QUIET = {"NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}


def peer_files() -> list[Path]:
    """Return the files of the compared peers."""
    return sorted(path for path in (HERE / "peers").glob("*.py") if path.stem != "__init__")


class Worker:
    """A process of one Python with the peers of some files."""

    def __init__(self, python: str, files: list[Path]) -> None:
        self.command = [python, "-W", "ignore", "-m", "alarm.worker", *(str(path) for path in files)]
        self.start()

    def start(self) -> None:
        """Start the process, and read what it has."""
        self.process = subprocess.Popen(
            self.command,
            cwd=HERE.parent,
            env={**os.environ, **QUIET, "PYTHONPATH": str(HERE.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.files: dict[str, dict[str, Any]] | None = self._line()
        if self.files is None:
            raise SystemExit(
                f"{self.command[0]} cannot run the peers: it needs Python 3.11 or later and NumPy"
            )

    def ask(self, task: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the answer of each peer; one that ends the process fails, and the next has a new process."""
        names = list(task["peers"])
        while names:
            self._send({**task, "peers": names})
            while names and (answer := self._line()) is not None:
                names.remove(answer["method"])
                yield answer
            if names:
                yield {
                    "method": names.pop(0),
                    "problem": f"the process ended with code {self.process.wait()}",
                }
                self.close()
                self.start()

    def close(self) -> None:
        """End the process."""
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def _send(self, task: dict[str, Any]) -> None:
        if self.process.stdin is None:
            raise RuntimeError("the process has no input")
        pickle.dump(task, self.process.stdin, protocol=4)
        self.process.stdin.flush()

    def _line(self) -> Any:
        line = self.process.stdout.readline() if self.process.stdout else b""
        return json.loads(line) if line else None


class Peers:
    """All peers.

    Attributes:
        modes: modes by peer, for those that can run.
        versions: version by installed package.
        missing: by file, the missing package.
        failed: by file, why it could not be loaded.
    """

    def __init__(self, pythons: list[str], files: list[Path]) -> None:
        self.modes: dict[str, list[str]] = {}
        self.versions: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self._workers = [Worker(python, files) for python in pythons]
        self._worker_of: dict[str, Worker] = {}
        for path in files if self._workers else ():
            self._place(str(path))

    def _place(self, file: str) -> None:
        """Choose the first Python that can load a file."""
        for worker in self._workers:
            description = (worker.files or {})[file]
            if "modes" in description:
                self.modes.update(description["modes"])
                self.versions.update(description["versions"])
                self._worker_of.update(dict.fromkeys(description["modes"], worker))
                self.missing.pop(file, None)
                self.failed.pop(file, None)
                return
            problems = self.missing if "missing" in description else self.failed
            problems[file] = next(iter(description.values()))

    def ask(self, run: Run, mode: str, windows: int | None = None) -> Iterator[Outcome]:
        """Return the outcome of every peer that takes part in a mode."""
        task = task_of(run, mode, windows)
        for worker in self._workers:
            names = [n for n, at in self._worker_of.items() if at is worker and mode in self.modes[n]]
            for answer in worker.ask({**task, "peers": names}):
                stated = answer.pop("intervals", [])
                intervals = [in_units(interval, run.error_unit) for interval in stated]
                yield Outcome(mode=mode, intervals=intervals, **answer)

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.close()


def task_of(run: Run, mode: str, windows: int | None = None) -> dict[str, Any]:
    """Return a run as a task for a peer, without its truth."""

    def plain(table: Table) -> Table:
        return {name: column for name, column in table.items() if name != run.timestamp}

    rows = len(run.stream[PREDICTION_COLUMN])
    share = {"all": 1.0, "late": LATE_SHARE}.get(mode, 0.0)
    return {
        "reference": plain(run.reference),
        "stream": plain(run.stream),
        "features": list(run.features),
        "prediction": PREDICTION_COLUMN,
        "probabilities": run.probabilities,
        "label": LABEL,
        "window_rows": run.window_rows,
        "labels_a_check": round(share * run.window_rows),
        "false_alarms_a_check": FALSE_ALARMS_A_CHECK,
        "tolerated_error": limits(regression=run.regression)[1] * run.error_unit,
        "windows": min(windows or run.windows, run.windows),
        "known": known(run, mode) if mode in MODES else np.zeros(rows, dtype=bool),
        "delay": LATE_WINDOWS if mode == "late" else 0,
    }
