"""No sentence of a check contradicts a number beside it: bounds, newest rows, and rows without labels."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import numpy as np
import pytest
from tests.degradation_tasks import FAULTS, SMALLEST_LOSS, START, Stream, answers, evidence, table
from tests.unit.degradation.test_loss_sentence import NO_ROWS, blocks, result

from driftbell.degradation.cusum import LABELS
from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.update import Rows, update
from driftbell.phrases import format_points
from driftbell.publish.wording import format_loss, headline
from driftbell.records import Degradation, EvidenceState, Judgement, Suspect, Verdict
from driftbell.records.check_state import (
    BlindSpot,
    BlockExplanation,
    BlockSummary,
    ColumnCondition,
    SourceState,
    Suspicion,
)

HOUR = timedelta(hours=1)
MOVED = BlindSpot(1.0, "a", "moved", 0.1, (ColumnCondition("a", "any"),))


def charts(*summaries: BlockSummary, score: float = 1.25, lasting: int = 0) -> SourceState:
    """Return the charts of a source with an alarm since their first block, or without one."""
    if score < 1:
        return SourceState((0.0, 0.0), score, summaries)
    return SourceState((50.0, 50.0), score, summaries, True, lasting or len(summaries))


def quiet(*summaries: BlockSummary) -> SourceState:
    return charts(*summaries, score=0.0)


def test_the_sentence_and_the_interval_have_one_upper_end() -> None:
    block = msgspec.structs.replace(blocks(0.0)[0], blind=MOVED, low=0.0, high=0.2)
    degradation = result(EvidenceState(rows=500, estimate=quiet(block)))
    loss = degradation.estimated_loss
    assert degradation.verdict is Verdict.UNKNOWN
    assert loss is not None
    assert loss.high > 0.2
    assert f"; up to {format_points(loss.high)} points of accuracy may be lost" in degradation.sentence


def test_labels_of_other_rows_do_not_lower_the_upper_end_of_a_blind_spot() -> None:
    """500 labels say that the loss is at most some points, none of them of the 5 % that are suspected."""
    block = msgspec.structs.replace(blocks(0.0)[0], blind=MOVED)
    labels = quiet(*blocks(*[0.0] * 20))
    degradation = result(EvidenceState(rows=500, estimate=quiet(block), labels=labels))
    assert degradation.verdict is Verdict.UNKNOWN
    assert degradation.estimated_loss is not None
    assert degradation.estimated_loss.high >= MOVED.loss
    assert f"up to {format_points(degradation.estimated_loss.high)} points" in degradation.sentence


@pytest.mark.parametrize(
    ("loss", "rows", "start", "end"),
    [
        (0.0, 500, "The model performs as well as on its reference", "as far as the evidence goes."),
        (
            0.05,
            500,
            "No alarm yet: the newest rows show a loss, 5.0 points of accuracy (90 % interval: ",
            " which may be chance; if it lasts, an alarm is raised.",
        ),
        (
            0.019,
            50_000,
            "No alarm: the newest rows show a loss, 1.9 points of accuracy (90 % interval: ",
            " which is less than the smallest loss that matters.",
        ),
    ],
)
def test_a_quiet_check_with_a_stated_loss_does_not_say_that_there_is_none(
    loss: float, rows: int, start: str, end: str
) -> None:
    degradation = result(EvidenceState(rows=rows, estimate=quiet(*blocks(loss, rows=rows))))
    assert degradation.verdict is Verdict.OK
    assert degradation.sentence.startswith(start)
    assert degradation.sentence.endswith(end)
    assert degradation.estimated_loss is not None
    assert degradation.estimated_loss.value == pytest.approx(loss, abs=1e-4)
    assert degradation.estimated_loss.is_positive == (loss > 0)


def test_a_quiet_check_that_does_not_exclude_a_large_loss_states_the_largest_one() -> None:
    """30 labels as on the reference, and an estimate that cannot see concept drift: 5 points may be lost."""
    estimate = quiet(*blocks(0.0, rows=30))
    degradation = result(EvidenceState(rows=30, estimate=estimate, labels=quiet(*blocks(0.0, rows=30))))
    assert degradation.verdict is Verdict.OK
    loss = degradation.estimated_loss
    assert loss is not None
    assert loss.low < 0
    assert loss.high >= 2.5 * SMALLEST_LOSS
    largest = f"up to {format_points(loss.high)} points of accuracy may be lost"
    assert degradation.sentence == f"No certain loss: {largest}."


def test_labels_of_older_rows_do_not_state_the_loss_of_the_newest_ones() -> None:
    """An alarm by an estimate has closed; 200 labels are of the rows with the fault."""
    labels = charts(*blocks(0.1, rows=200), score=0.7)
    state = EvidenceState(rows=1500, estimate=quiet(*blocks(0.0, 0.0, 0.0)), labels=labels)
    degradation = result(state)
    assert degradation.verdict is Verdict.OK
    assert degradation.sentence.startswith(
        "No alarm yet: the newest 200 labels, of rows until 2026-01-01 01:00 UTC, show a loss, 10.0 points"
    )
    loss = degradation.estimated_loss
    assert loss is not None
    assert loss.low < 0 < loss.value < 0.05


@pytest.mark.parametrize(("newest", "shown"), [(0.025, "no certain loss: up to 5.3 points"), (0.09, "")])
def test_an_alarm_by_labels_says_what_the_newest_ones_show(newest: float, shown: str) -> None:
    labels = charts(*blocks(0.1, 0.1, 0.1, newest))
    state = EvidenceState(rows=2000, estimate=quiet(*blocks(*[0.0] * 4)), labels=labels, alarm=True)
    degradation = update(evidence("labelled", 4000), state, NO_ROWS, LabelRows())[1]
    assert degradation.verdict is Verdict.ALARM
    assert not degradation.closing
    assert ", by its labels, since 2026-01-01 00:00 UTC" in degradation.sentence
    beside = f"The 500 labels of rows from 2026-01-01 03:00 UTC to 2026-01-01 04:00 UTC show {shown}"
    assert (beside in degradation.sentence) == bool(shown)


def test_a_recovery_of_few_labels_is_stated_beside_the_alarm() -> None:
    """Where a tenth of the rows has labels, the newest 500 of them reach back to before the recovery."""
    labels = charts(*blocks(0.1, 0.1, 0.1, 0.1, 0.0, 0.0, rows=100))
    state = EvidenceState(rows=6000, estimate=quiet(*blocks(*[0.0] * 6)), labels=labels, alarm=True)
    degradation = update(evidence("labelled", 4000), state, NO_ROWS, LabelRows())[1]
    assert degradation.verdict is Verdict.ALARM
    assert not degradation.closing
    beside = "The 200 labels of rows from 2026-01-01 04:00 UTC to 2026-01-01 06:00 UTC show no certain loss: "
    assert beside in degradation.sentence


@pytest.mark.parametrize("seen", [True, False])
def test_an_alarm_by_labels_says_that_rows_without_labels_have_recovered(seen: bool) -> None:
    """Only if the estimate showed the loss too: after its end, it forgets the blocks before."""
    labels = charts(*blocks(0.1, 0.1, 0.1))
    newest = blocks(*[0.0] * 8)[5:] if seen else blocks(*[0.0] * 8)
    state = EvidenceState(rows=4000, estimate=quiet(*newest), labels=labels, alarm=True)
    degradation = update(evidence("labelled", 4000), state, NO_ROWS, LabelRows())[1]
    assert degradation.verdict is Verdict.ALARM
    assert "10.0 points of accuracy" in degradation.sentence
    assert degradation.sentence.endswith("is of 2026-01-01 03:00 UTC; newer rows have none.")
    beside = "The newest 500 rows, estimated without labels, show no certain loss: up to "
    assert (beside in degradation.sentence) == seen


def test_an_alarm_that_cannot_close_does_not_say_that_it_closes() -> None:
    """The estimate of the newest rows is zero, and the reason why it may be wrong lasts."""
    newest = [msgspec.structs.replace(b, blind=MOVED, high=0.1) for b in blocks(*[0.0] * 8)]
    estimate = SourceState((0.0, 0.0), 0.0, (*blocks(0.1), *newest), True, 9)
    degradation = result(EvidenceState(rows=4500, estimate=estimate, alarm=True))
    assert degradation.verdict is Verdict.ALARM
    assert (degradation.closing, degradation.estimated_loss) == (False, None)
    assert degradation.sentence.startswith("Cannot tell whether the loss goes on: in the 500 rows until ")
    assert degradation.sentence.endswith(
        "and only labels of these rows show it. The alarm of the loss since 2026-01-01 00:00 UTC (between "
        "01-01 00:00 and 01-01 01:00) stays open until that is known."
    )
    judgement = Judgement(degradation.verdict, f"{degradation.sentence} Drift in a.", degradation=degradation)
    assert headline(judgement) == ("Cannot tell whether the loss goes on.", "Drift in a.")


def test_a_loss_of_the_newest_labels_that_is_no_alarm_yet_is_the_stated_one() -> None:
    """The estimate is more certain of no loss, but it cannot see that labels changed."""
    labels = charts(*blocks(0.046, rows=2000), score=0.97)
    state = EvidenceState(rows=2000, estimate=quiet(*blocks(0.0, rows=2000)), labels=labels)
    degradation = update(evidence("labelled", 4000), state, NO_ROWS, LabelRows())[1]
    assert degradation.verdict is Verdict.OK
    assert degradation.sentence.startswith(
        "No alarm yet: the newest 2,000 labels show a loss, 4.6 points of accuracy"
    )
    loss = degradation.estimated_loss
    assert loss is not None
    assert loss.value == pytest.approx(0.046)
    assert 0 < loss.low < loss.value < loss.high < 0.08
    assert format_loss(degradation) in degradation.sentence


@pytest.mark.parametrize(("newest", "shown"), [(0.02, "a loss: 2.0 points"), (0.15, "")])
def test_an_estimated_alarm_says_what_the_newest_rows_show(newest: float, shown: str) -> None:
    state = EvidenceState(rows=1500, estimate=charts(*blocks(0.2, 0.2, newest)), alarm=True)
    degradation = result(state)
    assert degradation.verdict is Verdict.ALARM
    assert not degradation.closing
    beside = f"The newest 500 rows, estimated without labels, show {shown}"
    assert (beside in degradation.sentence) == bool(shown)


@pytest.mark.parametrize("unlabelled", [0, 2])
def test_an_alarm_by_labels_says_that_they_do_not_reach_the_newest_rows(unlabelled: int) -> None:
    estimate, labels = quiet(*blocks(*[0.0] * (3 + unlabelled))), charts(*blocks(0.1, 0.1, 0.1))
    degradation = result(EvidenceState(rows=2500, estimate=estimate, labels=labels, alarm=True))
    assert degradation.verdict is Verdict.ALARM
    beside = " The newest label is of 2026-01-01 03:00 UTC; newer rows have none."
    assert degradation.sentence.endswith(beside) == bool(unlabelled)


def test_labels_of_other_rows_that_may_hide_a_loss_do_not_show_that_there_is_none() -> None:
    suspicion = Suspicion(START + 2 * HOUR, (ColumnCondition("a", "null"),))
    state = EvidenceState(
        rows=1500,
        estimate=charts(*blocks(0.0, 0.0, 0.2)),
        labels=quiet(*blocks(0.01, 0.01, rows=100)),
        suspicion=suspicion,
    )
    degradation = result(state)
    assert degradation.verdict is Verdict.ALARM
    assert (
        "The newest 200 labels, of rows until 2026-01-01 02:00 UTC, show no certain loss: up to "
        in degradation.sentence
    )


def broken(labels: float) -> Degradation:
    """Return the check of broken values with an estimate of no loss, and 500 labels with this loss."""
    since = START + HOUR
    errors = 100 * (labels + evidence().baselines["labels"].mean)
    state = EvidenceState(
        rows=2000,
        estimate=quiet(*blocks(0.0, 0.0, 0.0, 0.0)),
        labels=SourceState((50.0, 50.0), 0.9, blocks(0.0, labels)),
        data_quality=2.0,
        alarm=True,
        broken_since=(since, since + HOUR),
        suspicion=Suspicion(since, (ColumnCondition("a", "null"),), 100, errors),
    )
    return result(state)


def test_labels_of_broken_values_say_how_much_is_lost() -> None:
    degradation = broken(0.2)
    assert degradation.verdict is Verdict.ALARM
    assert "cannot tell how much" not in degradation.sentence
    assert "The model loses 20.0 points of accuracy (90 % interval: " in degradation.sentence
    assert ", by its labels, since 2026-01-01 01:00 UTC" in degradation.sentence
    loss = degradation.estimated_loss
    assert loss is not None
    assert loss.low < 0.2 < loss.high
    judgement = Judgement(degradation.verdict, degradation.sentence, degradation=degradation)
    assert headline(judgement)[0].startswith("The model performs worse: accuracy ")


def test_a_later_alarm_does_not_begin_before_the_end_of_an_earlier_one() -> None:
    """The sums are not zero when the first alarm closes: its blocks are no part of the second loss."""
    state = EvidenceState(
        rows=2500,
        estimate=SourceState((8.0, 8.0), 0.6, blocks(0.3, 0.3, -0.03, -0.03, -0.03), True, 5),
        alarm=True,
    )
    closed, degradation = update(evidence(), state, NO_ROWS, LabelRows())
    assert degradation.verdict is Verdict.OK
    assert [b.first for b in closed.estimate.blocks] == [START + 4 * HOUR]
    assert closed.estimate.sums == state.estimate.sums
    columns, _ = table(500, 7)
    columns = FAULTS["nulls"][2](columns)
    times = [START + 6 * HOUR + timedelta(seconds=i) for i in range(500)]
    later = update(evidence(), closed, Rows(columns, answers(columns), times), LabelRows())[1]
    assert later.verdict is Verdict.ALARM
    assert later.change_point is not None
    assert later.change_point.low >= START + 4 * HOUR
    assert later.change_point.time == START + 6 * HOUR


def test_scores_of_the_evidence_are_not_negative() -> None:
    """Nulls in a feature of little effect have a loss below its standard error."""
    stream = Stream(evidence())
    rows = np.random.default_rng(0).random(500) < 0.3
    for degradation in stream.run(3, change=lambda t: t | {"c": np.where(rows, np.nan, t["c"])}):
        assert all(item.score >= 0 for item in degradation.evidence)


def test_labels_that_end_a_loss_by_labels_in_one_look_are_a_recovery() -> None:
    """No inputs have changed: 1,000 labels without a loss follow those of an alarm."""
    stream = Stream(evidence(), labelled=True)
    stream.run(2)
    assert stream.run(3, wrong=0.3, seed=300)[-1].verdict is Verdict.ALARM
    columns, truth = table(1500, 400)
    degradation = stream.see(columns, truth, answers(columns))
    assert degradation.verdict is not Verdict.ALARM
    assert "Inputs changed" not in degradation.sentence
    assert "contradict" not in degradation.sentence
    if degradation.verdict is Verdict.WARNING:
        assert degradation.sentence.startswith("The newest labels show no certain loss any more")


@pytest.mark.parametrize("suspected", [False, True])
def test_inputs_changed_is_said_of_suspect_columns_only(suspected: bool) -> None:
    explanation = BlockExplanation("", (Suspect("a", 1.0, "median 10 → 12"),) if suspected else ())
    state = EvidenceState(
        rows=500,
        estimate=charts(*blocks(0.2)),
        labels=quiet(*blocks(*[-0.03] * 5, rows=60)),
        explanation=explanation,
    )
    sentence = result(state).sentence
    claim = "Inputs changed, performance did not: " if suspected else "Labels contradict an estimated loss: "
    assert sentence.startswith(f"{claim}estimated without labels, the loss is 20.0 points")
    assert "but the labels show less than the smallest loss that matters" in sentence


def contradicted(labels: SourceState, suspicion: Suspicion | None = None) -> Degradation:
    explanation = BlockExplanation("", (Suspect("a", 1.0, "median 10 → 12"),))
    estimate = charts(*blocks(*[0.034] * 3))
    return result(
        EvidenceState(
            rows=1500, estimate=estimate, labels=labels, suspicion=suspicion, explanation=explanation
        )
    )


def test_newest_labels_without_a_loss_do_not_contradict_those_since_the_change_that_show_one() -> None:
    suspicion = Suspicion(START + 2 * HOUR, (ColumnCondition("a", "any"),), 166, 18.0)
    degradation = contradicted(quiet(*blocks(0.08, 0.08, 0.0, rows=300)), suspicion)
    assert degradation.verdict is Verdict.ALARM
    assert "The 900 labels" in degradation.sentence
    assert "show a loss" in degradation.sentence
    assert "show no loss" not in degradation.sentence


def test_an_alarm_that_closes_in_the_check_that_opens_it_states_its_loss() -> None:
    """A block of labels opens it; some later labels, too few for a block, show no loss."""
    stream = Stream(evidence())
    stream.run(1)
    rows = evidence().label_rows
    errors = np.concatenate([np.repeat([1.0, 0.0], [rows * 3 // 10, rows * 7 // 10]), np.zeros(40)])
    times = [START + timedelta(seconds=i) for i in range(len(errors))]
    degradation = update(evidence(), stream.state, NO_ROWS, LabelRows(errors, times))[1]
    assert degradation.closing
    assert " the alarm closes if it stays so. Before, the model lost " in degradation.sentence


@pytest.mark.parametrize("labels", [0, 73])
def test_a_loss_by_labels_has_no_second_loss_of_the_newest_labels_beside_it(labels: int) -> None:
    """The newest 500 labels are also of rows before the change, so they show a smaller loss."""
    suspicion = Suspicion(START + 2 * HOUR, (ColumnCondition("a", "null"),), labels, 30.0)
    state = EvidenceState(
        rows=1500,
        estimate=quiet(*blocks(0.0, 0.0, 0.0)),
        labels=charts(*blocks(0.0, 0.0, 0.3, rows=200)),
        suspicion=suspicion,
        explanation=BlockExplanation("", (Suspect("a", 1.0, "null 0.0% → 40.0%"),)),
    )
    sentence = result(state).sentence
    assert sentence.startswith("The model loses 30.0 points of accuracy")
    assert ", by its labels, since 2026-01-01 02:00 UTC" in sentence
    few = f"Only {labels} labels are" if labels else "No label is"
    assert f"{few} of suspected rows (a, since 2026-01-01 02:00 UTC), and at least 100 are needed" in sentence
    assert sentence.count("null 0.0% → 40.0%") == 1
    assert "newest" not in sentence


@pytest.mark.parametrize(("wrong", "verdict"), [(10, Verdict.WARNING), (13, Verdict.ALARM)])
def test_labels_that_contradict_an_alarm_are_stated_with_their_number(wrong: int, verdict: Verdict) -> None:
    """The first 66 of them fill a block that begins with 34 labels of rows before the change."""
    stream = Stream(evidence("labelled", 4000))
    stream.run(2)
    usual = LabelRows(np.tile([*[0.0] * 9, 1.0], 14)[:134], stream.times(134))
    columns, truth = table(500, 1)
    stream.see(columns, truth, answers(columns), labels=usual)
    (*_, alarm) = stream.run(2, change=lambda t: t | {"a": np.full(500, 9.3)})
    assert alarm.verdict is Verdict.ALARM
    times = [START + timedelta(minutes=1500 + 10 * i) for i in range(100)]
    labels = LabelRows(
        (np.arange(100) < wrong).astype(float)[np.random.default_rng(0).permutation(100)], times
    )
    empty = {name: column[:0] for name, column in columns.items()}
    after = stream.see(empty, truth[:0], answers(empty), labels=labels)
    assert after.verdict is verdict
    stated = "The 100 labels of rows from 2026-01-02 01:00 UTC to 2026-01-02 17:30 UTC show" in after.sentence
    assert stated is (verdict is Verdict.WARNING)


def test_labels_of_rows_that_an_estimate_cannot_tell_bound_their_loss() -> None:
    usual = evidence("labelled", 4000).baselines[LABELS].mean
    block = msgspec.structs.replace(blocks(0.0)[0], blind=MOVED, low=0.0, high=0.4)
    state = EvidenceState(rows=500, estimate=quiet(block))
    of_rows = Suspicion(
        block.first, MOVED.conditions, labels=400, errors=400 * usual, rows=500, suspected=500
    )
    few = result(msgspec.structs.replace(state, suspicion=msgspec.structs.replace(of_rows, labels=40)))
    assert few.verdict is Verdict.UNKNOWN
    assert few.estimated_loss
    assert few.estimated_loss.high > 0.4
    settled = result(msgspec.structs.replace(state, suspicion=of_rows))
    assert settled.verdict is Verdict.OK
    assert settled.estimated_loss
    assert settled.estimated_loss.high < 0.1
    assert "may be lost" not in settled.sentence
