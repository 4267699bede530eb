"""Small tasks with a known truth, for the tests of `driftbell.degradation`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np

from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.reference_models import Answers, fit_reference_models
from driftbell.degradation.update import Rows, update
from driftbell.records import Degradation, EvidenceState

START = datetime(2026, 1, 1, tzinfo=UTC)
CHECKS_PER_ALARM = 200.0
SMALLEST_LOSS = 0.02
WORTH = {"x": -2.0, "y": 0.0, "z": 2.0}


def table(rows: int, seed: int, ones: float | None = None) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Draw features: `a` and `b` are important and correlated, `c` matters little, `d` is a category.

    Args:
        ones: the share of the second class; None leaves it as it is.
    """
    rng = np.random.default_rng(seed)
    drawn = rows if ones is None else 20 * rows
    a = rng.normal(10, 2, drawn)
    columns = {"a": a, "b": 0.8 * (a - 10) + rng.normal(0, 0.8, drawn), "c": rng.normal(0, 1, drawn)}
    columns["d"] = np.array(list(WORTH), dtype=object)[rng.integers(0, 3, drawn)]
    truth = (rng.random(drawn) < 1 / (1 + np.exp(-score(columns)))).astype(float)
    if ones is not None:
        want = np.where(rng.random(rows) < ones, 1.0, 0.0)
        pools = {c: iter(np.flatnonzero(truth == c)) for c in (0.0, 1.0)}
        places = np.array([next(pools[c]) for c in want])
        columns, truth = {k: v[places] for k, v in columns.items()}, truth[places]
    return columns, truth


def score(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Return the score behind truth and model; null and unseen cells count as average."""
    rows = len(next(iter(columns.values())))
    zero = np.zeros(rows)
    a = np.nan_to_num(np.asarray(columns.get("a", zero), dtype=float), nan=10.0)
    b = np.nan_to_num(columns.get("b", zero))
    d = np.array([WORTH.get(v, 0.0) for v in columns.get("d", [None] * rows)])
    return (a - 10) + b + 0.5 * columns["c"] + d


def answers(columns: dict[str, np.ndarray], *, probabilities: bool = True) -> Answers:
    """Return the answers of a model that knows the true score."""
    one = 1 / (1 + np.exp(-score(columns)))
    return Answers((one > 0.5).astype(float), np.column_stack([1 - one, one]) if probabilities else None)


def amounts(columns: dict[str, np.ndarray], seed: int) -> tuple[Answers, np.ndarray]:
    """Return answers of a regression, and the truth."""
    rng = np.random.default_rng(seed)
    result = score(columns)
    return Answers(result), result + rng.normal(0, 0.5, len(result))


@cache
def evidence(kind: str = "labelled", rows: int = 800) -> CusumCharts:
    """Fit on a reference: `labelled`, `unlabelled`, `no probabilities` or `regression`."""
    columns, truth = table(rows, seed=0)
    given = answers(columns, probabilities=kind != "no probabilities")
    smallest = SMALLEST_LOSS
    if kind == "regression":
        given, truth = amounts(columns, 1)
        smallest = 0.1 * float(np.abs(given.values - truth).mean())
    known = None if kind == "unlabelled" else truth
    learned = fit_reference_models(columns, given, known, classes=0 if kind == "regression" else 2, seed=0)
    return CusumCharts(learned, smallest_loss=smallest, checks_per_alarm=CHECKS_PER_ALARM)


def some(
    columns: dict[str, np.ndarray], value: float | str, name: str = "a", of: int = 5, every: int = 2
) -> dict[str, np.ndarray]:
    """Replace a share of the cells of a column by a value."""
    cells = columns[name].copy()
    cells[np.arange(len(cells)) % of < every] = value
    return columns | {name: cells}


FAULTS = {
    "unit change": ("a", "times", lambda t: t | {"a": 1.8 * t["a"] + 32}),
    "other scale": ("a", "as large", lambda t: t | {"a": 0.45 * t["a"]}),
    "shift": ("b", "larger", lambda t: t | {"b": t["b"] + 3}),
    "stuck": ("a", "frozen at 9.3", lambda t: some(t, 9.3, every=4)),
    "nulls": ("a", "null 0.0% → 80.0%", lambda t: some(t, np.nan, every=4)),
    "range": ("a", "outside", lambda t: some(t, 99.0)),
    "new category": ("d", "new category 'N/A' (100%)", lambda t: some(t, "N/A", "d", every=5)),
    "missing column": ("a", "null 0.0% → 100.0%", lambda t: {k: v for k, v in t.items() if k != "a"}),
}
"""By name: the affected column, words of its description, and the change of a table."""


class Stream:
    """Consecutive blocks, each counted once.

    Args:
        given: fitted.
        labelled: whether labels come with the rows.
    """

    def __init__(
        self, given: CusumCharts, *, labelled: bool = False, state: EvidenceState | None = None
    ) -> None:
        self.evidence, self.labelled, self.state = given, labelled, state or EvidenceState()
        self.row = 0
        self.degradation: Degradation | None = None

    def times(self, rows: int) -> list[datetime]:
        return [START + timedelta(minutes=self.row + i) for i in range(rows)]

    def see(
        self,
        columns: dict[str, np.ndarray],
        truth: np.ndarray,
        given: Answers,
        *,
        labels: LabelRows | None = None,
    ) -> Degradation:
        times = self.times(len(given))
        self.row += len(given)
        errors = (given.values != truth).astype(float)
        new = LabelRows(errors, times) if self.labelled else LabelRows()
        rows = Rows(columns, given, times, [f"id-{t:%j%H%M}" for t in times])
        self.state, self.degradation = update(self.evidence, self.state, rows, labels or new)
        return self.degradation

    def run(
        self,
        blocks: int,
        *,
        rows: int = 500,
        change: Callable[..., Any] = lambda t: t,
        seed: int = 100,
        ones: float | None = None,
        wrong: float = 0.0,
    ) -> list[Degradation]:
        """Count blocks; `wrong` is the share of rows with inverted truth (concept drift)."""
        results = []
        for i in range(blocks):
            columns, truth = table(rows, seed + i, ones)
            turned = np.random.default_rng(seed + i).random(rows) < wrong
            columns = change(columns)
            given = answers(columns, probabilities=self.evidence.learned.answers.probabilities is not None)
            results.append(self.see(columns, np.where(turned, 1 - truth, truth), given))
        return results
