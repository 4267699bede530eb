"""Changes of a stream: of its rows, or of which rows occur."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alarm.data import Frame
from alarm.fitted import Array, Fitted, Table, errors

Labels = NDArray[Any]
UNITS: tuple[tuple[float, float], ...] = (
    (1.8, 32.0),
    (1000.0, 0.0),
    (1 / 2.54, 0.0),
    (0.4536, 0.0),
    (60.0, 0.0),
)


OLD_THEN_NEW = "old then new"


@dataclass(frozen=True)
class Pool:
    """Rows that the model was not fitted on, with its answers.

    Attributes:
        frame: where they come from.
        table: the features.
        label: the truth.
        model: the model.
        answer: what it says.
        error: how wrong it is, row by row.
    """

    frame: Frame
    table: Table
    label: Labels
    model: Fitted
    answer: Table
    error: Array

    def by_importance(self, names: list[str]) -> list[str]:
        """Sort names, the most important first."""
        return sorted(names, key=lambda name: -self.model.importance[name])


@dataclass(frozen=True)
class Change:
    """Effect of a change on a whole pool.

    Attributes:
        table: the features afterwards.
        label: the truth afterwards.
        weights: how often each row comes afterwards; the mean is one.
        columns: the columns that were touched.
    """

    table: Table
    label: Labels
    weights: Array
    columns: tuple[str, ...] = ()


class NotApplicableError(Exception):
    """The data set has no column that the change could affect."""


def _weighted(pool: Pool, log_weights: Array, *columns: str) -> Change:
    weights = np.exp(log_weights - log_weights.max())
    return Change(pool.table, pool.label, weights / weights.mean(), columns)


def _touched(pool: Pool, name: str, column: NDArray[Any]) -> Change:
    return Change({**pool.table, name: column}, pool.label, np.ones(len(pool.label)), (name,))


def _touched_all(pool: Pool, columns: Table) -> Change:
    return Change({**pool.table, **columns}, pool.label, np.ones(len(pool.label)), tuple(columns))


def _ranks(values: Array, rng: np.random.Generator) -> Array:
    ranks: Array = np.lexsort((rng.random(len(values)), values)).argsort() / len(values)
    return ranks


def _tilt(pool: Pool, rng: np.random.Generator, sign: int) -> Change:
    """Weight rows by the model's uncertainty, or by one feature towards the side with more errors."""
    strength = sign * float(rng.uniform(0.5, 4.0))
    if rng.random() < 0.5 and pool.model.classes:
        top = np.max([pool.answer[k] for k in pool.answer if k.startswith("probability")], axis=0)
        return _weighted(pool, strength * _ranks(1 - top, rng))
    names = pool.by_importance(pool.frame.numeric())[:4]
    name = names[rng.integers(len(names))]
    ranks = _ranks(np.nan_to_num(pool.table[name].astype(np.float64)), rng)
    side = float(np.corrcoef(ranks, pool.error)[0, 1])
    return _weighted(pool, (strength if side >= 0 else -strength) * ranks, name)


def hard(pool: Pool, rng: np.random.Generator) -> Change:
    """More rows with a high error."""
    return _tilt(pool, rng, 1)


def easy(pool: Pool, rng: np.random.Generator) -> Change:
    """More rows with a low error."""
    return _tilt(pool, rng, -1)


def _number(pool: Pool, rng: np.random.Generator, *, important: bool = True) -> tuple[str, Array]:
    names = pool.by_importance(pool.frame.numeric())
    if not important and len(names) < 2:
        raise NotApplicableError("one number only")
    chosen = names[:3] if important else names[len(names) // 2 :]
    name = chosen[rng.integers(len(chosen))]
    return name, pool.table[name].astype(np.float64)


def bias(pool: Pool, rng: np.random.Generator) -> Change:
    """One of the three most important numbers is shifted by 0.3 to 3 sigma."""
    name, values = _number(pool, rng)
    step = float(rng.uniform(0.3, 3.0)) * (1 if rng.random() < 0.5 else -1)
    return _touched(pool, name, values + step * np.nanstd(values))


def bias_of_little(pool: Pool, rng: np.random.Generator) -> Change:
    """A number of the less important half is shifted by 0.3 to 3 sigma."""
    name, values = _number(pool, rng, important=False)
    step = float(rng.uniform(0.3, 3.0)) * (1 if rng.random() < 0.5 else -1)
    return _touched(pool, name, values + step * np.nanstd(values))


def noise(pool: Pool, rng: np.random.Generator) -> Change:
    """One of the three most important numbers has additional noise of 0.3 to 2 sigma."""
    name, values = _number(pool, rng)
    size = float(rng.uniform(0.3, 2.0)) * np.nanstd(values)
    return _touched(pool, name, values + size * rng.normal(size=len(values)))


def unit(pool: Pool, rng: np.random.Generator) -> Change:
    """A number changes its unit."""
    name, values = _number(pool, rng, important=bool(rng.random() < 0.75) or len(pool.frame.numeric()) < 2)
    factor, shift = UNITS[rng.integers(len(UNITS))]
    return _touched(pool, name, values * factor + shift)


def stuck(pool: Pool, rng: np.random.Generator) -> Change:
    """A number is frozen at one of its values."""
    name, values = _number(pool, rng, important=bool(rng.random() < 0.75) or len(pool.frame.numeric()) < 2)
    return _touched(pool, name, np.full(len(values), values[rng.integers(len(values))]))


def nulls(pool: Pool, rng: np.random.Generator) -> Change:
    """5 to 80 % of the cells of one column become null."""
    names = pool.by_importance(list(pool.table))
    name = names[min(int(rng.exponential(2.0)), len(names) - 1)]
    column = pool.table[name].copy()
    lost = rng.random(len(column)) < rng.uniform(0.05, 0.8)
    column[lost] = np.nan if column.dtype == np.float64 else None
    return _touched(pool, name, column)


def renamed(pool: Pool, rng: np.random.Generator) -> Change:
    """A frequent category of a column is renamed."""
    names = pool.by_importance(pool.frame.categorical())[:4]
    if not names:
        raise NotApplicableError("no category")
    name = names[rng.integers(len(names))]
    column = pool.table[name].copy()
    values, counts = np.unique([str(v) for v in column], return_counts=True)
    frequent = values[np.argsort(-counts)][:3]
    column[[str(v) == frequent[rng.integers(len(frequent))] for v in column]] = "N/A"
    return _touched(pool, name, column)


def class_shares(pool: Pool, rng: np.random.Generator) -> Change:
    """Label shift: the shares of the classes change, nothing within a class."""
    if pool.frame.regression:
        raise NotApplicableError("no classes")
    classes = sorted({str(v) for v in pool.label})
    sign = 1 if rng.random() < 0.5 else -1
    steps = sign * rng.uniform(0.5, 3.0) * rng.permutation(np.linspace(-0.5, 0.5, len(classes)))
    by_class = dict(zip(classes, steps, strict=True))
    return _weighted(pool, np.array([by_class[str(v)] for v in pool.label]))


def concept(pool: Pool, rng: np.random.Generator) -> Change:
    """Concept drift: in a region of one feature some labels become those of another class."""
    _, values = _number(pool, rng)
    ranks = _ranks(np.nan_to_num(values), rng)
    share = float(rng.uniform(0.1, 0.5))
    start = float(rng.uniform(0, 1 - share))
    region = (ranks >= start) & (ranks < start + share) & (rng.random(len(ranks)) < rng.uniform(0.2, 0.9))
    label = pool.label.copy()
    if pool.frame.regression:
        spread = float(np.std(label.astype(np.float64)))
        label[region] = label[region] + rng.uniform(0.3, 1.0) * spread
        return Change(pool.table, label, np.ones(len(label)))
    classes = sorted({str(v) for v in label})
    following = dict(zip(classes, classes[1:] + classes[:1], strict=True))
    label[region] = np.array([following[str(v)] for v in label[region]], dtype=object)
    return Change(pool.table, label, np.ones(len(label)))


def two_moved(pool: Pool, rng: np.random.Generator) -> Change:
    """The two most important numbers are shifted together by 0.5 to 2 sigma."""
    names = pool.by_importance(pool.frame.numeric())[:2]
    if len(names) < 2:
        raise NotApplicableError("one number only")
    step = float(rng.uniform(0.5, 2.0)) * (1 if rng.random() < 0.5 else -1)
    values = {name: pool.table[name].astype(np.float64) for name in names}
    return _touched_all(pool, {name: v + step * np.nanstd(v) for name, v in values.items()})


def several_frozen(pool: Pool, rng: np.random.Generator) -> Change:
    """Two to four of the six most important numbers are frozen, each at one of its frequent values."""
    passing = pool.frame.calendar()  # time moves these on, and they stay the same for a while
    names = [name for name in pool.by_importance(pool.frame.numeric()) if name not in passing][:6]
    if len(names) < 2:
        raise NotApplicableError("one number only")
    count = int(rng.integers(2, min(4, len(names)) + 1))
    chosen = [names[i] for i in rng.permutation(len(names))[:count]]
    frozen = {}
    for name in chosen:
        values = pool.table[name].astype(np.float64)
        value = np.nanquantile(values, rng.uniform(0.1, 0.9), method="nearest")
        frozen[name] = np.full(len(values), value)
    return _touched_all(pool, frozen)


def sparse_shifted(pool: Pool, rng: np.random.Generator) -> Change:
    """A number that is mostly zero is shifted by 0.5 to 3 sigma."""
    names = pool.frame.sparse()
    if not names:
        raise NotApplicableError("no sparse feature")
    name = names[rng.integers(len(names))]
    values = pool.table[name].astype(np.float64)
    return _touched(pool, name, values + float(rng.uniform(0.5, 3.0)) * np.nanstd(values))


def calendar(pool: Pool, rng: np.random.Generator) -> Change:
    """Time goes on: from now on the rows of a sixth of the calendar only."""
    names = pool.frame.calendar()
    if not names:
        raise NotApplicableError("no part of the calendar")
    name = names[rng.integers(len(names))]
    values = pool.table[name].astype(np.float64)
    known = np.unique(values[~np.isnan(values)])
    size = max(1, len(known) // 6)
    start = int(rng.integers(0, len(known) - size + 1))
    weights = np.isin(values, known[start : start + size]).astype(np.float64)
    return Change(pool.table, pool.label, weights / weights.mean(), (name,))


def next_fault(pool: Pool, rng: np.random.Generator) -> Change:
    """The second most important number is frozen, after an older fault of the most important one."""
    names = pool.by_importance(pool.frame.numeric())[:2]
    if len(names) < 2:
        raise NotApplicableError("one number only")
    values = pool.table[names[1]].astype(np.float64)
    value = np.nanquantile(values, rng.uniform(0.1, 0.9), method="nearest")
    return _touched(pool, names[1], np.full(len(values), value))


def older_fault(pool: Pool, rng: np.random.Generator) -> Change:
    """The most important number is shifted by 0.5 to 2 sigma."""
    name = pool.by_importance(pool.frame.numeric())[0]
    values = pool.table[name].astype(np.float64)
    return _touched(pool, name, values + float(rng.uniform(0.5, 2.0)) * np.nanstd(values))


CHANGES: dict[str, Callable[[Pool, np.random.Generator], Change]] = {
    "hard rows": hard,
    "easy rows": easy,
    "sensor bias": bias,
    "bias of little": bias_of_little,
    "noise": noise,
    "unit change": unit,
    "stuck": stuck,
    "nulls": nulls,
    "renamed category": renamed,
    "class shares": class_shares,
    "concept": concept,
    "two moved": two_moved,
    "several frozen": several_frozen,
    "sparse shifted": sparse_shifted,
    "calendar": calendar,
    OLD_THEN_NEW: next_fault,
}


def loss_of(pool: Pool, change: Change) -> tuple[Table, float]:
    """Return the answers on the changed rows, and the increase of the mean error on the whole pool."""
    touched = bool(change.columns) and change.table is not pool.table
    answer = pool.model.answer(change.table) if touched else pool.answer
    error = errors(answer, change.label)
    rise = float(np.average(error, weights=change.weights) - pool.error.mean())
    return answer, rise / float(pool.error.mean()) if pool.frame.regression else rise
