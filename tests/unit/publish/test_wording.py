"""Wording and gauges that all surfaces share."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests import degradations

from driftbell.alarms.verdict import REPLACED, combine, without_alarm
from driftbell.degradation.explain import since_clause
from driftbell.publish.degradation_block import (
    evidence_gauge,
    full_score,
    mentions_newest_rows,
    performance_rows,
    sorted_evidence,
)
from driftbell.publish.json_views import degradation_view
from driftbell.publish.measured_metrics import metric_labels_sentence
from driftbell.publish.wording import (
    NOT_ESTIMATED,
    describe_drift,
    describe_suspects,
    format_change_point,
    format_loss,
    headline,
)
from driftbell.records import (
    ColumnComparison,
    ColumnVerdict,
    Degradation,
    Evidence,
    Interval,
    Judgement,
    Kind,
    ModelMetrics,
    Performance,
    Suspect,
    Verdict,
)


def test_a_loss_is_in_points_or_in_units_of_the_error() -> None:
    assert format_loss(degradations.ALARM) == (
        "4.2 points of accuracy (90 % interval: 1.8 to 6.6), 95.3 % → 91.1 %"
    )
    assert format_loss(degradations.WARNING) == (
        "may be zero (90 % interval: −1.0 to 0.8 points of accuracy)"
    )
    error = replace(
        degradations.ALARM,
        performance=Performance("mean absolute error"),
        estimated_loss=Interval(1.25, 0.5, 2.0),
    )
    assert format_loss(error) == "1.25 more mean absolute error (90 % interval: 0.50 to 2.00)"
    assert format_loss(replace(degradations.ALARM, estimated_loss=None)) == "unknown"


def test_the_interval_of_the_change_point_shows_a_date_only_if_it_differs() -> None:
    assert format_change_point(degradations.ALARM) == "2026-01-31 10:20 UTC (90 % interval: 09:50 to 10:35)"
    since = degradations.ALARM.change_point
    assert since
    earlier = replace(degradations.ALARM, change_point=replace(since, low=since.low - timedelta(days=1)))
    assert format_change_point(earlier).endswith("(90 % interval: 2026-01-30 09:50 to 10:35)")
    assert format_change_point(degradations.OK) == ""


def test_an_interval_within_a_minute_is_omitted() -> None:
    since = degradations.ALARM.change_point
    assert since
    assert since_clause(since) == "since 2026-01-31 10:20 UTC (between 01-31 09:50 and 01-31 10:35)"
    short = replace(since, low=since.time, high=since.time + timedelta(seconds=59))
    assert since_clause(short) == "since 2026-01-31 10:20 UTC"
    assert format_change_point(replace(degradations.ALARM, change_point=short)) == "2026-01-31 10:20 UTC"


def test_a_headline_is_short_and_the_rest_does_not_repeat_the_degradation_block() -> None:
    both = Judgement(
        Verdict.ALARM, f"{degradations.ALARM.sentence} Drift in a.", degradation=degradations.ALARM
    )
    assert headline(both) == (
        "The model probably performs worse: accuracy 95.3 % → 91.1 %.",
        "Drift in a.",
    )
    error = replace(degradations.ALARM, performance=Performance("mean absolute error"))
    assert headline(replace(both, degradation=error))[0].endswith(": 0.0420 more mean absolute error.")
    fine = Judgement(Verdict.OK, "No drift.", degradation=degradations.OK)
    assert headline(fine) == headline(replace(fine, degradation=None)) == ("No drift.", "")
    alone = Judgement(Verdict.UNKNOWN, degradations.UNKNOWN.sentence, degradation=degradations.UNKNOWN)
    assert headline(alone) == (degradations.UNKNOWN.sentence, "")


@pytest.mark.parametrize(
    ("verdict", "sentence", "first"),
    [
        (
            Verdict.UNKNOWN,
            "Cannot tell whether the model performs worse: in the 500 rows until 2026-01-31 12:00 UTC, the "
            "values of a differ from those in the reference; up to 9.1 points of accuracy may be lost.",
            "Cannot tell whether the model performs worse.",
        ),
        (
            Verdict.WARNING,
            "Inputs changed, performance did not: the labels show no loss; suspect columns: a.",
            "Inputs changed, performance did not.",
        ),
        (
            Verdict.WARNING,
            "The newest labels show no certain loss any more. The evidence falls, and there is no alarm.",
            "The newest labels show no certain loss any more.",
        ),
        (
            Verdict.WARNING,
            "Evidence of a loss has accumulated, but the newest rows show no certain loss: no alarm.",
            "Evidence of a loss has accumulated.",
        ),
    ],
)
def test_a_warning_about_the_performance_does_not_read_no_drift(
    verdict: Verdict, sentence: str, first: str
) -> None:
    degradation = replace(degradations.WARNING, verdict=verdict, sentence=sentence)
    judgement = combine(Judgement(Verdict.OK, "No drift: all 4 columns look like it."), degradation)
    assert judgement.verdict is Verdict.WARNING
    assert headline(judgement) == (first, "No drift: all 4 columns look like it.")


def test_a_loss_that_may_be_chance_is_in_the_headline_before_the_drift() -> None:
    loss = Interval(0.111, 0.06, 0.162)
    text = "No alarm yet: the newest 500 labels show a loss, 11.1 points of accuracy, which may be chance."
    quiet = replace(degradations.OK, sentence=text, estimated_loss=loss)
    judgement = combine(Judgement(Verdict.WARNING, "Drift in a."), quiet)
    first, rest = headline(judgement)
    assert (first, rest) == ("No alarm yet: accuracy 95.3 % → 84.2 %, which may be chance.", "Drift in a.")
    small = replace(quiet, sentence=f"No alarm: {text}")
    assert headline(combine(Judgement(Verdict.WARNING, "Drift in a."), small))[0] == "Drift in a."


def test_metrics_of_labels_before_the_window_are_not_those_of_now() -> None:
    facts: dict[str, Any] = {
        "realized": {"accuracy": Interval(0.9, 0.8, 0.95)},
        "labels": 500,
        "first": degradations.NOON,
    }
    old = ModelMetrics(**facts, last=degradations.NOON, newest_label=degradations.NOON)
    assert metric_labels_sentence(old).startswith(
        "Before the window: the newest 500 labelled predictions, from "
    )
    assert ", none of them in the window; " in metric_labels_sentence(old)
    some = metric_labels_sentence(replace(old, in_window=40))
    assert some.startswith("Newest labels: the newest 500 labelled predictions, from ")
    assert ", 40 of them in the window; " in some


def test_a_version_that_does_not_serve_any_more_performed_worse() -> None:
    judgement = without_alarm(combine(Judgement(Verdict.OK, "No drift."), degradations.ALARM))
    assert judgement.degradation
    assert judgement.sentence == f"{degradations.ALARM.sentence} {REPLACED} No drift."
    assert judgement.degradation.sentence == f"{degradations.ALARM.sentence} {REPLACED}"
    assert headline(judgement) == ("This version performed worse.", "No drift.")


@pytest.mark.parametrize(
    ("claim", "probably"),
    [
        (
            "The model loses 4.2 points of accuracy (90 % interval: 1.8 to 6.6), estimated without labels",
            True,
        ),
        ("The model loses 4.2 points of accuracy (90 % interval: 1.8 to 6.6), by its labels", False),
        ("The model performs worse: mean absolute error 41,000 → 52,000, estimated without labels", True),
        ("The model performs worse: mean absolute error 41,000 → 52,000, by its labels", False),
        ("The model performs worse: accuracy 94 % → 88 %, 6.0 points lost (p 0.001).", False),
        ("The model probably performs worse, because inputs look broken", True),
    ],
)
def test_what_labels_measured_is_not_called_probable(claim: str, probably: bool) -> None:
    suspects = "a (new category ', by its labels' 9%), b (new category ', estimated without labels' 9%)"
    sentence = f"{claim}, since 2026-01-31 10:20 UTC; suspect columns: {suspects}."
    alarm = Judgement(Verdict.ALARM, sentence, degradation=replace(degradations.ALARM, sentence=sentence))
    assert headline(alarm)[0] == (
        f"The model {'probably performs' if probably else 'performs'} worse: accuracy 95.3 % → 91.1 %."
    )


def test_suspects_are_described_with_their_values() -> None:
    assert describe_suspects(degradations.ALARM) == [
        f"petal length (cm), 81 % of the evidence: {degradations.WARMER}",
        "sepal width (cm), 19 % of the evidence",
    ]


def test_columns_that_changed_together_are_one_suspect() -> None:
    group = Suspect("a", 0.9, "null 0.0% → 40.0%", ("b", "c", "d"))
    others = Suspect("e", 0.1, "frozen at 5"), Suspect("f", 0.004, "median 3 → 4")
    alarm = replace(degradations.ALARM, suspects=(group, *others))
    assert describe_suspects(alarm) == [
        "4 features changed together: a, b, c and 1 more, 90 % of the evidence: null 0.0% → 40.0%",
        "e, 10 % of the evidence: frozen at 5",
        "f: median 3 → 4",
    ]
    assert alarm.suspect_columns == ("a", "b", "c", "d", "e", "f")
    suspects = degradation_view(alarm)["suspects"]
    together = [(s["column"], s["together"]) for s in suspects]
    assert together == [("a", ["b", "c", "d"]), ("e", []), ("f", [])]


def test_evidence_that_can_raise_an_alarm_comes_first_by_score() -> None:
    assert [(p.source, p.score) for p in sorted_evidence(degradations.ALARM)] == [
        ("disagreement", 1.8),
        ("estimate", 1.2),
        ("labels", 0.4),
        ("disagreement", 0.3),
        ("label shift", 0.7),
    ]


@pytest.mark.parametrize(
    ("part", "kind", "width"),
    [
        (Evidence("estimate", "", 0.5), "under", 50),
        (Evidence("estimate", "", 1.0), "over", 100),
        (Evidence("estimate", "", 40.0), "over", 200),
        (Evidence("estimate", "", -1.0), "under", 0),
        (Evidence("label shift", "", 1.5, can_alarm=False), "under", 150),
    ],
)
def test_a_gauge_is_as_long_as_its_score_and_red_at_the_threshold(
    part: Evidence, kind: str, width: float
) -> None:
    gauge = evidence_gauge(part)
    assert re.search(rf'class="{kind}" d="M0 3h{width:.1f}v', gauge)
    assert f"{part.source}: {part.score:.2f}".split(":")[0] in gauge


def test_bars_beyond_the_threshold_differ_on_a_common_scale() -> None:
    scores = (3.65, 2.51, 2.15, 0.5)
    evidence = tuple(Evidence("data quality", f"c{i}", score) for i, score in enumerate(scores))
    degradation = Degradation(Verdict.ALARM, "", evidence=evidence)
    gauges = [evidence_gauge(part, full_score(degradation)) for part in evidence]
    widths = [float(re.search(r'class="(?:over|under)" d="M0 3h([\d.]+)v', gauge)[1]) for gauge in gauges]
    assert widths == [200.0, 137.5, 117.8, 27.4]
    assert {re.search(r'"threshold" d="M([\d.]+) ', gauge)[1] for gauge in gauges} == {"54.8"}


def test_newest_rows_are_explained_only_where_they_are_named() -> None:
    nothing = Degradation(Verdict.OK, "No loss.")
    assert not mentions_newest_rows(nothing)
    assert mentions_newest_rows(replace(nothing, sentence="The newest rows show no certain loss."))
    for words in ("frozen at 5 in 62% of the newest 1,200 rows", "9% of the newest values outside 1 to 2"):
        assert mentions_newest_rows(replace(nothing, suspects=(Suspect("age", 0.6, words),)))


def test_performance_is_drawn_on_one_scale_and_unknown_values_are_not_drawn() -> None:
    rows = performance_rows(degradations.ALARM.performance or Performance("accuracy"))
    assert [(r.name, r.value, r.interval) for r in rows] == [
        ("On the reference", "95.3 %", ""),
        ("Estimated without labels, newest rows", "91.1 %", "90 % interval: 88.7 % to 93.5 %"),
        ("Realized (newest 120 labels)", "91.7 %", "90 % interval: 86.8 % to 95.1 %"),
    ]
    lines = {m[1] for r in rows if (m := re.search(r'"threshold" d="M([\d.]+) ', r.gauge))}
    assert len(lines) == 1, "the reference is at the same place in each row"
    for labels, name in ((0, "estimated without labels"), (1200, "1,200 labels")):
        accepted = Performance("accuracy", 0.8055, accepted_labels=labels)
        assert performance_rows(accepted)[0].name == f"On the accepted predictions ({name})"
        assert performance_rows(accepted)[0].value == "80.5 %"
    nothing = performance_rows(Performance("accuracy"))
    assert [r.value for r in nothing] == ["unknown"] * 3
    assert not any("band" in r.gauge or "threshold" in r.gauge for r in nothing)


def test_labels_of_rows_before_the_window_are_said_to_be_so() -> None:
    performance = degradations.ALARM.performance or Performance("accuracy")
    old = ModelMetrics(labels=120, in_window=0, last=degradations.NOON)
    assert performance_rows(performance, old)[-1].name == (
        "Realized (newest 120 labels, of rows until 2026-01-31 12:00 UTC)"
    )
    now = replace(old, in_window=120)
    assert performance_rows(performance, now)[-1].name == "Realized (newest 120 labels)"


@pytest.mark.parametrize("value", [0.0, 1.0, -2.5, float("nan"), float("inf")])
def test_any_numbers_can_be_drawn(value: float) -> None:
    interval = Interval(value, value, value)
    for row in performance_rows(Performance("mean absolute error", value, interval, interval, 1)):
        assert "<svg" in row.gauge
        assert "nan" not in row.gauge


def column(name: str, verdict: Verdict, p_value: float | None) -> ColumnVerdict:
    comparison = ColumnComparison(name, "feature", Kind.NUMERIC, p_value, (), None)
    return ColumnVerdict(comparison, verdict, p_value, 0.05, "")


def test_drift_is_described_with_the_number_of_columns_compared() -> None:
    same = Judgement(Verdict.OK, "", (column("a", Verdict.OK, 0.5),))
    assert describe_drift(same) == "No drift: 1 column compared with the reference."
    missing = replace(same, columns=(*same.columns, column("b", Verdict.UNKNOWN, None)))
    assert describe_drift(missing).endswith("compared with the reference. 1 column not compared.")
    assert describe_drift(Judgement(Verdict.UNKNOWN, "Cannot judge.")) == "No column could be compared."


def test_not_estimated_does_not_read_as_ok() -> None:
    assert "says nothing" in NOT_ESTIMATED
