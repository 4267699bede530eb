"""Measure how often drift is listed on unchanged data, and how often the contract's and a small drift are.

Windows are resampled from Iris (every column: four features, the predicted class, three probabilities).
Beside us in the same run: a Kolmogorov–Smirnov test at 5 % on every column, and Evidently's defaults where
it is installed.

    python bench/false_alarms.py [--tiny] [--windows 300] [--seed 0]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from driftbell import jsonlog
from driftbell.drift.compare import compare, prepare
from driftbell.drift.judge import judge, persistent_columns, update_persistence
from driftbell.drift.logged_columns import typed_columns
from driftbell.models.iris import iris_model
from driftbell.models.reference import build_reference
from driftbell.ports import Model
from driftbell.publish.evidently import evidently_available
from driftbell.records import Columns, Reference
from driftbell.simulation.faults import CONTRACT_FAULTS, apply_faults
from driftbell.simulation.traffic import iris_rows
from driftbell.stats import kolmogorov_smirnov
from driftbell.tabular.columns import as_column

Rule = Callable[[Reference, Columns], bool]
SHIFTED = {"sepal length (cm)", "sepal width (cm)", "petal length (cm)"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--windows", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    jsonlog.configure(sys.stderr, level="WARNING")
    windows = 2 if options.tiny else options.windows
    with tempfile.TemporaryDirectory() as folder:
        model, features = iris_model(Path(folder))
    reference = build_reference(model, features)
    rules: dict[str, Rule] = {"driftbell": ours, "KS at 5 %, any column": plain_ks}
    if evidently_available():
        rules["Evidently defaults, any column"] = evidently_any
    print(f"{windows} windows a row; share of windows where a column is listed\n")
    cases = {
        "500 rows, unchanged": (500, 0),
        "500 rows, 50 of them drifted": (500, 50),
        "100 rows, 50 of them drifted": (100, 50),
    }
    print(f"| rule | {' | '.join(cases)} |")
    print(f"| --- | {' | '.join('---' for _ in cases)} |")
    for name, rule in rules.items():
        shares = [share(rule, model, reference, windows, options.seed, *case) for case in cases.values()]
        print(f"| {name} | {' | '.join(f'{s:.1%}' for s in shares)} |", flush=True)
    exact = [named(reference, window) == SHIFTED for window in drawn(model, windows, options.seed, 100, 50)]
    fresh(rules, windows, options.seed)
    lasting(windows, options.seed)
    cost(min(windows, 50), options.seed)
    print(f"\nExactly the three shifted features named, of four (100 rows, 50 drifted): {np.mean(exact):.1%}")


def fresh(rules: dict[str, Rule], windows: int, seed: int) -> None:
    """Print the second table: unchanged data, with a new random reference for each run."""
    rng = np.random.default_rng(seed)
    rung = dict.fromkeys(rules, 0)
    for _ in range(windows):
        both = [wide_table(rng) for _ in range(2)]
        reference = Reference(both[0], dict.fromkeys(both[0], "feature"), "fresh")
        for name, rule in rules.items():
            rung[name] += rule(reference, both[1])
    print(f"\n| rule | {windows} windows of 500 rows, 25 columns, fresh reference of 500 rows, unchanged |")
    print("| --- | --- |")
    for name, count in rung.items():
        print(f"| {name} | {count / windows:.1%} |")


def lasting(windows: int, seed: int) -> None:
    """Print the third table: a monitor's checks, where weak evidence must last for two windows.

    Windows of 500 rows that follow each other, 25 numeric columns, a check every five minutes of 30 days.
    """
    rng = np.random.default_rng(seed)
    print("\n| rows of the reference | false columns / checks | 0.25 sigma in one column | in all columns |")
    print("| --- | --- | --- | --- |")
    for rows in (500, 2000, 5000):
        false = sum(len(c) for _ in range(windows // 10 + 1) for c in story(rng, rows, 10, 0, 0.0))
        checks = (windows // 10 + 1) * 10
        results = [
            np.mean([len(story(rng, rows, 2, n, 0.25)[1]) / n for _ in range(windows // 5 + 1)])
            for n in (1, 25)
        ]
        print(f"| {rows} | {false} / {checks} | {results[0]:.0%} | {results[1]:.0%} |", flush=True)


def story(
    rng: np.random.Generator, rows: int, checks: int, shifted: int, sigmas: float
) -> list[tuple[str, ...]]:
    """Return the columns that each check lists, with the first `shifted` of 25 columns moved."""
    reference = prepare({f"c{i}": rng.normal(size=rows) for i in range(25)})
    since: dict[str, int] = {}
    listed = []
    for number in range(checks):
        window = {f"c{i}": rng.normal(sigmas * (i < shifted), size=500) for i in range(25)}
        held = persistent_columns(since, number * 500 + 1)
        judgement = judge(compare(reference, window, newest=50), rows=500, strong=1 / 8640, persistent=held)
        since = update_persistence(since, judgement, last=(number + 1) * 500)
        listed.append(tuple(c for c in judgement.drifted_columns if sigmas == 0.0 or int(c[1:]) < shifted))
    return listed


def cost(windows: int, seed: int) -> None:
    """Print the run time of a comparison: 500 rows, 12 numeric columns, 4 categories, reference of 5,000."""
    rng = np.random.default_rng(seed)
    before = prepare(typed_columns(wide_table(rng, 5000, 12, 4)))
    spent = []
    for _ in range(windows):
        window = wide_table(rng, 500, 12, 4)
        start = time.process_time()
        compare(before, typed_columns(window, before.decided), newest=50)
        spent.append((time.process_time() - start) * 1000)
    print(f"\nA comparison of 500 rows, 16 columns, the newest 50 too: {np.median(spent):.1f} ms of CPU")


def wide_table(rng: np.random.Generator, rows: int = 500, numeric: int = 20, other: int = 5) -> Columns:
    numbers = {f"number {i}": rng.normal(size=rows) for i in range(numeric)}
    return numbers | {
        f"category {i}": as_column(rng.choice(list("abcde"), rows).tolist()) for i in range(other)
    }


def drawn(model: Model, windows: int, seed: int, rows: int, drifted: int) -> list[Columns]:
    rng = np.random.default_rng(seed)
    results = []
    for _ in range(windows):
        normal = iris_rows(rows - drifted, rng)
        sent = [*normal, *apply_faults(iris_rows(drifted, rng), CONTRACT_FAULTS, rng)]
        values = [model.schema.validate(row) for row in sent]
        results.append(build_reference(model, model.schema.columns(values)).columns)
    return results


def share(
    rule: Rule, model: Model, reference: Reference, windows: int, seed: int, rows: int, drifted: int
) -> float:
    return float(np.mean([rule(reference, window) for window in drawn(model, windows, seed, rows, drifted)]))


def ours(reference: Reference, window: Columns) -> bool:
    comparison = compare(reference.columns, window, roles=reference.roles)
    return bool(judge(comparison, rows=len(next(iter(window.values())))).drifted_columns)


def named(reference: Reference, window: Columns) -> set[str]:
    judgement = judge(compare(reference.columns, window, roles=reference.roles), rows=100)
    return {c for c in judgement.drifted_columns if reference.roles[c] == "feature"}


def plain_ks(reference: Reference, window: Columns) -> bool:
    return any(
        kolmogorov_smirnov(reference.columns[c], window[c]).p_value < 0.05
        for c in reference.columns
        if reference.columns[c].dtype == np.float64
    )


def evidently_any(reference: Reference, window: Columns) -> bool:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numeric = [c for c in reference.columns if reference.columns[c].dtype == np.float64]
    other = [c for c in reference.columns if c not in numeric]
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=other)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = Report([DataDriftPreset()]).run(
            Dataset.from_pandas(pd.DataFrame(dict(window)), definition),
            Dataset.from_pandas(pd.DataFrame(dict(reference.columns)), definition),
        )
    return bool(results.dict()["metrics"][0]["value"]["count"] > 0)


if __name__ == "__main__":
    main()
