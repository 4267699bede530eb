"""A loss after a recovery is a loss of its own: its time, its size, and its labels."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from driftbell import backtest
from driftbell.records import Verdict
from driftbell.simulation.backtest_checks import BacktestCheck


def stream(flipped: np.ndarray, seed: int = 0) -> tuple[dict[str, Any], np.ndarray]:
    """Draw rows of a calibrated model, of which each label is flipped with a probability.

    Returns:
        The table, and which rows are wrong.
    """
    rng = np.random.default_rng(seed)
    rows = len(flipped)
    x = rng.normal(size=rows)
    chance = 1 / (1 + np.exp(-2.5 * x))
    truth = (rng.random(rows) < chance) ^ (rng.random(rows) < flipped)
    names = np.array(["no", "yes"])
    table = {
        "x": x.tolist(),
        "z": rng.normal(size=rows).tolist(),
        "answer": names[(x > 0).astype(int)].tolist(),
        "p": chance.tolist(),
        "truth": names[truth.astype(int)].tolist(),
    }
    return table, (x > 0) != truth


def checks(flipped: np.ndarray, **options: Any) -> list[BacktestCheck]:
    return list(
        backtest(
            stream(np.zeros(3000), 1)[0],
            stream(flipped)[0] | options,
            budget="1 per 1000 checks",
            prediction="answer",
            probabilities={"yes": "p"},
            label="truth",
        )
    )


def test_a_second_loss_has_its_own_time_and_size() -> None:
    place = np.arange(6500)
    flipped = np.where((place >= 1000) & (place < 2000), 0.4, np.where(place >= 5000, 0.15, 0.0))
    wrong, usual = stream(flipped)[1], stream(np.zeros(3000), 1)[1].mean()
    found = checks(flipped)
    alarms = [c for c in found if c.verdict is Verdict.ALARM]
    assert {c.index for c in alarms} >= {2, 10, 11, 12}
    for check in alarms:
        assert ("since row 1000" if check.index < 10 else "since row 5000") in check.sentence
    last = alarms[-1]
    assert last.interval is not None
    assert last.interval[0] < wrong[5000:].mean() - usual < last.interval[1]
    assert found[4].verdict is not Verdict.ALARM
    assert all(c.verdict is Verdict.OK for c in found if 5 <= c.index < 10)


def test_unchanged_inputs_are_no_suspects() -> None:
    for seed in range(8):
        flipped = np.full(1500, 0.25)
        for check in checks(flipped, z=np.random.default_rng(seed).normal(size=1500).tolist()):
            assert "suspect" not in check.sentence


def test_a_recovery_by_labels_is_called_so() -> None:
    place = np.arange(3500)
    found = checks(np.where((place >= 500) & (place < 2000), 0.45, 0.0))
    verdicts = [c.verdict for c in found]
    first_quiet = verdicts.index(Verdict.ALARM) + 3
    assert verdicts[1:4] == [Verdict.ALARM] * 3
    for check in found[first_quiet:]:
        assert check.verdict is not Verdict.ALARM
        assert "Inputs changed" not in check.sentence
        if check.verdict is Verdict.WARNING:
            assert check.sentence.startswith("The newest labels show no certain loss any more")
            assert "Before, the model lost" in check.sentence
    assert any(a.verdict is Verdict.ALARM and b.verdict is not Verdict.ALARM for a, b in pairwise(found))


@pytest.mark.parametrize("labelled", [True, False])
def test_an_earlier_loss_does_not_hide_a_later_one(labelled: bool) -> None:
    """Labels of the recovery are no labels of the later loss."""
    place = np.arange(5500)
    rng = np.random.default_rng(5)
    table, _ = stream(np.zeros(5500))
    x = np.array(table["x"])
    moved = ((place >= 1000) & (place < 2000)) | (place >= 4000)
    half = moved & (rng.random(5500) < 0.6)
    table["x"] = np.where(half, np.nan, x).tolist()
    table["answer"] = np.where(half, "yes", table["answer"]).tolist()
    table["p"] = np.where(half, 0.55, table["p"]).tolist()
    if not labelled:
        table["truth"] = [None] * 5500
    else:
        table["truth"] = [None if m else t for m, t in zip(moved, table["truth"], strict=True)]
    found = list(
        backtest(
            stream(np.zeros(3000), 1)[0],
            table,
            budget="1 per 1000 checks",
            prediction="answer",
            probabilities={"yes": "p"},
            label="truth",
        )
    )
    later = [c for c in found if c.index >= 8]
    assert any(c.verdict is Verdict.ALARM for c in later)
    for check in later:
        assert "since row 1000" not in check.sentence
