"""The benchmark of the alarms is only worth something if its truth is true."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from alarm import score
from alarm.data import Frame, datasets
from alarm.methods import controls
from alarm.scenarios import NotApplicableError, scenario


@pytest.fixture(scope="module")
def frames() -> dict[str, Frame]:
    return datasets(None)


def made(name: str, frame: Frame, seed: int = 0, **sizes: int) -> Any:
    return scenario(name, frame, seed, "linear", **{"reference_rows": 1000, "before": 4, "after": 4, **sizes})


def test_no_row_is_in_reference_and_stream(frames: dict[str, Any]) -> None:
    run = made("none", frames["linear"])
    assert not set(run.reference["x0"]) & set(run.stream["x0"])
    assert len(run.stream["label"]) == 8 * 500


def test_the_same_seed_is_the_same_run_and_another_is_not(frames: dict[str, Any]) -> None:
    first, again, other = (made("nulls", frames["curved"], seed) for seed in (3, 3, 4))
    for name, column in first.stream.items():
        np.testing.assert_array_equal(column, again.stream[name])
    assert (first.columns, first.loss) == (again.columns, again.loss)
    assert first.loss != other.loss


def test_concept_drift_changes_labels_only(frames: dict[str, Any]) -> None:
    run, quiet = made("concept", frames["linear"]), made("none", frames["linear"])
    model_says = run.stream["prediction"] == run.stream["label"]
    before, after = model_says[:2000].mean(), model_says[2000:].mean()
    assert run.loss == pytest.approx(before - after, abs=0.04)
    assert set(run.stream["x0"]) <= set(frames["linear"].columns["x0"])
    assert quiet.change is None


def test_measured_loss_is_that_of_the_stream(frames: dict[str, Any]) -> None:
    for name in ("hard rows", "easy rows", "sensor bias", "stuck", "class shares"):
        run = made(name, frames["linear"], seed=2, before=10, after=10)
        wrong = run.stream["prediction"] != run.stream["label"]
        assert run.loss == pytest.approx(wrong[5000:].mean() - wrong[:5000].mean(), abs=0.035), name


def test_a_season_is_in_the_reference_too_and_has_times_on_even_seeds(frames: dict[str, Any]) -> None:
    with_times, without = made("season", frames["linear"], 0), made("season", frames["linear"], 1)
    assert (with_times.timestamp, without.timestamp) == ("time", None)
    assert list(with_times.stream["time"]) == sorted(with_times.stream["time"])
    assert not set(with_times.reference["x0"]) & set(with_times.stream["x0"])


def test_what_cannot_be_done_is_said(frames: dict[str, Any]) -> None:
    with pytest.raises(NotApplicableError, match="no category"):
        made("renamed category", frames["linear"])
    with pytest.raises(NotApplicableError, match="order"):
        made("natural", frames["linear"])


def test_windows_of_a_natural_stream_are_judged_one_by_one() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=15_000)
    label = np.where(x > 0, "yes", "no").astype(object)
    label[-1000:] = "no"  # two windows in which half of the answers are wrong
    frame = Frame("late", {"x": x, "y": rng.normal(size=15_000)}, label, in_time_order=True)
    run = made("natural", frame)
    assert run.window_harmful[-2:] == (True, True)
    assert set(run.window_harmful[:-2]) == {False}


def row(alarms: list[int], scores: list[float], **truth: object) -> score.Row:
    usual = {"scenario": "stuck", "change": 2, "harmful": True, "mode": "all", "method": "x", "problem": ""}
    return {**usual, "alarms": alarms, "scores": scores, "cpu_ms": 2.0, "fit_s": 1.0, **truth}


def test_scores_count_what_they_say() -> None:
    rows = [
        row([0, 0, 0, 1], [0, 0, 0.5, 2]),
        row([0, 1, 0, 0], [0, 1, 0.2, 0.4], harmful=False),
        row([0, 0, 0, 0], [0, 0, 0.1, 0.3]),
    ]
    false, opened, season, found, delay, harmless, auc, natural, cost, fit = score.cells(rows, "all")
    assert (false, opened, season) == ("166.7 of 6", "166.7 of 6", "–")
    assert (found, delay, harmless, auc) == ("50% of 2", "11.5", "0% of 1", "0.500")
    assert (natural, cost, fit) == ("– / –", "2.0", "1.00")


def test_concept_drift_does_not_count_without_labels() -> None:
    rows = [row([0, 0, 0], [0, 0, 0], scenario="concept", mode="none")]
    assert score.cells(rows, "none")[3] == "–"


def test_the_controls_always_fire_and_fire_by_chance(frames: dict[str, Any]) -> None:
    always, coin = controls(made("none", frames["linear"], before=100, after=100, window_rows=10), "all")
    assert set(always.alarms) == {1}
    assert 5 < sum(coin.alarms) < 40
