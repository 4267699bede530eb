"""Compared methods: driftbell's alarm, peers in the Pythons that have them, always and a coin."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import driftbell
from alarm.fitted import Table
from alarm.peers import peers_of
from alarm.scenarios import LABEL, Run
from driftbell.records import PREDICTION_COLUMN

OURS, ALWAYS, COIN = "driftbell", "always", "coin, 10 %"
MODES = {"none": "without labels", "all": "with labels", "late": "with 10 % of the labels, two windows late"}
LATE_SHARE, LATE_WINDOWS = 0.1, 2
CANNOT_TELL = "annot tell whether"
"""Words of a sentence without an answer to whether the model performs worse."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of one method on one run.

    Attributes:
        method: its name.
        mode: which labels it saw: one of `MODES`.
        alarms: 1 for every window with an alarm, else 0.
        scores: its evidence window by window, the more the worse.
        unknown: 1 for every window in which it says that it cannot tell, else 0; none without that answer.
        intervals: lower and upper end of the 90 % interval of the loss, in units of `Run.loss`, window by
            window; None where it states none.
        cpu_ms: time of the processor a check.
        fit_s: time of the processor before the first check.
        problem: why there is nothing, or "".
    """

    method: str
    mode: str
    alarms: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    intervals: list[tuple[float, float] | None] = field(default_factory=list)
    cpu_ms: float = 0.0
    fit_s: float = 0.0
    problem: str = ""


def known(run: Run, mode: str) -> NDArray[np.bool_]:
    """Return which rows of the stream get a label."""
    rows = len(run.stream[PREDICTION_COLUMN])
    share = {"none": 0.0, "all": 1.0, "late": LATE_SHARE}[mode]
    labelled = np.random.default_rng([run.seed, 7]).random(rows) < share
    labelled[run.always_labelled] = True
    return labelled


def ours(run: Run, mode: str, budget: str, every: timedelta | None = None) -> Outcome:
    """Run a backtest with driftbell."""
    labelled = known(run, mode)
    reference, stream, options = run.replay(labels=bool(labelled.any()))
    if labelled.any():
        stream = {**stream, LABEL: _hidden(stream[LABEL], labelled)}
    start = time.process_time()
    checks = iter(
        driftbell.backtest(
            reference,
            stream,
            budget=budget,
            every=every,
            window_rows=run.window_rows,
            label_delay=LATE_WINDOWS if mode == "late" else 0,
            seed=run.seed,
            **options,
        )
    )
    records = [next(checks)]
    first = time.process_time() - start
    records += checks
    rest = time.process_time() - start - first
    a_check = rest / max(len(records) - 1, 1)
    return Outcome(
        OURS,
        mode,
        [int(record.verdict == "alarm") for record in records],
        [float(record.score) for record in records],
        [int(record.verdict != "alarm" and CANNOT_TELL in record.sentence) for record in records],
        [_in_units(record.interval, run.error_unit) for record in records],
        a_check * 1000,
        max(first - a_check, 0.0),
    )


def _in_units(interval: tuple[float, float] | None, unit: float) -> tuple[float, float] | None:
    return None if interval is None else (interval[0] / unit, interval[1] / unit)


def _hidden(label: NDArray[Any], labelled: NDArray[np.bool_]) -> NDArray[Any]:
    if label.dtype == np.float64:
        return np.where(labelled, label, np.nan)
    hidden = label.copy()
    hidden[~labelled] = None
    return hidden


def controls(run: Run, mode: str) -> list[Outcome]:
    """Return the controls: always an alarm, and alarms by chance."""
    coin = np.random.default_rng([run.seed, 11, len(run.name)]).random(run.windows)
    always = Outcome(ALWAYS, mode, [1] * run.windows, [1.0] * run.windows)
    return [always, Outcome(COIN, mode, (coin < 0.1).astype(int).tolist(), (1 - coin).tolist())]


class Peers:
    """The peers, each in the first Python that has it."""

    def __init__(self, pythons: list[str]) -> None:
        here = Path(__file__).parent.parent
        quiet = {"NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
        self.workers = [
            subprocess.Popen(
                [python, "-W", "ignore", "-m", "alarm.peers"],
                cwd=here,
                env={**os.environ, **quiet, "PYTHONPATH": str(here)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            for python in pythons
        ]

    def ask(self, run: Run, mode: str, windows: int | None = None) -> Iterator[Outcome]:
        """Return the outcome of every peer that supports a mode."""
        task = task_of(run, mode, windows)
        missing = dict.fromkeys(task["peers"], "not installed")
        for worker in self.workers:
            if missing:
                for answer in _answered(worker, {**task, "peers": list(missing)}):
                    if answer.get("problem") != "not installed":
                        del missing[answer["method"]]
                        yield Outcome(mode=mode, **answer)
        for peer, problem in missing.items():
            yield Outcome(peer, mode, problem=problem)

    def close(self) -> None:
        """Stop the workers."""
        for worker in self.workers:
            if worker.stdin:
                worker.stdin.close()
            worker.wait()
            if worker.stdout:
                worker.stdout.close()


def _answered(worker: subprocess.Popen[bytes], task: dict[str, Any]) -> list[dict[str, Any]]:
    if worker.stdin is None or worker.stdout is None:
        raise RuntimeError("the worker has no pipes")
    pickle.dump(task, worker.stdin, protocol=4)
    worker.stdin.flush()
    result: list[dict[str, Any]] = json.loads(worker.stdout.readline())
    return result


def task_of(run: Run, mode: str, windows: int | None = None) -> dict[str, Any]:
    """Return a run as a task for a peer, without its truth."""

    def plain(table: Table) -> Table:
        return {name: column for name, column in table.items() if name != run.timestamp}

    return {
        "reference": plain(run.reference),
        "stream": plain(run.stream),
        "features": list(run.features),
        "prediction": PREDICTION_COLUMN,
        "probabilities": run.probabilities,
        "label": LABEL,
        "window": run.window_rows,
        "windows": min(windows or run.windows, run.windows),
        "mode": mode,
        "known": known(run, mode) if mode in MODES else np.empty(0, dtype=bool),
        "delay": LATE_WINDOWS if mode == "late" else 0,
        "peers": list(peers_of(mode)),
    }
