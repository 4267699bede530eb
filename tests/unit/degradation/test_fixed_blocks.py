"""Evidence advances in fixed blocks of rows: how often one looks changes neither it nor the alarms."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from tests.degradation_tasks import FAULTS, START
from tests.unit.degradation.test_cusum import no_rows
from tests.unit.degradation.test_detector import Log, fitted

from driftbell.degradation.block import Block
from driftbell.degradation.blocks import add_estimate, add_labels
from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.decision import decide
from driftbell.degradation.detector import CusumDetector
from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.update import update
from driftbell.records import BlockSummary, Degradation, EvidenceState, SourceState, Verdict, Window

ROWS = 2600
NO_ROWS = np.empty(0, dtype=np.intp)


@pytest.fixture(scope="module")
def detector() -> CusumDetector:
    return fitted(block_rows=500)


@pytest.fixture(scope="module")
def log() -> Log:
    """Return predictions with a fault in the second half, and a label for each at once."""
    log = Log()
    log.predict(1300, 1)
    log.predict(1300, 2, change=FAULTS["stuck"][2], wrong=0.05)
    log.label(range(ROWS))
    return log


def watched(by: CusumDetector, log: Log, looks: list[int]) -> list[tuple[EvidenceState, Degradation]]:
    """Return the results of checks after these numbers of predictions."""
    state, results = EvidenceState(), []
    for seen in looks:
        rows = tuple(log.predictions[state.seq : seen])
        window = Window(rows, state.seq + 1, seen) if rows else Window()
        state, degradation = by.advance(state, window, log.labels[state.label_seq : seen])
        results.append((state, degradation))
    return results


def evidence_of(state: EvidenceState) -> EvidenceState:
    """Return what counts, without what describes the newest look."""
    return msgspec.structs.replace(
        state,
        explanation=EvidenceState().explanation,
        suspicion=None,
        alarm=False,
        opened=None,
        change=None,
        contradicted=False,
    )


@pytest.mark.parametrize("every", [50, 130, 500])
def test_the_evidence_is_the_same_for_any_times_of_checks(
    detector: CusumDetector, log: Log, every: int
) -> None:
    once, _ = watched(detector, log, [ROWS])[-1]
    often, degradation = watched(detector, log, [*range(every, ROWS, every), ROWS])[-1]
    assert evidence_of(often) == evidence_of(once)
    assert (often.rows, often.seq, often.label_seq) == (2500, 2500, ROWS)
    assert degradation.verdict is Verdict.ALARM
    assert degradation.rows == ROWS


def test_looking_again_and_again_adds_nothing(detector: CusumDetector, log: Log) -> None:
    looks = watched(detector, log, [1600, *[1600] * 10, 1700])
    first, last = looks[0], looks[-2]
    assert evidence_of(first[0]) == evidence_of(last[0])
    assert first[1].verdict is last[1].verdict is Verdict.ALARM
    assert looks[-1] == watched(detector, log, [1600, 1700])[-1]


def test_a_large_change_is_an_alarm_before_its_block_is_complete(detector: CusumDetector) -> None:
    log = Log()
    log.predict(500, 1)
    log.predict(200, 2, change=FAULTS["range"][2])
    state, degradation = watched(detector, log, [500, 700])[-1]
    assert degradation.verdict is Verdict.ALARM
    assert (state.rows, state.estimate.sums) == (500, watched(detector, log, [500])[0][0].estimate.sums)


def test_rows_that_wait_do_not_hide_what_the_block_before_cannot_tell(detector: CusumDetector) -> None:
    log = Log()
    log.predict(500, 1, change=lambda t: {k: np.where(np.arange(500) < 250, v[:1], v) for k, v in t.items()})
    log.predict(500, 2)
    blind, waiting, usual = (d for _, d in watched(detector, log, [500, 560, 1000]))
    assert blind.verdict is waiting.verdict is Verdict.UNKNOWN
    assert "100% of the 250 rows until" in waiting.sentence
    assert usual.verdict is Verdict.OK


def test_rows_that_wait_do_not_lower_the_score_of_broken_values() -> None:
    charts, times = with_errors(0.1), [START + timedelta(minutes=i) for i in range(500)]
    broken = EvidenceState(data_quality=1.2, broken_since=(times[0], times[1]))

    def after(rows: int, *, early: bool) -> EvidenceState:
        errors = np.full(rows, 0.1)
        block = Block(rows, 0.0, "confidence", errors, NO_ROWS, errors[:0], errors)
        return add_estimate(charts, broken, block, times[:rows], early=early)

    waiting, complete = after(200, early=True), after(500, early=False)
    assert (waiting.data_quality, waiting.broken_since) == (1.2, broken.broken_since)
    assert (complete.data_quality, complete.broken_since) == (0.0, None)


@pytest.mark.parametrize("distance", [-0.002, 0.002])
def test_an_alarm_by_few_scattered_labels_closes_with_their_mean(
    detector: CusumDetector, distance: float
) -> None:
    charts = detector.charts
    loss = charts.limits("labels", charts.label_rows)[0][0] + distance
    blocks = [BlockSummary(50, loss, START, START) for _ in range(10)]
    closes = [
        charts.is_over("labels", SourceState((), 0.5, tuple(blocks[:n]), True, n), 0.1) for n in (9, 10)
    ]
    assert closes == [False, distance < 0]


def test_rows_that_wait_need_more_evidence(detector: CusumDetector) -> None:
    charts = detector.charts
    for source in ("estimate", "labels"):
        usual, early = charts.limits(source, 500), charts.limits(source, 70, early=True)
        assert all(a[0] == b[0] and a[1] < b[1] for a, b in zip(usual, early, strict=True))


def test_gaps_between_sequence_numbers_count_no_row_twice(detector: CusumDetector, log: Log) -> None:
    """Predictions of other versions have sequence numbers between those of this one."""
    sequences = tuple(3 * i for i in range(1, ROWS + 1))
    state = EvidenceState()
    for seen in (700, 1200, ROWS):
        waiting = [i for i in range(seen) if sequences[i] > state.seq]
        window = Window(
            tuple(log.predictions[i] for i in waiting),
            sequences[waiting[0]],
            sequences[seen - 1],
            tuple(sequences[i] for i in waiting),
        )
        state, _ = detector.advance(state, window, [])
    assert (state.rows, state.seq) == (2500, 7500)


def test_the_budget_follows_the_traffic(detector: CusumDetector) -> None:
    charts = detector.charts
    month = 30 * 86400.0
    timed = CusumCharts(
        charts.learned,
        smallest_loss=charts.smallest_loss,
        checks_per_alarm=8640,
        block_rows=500,
        seconds_per_alarm=month,
    )
    assert timed.rows_per_alarm() == timed.rows_per_alarm(300 / 500) == 8640 * 500
    pace = 0.0
    for _ in range(1000):  # one block a day
        pace = timed.next_pace(pace, 86400, 500)
    assert timed.rows_per_alarm(pace) == pytest.approx(30 * 500, rel=0.01)
    assert timed.limits("estimate", 500, 30 * 500)[0][1] < timed.limits("estimate", 500)[0][1]
    assert timed.next_pace(pace, -5.0, 500) < pace, "late rows do not turn the time back"
    assert charts.next_pace(0.0, 86400, 500) == 0


def test_a_restart_continues_where_it_was(detector: CusumDetector, log: Log) -> None:
    state, _ = watched(detector, log, [1333])[-1]
    read = msgspec.json.decode(msgspec.json.encode(state), type=EvidenceState)
    rows = Window(tuple(log.predictions[state.seq : 2000]), state.seq + 1, 2000)
    again = fitted(block_rows=500)
    assert detector.advance(state, rows, []) == again.advance(read, rows, [])


def test_a_constant_loss_is_one_alarm() -> None:
    """Blocks of 2,000 rows with a loss near the allowance: their noise is as large as the threshold."""
    log = Log()
    detector = fitted(block_rows=2000, rows=2000)
    for i in range(25):
        log.predict(2000, 100 + i, wrong=0.07)
    log.label(range(len(log.predictions)))
    verdicts = [d.verdict for _, d in watched(detector, log, [*range(2000, 52_000, 2000)])]
    opened = verdicts.index(Verdict.ALARM)
    assert set(verdicts[opened:]) == {Verdict.ALARM}


def test_an_alarm_by_labels_has_their_loss(detector: CusumDetector) -> None:
    """With a label for every row, the loss is measured, whatever the estimate is."""
    log = Log()
    log.predict(1000, 1)
    log.predict(1500, 2, change=FAULTS["unit change"][2])
    log.label(range(2500))
    for _, degradation in watched(detector, log, [1000, 2000, 2500])[1:]:
        assert degradation.verdict is Verdict.ALARM
        assert "by its labels" in degradation.sentence
        assert degradation.estimated_loss is not None
    wrong = np.mean([x.label != x.prediction.output for x in log.labels[1000:]])
    usual = detector.charts.learned.errors.mean()
    assert degradation.estimated_loss.value == pytest.approx(wrong - usual, abs=0.01)


def test_a_block_that_measures_a_loss_never_reads_results_are_fine(detector: CusumDetector) -> None:
    """An old good month does not outweigh the newest labels."""
    log = Log()
    log.predict(500, 1, change=FAULTS["shift"][2])
    for i in range(6):
        log.predict(500, 10 + i, change=lambda t: t | {"c": t["c"] + 3})
    log.predict(500, 30, wrong=0.16)
    log.predictions = [replace(p) for p in log.predictions]
    log.label(range(500, 4000))
    _, degradation = watched(detector, log, [*range(500, 4001, 500)])[-1]
    measured = np.mean([x.label != x.prediction.output for x in log.labels[-500:]])
    assert measured - detector.charts.learned.errors.mean() > 0.1
    assert degradation.verdict is not Verdict.OK or "show a loss" in degradation.sentence
    assert "performance did not" not in degradation.sentence
    assert "as well as on its reference" not in degradation.sentence


@pytest.mark.parametrize(("times", "expected"), [(0.9, False), (1.1, True)])
def test_a_loss_below_the_smallest_one_opens_no_alarm(times: float, expected: bool) -> None:
    charts = fitted(block_rows=2000, rows=20_000).charts
    rate = charts.baselines["labels"].mean + times * charts.smallest_loss
    errors = np.diff(np.floor(rate * np.arange(40_001)))
    moments = [START + timedelta(minutes=i) for i in range(40_000)]
    state, alarms, scores = EvidenceState(), [], []
    for first in range(0, 40_000, 2000):
        part = slice(first, first + 2000)
        state, degradation = update(charts, state, no_rows(), LabelRows(errors[part], moments[part]))
        alarms.append(degradation.verdict is Verdict.ALARM)
        scores.append(degradation.score)
    assert alarms[-1] is any(alarms) is expected
    if not expected:
        assert 0 < max(scores) < 1
        assert scores[-1] < max(scores) / 2  # with as many labels as the reference has, it is usual
    else:
        assert degradation.estimated_loss is not None
        assert degradation.estimated_loss.value == pytest.approx(0.022, abs=0.0005)


def test_a_certain_loss_that_is_too_small_is_no_alarm() -> None:
    charts = fitted(block_rows=2000, rows=20_000).charts
    ends = [START + timedelta(hours=i) for i in range(21)]
    blocks = [BlockSummary(2000, 0.018, a, b) for a, b in pairwise(ends)]
    labels = SourceState((500.0, 500.0), 1.1, tuple(blocks), raised=True, lasting=5)
    degradation = update(charts, EvidenceState(labels=labels), no_rows(), LabelRows())[1]
    assert degradation.score == 0.99
    assert degradation.sentence.startswith("No alarm: the model lost 1.8 points of accuracy (90 %")
    assert degradation.sentence.endswith("which is less than the smallest loss that matters.")


def with_errors(share: float) -> CusumCharts:
    """Return charts of a reference with this share of errors in 2,000 rows."""
    errors = np.resize([1.0] + [0.0] * (round(1 / share) - 1), 2000)
    learned = fitted(block_rows=500).charts.learned
    return CusumCharts(learned, smallest_loss=0.02, checks_per_alarm=30, baseline=(errors, errors, errors))


def verdict_by_labels(charts: CusumCharts, counts: list[int], step: int) -> Verdict:
    """Return the verdict after labels that arrive in steps, with these errors in each block of 100."""
    return verdicts_by_labels(charts, counts, step)[-1]


def verdicts_by_labels(charts: CusumCharts, counts: list[int], step: int) -> list[Verdict]:
    """Return the verdict of each step."""
    errors = np.concatenate([np.diff(np.arange(101) * count // 100) for count in counts]).astype(float)
    state, times = EvidenceState(), [START + timedelta(minutes=i) for i in range(len(errors))]
    verdicts = []
    for start in range(0, len(errors), step):
        part = slice(start, start + step)
        state, degradation = update(charts, state, no_rows(), LabelRows(errors[part], times[part]))
        verdicts.append(degradation.verdict)
    return verdicts


def test_labels_before_a_new_loss_do_not_end_it() -> None:
    charts, usual = with_errors(0.005), [1, 0] * 8
    assert verdict_by_labels(charts, usual, 100) is not Verdict.ALARM
    assert verdict_by_labels(charts, [*usual, 4], 100) is Verdict.ALARM


@pytest.mark.parametrize("step", [50, 100, 500])
def test_an_alarm_opens_as_if_a_check_followed_each_block_of_labels(step: int) -> None:
    """The newest labels are not clearly below the allowance, though all together show a smaller loss."""
    assert verdict_by_labels(with_errors(0.1), [10] * 10 + [30, 12, 13, 12, 13], step) is Verdict.ALARM


@pytest.mark.parametrize("step", [50, 100, 500])
def test_an_alarm_by_labels_lasts_for_as_many_as_a_block_of_predictions_has(step: int) -> None:
    """Four errors in 100 labels open it; a check after 500 labels still shows it."""
    usual = [1, 0, 0, 0, 1]
    verdicts = verdicts_by_labels(with_errors(0.005), [*usual, 4, 0, 0, 0, 0, *usual, *usual], step)
    assert Verdict.ALARM in verdicts
    assert verdicts[-1] is not Verdict.ALARM


def test_an_estimate_that_labels_contradict_opens_no_alarm_until_the_next_block() -> None:
    charts, times = with_errors(0.1), [START + timedelta(minutes=i) for i in range(1000)]

    def with_block(state: EvidenceState, start: int, rows: int, *, early: bool = False) -> EvidenceState:
        errors = np.full(rows, 0.16)
        block = Block(rows, 0.06, "confidence", errors, NO_ROWS, errors[:0], errors)
        return add_estimate(charts, state, block, times[start : start + rows], early=early)

    state = with_block(EvidenceState(), 0, 500)
    assert decide(charts, state).verdict is Verdict.ALARM
    state = msgspec.structs.replace(state, contradicted=True)
    waiting = with_block(state, 500, 50, early=True)
    for known in (state, waiting):
        estimate = decide(charts, known)
        assert (estimate.verdict, estimate.contradicted) == (Verdict.WARNING, True)
    assert decide(charts, with_block(state, 500, 500)).verdict is Verdict.ALARM
    errors = np.diff(np.arange(1001) * 13 // 100).astype(float)
    proven, _ = add_labels(charts, state, LabelRows(errors, times))
    assert (proven.labels.score or 0.0) < 1
    estimate = decide(charts, proven)
    assert (estimate.verdict, estimate.source) == (Verdict.ALARM, "labels")
