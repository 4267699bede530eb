"""What people may say about an alarm, and what both answers make together."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.life import NOON

from driftbell.alarms.annotations import read_annotation
from driftbell.alarms.verdict import combine
from driftbell.errors import InputError
from driftbell.records import Alarm, Degradation, Judgement, Verdict
from driftbell.records.alarms import Annotation


def degradation(verdict: Verdict) -> Degradation:
    return Degradation(verdict, "Degradation says.")


@pytest.mark.parametrize(
    ("drift", "found", "verdict", "sentence"),
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
    drift: Verdict, found: Verdict, verdict: Verdict, sentence: str
) -> None:
    both = combine(Judgement(drift, "Drift says."), degradation(found))
    assert (both.verdict, both.sentence, both.degradation) == (verdict, sentence, degradation(found))
    assert combine(Judgement(drift, "Drift says."), None) == Judgement(drift, "Drift says.")


ALARM = Alarm("c1", "m", "v1", NOON, None, "Worse.")
SAYS = {"annotation": "false", "author": " ada ", "reason": "a test\nrun"}


def test_a_mark_is_read() -> None:
    assert read_annotation(SAYS, ALARM, now=NOON) == Annotation("false", "ada", "a test\nrun", NOON)
    found = read_annotation(
        {**SAYS, "annotation": "silenced", "until": "2026-01-31T15:00:00+01:00"}, ALARM, now=NOON
    )
    assert found.until == NOON + timedelta(hours=2)


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
        ({"until": "2026-02-01T00:00:00Z"}, "until", "for silenced alone"),
        ({"annotation": "silenced"}, "until", "is missing"),
        ({"annotation": "silenced", "until": "tomorrow"}, "until", "with its zone"),
        ({"annotation": "silenced", "until": "2026-02-01T00:00:00"}, "until", "with its zone"),
        ({"annotation": "silenced", "until": 5}, "until", "with its zone"),
        ({"annotation": "silenced", "until": "0001-01-01T00:00:00+23:00"}, "until", "with its zone"),
        ({"annotation": "silenced", "until": "2026-01-31T11:00:00Z"}, "until", "in the future"),
        ({"who": "ada"}, "who", "leave it out"),
    ],
)
def test_what_is_wrong_with_a_mark_is_told_by_field(changes: dict[str, Any], field: str, words: str) -> None:
    body = {k: v for k, v in {**SAYS, **changes}.items() if v is not None}
    with pytest.raises(InputError) as caught:
        read_annotation(body, ALARM, now=NOON)
    (problem,) = caught.value.problems
    assert problem.field == field
    assert words in problem.message


def test_a_mark_is_an_object() -> None:
    with pytest.raises(InputError, match="send an object"):
        read_annotation([SAYS], ALARM, now=NOON)


def test_an_alarm_that_is_over_can_only_be_called_false() -> None:
    over = replace(ALARM, closed=NOON)
    assert read_annotation(SAYS, over, now=NOON).word == "false"
    with pytest.raises(InputError, match="the alarm is over"):
        read_annotation({**SAYS, "annotation": "expected"}, over, now=NOON)
