"""Compared methods: driftbell's alarm, always and a coin; the peers are in `alarm.processes`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

import driftbell
from alarm.scenarios import LABEL, Run
from driftbell.records import PREDICTION_COLUMN

OURS, ALWAYS, COIN = "driftbell", "always", "coin, 10 %"
MODES = {"none": "without labels", "all": "with labels", "late": "with 10 % of the labels, two windows late"}
LATE_SHARE, LATE_WINDOWS = 0.1, 2
BUDGET, FALSE_ALARMS_A_CHECK = "1 per 1000 checks", 1 / 1000
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
        problem: why it failed, or "".
        unsupported: why it does not support such data, or "".
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
    unsupported: str = ""


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
        [in_units(record.interval, run.error_unit) for record in records],
        a_check * 1000,
        max(first - a_check, 0.0),
    )


def in_units(interval: tuple[float, float] | None, unit: float) -> tuple[float, float] | None:
    """Return an interval of the error in units of `Run.loss`."""
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
