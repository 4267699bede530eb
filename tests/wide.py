"""A check of a model with thousands of columns, with drift and an alarm."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle

import numpy as np

from driftbell.drift.compare import compare
from driftbell.drift.judge import judge
from driftbell.records import Evidence, Interval, Judgement, ModelMetrics, Verdict
from tests import degradations


def wide_judgement(columns: int, drifted: int) -> Judgement:
    """Return the judgement of a check with an alarm and real comparisons under many names.

    Args:
        columns: number of columns.
        drifted: how many of them, the last ones, have drifted.
    """
    rng = np.random.default_rng(0)
    reference = {"number": rng.normal(size=500), "category": rng.choice(["a", "b", "c"], 500)}
    window = {"number": rng.normal(2, 1, 500), "category": rng.choice(["a", "b", "d"], 500)}
    names = [f"Sensor {i:04} of line 3 (mm/s)" for i in range(columns)]
    calm = compare(reference, {name: values[::2] for name, values in reference.items()})
    comparisons = zip(cycle(calm), cycle(compare(reference, window)), strict=False)
    judgement = judge(
        [
            replace(pair[i >= columns - drifted], column=name)
            for i, (name, pair) in enumerate(zip(names, comparisons, strict=False))
        ],
        rows=500,
    )
    pieces = [Evidence("data quality", name, 0.5 + 0.0001 * i) for i, name in enumerate(names)]
    evidence = (*degradations.ALARM.evidence, *pieces)
    interval = Interval(0.91, 0.9, 0.92)
    performance = dict.fromkeys(("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss"), interval)
    metrics = ModelMetrics(reference=performance, reference_labels=500, realized=performance, labels=300)
    degradation = replace(degradations.ALARM, evidence=evidence)
    return replace(judgement, verdict=Verdict.ALARM, degradation=degradation, metrics=metrics)
