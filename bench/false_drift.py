"""Measure how many unchanged columns one comparison lists as drifted, and how often it lists changed ones.

Columns of ten forms take turns: numbers (normal, heavy tails, rounded, mostly zero, constant but for a few,
with nulls) and categories (two, five, a long tail, with nulls). Reference and window are drawn from one
distribution; for the second table, one column of the window is moved.

    python bench/false_drift.py [--tiny] [--columns 20000] [--seed 0]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import scipy

from driftbell.drift.compare import compare, prepare
from driftbell.drift.judge import judge
from driftbell.drift.logged_columns import typed_columns
from driftbell.records import Column, Columns, Judgement

Draw = Callable[[np.random.Generator, int], Column]
TAIL = 1 / np.arange(1, 301) / np.sum(1 / np.arange(1, 301))


def named(numbers: np.ndarray) -> Column:
    """Return whole numbers as categories, with None for negative ones."""
    names = np.array([*(f"c{i}" for i in range(301)), None], dtype=object)
    return names[np.where(numbers < 0, 301, numbers)]


def with_nulls(values: np.ndarray, rng: np.random.Generator) -> Column:
    return np.where(rng.random(len(values)) < 0.05, np.nan, values)


FORMS: dict[str, Draw] = {
    "normal": lambda rng, rows: rng.normal(size=rows),
    "heavy tails": lambda rng, rows: rng.standard_cauchy(rows),
    "rounded": lambda rng, rows: np.round(rng.normal(size=rows), 1),
    "mostly zero": lambda rng, rows: np.where(rng.random(rows) < 0.8, 0.0, rng.lognormal(size=rows)),
    "almost constant": lambda rng, rows: (rng.random(rows) < 0.004).astype(float),
    "numbers with nulls": lambda rng, rows: with_nulls(rng.exponential(size=rows), rng),
    "two categories": lambda rng, rows: named((rng.random(rows) < 0.3).astype(int)),
    "five categories": lambda rng, rows: named(rng.integers(0, 5, rows)),
    "long tail": lambda rng, rows: named(rng.choice(300, rows, p=TAIL)),
    "categories with nulls": lambda rng, rows: named(rng.integers(-1, 12, rows)),
}

CASES = (
    (500, 500, 5), (500, 500, 50), (500, 500, 500), (5_000, 500, 20), (500, 5_000, 20),
    (10_000, 10_000, 10), (100_000, 100_000, 10), (1_000_000, 1_000_000, 5),
)  # fmt: skip
"""Rows of the reference, rows of the window, columns."""

TINY = ((60, 60, 10),)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--columns", type=int, default=20_000, help="columns a case, fewer for large tables")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    print("| rows before | rows now | columns | listed of the unchanged | per 1,000 | at most (95 %) |")
    print("| --- | --- | --- | --- | --- | --- |")
    for n, m, columns in TINY if options.tiny else CASES:
        budget = min(options.columns, 40_000_000 // (n + m))
        tables = 1 if options.tiny else max(2, budget // columns)
        listed = sum(len(unchanged(rng, n, m, columns).drifted_columns) for _ in range(tables))
        total = tables * columns
        upper = float(scipy.special.betaincinv(listed + 1, total - listed, 0.95))
        rates = f"{1000 * listed / total:.2f} | {1000 * upper:.2f}"
        print(f"| {n} | {m} | {columns} | {listed} of {total} | {rates} |", flush=True)
    print("\nShare of comparisons that list the one column that has moved, of as many normal columns:\n")
    print("| rows of the reference | rows of the window | sigmas | of 1 column | of 5 | of 20 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for n, m, sigmas in (
        (500, 500, 0.25),
        (2_000, 500, 0.25),
        (5_000, 500, 0.25),
        (100_000, 100_000, 0.04),
        (100_000, 100_000, 0.1),
    ):
        repeats = 2 if options.tiny else max(20, min(options.columns // 50, 2_000_000 // (n + m)))
        shares = [moved(rng, n, m, sigmas, columns, repeats) for columns in (1, 5, 20)]
        print(f"| {n} | {m} | {sigmas} | {' | '.join(f'{share:.0%}' for share in shares)} |", flush=True)
        if options.tiny:
            break


def unchanged(rng: np.random.Generator, n: int, m: int, columns: int) -> Judgement:
    """Judge one unchanged table."""
    forms = list(FORMS.values())
    first = int(rng.integers(len(forms)))
    draws = {f"x{i}": forms[(first + i) % len(forms)] for i in range(columns)}
    return judged(
        {name: d(rng, n) for name, d in draws.items()}, {name: d(rng, m) for name, d in draws.items()}, m
    )


def moved(rng: np.random.Generator, n: int, m: int, sigmas: float, columns: int, repeats: int) -> float:
    """Return how often the first of some normal columns is listed."""
    listed = 0
    for _ in range(repeats):
        before = {f"x{i}": rng.normal(size=n) for i in range(columns)}
        now = {f"x{i}": rng.normal(sigmas if i == 0 else 0.0, 1, m) for i in range(columns)}
        listed += "x0" in judged(before, now, m).drifted_columns
    return listed / repeats


def judged(before: Columns, now: Columns, rows: int) -> Judgement:
    prepared = prepare(typed_columns(before))
    return judge(compare(prepared, typed_columns(now, prepared.decided)), rows=rows)


if __name__ == "__main__":
    main()
