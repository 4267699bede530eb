"""The benchmark of the alarms is only worth something if its truth is true."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from alarm import scenarios, score
from alarm.data import Frame, datasets
from alarm.methods import controls, known
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
    with pytest.raises(NotApplicableError, match="too few rows"):
        made("season", frames["linear"], window_rows=5000)


def test_windows_of_a_natural_stream_are_judged_one_by_one() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=15_000)
    label = np.where(x > 0, "yes", "no").astype(object)
    label[-1000:] = "no"  # two windows in which half of the answers are wrong
    frame = Frame("late", {"x": x, "y": rng.normal(size=15_000)}, label, in_time_order=True)
    run = made("natural", frame)
    assert run.window_harmful[-2:] == (True, True)
    assert set(run.window_harmful[:-2]) == {False}


def test_chance_alone_makes_no_window_costly() -> None:
    """Of 1,000 scores without a loss 50 pass 5 % each; besides true losses, few of the costly are chance."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=1000)
    assert not scenarios._significant(scores).any()
    assert (scores > 1.645).sum() > 30
    scores[:100] += 5
    significant = scenarios._significant(scores)
    assert significant[:100].sum() >= 95
    assert significant[100:].sum() <= 10
    assert not scenarios._significant(np.empty(0)).any()


def row(alarms: list[int], scores: list[float], **truth: object) -> score.Row:
    usual = {"scenario": "stuck", "change": 2, "harmful": True, "mode": "all", "method": "x", "problem": ""}
    usual |= {"loss": 0.3, "regression": False}
    return {**usual, "alarms": alarms, "scores": scores, "cpu_ms": 2.0, "fit_s": 1.0, **truth}


def test_scores_count_what_they_say() -> None:
    rows = [
        row([0, 0, 0, 1], [0, 0, 0.5, 2]),
        row([0, 1, 0, 0], [0, 1, 0.2, 0.4], harmful=False),
        row([0, 0, 0, 0], [0, 0, 0.1, 0.3]),
    ]
    cells = dict(zip(score.heads(rows), score.cells(rows, "all"), strict=True))
    assert list(cells.values())[:3] == ["166.7 (30.1 to 563.5) of 6"] * 2 + ["–"]
    assert cells["costly detected within 2"] == "50% (9 to 91) of 2"
    assert cells["mean delay, windows (3 = missed)"] == "2.5"
    assert cells["harmless alarmed"].startswith("0% (0 to ")
    assert cells["AUC costly / harmless"] == "0.500"
    assert list(cells.values())[-3:] == ["– / –", "2.0", "1.00"]


def test_an_answer_that_nobody_can_tell_is_half_an_alarm_and_not_silent() -> None:
    missed, unsure = row([0, 0, 0, 0], [0.0] * 4), row([0, 0, 0, 0], [0.0] * 4, unknown=[0, 0, 0, 1])
    cells = dict(zip(score.HEADS, score.cells([missed, unsure], "all"), strict=True))
    assert cells["cannot tell counted as half"] == "25% of 2"
    assert cells["silent no at a large loss"] == "50% (9 to 91) of 2"


def test_intervals_are_compared_with_the_true_loss_from_the_fifth_check_on() -> None:
    ends = [(0.0, 0.01)] * 6 + [(0.2, 0.4), None, (0.0, 0.1)]
    checked = row([0] * 9, [0.0] * 9, intervals=ends, loss=0.3)
    assert score.covered([checked]) == [True, False]
    assert score.width([checked]) == "15.0"


def test_an_older_fault_is_labelled_in_every_mode(frames: dict[str, Frame]) -> None:
    run = made("old then new", frames["linear"])
    labelled = known(run, "none")
    assert np.flatnonzero(labelled).tolist() == list(range(1000, 2000))
    assert len(np.unique(run.stream[run.columns[0]][2000:].astype(float))) == 1


@pytest.mark.parametrize(
    ("alarms", "detected", "late"),
    [([0, 1, 1, 1], True, 1), ([0, 1, 1, 0], False, 3), ([1, 1, 0, 1], True, 2), ([1, 0, 1, 0], True, 1)],
)
def test_an_alarm_of_an_older_fault_that_closes_says_nothing(
    alarms: list[int], detected: bool, late: int
) -> None:
    old = row(alarms, [0.0] * 4, scenario="old then new")
    assert (score.is_detected(old), score.delay(old)) == (detected, late)
    assert score.is_detected(row(alarms, [0.0] * 4))


def test_the_rows_of_a_calendar_change_are_of_a_part_of_it(frames: dict[str, Frame]) -> None:
    run = made("calendar", frames["shop"], seed=1)
    (column,) = run.columns
    now, before = set(run.stream[column][2000:]), set(run.stream[column][:2000])
    assert len(now) <= len(before) / 5
    assert now <= before


def test_several_features_change_together(frames: dict[str, Frame]) -> None:
    assert len(made("two moved", frames["shop"]).columns) == 2
    frozen = made("several frozen", frames["shop"])
    for column in frozen.columns:
        assert len(np.unique(frozen.stream[column][2000:].astype(float))) == 1
        assert (
            frozen.stream[column][:2000].min()
            <= frozen.stream[column][-1]
            <= frozen.stream[column][:2000].max()
        )
    (sparse,) = made("sparse shifted", frames["shop"]).columns
    assert sparse in frames["shop"].sparse()


def test_concept_drift_does_not_count_without_labels() -> None:
    rows = [row([0, 0, 0], [0, 0, 0], scenario="concept", mode="none")]
    assert score.cells(rows, "none")[3] == "–"


def test_the_controls_always_fire_and_fire_by_chance(frames: dict[str, Any]) -> None:
    always, coin = controls(made("none", frames["linear"], before=100, after=100, window_rows=10), "all")
    assert set(always.alarms) == {1}
    assert 5 < sum(coin.alarms) < 40
