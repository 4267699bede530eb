"""Labels of a suspected part of the rows settle its loss, and are not counted as labels of all rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec
import numpy as np
import pytest
from tests.degradation_tasks import START, Stream, answers, evidence, score, some, table

from driftbell.degradation.cusum import ESTIMATE, LABELS
from driftbell.degradation.explain import DegradationEstimate
from driftbell.degradation.label_coverage import LabelRows, with_labels
from driftbell.degradation.suspected_labels import are_unsettled, suspected_loss, with_suspected_labels
from driftbell.records import ColumnCondition, Columns, Degradation, EvidenceState, Suspicion, Verdict

ROWS = 500
CHARTS = evidence("labelled", 4000)
UNSEEN = (ColumnCondition("d", "unseen"),)


class Asked:
    """A stream with a new category in some rows, and labels of the rows that are asked for.

    Args:
        wrong: whether the model is wrong about these rows.
        every: one of so many rows has the category.
    """

    def __init__(self, *, wrong: bool, every: int = 10) -> None:
        self.stream, self.wrong, self.every = Stream(CHARTS), wrong, every
        self.known: dict[str, tuple[float, Columns]] = {}
        self.asked: list[str] = []
        self.labels = 0

    def see(self, seed: int, *, changed: bool = True) -> Degradation:
        columns, truth = table(ROWS, seed)
        if changed:
            columns = some(columns, "N/A", "d", of=self.every, every=1)
            rng, part = np.random.default_rng(seed), np.arange(ROWS) % self.every == 0
            usual = (rng.random(ROWS) < 1 / (1 + np.exp(-score(columns)))).astype(float)
            truth = np.where(part, 1 - answers(columns).values if self.wrong else usual, truth)
        given, times = answers(columns), self.stream.times(ROWS)
        for i, time in enumerate(times):
            cells = {name: column[i : i + 1] for name, column in columns.items()}
            self.known[f"id-{time:%j%H%M}"] = (float(given.values[i] != truth[i]), cells)
        degradation = self.stream.see(columns, truth, given, labels=self._labels())
        self.asked = list(degradation.to_label)[:50]
        return degradation

    def _labels(self) -> LabelRows:
        asked = self.asked
        self.labels += len(asked)

        def features(rows: Sequence[int]) -> Columns:
            cells = [self.known[asked[i]][1] for i in rows]
            return {name: np.concatenate([c[name] for c in cells]) for name in cells[0]}

        days = [timedelta(days=int(a[3:6]) - 1, hours=int(a[6:8]), minutes=int(a[8:])) for a in asked]
        return LabelRows(
            np.array([self.known[i][0] for i in asked]), [START + day for day in days], features=features
        )


@pytest.mark.parametrize("wrong", [True, False])
def test_labels_of_a_suspected_part_settle_24_streams(*, wrong: bool) -> None:
    """5 % or 10 % of the rows have a new category, which hides up to 9 points: 50 to 100 labels tell."""
    for every in (10, 20):
        for seed in range(1000, 13000, 1000):
            asked = Asked(wrong=wrong, every=every)
            asked.see(seed, changed=False)
            results = [asked.see(seed + i) for i in range(1, 7)]
            assert results[-1].verdict is (Verdict.ALARM if wrong else Verdict.OK)
            settled = next(i for i, r in enumerate(results) if r.verdict is not Verdict.UNKNOWN)
            assert settled * min(50, ROWS // every) <= 100
            assert all(r.verdict is results[-1].verdict for r in results[settled:])


@pytest.mark.parametrize("wrong", [True, False])
def test_at_most_a_hundred_labels_of_a_suspected_part_settle_its_loss(*, wrong: bool) -> None:
    """A tenth of the rows hides up to nine points: its labels tell them from none."""
    asked = Asked(wrong=wrong)
    asked.see(1, changed=False)
    first = asked.see(2)
    assert first.verdict is Verdict.UNKNOWN
    assert len(first.to_label) == 50
    assert all(asked.known[i][1]["d"][0] == "N/A" for i in first.to_label)
    results = [asked.see(seed) for seed in range(3, 7)]
    settled = next(i for i, r in enumerate(results) if r.verdict is not Verdict.UNKNOWN)
    assert settled <= 1
    for result in results[settled:]:
        assert result.verdict is (Verdict.ALARM if wrong else Verdict.OK)
        if wrong:
            assert result.estimated_loss
            assert result.estimated_loss.low < 0.0887 < result.estimated_loss.high
            assert "by its labels" in result.sentence
            assert " labels of suspected rows (d, since 2026-01-01 08:20 UTC), which are 10% of all rows" in (
                result.sentence
            )
            assert max(e.score for e in result.evidence) == pytest.approx(result.score, abs=1e-4)
        else:
            assert not result.to_label
    if not wrong:
        assert asked.labels <= 100


def test_an_alarm_by_labels_of_suspected_rows_ends_with_them() -> None:
    asked = Asked(wrong=True)
    asked.see(1, changed=False)
    results = [asked.see(seed) for seed in range(2, 5)]
    assert results[-1].verdict is Verdict.ALARM
    after = [asked.see(seed, changed=False) for seed in (5, 6)]  # labels of the part arrive after its end
    assert [degradation.verdict for degradation in after] == [Verdict.OK, Verdict.OK]


def test_labels_of_a_suspected_part_count_as_those_of_all_rows_in_proportion() -> None:
    """Labels of all rows count; of labels of the part alone, only as many as chance explains."""
    suspicion = Suspicion(START, UNSEEN, rows=1000, suspected=100)
    state = EvidenceState(rows=1000, suspicion=suspicion)
    times = [START + timedelta(minutes=i) for i in range(400)]

    def of(categories: list[str]) -> LabelRows:
        def features(rows: Sequence[int]) -> Columns:
            columns, _ = table(len(rows), 1)
            return columns | {"d": np.array([categories[i] for i in rows], dtype=object)}

        return LabelRows(np.zeros(len(categories)), times[: len(categories)], features=features)

    usual, all_rows = with_labels(CHARTS, state, of((["N/A"] + ["x"] * 9) * 40))
    assert len(all_rows.errors) == 400
    assert usual.suspicion
    assert (usual.suspicion.labels, usual.suspicion.counted, usual.suspicion.others) == (40, 40, 360)
    chosen, few = with_labels(CHARTS, state, of(["N/A"] * 100))
    assert len(few.errors) == len(few.times) == 1
    assert chosen.suspicion
    assert (chosen.suspicion.labels, chosen.suspicion.counted) == (100, 1)
    without = LabelRows(np.zeros(100), times[:100])
    assert with_labels(CHARTS, state, without)[1] is without


def test_the_loss_of_a_suspected_part_is_that_of_all_rows() -> None:
    """A reference without such rows: the share times the increase of their error."""
    usual = CHARTS.baselines[LABELS].mean
    suspicion = Suspicion(START, UNSEEN, labels=200, errors=200 * (usual + 0.3), rows=1000, suspected=100)
    loss = suspected_loss(CHARTS, suspicion)
    assert loss
    assert loss.value == pytest.approx(0.03)
    error = 1.645 * 0.1 * np.sqrt((usual + 0.3) * (0.7 - usual) / 200)
    assert loss.high - loss.low == pytest.approx(2 * error, rel=0.1)
    assert suspected_loss(CHARTS, msgspec.structs.replace(suspicion, labels=49)) is None
    assert are_unsettled(CHARTS, suspicion)  # a loss of 3 points
    none = msgspec.structs.replace(suspicion, errors=200 * usual)
    assert not are_unsettled(CHARTS, none)
    uncertain = msgspec.structs.replace(none, labels=50, errors=50 * usual, suspected=750)
    assert are_unsettled(CHARTS, uncertain)  # 50 labels of three quarters of the rows do not exclude 5 points


@pytest.mark.parametrize(("error", "expected"), [(0.0, Verdict.OK), (1.0, Verdict.ALARM)])
def test_labels_that_are_all_right_or_all_wrong_decide(error: float, expected: Verdict) -> None:
    suspicion = Suspicion(START, UNSEEN, labels=50, errors=50 * error, rows=1000, suspected=100)
    quiet = DegradationEstimate(Verdict.OK, ESTIMATE, 0.2)
    decided = with_suspected_labels(CHARTS, EvidenceState(rows=1000, suspicion=suspicion), quiet)
    assert decided.verdict is expected
    if expected is Verdict.ALARM:
        assert 1 < decided.score <= 100
    else:
        assert decided.by_part
        assert decided.by_part.value < 0


def test_hard_rows_that_become_the_suspected_ones_are_no_loss() -> None:
    """A harmless new name of a hard category: the other rows are easier by as much, which some rows show."""
    usual = CHARTS.baselines[LABELS].mean
    suspicion = Suspicion(START, UNSEEN, labels=400, errors=400 * (usual + 0.2), rows=4000, suspected=400)
    loss = suspected_loss(CHARTS, suspicion)
    same = suspected_loss(CHARTS, msgspec.structs.replace(suspicion, of_others=-0.02))
    few = suspected_loss(CHARTS, msgspec.structs.replace(suspicion, of_others=-0.002))
    assert loss
    assert same
    assert loss == few
    assert loss.value == pytest.approx(0.02)
    error = 1.645 * CHARTS.baselines[ESTIMATE].standard_error(4000)
    assert same.value == pytest.approx(error)
    assert error < 0.01
    assert loss.high - loss.low == pytest.approx(same.high - same.low)
