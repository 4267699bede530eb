"""An alarm never contradicts its own loss: sentences, intervals and states."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import degradations
from tests.changes_of_state import notification
from tests.degradation_tasks import START, Stream, answers, evidence, table

from driftbell import backtest
from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.reference_models import Answers
from driftbell.degradation.update import Rows, update
from driftbell.publish.json_views import degradation_view
from driftbell.publish.notify import format_message
from driftbell.publish.wording import UNKNOWN_VALUE, format_loss, headline
from driftbell.records import Degradation, EvidenceState, Interval, Judgement, Verdict
from driftbell.records.check_state import (
    BlockExplanation,
    BlockSummary,
    ColumnCondition,
    SourceState,
    Suspicion,
)

NO_ROWS = Rows({}, Answers(np.empty(0), np.empty((0, 2))), ())
NUMBERS = re.compile(
    r"(-?[\d.e+-]+) (?:points of accuracy|more mean absolute error) "
    r"\(90 % interval: (-?[\d.e+-]+) to (-?[\d.e+-]+)\)"
)
BESIDE = re.compile(r"The [\d,]+ labels of rows from .*? UTC to .*? UTC show a loss: .*? → .*?%\.")
"""The sentence about labels, which is beside that about the estimate."""

KINDS = ("labelled", "unlabelled", "no probabilities", "regression")


def shifted(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Multiply a numeric column by 3 and rename a category: the model becomes surer and errs more."""
    renamed = np.array(["Zed" if v == "z" else v for v in columns["d"]], dtype=object)
    return columns | {"b": columns["b"] * 3, "d": renamed}


def blocks(*losses: float, rows: int = 500) -> tuple[BlockSummary, ...]:
    hour = timedelta(hours=1)
    return tuple(
        BlockSummary(rows, loss, START + i * hour, START + i * hour + hour) for i, loss in enumerate(losses)
    )


def result(state: EvidenceState, kind: str = "labelled") -> Degradation:
    return update(evidence(kind), state, NO_ROWS, LabelRows())[1]


def check_consistent(degradation: Degradation) -> None:
    """Assert that sentence, loss, message, headline and JSON agree on a positive loss, or name none."""
    loss = degradation.estimated_loss
    if loss:
        assert loss.low <= loss.value <= loss.high
    if loss and degradation.verdict is Verdict.ALARM and not degradation.closing:
        assert loss.is_positive
    judgement = Judgement(degradation.verdict, degradation.sentence, degradation=degradation)
    message = format_message(notification(), None, judgement)[1]
    for text in (degradation.sentence, format_loss(degradation), headline(judgement)[0], message):
        assert "worse: accuracy" not in text or loss
        for numbers in NUMBERS.findall(text.replace("−", "-")):
            value, low, high = map(float, numbers)
            assert 0 < low <= value <= high, text
        estimated = BESIDE.sub("", text)
        if not loss and not text.startswith("No alarm yet"):
            assert not NUMBERS.findall(estimated.replace("−", "-")), text
    view = degradation_view(degradation)
    assert view
    assert (view["estimated_loss"] is None) == (loss is None)
    if degradation.verdict is Verdict.ALARM and not loss:
        assert degradation.closing or "cannot tell how much" in degradation.sentence
    performance = degradation.performance
    interval = performance.estimated if performance else None
    assert interval is None or interval.low <= interval.value <= interval.high


def stream_table(rows: int, seed: int, *, labels: bool, change: Any = lambda t: t) -> dict[str, list[Any]]:
    columns, truth = table(rows, seed)
    columns = change(columns)
    given = answers(columns)
    assert given.probabilities is not None
    cells = {k: v.tolist() for k, v in columns.items()}
    cells |= {"answer": [str(int(v)) for v in given.values], "p": given.probabilities[:, 1].tolist()}
    return cells | ({"truth": [str(int(v)) for v in truth]} if labels else {})


@pytest.mark.parametrize("label", ["truth", None])
def test_a_fault_that_hides_its_own_loss_is_an_alarm_without_a_number(label: str | None) -> None:
    """A column times three makes the model surer, so its confidence alone shows a gain of two points."""
    checks = list(
        backtest(
            stream_table(800, 0, labels=label is not None),
            stream_table(1500, 5, labels=False, change=shifted),
            budget="1 per 1000 checks",
            prediction="answer",
            probabilities={"1": "p"},
            label=label,
        )
    )
    assert [c.verdict for c in checks] == [Verdict.ALARM] * 3
    assert (checks[0].estimated_loss, checks[0].interval) == (None, None)
    assert "because inputs look broken since row 0 (between 0 and 499)" in checks[0].sentence
    assert "cannot tell how much" in checks[0].sentence
    assert "points" not in checks[0].sentence.split("Drift in")[0]
    for check in checks[1:]:  # the second block confirms the moved column
        assert check.estimated_loss is not None
        assert check.interval is not None
        assert 0 < check.interval[0] < check.estimated_loss < check.interval[1]


@pytest.mark.parametrize("kind", ["labelled", "unlabelled"])
def test_the_page_shows_no_estimate_that_the_alarm_contradicts(kind: str) -> None:
    stream = Stream(evidence(kind))
    first, second = stream.run(2, change=shifted)
    assert (first.verdict, first.estimated_loss) == (Verdict.ALARM, None)
    assert first.performance
    assert first.performance.estimated is None
    assert format_loss(first) == UNKNOWN_VALUE
    assert headline(Judgement(first.verdict, first.sentence, degradation=first))[0] == (
        "The model probably performs worse."
    )
    assert second.performance
    assert second.performance.estimated
    for degradation in (first, second):
        check_consistent(degradation)


def test_a_wholly_negative_loss_raises_no_alarm() -> None:
    """The numbers of the first report: a loss of -0.056, from -0.076 to -0.036."""
    charts = evidence("labelled")
    state = EvidenceState(
        rows=500, estimate=SourceState(sums=(50.0, 50.0), score=1.25, blocks=blocks(-0.056))
    )
    degradation = result(state)
    assert degradation.verdict is Verdict.WARNING
    assert degradation.estimated_loss is not None
    assert degradation.estimated_loss.value == pytest.approx(-0.056)
    assert "no alarm" in degradation.sentence
    assert degradation.score < 1
    new, again = update(charts, state, NO_ROWS, LabelRows())
    assert (again.verdict, new.alarm) == (Verdict.WARNING, False)


@pytest.mark.parametrize(
    ("losses", "since", "verdict"),
    [
        ((0.0, 0.0, 0.0, 0.0, 0.06), 0, Verdict.OK),
        ((0.0, 0.0, 0.0, 0.0, 0.06), None, Verdict.ALARM),
        ((0.0, 0.0, 0.0, 0.0, 0.06), 4, Verdict.ALARM),
        ((0.0, 0.0, 0.0, 0.06, 0.06), 0, Verdict.ALARM),
        ((0.0, 0.0, 0.0, 0.0, 0.2), 0, Verdict.ALARM),
    ],
)
def test_one_of_some_blocks_with_a_fault_opens_no_alarm(
    losses: tuple[float, ...], since: int | None, verdict: Verdict
) -> None:
    """The estimate of a fault scatters, and the fault lasts: so does its loss, unless it is new or large."""
    summaries = blocks(*losses)
    suspicion = None
    if since is not None:
        suspicion = Suspicion(summaries[since].first, (ColumnCondition("a", "null"),))
    state = EvidenceState(
        rows=500 * len(losses),
        estimate=SourceState(sums=(50.0, 50.0), score=1.25, blocks=summaries),
        suspicion=suspicion,
    )
    degradation = result(state, "unlabelled")
    assert degradation.verdict is verdict
    if verdict is Verdict.OK:
        assert degradation.sentence.startswith("No alarm yet: the model lost 6.0 points of accuracy (90 %")
        assert degradation.sentence.endswith("if it lasts, an alarm is raised.")
        assert degradation.score < 1
    check_consistent(degradation)


@pytest.mark.parametrize("source", ["estimate", "labels"])
@pytest.mark.parametrize("kept", [True, False])
def test_an_open_alarm_without_a_loss_is_closing(source: str, kept: bool) -> None:
    losses = (0.1, 0.1, -0.05) if kept else (-0.05, -0.05)
    charts = SourceState(sums=(50.0, 50.0), score=1.1, blocks=blocks(*losses))
    estimate = charts if source == "estimate" else SourceState(score=0.0, blocks=blocks(0.0)[:0])
    labels = charts if source == "labels" else SourceState()
    state = EvidenceState(rows=1500, estimate=estimate, labels=labels, alarm=True)
    degradation = result(state, "labelled")
    if source == "labels":  # 500 labels of the newest rows without a loss end the alarm
        assert degradation.verdict is Verdict.WARNING
        return
    assert (degradation.verdict, degradation.closing) == (Verdict.ALARM, True)
    assert "the alarm closes if it stays so" in degradation.sentence
    assert ("the model lost" in degradation.sentence) == kept
    assert degradation.estimated_loss is not None
    assert degradation.estimated_loss.is_positive == kept
    judgement = Judgement(degradation.verdict, degradation.sentence, degradation=degradation)
    assert headline(judgement)[0] == "The alarm is closing: the newest rows show no loss."
    check_consistent(degradation)


def test_recovery_passes_from_alarm_over_closing_to_ok() -> None:
    stream = Stream(evidence("unlabelled"))
    worse = stream.run(3, change=lambda t: t | {"a": 1.8 * t["a"] + 32})
    after = stream.run(12, seed=300)
    assert worse[-1].verdict is Verdict.ALARM
    assert not worse[-1].closing
    assert after[-1].verdict is Verdict.OK
    for degradation in (*worse, *after):
        check_consistent(degradation)
        if degradation.verdict is Verdict.ALARM and degradation.performance:
            newest = stream_estimate(degradation)
            assert degradation.closing or newest is None or newest <= worse_than_reference(degradation)


def stream_estimate(degradation: Degradation) -> float | None:
    assert degradation.performance
    estimated = degradation.performance.estimated
    return estimated.value if estimated else None


def worse_than_reference(degradation: Degradation) -> float:
    assert degradation.performance
    return degradation.performance.reference or 1.0


def test_corrections_of_many_labels_leave_both_bounds_in_order() -> None:
    state = EvidenceState(
        rows=500,
        estimate=SourceState(score=0.0, blocks=blocks(0.0)),
        labels=SourceState((500.0, 500.0), 1.25, blocks(0.05, 4.0, rows=20)),
    )
    degradation = result(state)
    loss = degradation.estimated_loss
    assert loss
    assert 0 < loss.low <= loss.value <= loss.high <= 1
    check_consistent(degradation)


def test_the_error_of_a_regression_is_not_clipped_on_one_bound_only() -> None:
    state = EvidenceState(rows=500, estimate=SourceState(score=0.0, blocks=blocks(-50.0)))
    performance = result(state, "regression").performance
    assert performance
    assert performance.estimated
    assert performance.estimated.low <= performance.estimated.value <= performance.estimated.high
    assert performance.estimated.low >= 0


def test_a_stored_loss_that_is_not_positive_is_unknown_everywhere() -> None:
    wrong = replace(degradations.ALARM, sentence="Worse.", estimated_loss=Interval(-0.056, -0.076, -0.036))
    view = degradation_view(wrong)
    assert view
    assert view["estimated_loss"] is None
    assert format_loss(wrong) == UNKNOWN_VALUE
    assert headline(Judgement(Verdict.ALARM, "Worse.", degradation=wrong))[0] == (
        "The model probably performs worse."
    )


def test_a_small_loss_keeps_its_digits() -> None:
    small = replace(degradations.ALARM, estimated_loss=Interval(0.0003, 0.0001, 0.0005))
    assert format_loss(small) == ("0.03 points of accuracy (90 % interval: 0.01 to 0.05), 95.30 % → 95.27 %")


losses = st.floats(-1.0, 1.0) | st.floats(-0.05, 0.05)
scores = st.none() | st.floats(0, 5)


@st.composite
def sources(draw: st.DrawFn) -> SourceState:
    rows = draw(st.sampled_from([20, 50, 500, 10_000]))
    summaries = blocks(*draw(st.lists(losses, max_size=8)), rows=rows)
    if not summaries:
        return SourceState()
    return SourceState((draw(st.floats(0, 500)),) * 2, draw(scores), summaries)


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    estimate=sources(),
    labels=sources(),
    data_quality=scores,
    alarm=st.booleans(),
    errors=st.lists(st.sampled_from([0.0, 1.0]), max_size=60),
    corrected=st.integers(-200, 200),
    segment=st.sampled_from(["", "a > 3 (20% of the rows)"]),
)
def test_no_state_leads_to_a_sentence_that_contradicts_itself(
    kind: str,
    estimate: SourceState,
    labels: SourceState,
    data_quality: float | None,
    alarm: bool,
    errors: list[float],
    corrected: int,
    segment: str,
) -> None:
    if not evidence(kind).learned.labelled:
        labels = SourceState(blocks=labels.blocks)
    state = EvidenceState(
        rows=100,
        estimate=estimate,
        labels=labels,
        data_quality=data_quality if estimate.blocks else None,
        alarm=alarm,
        explanation=BlockExplanation(segment=segment),
    )
    times = [START + timedelta(minutes=i) for i in range(len(errors))]
    new, degradation = update(
        evidence(kind), state, NO_ROWS, LabelRows(np.array(errors), times, float(corrected))
    )
    check_consistent(degradation)
    assert new.alarm == (degradation.verdict is Verdict.ALARM)
    if degradation.verdict is Verdict.ALARM and not alarm:
        broken = (new.data_quality or 0) >= 1
        assert degradation.estimated_loss or broken
        assert not degradation.closing
    if degradation.verdict is Verdict.ALARM:
        assert degradation.score >= 1


@pytest.mark.parametrize(("loss", "named"), [(0.08, True), (0.01, False), (-0.05, False)])
def test_a_loss_of_the_newest_labels_is_named_before_it_is_an_alarm(loss: float, named: bool) -> None:
    labels = SourceState((0.0, 0.0), 0.4, blocks(-0.01, loss))
    degradation = result(EvidenceState(estimate=SourceState((0.0, 0.0), 0.0, blocks(0.0)), labels=labels))
    assert degradation.verdict is Verdict.OK
    assert degradation.sentence.startswith("No alarm yet: the newest 500 labels show a loss, 8.0") == named
    assert ("performs as well as on its reference" in degradation.sentence) != named
    check_consistent(degradation)
