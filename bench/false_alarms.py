"""How often the default rule rings on unchanged data, and how surely it hears the contract's drift.

Windows are resampled from Iris (every column: four features, the predicted class, three probabilities).
Beside us in the same run: a Kolmogorov–Smirnov test at 5 % on every column, and Evidently's defaults where
it is installed.

    python bench/false_alarms.py [--tiny] [--windows 300] [--seed 0]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from driftbell import jsonlog
from driftbell.columns import as_column
from driftbell.compare import compare
from driftbell.judge import judge
from driftbell.models import iris_model, reference_of
from driftbell.ports import Model, Reference
from driftbell.publish.evidently import evidently_available
from driftbell.records import Columns, Verdict
from driftbell.simulate import CONTRACT_FAULTS, apply, normal_rows
from driftbell.stats import kolmogorov_smirnov

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
    windows = 3 if options.tiny else options.windows
    with tempfile.TemporaryDirectory() as folder:
        model, features = iris_model(Path(folder))
    reference = reference_of(model, features)
    rules: dict[str, Rule] = {"driftbell": ours, "KS at 5 %, any column": plain_ks}
    if evidently_available():
        rules["Evidently defaults, any column"] = evidently_any
    print(f"{windows} windows a row; share of windows with an alarm\n")
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
    print(f"\nExactly the three shifted features named, of four (100 rows, 50 drifted): {np.mean(exact):.1%}")


def fresh(rules: dict[str, Rule], windows: int, seed: int) -> None:
    """Print the second table: unchanged data, and a reference with sampling noise of its own, as in life."""
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


def wide_table(rng: np.random.Generator) -> Columns:
    numeric = {f"number {i}": rng.normal(size=500) for i in range(20)}
    return numeric | {f"category {i}": as_column(rng.choice(list("abcde"), 500).tolist()) for i in range(5)}


def drawn(model: Model, windows: int, seed: int, rows: int, drifted: int) -> list[Columns]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(windows):
        normal = normal_rows(rows - drifted, rng)
        sent = [*normal, *apply(normal_rows(drifted, rng), CONTRACT_FAULTS, rng)]
        values = [model.schema.validate(row) for row in sent]
        found.append(reference_of(model, model.schema.columns(values)).columns)
    return found


def share(
    rule: Rule, model: Model, reference: Reference, windows: int, seed: int, rows: int, drifted: int
) -> float:
    return float(np.mean([rule(reference, window) for window in drawn(model, windows, seed, rows, drifted)]))


def ours(reference: Reference, window: Columns) -> bool:
    found = compare(reference.columns, window, roles=reference.roles)
    return judge(found, rows=len(next(iter(window.values())))).verdict is Verdict.ALARM


def named(reference: Reference, window: Columns) -> set[str]:
    found = judge(compare(reference.columns, window, roles=reference.roles), rows=100)
    return {c for c in found.drifted_columns if reference.roles[c] == "feature"}


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
        found = Report([DataDriftPreset()]).run(
            Dataset.from_pandas(pd.DataFrame(dict(window)), definition),
            Dataset.from_pandas(pd.DataFrame(dict(reference.columns)), definition),
        )
    return bool(found.dict()["metrics"][0]["value"]["count"] > 0)


if __name__ == "__main__":
    main()
