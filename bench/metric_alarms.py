"""Measure the false alarms of each metric of alarms on unchanged data, and how many changes raise an alarm.

Streams of blocks of 500 rows, each row once, with labels at once or without any. One without a change has
the distribution of the reference, so every alarm is false; each reference of 1,000 rows is drawn anew. In a
changed stream the labels of 30 % of the rows do not follow the features. Rates are alarms per allowed alarm.

    python bench/metric_alarms.py [--tiny] [--references 20] [--metric f1]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np

from driftbell.alarms.metric import AlarmMetric
from driftbell.alarms.smallest_loss import SmallestLoss
from driftbell.degradation.answers import Answers
from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.reference_models import fit_reference_models
from driftbell.degradation.relevant_loss import relevant_loss
from driftbell.degradation.update import Rows, update
from driftbell.records import EvidenceState, Verdict

START = datetime(2026, 1, 1, tzinfo=UTC)
CHECKS_PER_ALARM = 200.0
ROWS = 500

COSTS = {"no": {"yes": 5.0}, "yes": {"no": 50.0}}
METRICS: Mapping[str, AlarmMetric] = {
    "accuracy": AlarmMetric("accuracy"),
    "balanced_accuracy": AlarmMetric("balanced_accuracy"),
    "f1": AlarmMetric("f1"),
    "log_loss": AlarmMetric("log_loss"),
    "roc_auc": AlarmMetric("roc_auc"),
    "cost of classes": AlarmMetric("cost", costs=COSTS, currency="EUR"),
    "mae": AlarmMetric("mae"),
    "rmse": AlarmMetric("rmse"),
    "pinball": AlarmMetric("pinball", quantile=0.9),
    "cost of error": AlarmMetric("cost", unit_cost=3.0, currency="EUR"),
}
NUMBERS = ("mae", "rmse", "pinball", "cost of error")


def draw(
    rng: np.random.Generator, rows: int, *, numbers: bool, wrong: float = 0.0
) -> tuple[dict[str, np.ndarray], Answers, np.ndarray]:
    """Draw features, answers of a model and labels, which do not follow the features in a share `wrong`."""
    a, b, c = rng.normal(0, 1, rows), rng.normal(0, 1, rows), rng.normal(0, 1, rows)
    columns = {"a": a, "b": b, "c": c}
    score = 1.5 * a + b + 0.3 * c - 1.2
    shuffled = rng.random(rows) < wrong
    other = np.where(shuffled, rng.permutation(score), score)
    if numbers:
        return columns, Answers(score), other + rng.normal(0, 0.5, rows) * (1 + 0.5 * np.abs(c))
    one = 1 / (1 + np.exp(-score))
    truth = (rng.random(rows) < 1 / (1 + np.exp(-other))).astype(float)
    return columns, Answers((one > 0.5).astype(float), np.column_stack([1 - one, one])), truth


def fit(rng: np.random.Generator, name: str, rows: int) -> CusumCharts:
    """Fit charts for a metric on a new reference."""
    numbers = name in NUMBERS
    columns, answers, truth = draw(rng, rows, numbers=numbers)
    learned = fit_reference_models(
        columns,
        answers,
        truth,
        classes=0 if numbers else 2,
        seed=0,
        metric=METRICS[name],
        names=() if numbers else ("no", "yes"),
    )
    return CusumCharts(
        learned,
        smallest_loss=relevant_loss(learned, SmallestLoss()),
        checks_per_alarm=CHECKS_PER_ALARM,
    )


def alarms(
    charts: CusumCharts,
    rng: np.random.Generator,
    checks: int,
    *,
    numbers: bool,
    labelled: bool,
    wrong: float = 0.0,
) -> tuple[int, int | None]:
    """Return the number of alarms that open, and the first check with an alarm."""
    state, opened, first, open_now = EvidenceState(), 0, None, False
    for check in range(checks):
        columns, answers, truth = draw(rng, ROWS, numbers=numbers, wrong=wrong)
        start = START + timedelta(hours=check)
        times = [start + timedelta(seconds=row) for row in range(ROWS)]
        errors = charts.learned.loss.of_rows(truth, answers)
        labels = LabelRows(errors, times) if labelled else LabelRows()
        state, degradation = update(charts, state, Rows(columns, answers, times), labels)
        is_alarm = degradation.verdict is Verdict.ALARM
        opened += is_alarm and not open_now
        first = check if is_alarm and first is None else first
        open_now = is_alarm
    return opened, first


def measure(name: str, *, references: int, checks: int, changes: int, seed: int = 0) -> str:
    """Return a row of the table of a metric."""
    numbers = name in NUMBERS
    rng = np.random.default_rng(seed)
    false = {True: 0, False: 0}
    delays: list[int | None] = []
    for reference in range(references):
        charts = fit(rng, name, 1000)
        for labelled in (True, False):
            false[labelled] += alarms(charts, rng, checks, numbers=numbers, labelled=labelled)[0]
        if reference < changes:
            delays.append(alarms(charts, rng, 20, numbers=numbers, labelled=True, wrong=0.3)[1])
    total = references * checks
    detected = [delay for delay in delays if delay is not None]
    delay = f"{np.mean(detected) + 1:.1f}" if detected else "–"
    rates = [f"{CHECKS_PER_ALARM * false[labelled] / total:.2f}" for labelled in (True, False)]
    cells = (name, f"{total:,}", *rates, f"{len(detected)} of {len(delays)}", delay)
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--references", type=int, default=20)
    parser.add_argument("--metric", choices=METRICS, default=None)
    options = parser.parse_args()
    sizes = {"references": options.references, "checks": 200, "changes": 10}
    if options.tiny:
        sizes = {"references": 1, "checks": 5, "changes": 1}
    print("| metric | checks | false alarms, with labels | without | detected | delay, checks |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in [options.metric] if options.metric else METRICS:
        print(measure(name, **sizes), flush=True)


if __name__ == "__main__":
    main()
