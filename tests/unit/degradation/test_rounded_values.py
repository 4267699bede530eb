"""Rounded features: their loss is that of the values of the reference within a step."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from tests.degradation_tasks import Stream, answers, table

from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.reference_models import fit_reference_models
from driftbell.degradation.rounded_values import RoundedValues, without_rounding
from driftbell.records import Verdict

Table = dict[str, np.ndarray]


@cache
def charts() -> CusumCharts:
    columns, truth = table(2000, 0)
    learned = fit_reference_models(columns, answers(columns), truth, classes=2, seed=0)
    return CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=1000)


def rounded(columns: Table, step: float, names: str) -> Table:
    return columns | {name: step * np.round(columns[name] / step) for name in names}


def test_the_loss_of_coarse_values_is_within_the_interval_and_never_a_silent_no() -> None:
    many, labels = table(50_000, 9)
    wrong = np.mean(answers(rounded(many, 6.0, "a")).values != labels)
    loss = float(wrong - np.mean(answers(many).values != labels))
    assert loss > 0.04
    stream = Stream(charts())
    for seed in range(10, 14):
        columns, truth = table(500, seed)
        now = rounded(columns, 6.0, "a")
        degradation = stream.see(now, truth, answers(now))
        assert degradation.verdict in (Verdict.ALARM, Verdict.UNKNOWN)
        assert degradation.estimated_loss is not None
        assert degradation.estimated_loss.low <= loss <= degradation.estimated_loss.high
        assert degradation.suspects[0].words == "rounded: fewer different values than in the reference"


def test_fine_rounding_is_noticed_and_no_reason_for_doubt() -> None:
    stream = Stream(charts())
    for seed in range(10, 20):
        columns, truth = table(500, seed)
        now = rounded(columns, 0.2, "ab")
        assert charts().blind_spots.rounded(charts().learned.encoder(now, 500)) == (0, 1)
        assert stream.see(now, truth, answers(now)).verdict is Verdict.OK


def test_nulls_and_fewer_rows_are_no_rounding() -> None:
    columns, _ = table(500, 10)
    for rows, nulls in ((60, 0), (500, 2), (500, 4), (500, 5)):  # nulls in so many of five rows
        part = {name: column[:rows] for name, column in columns.items()}
        part["a"] = np.where(np.arange(rows) % 5 < nulls, np.nan, part["a"])
        assert charts().blind_spots.rounded(charts().learned.encoder(part, rows)) == ()


def test_copies_of_rows_are_not_rounded() -> None:
    columns, _ = table(500, 10)
    copies = {name: np.repeat(column[:100], 5) for name, column in columns.items()}
    matrix = charts().learned.encoder(copies, 500)
    assert charts().blind_spots.rounded(matrix) == ()
    matrix[:, 0] = 3 * np.round(charts().learned.matrix[:500, 0] / 3)
    assert charts().blind_spots.rounded(matrix) == (0,)


def test_values_of_a_part_of_the_range_are_not_rounded() -> None:
    columns, truth = table(2000, 0)
    columns["a"] = np.random.default_rng(1).geometric(0.05, 2000).astype(float)
    learned = fit_reference_models(columns, answers(columns), truth, classes=2, seed=0)
    search = RoundedValues(learned, ())
    matrix = learned.matrix[:500].copy()
    assert learned.importance[0] > 0.01
    matrix[:, 0] = np.random.default_rng(2).geometric(0.6, 500)
    assert search(matrix) == ()
    matrix[:, 0] = 12 * np.round(learned.matrix[:500, 0] / 12)
    assert search(matrix) == (0,)


@pytest.mark.parametrize("change", [np.floor, np.round, np.ceil])
def test_values_are_restored_within_their_steps(change: np.ufunc) -> None:
    rng = np.random.default_rng(0)
    usual, values = np.sort(rng.normal(10, 2, 5000)), rng.normal(10, 2, 1000)
    restored = without_rounding(change(values), usual)
    assert np.mean(change(restored) == change(values)) > 0.98
    assert float(np.mean((restored - values) ** 2)) == pytest.approx(2 / 12, rel=0.2)
