"""Replay a stream in time order: what would the checks have said?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from driftbell.budget import Budget, parse_budget
from driftbell.columns import as_columns, is_null, kind_of
from driftbell.compare import compare
from driftbell.errors import InputError
from driftbell.harm.evidence import Evidence
from driftbell.harm.learn import Answers, Vector, learn
from driftbell.harm.steps import LabelRows, Rows, step
from driftbell.judge import carry, held_columns, judge, whole
from driftbell.profile import numbers
from driftbell.records import Column, Columns, FieldProblem, Harm, Kind, Verdict

WINDOW_ROWS = 500
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
FEW_VALUES = 20
"""Whole numbers with at most so many values are classes, not amounts, where no probabilities are given."""

SMALLEST_LOSS, SMALLEST_SHARE = 0.02, 0.1
"""The smallest loss that matters: of accuracy, and as a share of the error of a regression."""

FALSE_DISCOVERY_RATE = 0.05


@dataclass(frozen=True, slots=True)
class BacktestCheck:
    """One check of a backtest.

    Attributes:
        index: its number, from 0.
        rows: new rows that it looked at.
        verdict: see `Judgement`; what a user would have seen.
        score: the evidence of harm in units of its threshold; it alarms at 1.
        parts: the score of each kind of evidence, by name.
        columns: an alarm's suspects; else the columns that have drifted.
        estimated_loss: of accuracy (0.03 is three points), or the rise of the mean absolute error; None where
            it cannot be said.
        interval: its 90 % interval.
        sentence: the verdict's reason.
    """

    index: int
    rows: int
    verdict: Verdict
    score: float
    parts: Mapping[str, float]
    columns: tuple[str, ...]
    estimated_loss: float | None
    interval: tuple[float, float] | None
    sentence: str


def backtest(
    reference: Any,
    stream: Any,
    *,
    budget: str | Budget,
    prediction: str,
    every: timedelta | None = None,
    window_rows: int = WINDOW_ROWS,
    probabilities: Mapping[Any, str] | None = None,
    label: str | None = None,
    label_delay: int = 0,
    timestamp: str | None = None,
    smallest_loss: float | None = None,
    seed: int = 0,
) -> Iterator[BacktestCheck]:
    """Replay a stream window by window as the monitor would have seen it.

    Args:
        reference: a table (mapping of sequences, pandas, Polars, Arrow) of features, answers and, where
            known, labels; n rows in the order of time.
        stream: likewise; the label may be null, or the column missing.
        budget: false alarms that are allowed, such as "1 per 30d" or "1 per 1000 checks".
        prediction: the column of the answers: classes, or numbers of a regression.
        every: how often a check runs, for a budget per time.
        window_rows: new rows of each check.
        probabilities: the column of each class's probability.
        label: the column of the true answers; None judges without labels.
        label_delay: checks after which labels arrive.
        timestamp: a column with the time of each row, which orders the stream.
        smallest_loss: that matters; 0.02 of accuracy, or a tenth of the error of a regression.
        seed: of everything random.

    Raises:
        InputError: a column is missing, or its cells are no answers.
        ConfigError: the budget cannot be read.

    >>> table = {"x": [0.0, 1.0] * 100, "answer": ["a", "b"] * 100, "y": ["a", "b"] * 100}
    >>> [c.verdict.value for c in backtest(table, table, budget="1 per 100 checks", prediction="answer",
    ...  label="y", window_rows=100)]
    ['ok', 'ok']
    """
    if window_rows < 1:
        raise InputError([FieldProblem("window_rows", "type", "window_rows must be at least 1")])
    before, now = as_columns(reference), as_columns(stream)
    if timestamp is not None:
        before, now = _ordered(before, timestamp, "reference"), _ordered(now, timestamp, "stream")
    task = _Task(before, now, prediction, dict(probabilities or {}), label, timestamp)
    allowed = (parse_budget(budget) if isinstance(budget, str) else budget).checks_per_alarm(every)
    truth = task.truth(before)
    known = None if truth is None else ~np.isnan(truth)
    answers, features = task.answers(before, "reference"), task.features(before)
    if known is not None and truth is not None and not known.all():
        answers, truth = answers.take(known), truth[known]
        features = {k: v[known] for k, v in features.items()}
    learned = learn(features, answers, truth, classes=len(task.classes), seed=seed)
    usual = SMALLEST_LOSS if task.classes else SMALLEST_SHARE * float(learned.errors.mean() or 1.0)
    evidence = Evidence(
        learned,
        smallest_loss=smallest_loss or usual,
        checks_per_alarm=allowed,
        block_rows=max(window_rows, 50),
    )
    yield from _replay(task, evidence, before, now, allowed, window_rows, label_delay)


def _replay(
    task: _Task,
    evidence: Evidence,
    before: Columns,
    now: Columns,
    allowed: float,
    window_rows: int,
    label_delay: int,
) -> Iterator[BacktestCheck]:
    answers, truth = task.answers(now, "stream"), task.truth(now)
    features = task.features(now)
    errors = None if truth is None else task.errors(answers.values, truth)
    roles, table_before, table_now = task.table(before), task.shown(before), task.shown(now)
    total = len(answers)
    state: Mapping[str, Any] = {}
    drift: Mapping[str, Any] = {}
    start = 0
    strong = 1 / allowed
    for index in range(total // window_rows):
        stop = (index + 1) * window_rows
        rows = slice(start, stop)
        new = Rows(
            {k: v[rows] for k, v in features.items()},
            answers.take(rows),
            [_time(i) for i in range(start, stop)],
        )
        state, harm = step(evidence, state, new, _arrived(errors, index - label_delay, window_rows))
        counted = state.get("rows", 0) == stop
        window = {k: v[max(0, stop - max(window_rows, WINDOW_ROWS)) : stop] for k, v in table_now.items()}
        first = max(0, stop - max(window_rows, WINDOW_ROWS))
        found = judge(
            compare(table_before, window, roles=roles),
            rows=stop - first,
            false_discovery_rate=FALSE_DISCOVERY_RATE,
            strong=strong,
            held=held_columns(drift, first=first),
        )
        drift = carry(drift, found, last=stop - 1)
        yield _check(index, stop - start, whole(found, harm), harm)
        if counted:
            start = stop


def _check(index: int, rows: int, judgement: Any, harm: Harm) -> BacktestCheck:
    loud = harm.verdict in (Verdict.ALARM, Verdict.WARNING) and harm.suspects
    columns = tuple(s.column for s in harm.suspects) if loud else judgement.drifted_columns
    return BacktestCheck(
        index,
        rows,
        judgement.verdict,
        harm.score,
        {p.name: p.score for p in harm.parts},
        columns,
        harm.loss.value if harm.loss else None,
        (harm.loss.low, harm.loss.high) if harm.loss else None,
        judgement.sentence,
    )


def _arrived(errors: Vector | None, window: int, rows: int) -> LabelRows:
    if errors is None or window < 0:
        return LabelRows()
    found = errors[window * rows : (window + 1) * rows]
    known = np.flatnonzero(~np.isnan(found))
    return LabelRows(found[known], [_time(window * rows + int(i)) for i in known])


def _time(row: int) -> datetime:
    return EPOCH + timedelta(seconds=row)


def _ordered(columns: dict[str, Column], by: str, what: str) -> dict[str, Column]:
    if by not in columns:
        raise InputError([FieldProblem(by, "missing", f"the {what} has no column '{by}'")])
    moments = columns[by]
    try:
        order = np.argsort(moments, kind="stable")
    except TypeError as error:
        message = f"column '{by}' of the {what} has cells that cannot be ordered"
        raise InputError([FieldProblem(by, "type", message)]) from error
    return {k: v[order] for k, v in columns.items()}


class _Task:
    """What the columns mean."""

    def __init__(
        self,
        before: Columns,
        now: Columns,
        prediction: str,
        probabilities: dict[Any, str],
        label: str | None,
        timestamp: str | None,
    ) -> None:
        self.prediction, self.label = prediction, label
        for name, table in (("reference", before), ("stream", now)):
            for column in [prediction, *probabilities.values()]:
                if column not in table:
                    raise InputError(
                        [FieldProblem(column, "missing", f"the {name} has no column '{column}'")]
                    )
        if label is not None and label not in now and label not in before:
            raise InputError([FieldProblem(label, "missing", f"neither table has a column '{label}'")])
        not_features = {prediction, label, timestamp, *probabilities.values()}
        self.names = tuple(n for n in before if n not in not_features)
        self.probabilities = {_class_name(c): name for c, name in probabilities.items()}
        self.classes = self._classes(before, now)
        self._ids = {name: float(i) for i, name in enumerate(self.classes)}

    def _classes(self, before: Columns, now: Columns) -> tuple[str, ...]:
        """List the classes; none for a regression."""
        if len(self.probabilities) > 1:
            return tuple(self.probabilities)
        seen = [
            t[c] for t in (before, now) for c in (self.prediction, self.label) if c is not None and c in t
        ]
        numeric = all(kind_of(c) in (Kind.NUMERIC, None) for c in seen)
        values = {_class_name(v) for c in seen for v in c.tolist() if not is_null(v)}
        whole_numbers = numeric and all(
            np.all(np.mod(numbers(c)[~np.isnan(numbers(c))], 1) == 0) for c in seen
        )
        if numeric and not (whole_numbers and len(values) <= FEW_VALUES) and not self.probabilities:
            return ()
        return tuple(sorted(values | set(self.probabilities)))

    def features(self, table: Columns) -> dict[str, Column]:
        return {n: table[n] for n in self.names if n in table}

    def shown(self, table: Columns) -> dict[str, Column]:
        extra = [n for n in (self.prediction, *self.probabilities.values()) if n in table]
        return {**self.features(table), **{n: table[n] for n in extra}}

    def table(self, before: Columns) -> dict[str, str]:
        roles = dict.fromkeys(self.features(before), "feature")
        roles[self.prediction] = "prediction"
        return roles | dict.fromkeys(self.probabilities.values(), "probability")

    def answers(self, table: Columns, what: str) -> Answers:
        values = self._coded(table[self.prediction], known_only=True)
        if np.isnan(values).any():
            row = int(np.flatnonzero(np.isnan(values))[0])
            message = f"column '{self.prediction}' of the {what}, row {row}: null, or no class of the model"
            raise InputError([FieldProblem(self.prediction, "type", message, row)])
        if not self.probabilities:
            return Answers(values)
        given = [numbers(table[n]) for n in self.probabilities.values()]
        matrix = np.column_stack(given)
        if np.isnan(matrix).any():
            row, column = (int(i[0]) for i in np.nonzero(np.isnan(matrix)))
            name = list(self.probabilities.values())[column]
            message = f"column '{name}' of the {what}, row {row}: a probability must be a number"
            raise InputError([FieldProblem(name, "type", message, row)])
        if len(self.probabilities) == 1:
            if len(self.classes) != 2:
                message = f"give the probability column of each class ({', '.join(self.classes)}), not of one"
                raise InputError([FieldProblem("probabilities", "missing", message)])
            one = self.classes.index(next(iter(self.probabilities)))
            matrix = np.column_stack([matrix, 1 - matrix] if one == 0 else [1 - matrix, matrix])
        return Answers(values, matrix)

    def truth(self, table: Columns) -> Vector | None:
        """Give the labels, coded; -1 for a class that the model does not know, NaN where there is none."""
        if self.label is None or self.label not in table:
            return None
        found = self._coded(table[self.label], known_only=False)
        return None if np.isnan(found).all() else found

    def errors(self, answers: Vector, truth: Vector) -> Vector:
        if not self.classes:
            return np.asarray(np.abs(answers - truth))
        return np.where(np.isnan(truth), np.nan, (answers != truth).astype(np.float64))

    def _coded(self, column: Column, *, known_only: bool) -> Vector:
        if not self.classes:
            return numbers(column)
        found = [np.nan if is_null(v) else _class_name(v) for v in column.tolist()]
        other = np.nan if known_only else -1.0
        return np.array([v if isinstance(v, float) else self._ids.get(v, other) for v in found])


def _class_name(value: Any) -> str:
    """Name a class so that 1, 1.0, "1" and true are the same."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
