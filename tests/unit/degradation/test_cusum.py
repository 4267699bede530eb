from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.degradation_tasks import CHECKS_PER_ALARM, FAULTS, START, Stream, amounts, answers, evidence, table

from driftbell.degradation.cusum import (
    ESTIMATE,
    LABELS,
    MAX_BLOCKS,
    MAX_SUM,
    CusumCharts,
)
from driftbell.degradation.error_baseline import change_point, error_baseline
from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.reference_models import Answers, fit_reference_models
from driftbell.degradation.update import Rows, update
from driftbell.records import Degradation, EvidenceState, Verdict

KINDS = ["labelled", "unlabelled", "no probabilities"]
QUIET = {Verdict.OK}


@pytest.mark.parametrize("kind", KINDS)
def test_unchanged_data_raise_no_alarm(kind: str) -> None:
    results = Stream(evidence(kind), labelled=True).run(30)
    assert {h.verdict for h in results} == QUIET
    assert results[-1].rows == 30 * 500
    assert results[-1].suspects == ()


@pytest.mark.parametrize("part", [ESTIMATE, LABELS])
def test_the_budget_is_kept_on_months_of_real_errors(part: str) -> None:
    # Each month draws anew how far the reference is off, and its blocks from that.
    charts = evidence()
    errors = charts.learned.by_confidence if part == ESTIMATE else charts.learned.errors
    rng = np.random.default_rng(0)
    months, rows, checks = 200, 500, int(CHECKS_PER_ALARM)
    opened = 0
    for _ in range(months):
        truly = rng.choice(errors, len(errors))
        losses = rng.choice(truly, (checks, rows)).mean(axis=1) - charts.baselines[part].mean
        alarmed = np.zeros(checks, dtype=bool)
        for allowance, threshold in charts.limits(part, rows):
            now = 0.0
            for i, loss in enumerate(losses):
                now = max(0.0, now + rows * (loss - allowance))
                alarmed[i] |= now >= threshold
                now = min(now, MAX_SUM * threshold)
        opened += int(np.count_nonzero(alarmed[1:] & ~alarmed[:-1]))
    assert opened / months <= 1.0


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("kind", ["labelled", "unlabelled"])
def test_data_faults_raise_an_alarm_within_two_checks_and_are_named(name: str, kind: str) -> None:
    column, words, change = FAULTS[name]
    stream = Stream(evidence(kind))
    stream.run(4)
    results = stream.run(2, change=change, seed=200)
    assert results[-1].verdict is Verdict.ALARM
    assert results[-1].score >= 1
    assert results[-1].suspects[0].column == column
    assert words.split("%")[0][:12] in results[-1].suspects[0].words
    assert column in results[-1].sentence
    assert results[-1].estimated_loss.low < results[-1].estimated_loss.value < results[-1].estimated_loss.high
    assert 0 < len(results[-1].to_label) <= 300
    assert set(results[-1].to_label) <= {f"id-{START + timedelta(minutes=i):%j%H%M}" for i in range(3000)}


@pytest.mark.parametrize("name", ["unit change", "shift", "range"])
def test_the_change_point_and_the_loss_are_near_the_truth(name: str) -> None:
    stream = Stream(evidence())
    stream.run(4)
    began = START + timedelta(minutes=stream.row)
    change = FAULTS[name][2]
    degradation = stream.run(3, change=change, seed=200)[-1]
    assert degradation.change_point.low <= began <= degradation.change_point.high
    assert degradation.change_point.time == began
    changed = [(change(c), t) for c, t in (table(500, 200 + i) for i in range(3))]
    lost = (
        np.mean([np.mean(answers(c).values != t) for c, t in changed]) - stream.evidence.learned.errors.mean()
    )
    assert degradation.estimated_loss.value == pytest.approx(lost, rel=0.35)


def test_easy_rows_raise_no_alarm() -> None:
    stream = Stream(evidence(), labelled=True)
    results = []
    for i in range(20):
        columns, truth = table(1000, 300 + i)
        given = answers(columns)
        easy = np.argsort(-given.probabilities.max(axis=1))[:500]
        columns = {k: v[easy] for k, v in columns.items()}
        results.append(stream.see(columns, truth[easy], given.take(easy)))
    assert {h.verdict for h in results} == QUIET
    assert stream.state.labels.blocks[-1].loss < -0.05
    assert results[-1].performance.estimated.value > results[-1].performance.reference + 0.05


def test_hard_rows_raise_an_alarm_with_their_loss() -> None:
    stream = Stream(evidence())
    stream.run(3)
    lost = []
    for i in range(3):
        columns, truth = table(1000, 300 + i)
        given = answers(columns)
        hard = np.argsort(given.probabilities.max(axis=1))[:500]
        lost.append(np.mean(given.values[hard] != truth[hard]) - stream.evidence.learned.errors.mean())
        degradation = stream.see({k: v[hard] for k, v in columns.items()}, truth[hard], given.take(hard))
    assert degradation.verdict is Verdict.ALARM
    assert degradation.estimated_loss.value == pytest.approx(np.mean(lost), rel=0.3)
    assert {p.note for p in degradation.evidence if p.source == ESTIMATE} == {"from the model's confidence"}


def test_concept_drift_is_detected_only_with_labels() -> None:
    blind, seeing = Stream(evidence()), Stream(evidence(), labelled=True)
    assert {h.verdict for h in blind.run(5, wrong=0.2)} == QUIET
    degradation = seeing.run(5, wrong=0.2)[-1]
    assert degradation.verdict is Verdict.ALARM
    assert "by its labels" in degradation.sentence
    assert degradation.estimated_loss.low < 0.2 * (1 - 2 * 0.12) < degradation.estimated_loss.high


def test_the_alarm_closes_when_the_evidence_is_gone() -> None:
    for labelled in (False, True):
        stream = Stream(evidence(), labelled=labelled)
        assert stream.run(6, change=FAULTS["unit change"][2])[-1].verdict is Verdict.ALARM
        after = stream.run(25, seed=300)
        assert after[-1].verdict is Verdict.OK
        loss = after[-1].estimated_loss
        assert loss is not None
        assert loss.low < 0 < loss.high
        assert after[-1].change_point is None


def test_sums_are_capped() -> None:
    charts = evidence()
    sums: tuple[float, ...] = ()
    for _ in range(50):
        sums, _ = charts.add(sums, ESTIMATE, 500, 0.8)
    thresholds = [threshold for _, threshold in charts.limits(ESTIMATE, 500)]
    assert sums == pytest.approx([MAX_SUM * threshold for threshold in thresholds])


@pytest.mark.parametrize("pieces", [(300,), (50,) * 6, (60, 240), (250, 50)])
def test_each_row_counts_once_for_any_split_into_blocks(pieces: tuple[int, ...]) -> None:
    columns, truth = table(300, 5)
    stream, start = Stream(evidence(), labelled=True), 0
    for rows in pieces:
        part = {k: v[start : start + rows] for k, v in columns.items()}
        degradation = stream.see(part, truth[start : start + rows], answers(part))
        start += rows
    assert degradation.rows == 300
    for source in (stream.state.estimate, stream.state.labels):
        assert sum(block.rows for block in source.blocks) == 300
    lost = sum(block.rows * block.loss for block in stream.state.labels.blocks) / 300
    wrong = np.mean(answers(columns).values != truth)
    assert lost == pytest.approx(wrong - stream.evidence.learned.errors.mean())


def test_few_rows_wait() -> None:
    stream = Stream(evidence())
    columns, truth = table(49, 5)
    degradation = stream.see(columns, truth, answers(columns))
    assert degradation.verdict is Verdict.UNKNOWN
    assert "needs 50, has 49" in degradation.sentence
    assert stream.state.rows == 0
    assert stream.run(1)[0].verdict is Verdict.OK
    assert stream.see(columns, truth, answers(columns)).rows == 500


def test_ten_thousand_rows_at_once() -> None:
    stream = Stream(evidence())
    assert {h.verdict for h in stream.run(3, rows=10_000)} == QUIET
    degradation = stream.run(1, rows=10_000, change=FAULTS["range"][2])[0]
    assert degradation.verdict is Verdict.ALARM
    assert degradation.rows == 40_000
    assert degradation.suspects[0].column == "a"


def test_the_estimate_of_a_large_block_has_the_variance_of_its_rows() -> None:
    charts = evidence()
    losses = [charts.examine(t, answers(t)).loss for t in (table(4000, 60 + i)[0] for i in range(30))]
    assert np.std(losses) < 1.4 * charts.baselines[ESTIMATE].standard_error(4000)


def labels(errors: list[float] | np.ndarray, first: int = 0, corrected: float = 0.0) -> LabelRows:
    times = [START + timedelta(minutes=first + i) for i in range(len(errors))]
    return LabelRows(np.asarray(errors, dtype=float), times, corrected)


def no_rows() -> Rows:
    columns = {k: v[:0] for k, v in table(1, 0)[0].items()}
    return Rows(columns, answers(columns), [])


def add_labels(stream: Stream, *given: Any) -> Degradation:
    for one in given:
        stream.state, degradation = update(stream.evidence, stream.state, no_rows(), one)
    return degradation


def test_few_labels_wait_and_form_blocks_of_a_fixed_number() -> None:
    stream = Stream(evidence())
    stream.run(1)
    add_labels(stream, labels([1.0] * 60), labels([0.0] * 39, 60))
    assert not stream.state.labels.blocks
    add_labels(stream, labels([0.0] * 3, 99))
    (block,) = stream.state.labels.blocks
    assert block.rows == stream.evidence.label_rows == 100
    assert block.loss == pytest.approx(60 / 100 - stream.evidence.learned.errors.mean())
    assert block.first == START
    assert block.last == START + timedelta(minutes=99)
    assert (stream.state.pending.count, stream.state.labelled) == (2, 100)


def test_waiting_labels_are_judged_without_counting() -> None:
    stream = Stream(evidence())
    stream.run(1)
    degradation = add_labels(stream, labels([1.0] * 50))
    assert degradation.verdict is Verdict.ALARM
    assert degradation.evidence[-1].score >= 1
    assert (stream.state.labels.sums, stream.state.labelled) == ((), 0)
    assert add_labels(stream, LabelRows()).verdict is Verdict.ALARM


@pytest.mark.parametrize("pieces", [(700,), (50,) * 14, (1, 99, 330, 270)])
def test_the_evidence_of_labels_is_the_same_for_any_batches(pieces: tuple[int, ...]) -> None:
    errors = (np.random.default_rng(3).random(700) < 0.2).astype(float)
    stream, start = Stream(evidence()), 0
    stream.run(1)
    for count in pieces:
        add_labels(stream, labels(errors[start : start + count], start))
        start += count
    one = Stream(evidence())
    one.run(1)
    add_labels(one, labels(errors))
    assert one.state.labels == stream.state.labels
    assert sum(one.state.labels.sums) > 0


def test_labels_that_are_sorted_by_class_raise_no_alarm() -> None:
    stream = Stream(evidence())
    stream.run(1)
    errors = (np.random.default_rng(3).random(1000) < 0.12).astype(float)
    order = np.argsort(-errors, kind="stable")
    times = [START + timedelta(minutes=int(i)) for i in order]
    assert add_labels(stream, LabelRows(errors[order], times)).verdict is Verdict.OK


def test_the_order_of_labels_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    batches = [labels((rng.random(100) < 0.3).astype(float), 100 * i) for i in range(4)]
    backwards = [LabelRows(b.errors[::-1], b.times[::-1]) for b in batches]
    one, two = Stream(evidence()), Stream(evidence())
    first, second = add_labels(one, *batches), add_labels(two, *backwards)
    assert one.state.labels.sums == two.state.labels.sums
    assert first.score == second.score


def test_late_labels_of_a_change_still_alarm() -> None:
    stream = Stream(evidence())
    stream.run(10)
    rng = np.random.default_rng(0)
    degradation = add_labels(stream, labels((rng.random(500) < 0.3).astype(float), 1000))
    assert degradation.verdict is Verdict.ALARM
    assert degradation.change_point.time == START + timedelta(minutes=1000)


def test_a_correction_moves_the_sums_back_at_once() -> None:
    stream = Stream(evidence())
    stream.run(2)
    wrong = labels([1.0, 0.0] * 100)
    assert add_labels(stream, wrong).verdict is Verdict.ALARM
    degradation = add_labels(stream, LabelRows(corrected=-80.0))
    assert degradation.verdict is Verdict.OK
    usual = stream.evidence.learned.errors.mean()
    errors = [(b.loss + usual) * b.rows for b in stream.state.labels.blocks]
    assert errors == pytest.approx([20, 0]), "no block has fewer than no errors"
    assert add_labels(stream, LabelRows(corrected=80.0)).verdict is Verdict.ALARM


def test_a_correction_of_pending_labels_changes_only_them() -> None:
    stream = Stream(evidence())
    stream.run(1)
    add_labels(stream, labels([1.0] * 10), LabelRows(corrected=-10.0))
    assert (stream.state.pending.count, stream.state.pending.errors) == (10, 0.0)
    add_labels(stream, labels([0.0] * 90))
    assert stream.state.labels.blocks[0].loss == pytest.approx(-stream.evidence.learned.errors.mean())


def test_labels_that_show_no_loss_overrule_the_estimate() -> None:
    stream = Stream(evidence())
    stream.run(2)
    assert stream.run(3, change=FAULTS["unit change"][2], seed=200)[-1].verdict is Verdict.ALARM
    rng = np.random.default_rng(1)
    degradation = add_labels(stream, labels((rng.random(1000) < 0.11).astype(float), 1200))
    assert degradation.verdict is Verdict.WARNING
    assert degradation.sentence.startswith("Inputs changed, performance did not")


def test_labels_that_show_the_loss_do_not_overrule_it() -> None:
    stream = Stream(evidence())
    stream.run(2)
    stream.run(3, change=FAULTS["unit change"][2], seed=200)
    rng = np.random.default_rng(1)
    assert add_labels(stream, labels((rng.random(1000) < 0.4).astype(float), 1200)).verdict is Verdict.ALARM


def test_labels_raise_no_alarm_if_the_reference_has_none() -> None:
    stream = Stream(evidence("unlabelled"))
    stream.run(1)
    degradation = add_labels(stream, labels([1.0] * 200 + [0.0] * 200))
    assert degradation.verdict is Verdict.OK
    assert LABELS not in {evidence.source for evidence in degradation.evidence}
    assert (stream.state.labelled, stream.state.pending.count) == (400, 0)
    assert degradation.performance.reference is None


def test_the_state_survives_a_round_trip_through_json() -> None:
    plain, written = Stream(evidence(), labelled=True), Stream(evidence(), labelled=True)
    for i in range(3):
        a = plain.run(1, seed=400 + i, change=FAULTS["nulls"][2])[0]
        b = written.run(1, seed=400 + i, change=FAULTS["nulls"][2])[0]
        assert a == b
        text = json.dumps(msgspec.to_builtins(written.state), allow_nan=False)
        written.state = msgspec.convert(json.loads(text), EvidenceState)


def test_the_state_has_a_bounded_size() -> None:
    stream = Stream(evidence())
    stream.run(MAX_BLOCKS + 20, rows=50)
    assert len(stream.state.estimate.blocks) == MAX_BLOCKS


def test_a_confirmed_move_counts_for_both_blocks_and_once() -> None:
    stream = Stream(evidence())
    stream.run(2)
    results = stream.run(2, change=FAULTS["shift"][2], seed=200)
    assert [h.verdict for h in results] == [Verdict.OK, Verdict.ALARM]
    first, second = (block.loss for block in stream.state.estimate.blocks[-2:])
    assert first == pytest.approx(second, abs=0.06)
    lone = Stream(evidence())
    lone.run(1, change=FAULTS["shift"][2])
    assert {h.verdict for h in lone.run(4, seed=300)} == QUIET


@pytest.mark.parametrize("unit", [1e-4, 1e6])
def test_regression_in_any_unit(unit: float) -> None:
    columns, _ = table(800, 0)

    def answered(columns: dict[str, np.ndarray], seed: int) -> tuple[Answers, np.ndarray]:
        given, truth = amounts(columns, seed)
        return Answers(given.values * unit), truth * unit

    given, truth = answered(columns, 1)
    learned = fit_reference_models(columns, given, truth, classes=0, seed=0)
    normal = float(learned.errors.mean())
    charts = CusumCharts(learned, smallest_loss=0.1 * normal, checks_per_alarm=CHECKS_PER_ALARM)

    def run(change: Callable[..., Any], labelled: bool) -> Degradation:
        state = EvidenceState()
        for i in range(3):
            columns, _ = table(500, 20 + i)
            _, truth = answered(columns, 30 + i)
            given, _ = answered(change(columns), 30 + i)
            times = [START + timedelta(minutes=500 * i + j) for j in range(500)]
            new = labels(np.abs(given.values - truth), 500 * i) if labelled else LabelRows()
            state, degradation = update(charts, state, Rows(change(columns), given, times), new)
        return degradation

    for labelled in (False, True):
        assert run(lambda t: t, labelled).verdict is Verdict.OK
        degradation = run(FAULTS["shift"][2], labelled)
        assert degradation.verdict is Verdict.ALARM
        assert degradation.performance.metric == "mean absolute error"
        assert degradation.estimated_loss.value == pytest.approx(3 * unit - normal, rel=0.35)


def test_a_baseline_without_any_error_has_a_standard_error() -> None:
    assert error_baseline(np.zeros(100)).deviation > 0
    assert error_baseline(np.zeros(100)).own_error > error_baseline(np.zeros(10_000)).own_error > 0
    assert error_baseline(np.full(100, 3.0), unit=3.0).mean == 3


def test_the_change_point_is_the_first_block_after_the_change() -> None:
    rng = np.random.default_rng(0)
    unchanged = [(500, float(rng.normal(0, 0.01))) for _ in range(20)]
    changed = [(500, float(rng.normal(0.05, 0.01))) for _ in range(5)]
    best, low, high = change_point(unchanged + changed, 0.3)
    assert abs(best - 20) <= 2
    assert low <= 20 <= high
    assert change_point([(500, -0.1)], 0.3) == (0, 0, 0)


def test_the_smallest_detectable_loss_falls_with_more_rows_and_time() -> None:
    charts = evidence()
    assert charts.smallest_detectable(500, 10) < charts.smallest_detectable(500, 1)
    assert charts.smallest_detectable(5000, 1) < charts.smallest_detectable(500, 1)


def test_a_smaller_budget_and_an_uncertain_mean_raise_the_thresholds() -> None:
    learned = evidence().learned
    often, seldom = (CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=n) for n in (50, 400))
    for source in (ESTIMATE, LABELS):
        limits = zip(often.limits(source, 500), seldom.limits(source, 500), strict=True)
        assert next(a[1] < b[1] for a, b in limits)
    small = evidence(rows=100)
    wide = evidence().limits(LABELS, 500)
    assert all(a[0] > b[0] for a, b in zip(small.limits(LABELS, 500), wide, strict=True))


def test_batches_of_alike_rows_seldom_look_independent() -> None:
    """25 rows share a part of their score, so their mean scatters more than that of independent rows."""
    alike = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        errors = np.repeat(rng.normal(0, 0.4, 80), 25) + rng.normal(0, 1, 2000)
        alike.append(error_baseline(errors).overdispersion)
    truth = 1 + 24 * 0.16 / 1.16
    assert np.mean(np.array(alike) >= truth) > 0.7
    assert min(alike) > 1
