"""Measure the CPU time of a degradation check: 500 new predictions with 16 features, without labels.

Twelve correlated numbers and four categories; the models know the true score. Each stream begins with
unchanged blocks, and goes on with blocks of one kind. The first of these also fits models of its broken
features, once; the medians are of the blocks after it.

    python bench/check_cost.py [--tiny] [--blocks 20] [--references 1000 5000] [--seed 0]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import numpy as np

from driftbell.degradation.detector import CusumDetector, fit_detector
from driftbell.records import Column, Columns, EvidenceState, Outputs, Prediction, Window
from driftbell.tabular.columns import as_column

ROWS, NUMBERS, CATEGORIES, UNCHANGED = 500, 12, 4, 2
START = datetime(2026, 1, 1, tzinfo=UTC)
TASKS = {"two classes": 2, "ten classes": 10, "regression": 0}
"""Number of classes of each task; 0 for a regression."""

CELLS = np.array(list("abcde"), dtype=object)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--blocks", type=int, default=20, help="blocks of each kind")
    parser.add_argument("--references", type=int, nargs="+", default=[1000, 5000], help="labelled rows")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    blocks, references = (2, [300]) if options.tiny else (options.blocks, options.references)
    print(
        f"CPU of a check of {ROWS} rows and {NUMBERS + CATEGORIES} features in ms, median of {blocks - 1}\n"
    )
    print(f"| model | rows of the reference | {' | '.join(KINDS)} |")
    print(f"| --- | --- | {' | '.join('---' for _ in KINDS)} |")
    for name, classes in TASKS.items():
        for rows in references:
            task = Task(classes, options.seed)
            detector = task.detector(rows)
            medians = [np.median(costs(detector, task.windows(kind, blocks))[1:]) for kind in KINDS]
            print(f"| {name} | {rows:,} | {' | '.join(f'{ms:.1f}' for ms in medians)} |", flush=True)


def costs(detector: CusumDetector, windows: Iterator[Window]) -> list[float]:
    """Return the milliseconds of CPU of each check after the unchanged ones."""
    state, spent = EvidenceState(), []
    for number, window in enumerate(windows):
        start = time.process_time()
        state, _ = detector.advance(state, window, ())
        if number >= UNCHANGED:
            spent.append((time.process_time() - start) * 1000)
    return spent


class Task:
    """A task with a known truth, and a model of it.

    Args:
        classes: number of classes; 0 for a regression.
        seed: random seed.
    """

    def __init__(self, classes: int, seed: int) -> None:
        self.names = tuple(f"class {i}" for i in range(classes))
        self._rng = np.random.default_rng(seed)
        self._mix = np.eye(NUMBERS) + 0.3 * self._rng.normal(size=(NUMBERS, NUMBERS))
        scores = max(1, classes - 1)
        self._weights = self._rng.normal(size=(NUMBERS, scores)) * 0.85 ** np.arange(NUMBERS)[:, None]
        self._worth = self._rng.normal(0, 0.5, size=(CATEGORIES, len(CELLS), scores))

    def table(self, rows: int) -> Columns:
        """Draw features."""
        numbers = self._rng.normal(size=(rows, NUMBERS)) @ self._mix
        columns = {f"number {i}": numbers[:, i] for i in range(NUMBERS)}
        return columns | {f"category {i}": self._rng.choice(CELLS, rows) for i in range(CATEGORIES)}

    def answers(self, columns: Columns) -> Outputs:
        """Return the answers of the model; null and unseen categories count as average."""
        scores = sum(
            np.nan_to_num(columns[f"number {i}"])[:, None] * self._weights[i] for i in range(NUMBERS)
        )
        for i in range(CATEGORIES):
            known = columns[f"category {i}"][:, None] == CELLS
            scores = scores + known.astype(np.float64) @ self._worth[i]
        if not self.names:
            return Outputs(np.asarray(scores)[:, 0])
        shares = np.exp(np.column_stack([np.zeros(len(scores)), scores]))
        shares /= shares.sum(axis=1, keepdims=True)
        return Outputs(shares.argmax(axis=1), shares)

    def labels(self, answers: Outputs) -> Column:
        """Draw the true classes or numbers."""
        shares = answers.probabilities
        if shares is None:
            return answers.values + self._rng.normal(0, 0.7, len(answers.values))
        drawn = (shares.cumsum(axis=1) < self._rng.random(len(shares))[:, None]).sum(axis=1)
        return as_column([self.names[min(c, len(self.names) - 1)] for c in drawn])

    def detector(self, rows: int) -> CusumDetector:
        """Fit a detector on a reference."""
        columns = self.table(rows)
        answers = self.answers(columns)
        labels = self.labels(answers)
        return fit_detector(columns, answers, labels, classes=self.names, checks_per_alarm=1000.0)

    def windows(self, kind: str, blocks: int) -> Iterator[Window]:
        """Yield unchanged blocks, and blocks of a kind."""
        for number in range(UNCHANGED + blocks):
            columns = dict(self.table(ROWS))
            if number >= UNCHANGED:
                columns |= KINDS[kind](columns)
            yield self._window(columns, number * ROWS)

    def _window(self, columns: Columns, first: int) -> Window:
        answers = self.answers(columns)
        outputs = answers.values.tolist()
        cells = {name: column.tolist() for name, column in columns.items()}
        shares = np.empty((ROWS, 0)) if answers.probabilities is None else answers.probabilities
        predictions = tuple(
            Prediction(
                str(first + i),
                START + timedelta(seconds=first + i),
                "model",
                "1",
                {name: column[i] for name, column in cells.items()},
                self.names[outputs[i]] if self.names else repr(outputs[i]),
                dict(zip(self.names, shares[i].tolist(), strict=True)),
                1.0,
            )
            for i in range(ROWS)
        )
        return Window(predictions, first + 1, first + ROWS)


def moved(columns: Columns) -> Columns:
    return {"number 0": columns["number 0"] + 2}


def two_moved(columns: Columns) -> Columns:
    return {name: columns[name] + 1.5 for name in ("number 0", "number 1")}


def nulls(columns: Columns) -> Columns:
    return {"number 0": np.where(np.arange(ROWS) % 3 == 0, np.nan, columns["number 0"])}


def frozen(columns: Columns) -> Columns:
    return {"number 0": np.where(np.arange(ROWS) % 2 == 0, 0.5, columns["number 0"])}


def renamed(columns: Columns) -> Columns:
    cells = columns["category 0"].copy()
    cells[cells == "b"] = "B"
    return {"category 0": cells}


KINDS: dict[str, Callable[[Columns], Columns]] = {
    "unchanged": lambda _: {},
    "one moved": moved,
    "two moved": two_moved,
    "nulls": nulls,
    "frozen": frozen,
    "renamed category": renamed,
}
"""The kinds of blocks: which columns change, and how."""


if __name__ == "__main__":
    main()
