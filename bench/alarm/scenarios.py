"""Scenarios: a reference, a stream in time order, and the truth about it.

datasets(folder)                          -> all frames by name
scenario("sensor bias", frame, seed=3)    -> Run
reference, stream, options = run.replay() -> what driftbell.backtest takes
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alarm.changes import CHANGES, OLD_THEN_NEW, NotApplicableError, Pool, loss_of, older_fault
from alarm.data import Frame, datasets
from alarm.fitted import MODELS, Array, Fitted, Table, errors, fit
from driftbell.records import PREDICTION_COLUMN, probability_column

__all__ = ["MODELS", "SCENARIOS", "Frame", "NotApplicableError", "Run", "datasets", "scenario"]

SCENARIOS = ("none", "season", *CHANGES, "natural")
LABEL, TIME = "label", "time"
TRAIN_ROWS, TRUTH_ROWS, LONGEST = 5000, 5_000, 120
SEASON_SHARE = 1.5
"""A season needs at least this number of rows for each that it draws."""

OLD_WINDOWS = 2
"""Windows of an older fault, with labels, right before a newer one."""


@dataclass(frozen=True)
class Run:
    """One run with its truth.

    Attributes:
        name: the scenario.
        dataset: the frame's name.
        model: the model's kind.
        seed: the seed.
        reference: features, prediction, probability columns and label.
        stream: the same, in time order.
        features: names of the feature columns.
        probabilities: from class to column; none for a regression.
        window_rows: rows a window.
        change: index of the window with the first changed row; None where there is none.
        unchanged_rows: of that window, before the change.
        harmful: whether the change costs more than it may; None between harmless and harmful.
        loss: points of accuracy (0.03 is three) or relative rise of the mean absolute error, measured.
        columns: the columns that the change touched.
        timestamp: name of the column with the times, or None.
        window_loss: measured loss of every window of a natural stream.
        window_harmful: the same judged window by window: above the limit and significant, harmless, or None.
    """

    name: str
    dataset: str
    model: str
    seed: int
    reference: Table
    stream: Table
    features: tuple[str, ...]
    probabilities: dict[str, str]
    window_rows: int
    change: int | None = None
    unchanged_rows: int = 0
    harmful: bool | None = None
    loss: float = 0.0
    columns: tuple[str, ...] = ()
    timestamp: str | None = None
    window_loss: Array = field(default_factory=lambda: np.empty(0))
    window_harmful: tuple[bool | None, ...] = ()

    @property
    def windows(self) -> int:
        """Return the number of whole windows of the stream."""
        return len(self.stream[PREDICTION_COLUMN]) // self.window_rows

    @property
    def regression(self) -> bool:
        """Return whether the label is a number."""
        return not self.probabilities

    @property
    def always_labelled(self) -> slice:
        """Return the rows of the stream that have a label in every mode: those of an older fault."""
        if self.name != OLD_THEN_NEW or self.change is None:
            return slice(0, 0)
        stop = self.change * self.window_rows + self.unchanged_rows
        return slice(max(0, stop - OLD_WINDOWS * self.window_rows), stop)

    @property
    def error_unit(self) -> float:
        """Return what one unit of `loss` is in units of the error: the reference's error of a regression."""
        if not self.regression:
            return 1.0
        predicted, label = (self.reference[k].astype(np.float64) for k in (PREDICTION_COLUMN, LABEL))
        return float(np.abs(predicted - label).mean())

    def replay(self, *, labels: bool = True) -> tuple[Table, Table, dict[str, Any]]:
        """Return reference, stream and names for `driftbell.backtest`; the reference is always labelled."""
        stream = self.stream if labels else {k: c for k, c in self.stream.items() if k != LABEL}
        options = {"prediction": PREDICTION_COLUMN, "probabilities": self.probabilities, "label": LABEL}
        return self.reference, stream, {**options, "timestamp": self.timestamp}


def scenario(
    name: str,
    dataset: Frame,
    seed: int,
    model: str = "boosting",
    reference_rows: int = 5000,
    window_rows: int = 500,
    before: int = 20,
    after: int = 20,
    within: float = 0.0,
) -> Run:
    """Build one run.

    Args:
        name: one of `SCENARIOS`.
        dataset: the data.
        seed: chooses rows, columns and magnitudes.
        model: one of `MODELS`.
        reference_rows: rows of the reference; none of them was in the training.
        window_rows: rows a window.
        before: windows before the change.
        after: windows after it.
        within: share of the window with the change that is before it.

    Raises:
        NotApplicableError: the data set has no column that the change could touch.
    """
    if name == "natural":
        return _natural(dataset, seed, model, reference_rows, window_rows)
    rows = (before + after) * window_rows
    wanted = 45_000 if name == "season" else reference_rows + rows
    pool = _shuffled(dataset, seed, model, wanted)
    rng = np.random.default_rng([seed, SCENARIOS.index(name)])
    order = rng.permutation(len(pool.label))
    reference, rest = order[:reference_rows], order[reference_rows:]
    if name == "season" and len(pool.label) < SEASON_SHARE * (reference_rows + rows):
        raise NotApplicableError("too few rows: the hard ones of a season would repeat, and be a loss")
    if name == "season":
        return _season(pool, seed, model, rng, reference_rows, rows, window_rows)
    start = int((before + within) * window_rows) if name in CHANGES else rows
    head = _drawn(rest, start, rng)
    first = _table(pool.table, pool.answer, pool.label)
    if name == "none":
        return _run(name, pool, seed, model, window_rows, _rows(first, reference), _rows(first, head))
    change = CHANGES[name](pool, rng)
    answer, loss = loss_of(pool, change)
    left = rest if np.ptp(change.weights) or start + after * window_rows > len(rest) else rest[start:]
    tail = rng.choice(left, rows - start, p=change.weights[left] / change.weights[left].sum(), replace=True)
    if not np.ptp(change.weights):
        tail = _drawn(left, rows - start, rng)
    second = _table(change.table, answer, change.label)
    stream = _joined(_rows(first, head), _rows(second, tail))
    if name == OLD_THEN_NEW:
        old = slice(max(0, start - OLD_WINDOWS * window_rows), start)
        fault = older_fault(pool, rng)
        faulty = _table(fault.table, loss_of(pool, fault)[0], fault.label)
        parts = (_rows(first, head[: old.start]), _rows(faulty, head[old]), _rows(second, tail))
        stream = _joined(_joined(parts[0], parts[1]), parts[2])
    truth: dict[str, Any] = {"change": before, "unchanged_rows": start - before * window_rows}
    truth |= {"harmful": _harmful(loss, pool.frame), "loss": loss, "columns": change.columns}
    return _run(name, pool, seed, model, window_rows, _rows(first, reference), stream, **truth)


def limits(*, regression: bool) -> tuple[float, float]:
    """Return the loss above which a change is costly, and the one below which it is harmless."""
    return (0.10, 0.05) if regression else (0.02, 0.01)


def _harmful(loss: float, frame: Frame) -> bool | None:
    costly, harmless = limits(regression=frame.regression)
    return True if loss > costly else False if loss < harmless else None


def _drawn(rows: NDArray[np.intp], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw rows, each once; with replacement if there are too few."""
    return rows[:count] if count <= len(rows) else rng.choice(rows, count)


def _table(features: Table, answer: Table, label: NDArray[Any]) -> Table:
    return {**features, **answer, LABEL: label}


def _rows(table: Table, rows: NDArray[np.intp] | slice) -> Table:
    return {name: column[rows] for name, column in table.items()}


def _joined(first: Table, second: Table) -> Table:
    return {name: np.concatenate([column, second[name]]) for name, column in first.items()}


def _run(
    name: str, pool: Pool, seed: int, model: str, window: int, reference: Table, stream: Table, **truth: Any
) -> Run:
    probabilities = {c: probability_column(c) for c in pool.model.classes}
    features = tuple(pool.table)
    return Run(
        name, pool.frame.name, model, seed, reference, stream, features, probabilities, window, **truth
    )


_pools: OrderedDict[tuple[Any, ...], Pool] = OrderedDict()


def _shuffled(frame: Frame, seed: int, kind: str, wanted: int) -> Pool:
    """Fit on 5,000 rows of the shuffled data; the pool has other rows. The newest eight are cached."""
    key = (frame.name, seed, kind, wanted)
    if key not in _pools:
        order = np.random.default_rng(seed).permutation(len(frame.label))
        fitted = _fitted(frame, order[:TRAIN_ROWS], kind, seed)
        _pools[key] = _pool(frame, order[TRAIN_ROWS : TRAIN_ROWS + wanted + TRUTH_ROWS], fitted)
        if len(_pools) > 8:
            _pools.popitem(last=False)
    _pools.move_to_end(key)
    return _pools[key]


def _fitted(frame: Frame, rows: NDArray[np.intp], kind: str, seed: int) -> Fitted:
    return fit(kind, _rows(frame.columns, rows), frame.label[rows], seed, regression=frame.regression)


def _pool(frame: Frame, rows: NDArray[np.intp], fitted: Fitted) -> Pool:
    table, label = _rows(frame.columns, rows), frame.label[rows]
    answer = fitted.answer(table)
    return Pool(frame, table, label, fitted, answer, errors(answer, label))


def _season(
    pool: Pool, seed: int, model: str, rng: np.random.Generator, reference_rows: int, rows: int, window: int
) -> Run:
    """A daily season of one feature, in the reference too; even seeds have timestamps.

    A day has at least two windows and at most two fifths of the reference.
    """
    names = pool.frame.numeric()
    column = np.nan_to_num(pool.table[names[rng.integers(len(names))]].astype(np.float64))
    ranks = np.argsort(np.argsort(column)) / len(column) - 0.5
    day = int(rng.uniform(min(2 * window, 0.2 * reference_rows), 0.4 * reference_rows))
    swing = float(rng.uniform(1.0, 3.5))
    count = reference_rows + rows
    phases = np.sin(2 * math.pi * (np.arange(count) / day + rng.random()))
    order = rng.permutation(len(column))
    first, used = _once(swing * phases[:reference_rows], ranks, order[: len(order) * 3 // 5], rng)
    chosen = np.concatenate([first, _accepted(swing * phases[reference_rows:], ranks, order[used:], rng)])
    table = _rows(_table(pool.table, pool.answer, pool.label), chosen)
    if seed % 2 == 0:
        begin = datetime(2026, 1, 5, tzinfo=UTC)
        times = [begin + timedelta(days=i / day) for i in range(count)]
        table[TIME] = np.array(times, dtype=object)
    reference, stream = _rows(table, slice(0, reference_rows)), _rows(table, slice(reference_rows, count))
    timestamp = TIME if TIME in table else None
    return _run("season", pool, seed, model, window, reference, stream, timestamp=timestamp)


def _once(
    tilt: Array, ranks: Array, side: NDArray[np.intp], rng: np.random.Generator
) -> tuple[NDArray[np.intp], int]:
    """Draw as `_accepted` does, each row once while any are left; return the number of used rows."""
    chosen, used = [], 0
    chances = rng.random(len(side))
    for lean in tilt:
        while used < len(side):
            row, chance = side[used], chances[used]
            used += 1
            if chance < math.exp(lean * ranks[row] - abs(lean) / 2):
                chosen.append(row)
                break
    rest = _accepted(tilt[len(chosen) :], ranks, side, rng)
    return np.concatenate([np.array(chosen, dtype=np.intp), rest]), used


def _accepted(
    tilt: Array, ranks: Array, side: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Draw one row for each tilt with probability proportional to exp(tilt · rank): rejection sampling."""
    chosen = np.empty(len(tilt), dtype=np.intp)
    todo = np.arange(len(tilt))
    while len(todo):
        drawn = rng.choice(side, len(todo))
        taken = rng.random(len(todo)) < np.exp(tilt[todo] * ranks[drawn] - np.abs(tilt[todo]) / 2)
        chosen[todo[taken]] = drawn[taken]
        todo = todo[~taken]
    return chosen


def _natural(frame: Frame, seed: int, model: str, reference_rows: int, window: int) -> Run:
    """The rows in their own order: training, reference, stream; the seed moves the start."""
    if not frame.in_time_order:
        raise NotApplicableError("the order of the rows means nothing")
    spare = len(frame.label) - TRAIN_ROWS - reference_rows - LONGEST * window
    start = seed * 997 % max(1, min(spare, 20_000)) if spare > 0 else 0
    rows = np.arange(start, min(start + TRAIN_ROWS + reference_rows + LONGEST * window, len(frame.label)))
    fitted = _fitted(frame, rows[:TRAIN_ROWS], model, seed)
    pool = _pool(frame, rows[TRAIN_ROWS:], fitted)
    table = _table(pool.table, pool.answer, pool.label)
    whole = (len(pool.label) - reference_rows) // window * window
    stream = _rows(table, slice(reference_rows, reference_rows + whole))
    losses, judged = _window_truth(
        pool.error[:reference_rows], pool.error[reference_rows:][:whole].reshape(-1, window), frame
    )
    return _run(
        "natural",
        pool,
        seed,
        model,
        window,
        _rows(table, slice(0, reference_rows)),
        stream,
        window_loss=losses,
        window_harmful=judged,
    )


def _window_truth(before: Array, windows: Array, frame: Frame) -> tuple[Array, tuple[bool | None, ...]]:
    rise = windows.mean(axis=1) - before.mean()
    noise = np.sqrt(windows.var(axis=1) / windows.shape[1] + before.var() / len(before))
    losses = rise / before.mean() if frame.regression else rise
    judged = []
    for loss, significant in zip(losses, _significant(rise / np.maximum(noise, 1e-300)), strict=True):
        harmful = _harmful(float(loss), frame)
        judged.append(None if harmful and not significant else harmful)
    return losses, tuple(judged)


def _significant(scores: Array) -> NDArray[np.bool_]:
    """Return which of many standard scores are significant, with 5 % false ones among them at most.

    Of 100 windows without a loss, five would have one at 5 % each.

    Source: Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate", Journal of the Royal
    Statistical Society B 57 (1995).
    """
    chances = np.array([0.5 * math.erfc(score / math.sqrt(2)) for score in scores])
    order = np.argsort(chances)
    passed = np.flatnonzero(chances[order] <= 0.05 * np.arange(1, len(chances) + 1) / len(chances))
    significant = np.zeros(len(chances), dtype=bool)
    significant[order[: passed.max(initial=-1) + 1]] = True
    return significant
