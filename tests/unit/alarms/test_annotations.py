"""Annotations of alarms, and the combined verdict."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.life import NOON

from driftbell.alarms.annotations import read_annotation
from driftbell.alarms.verdict import combine
from driftbell.errors import InputError
from driftbell.records import Alarm, Degradation, Interval, Judgement, Verdict
from driftbell.records.alarms import Annotation


def degradation(verdict: Verdict) -> Degradation:
    return Degradation(verdict, "Degradation says.")


@pytest.mark.parametrize(
    ("drift", "result", "verdict", "sentence"),
    [
        (Verdict.OK, Verdict.OK, Verdict.OK, "Drift says."),
        (Verdict.WARNING, Verdict.OK, Verdict.WARNING, "Drift says."),
        (Verdict.UNKNOWN, Verdict.OK, Verdict.UNKNOWN, "Drift says."),
        (Verdict.OK, Verdict.WARNING, Verdict.WARNING, "Degradation says. Drift says."),
        (Verdict.UNKNOWN, Verdict.WARNING, Verdict.WARNING, "Degradation says. Drift says."),
        (Verdict.OK, Verdict.UNKNOWN, Verdict.UNKNOWN, "Degradation says. Drift says."),
        (Verdict.WARNING, Verdict.UNKNOWN, Verdict.WARNING, "Degradation says. Drift says."),
        (Verdict.OK, Verdict.ALARM, Verdict.ALARM, "Degradation says. Drift says."),
        (Verdict.UNKNOWN, Verdict.ALARM, Verdict.ALARM, "Degradation says. Drift says."),
    ],
)
def test_only_degradation_is_an_alarm(
    drift: Verdict, result: Verdict, verdict: Verdict, sentence: str
) -> None:
    both = combine(Judgement(drift, "Drift says."), degradation(result))
    assert (both.verdict, both.sentence, both.degradation) == (verdict, sentence, degradation(result))
    assert combine(Judgement(drift, "Drift says."), None) == Judgement(drift, "Drift says.")


@pytest.mark.parametrize(
    ("low", "sentence"), [(0.01, "Degradation says. Drift says."), (-0.01, "Drift says.")]
)
@pytest.mark.parametrize("drift", [Verdict.OK, Verdict.WARNING])
def test_a_quiet_check_with_a_loss_above_zero_names_it(drift: Verdict, low: float, sentence: str) -> None:
    quiet = replace(degradation(Verdict.OK), estimated_loss=Interval(0.02, low, 0.05))
    both = combine(Judgement(drift, "Drift says."), quiet)
    assert (both.verdict, both.sentence) == (drift, sentence)


def test_a_check_that_waits_for_predictions_is_not_ok() -> None:
    """After a new baseline, too: the verdict and the text say the same."""
    waiting = Degradation(Verdict.UNKNOWN, "Cannot judge yet: needs 50, has 3.", waiting=True)
    both = combine(Judgement(Verdict.OK, "No drift."), waiting)
    assert (both.verdict, both.sentence) == (Verdict.UNKNOWN, "No drift. Cannot judge yet: needs 50, has 3.")


ALARM = Alarm("c1", "m", "v1", NOON, None, "Worse.")
BODY = {"annotation": "false", "author": " ada ", "reason": "a test\nrun"}


def test_an_annotation_is_read() -> None:
    assert read_annotation(BODY, ALARM, now=NOON) == Annotation("false", "ada", "a test\nrun", NOON)
    result = read_annotation(
        {**BODY, "annotation": "silenced", "until": "2026-01-31T15:00:00+01:00"}, ALARM, now=NOON
    )
    assert result.until == NOON + timedelta(hours=2)


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"annotation": None}, "annotation", "must be one of expected, false, silenced"),
        ({"annotation": "wrong"}, "annotation", "must be one of"),
        ({"annotation": ["false"]}, "annotation", "must be one of"),
        ({"author": None}, "author", "'author' is missing: say who you are"),
        ({"author": "  "}, "author", "must be a text"),
        ({"author": "a" * 201}, "author", "at most 200"),
        ({"author": "\ud800"}, "author", "control characters"),
        ({"author": "\x00"}, "author", "control characters"),
        ({"reason": 5}, "reason", "must be a text: say why"),
        ({"until": "2026-02-01T00:00:00Z"}, "until", "only for 'silenced'"),
        ({"annotation": "silenced"}, "until", "is missing"),
        ({"annotation": "silenced", "until": "tomorrow"}, "until", "with its zone"),
        ({"annotation": "silenced", "until": "2026-02-01T00:00:00"}, "until", "with its zone"),
        ({"annotation": "silenced", "until": 5}, "until", "with its zone"),
        ({"annotation": "silenced", "until": "0001-01-01T00:00:00+23:00"}, "until", "with its zone"),
        ({"annotation": "silenced", "until": "2026-01-31T11:00:00Z"}, "until", "in the future"),
        ({"who": "ada"}, "who", "leave it out"),
    ],
)
def test_each_invalid_field_is_reported(changes: dict[str, Any], field: str, words: str) -> None:
    body = {k: v for k, v in {**BODY, **changes}.items() if v is not None}
    with pytest.raises(InputError) as caught:
        read_annotation(body, ALARM, now=NOON)
    (problem,) = caught.value.problems
    assert problem.field == field
    assert words in problem.message


def test_an_annotation_is_an_object() -> None:
    with pytest.raises(InputError, match="send an object"):
        read_annotation([BODY], ALARM, now=NOON)


def test_a_closed_alarm_can_only_be_annotated_as_false() -> None:
    over = replace(ALARM, closed=NOON)
    assert read_annotation(BODY, over, now=NOON).word == "false"
    with pytest.raises(InputError, match="the alarm is closed"):
        read_annotation({**BODY, "annotation": "expected"}, over, now=NOON)
