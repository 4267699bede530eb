"""Intervals of an estimated loss contain each explanation of the data, and so the true loss."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest
from tests.degradation_tasks import START, Stream, evidence

from driftbell.degradation.cusum import ESTIMATE, CusumCharts
from driftbell.degradation.loss_intervals import loss_interval
from driftbell.degradation.reference_models import Answers, fit_reference_models
from driftbell.records import BlockSummary, Verdict

Table = dict[str, np.ndarray]


def product(rows: int, seed: int, nulls: float = 0.0) -> tuple[Table, np.ndarray]:
    """Draw four features of which two matter by their product only, as trees learn it slowly."""
    rng = np.random.default_rng(seed)
    columns = {name: rng.normal(size=rows) for name in "abcd"}
    score = 3 * columns["a"] * columns["b"] + columns["c"]
    truth = (rng.random(rows) < 1 / (1 + np.exp(-score))).astype(float)
    columns["d"][rng.random(rows) < nulls] = np.nan
    return columns, truth


def answered(columns: Table) -> Answers:
    one = 1 / (1 + np.exp(-(3 * columns["a"] * columns["b"] + columns["c"])))
    return Answers((one > 0.5).astype(float), np.column_stack([1 - one, one]))


def charts(rows: int, nulls: float = 0.0) -> CusumCharts:
    columns, truth = product(rows, 0, nulls)
    learned = fit_reference_models(columns, answered(columns), truth, classes=2, seed=0)
    return CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=1000)


CHANGES: dict[str, Callable[[Table], Table]] = {
    "frozen": lambda t: t | {"a": np.full(len(t["a"]), t["a"][0])},
    "moved": lambda t: t | {"a": t["a"] + 1.0},
    "moved together": lambda t: t | {"a": t["a"] + 0.8, "b": t["b"] + 0.8},
    "unimportant": lambda t: t | {"d": t["d"] + 2.0},
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_interval_covers_the_true_loss_though_models_of_the_label_know_less(name: str) -> None:
    fitted = charts(3000)
    assert fitted.by_features.mean > fitted.learned.errors.mean() + 0.01  # the bias that this is about
    many, labels = product(50_000, 9)
    changed = CHANGES[name](many)
    loss = float((answered(changed).values != labels).mean() - (answered(many).values != labels).mean())
    stream = Stream(fitted)
    for seed in range(20, 23):
        columns, truth = product(500, seed)
        columns = changed | {k: v[:500] for k, v in CHANGES[name](columns).items()}
        if name == "frozen":  # at the same value in all blocks
            columns["a"] = changed["a"][:500]
        degradation = stream.see(columns, truth, answered(columns))
    interval = degradation.estimated_loss
    assert interval is not None
    assert interval.low <= loss <= interval.high
    if loss < 0.01:
        assert degradation.verdict is not Verdict.ALARM
    else:
        assert degradation.verdict in (Verdict.ALARM, Verdict.UNKNOWN)


def test_rows_with_nulls_that_the_reference_knows_have_the_error_of_such_rows() -> None:
    """A model that ignores a feature is as right where it is null, and the reference shows that."""
    fitted, stream = charts(2000, nulls=0.1), Stream(charts(2000, nulls=0.1))
    columns, truth = product(500, 30, nulls=0.4)
    block = fitted.examine(columns, answered(columns))
    assert block.diagnosis
    assert block.diagnosis.broken[0].known
    assert block.basis == "confidence"
    assert block.loss == block.errors.mean() - fitted.baselines[ESTIMATE].mean
    assert block.low is not None
    assert block.low < 0.02
    degradation = stream.see(columns, truth, answered(columns))
    assert degradation.verdict is not Verdict.ALARM
    assert degradation.estimated_loss
    assert degradation.estimated_loss.low < 0 < degradation.estimated_loss.high


def test_an_interval_of_blocks_reaches_from_the_smallest_to_the_largest_loss_that_fits() -> None:
    def block(loss: float, low: float | None = None, high: float | None = None) -> BlockSummary:
        return BlockSummary(500, loss, START, START + timedelta(hours=1), None, low, high)

    fitted = evidence()
    plain = loss_interval(fitted, ESTIMATE, [block(0.04)])
    wide = loss_interval(fitted, ESTIMATE, [block(0.04, 0.01, 0.2)])
    assert plain.value == wide.value == 0.04
    assert wide.low < plain.low - 0.02
    assert wide.high > 0.2 > plain.high
    less = loss_interval(fitted, ESTIMATE, [block(0.04, 0.05, 0.03)])  # unconfirmed loss of a moved feature
    assert less.low <= less.value <= less.high
