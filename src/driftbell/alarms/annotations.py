"""Validate what a person says about an alarm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from driftbell.errors import InputError
from driftbell.records import FieldProblem
from driftbell.records.alarms import ANNOTATIONS, EXPECTED, FALSE, SILENCED, Alarm, Annotation

LONGEST = {"author": 200, "reason": 2000}


def read_annotation(body: Any, alarm: Alarm, *, now: datetime) -> Annotation:
    """Read what somebody says about an alarm.

    An alarm that is over can only be called false, which also takes back an `expected`.

    Args:
        body: an object with `annotation`, `author`, `reason` and, to silence it, `until` (ISO 8601).
        alarm: which.
        now: the time (UTC).

    Raises:
        InputError: every field that is wrong, and what to do.
    """
    if not isinstance(body, Mapping):
        message = "send an object with 'annotation', 'author' and 'reason'"
        raise InputError([FieldProblem("", "type", message)])
    problems = [
        FieldProblem(str(name), "extra", f"'{str(name)[:80]}' is not known: leave it out")
        for name in body
        if name not in ("annotation", "author", "reason", "until")
    ]
    word = body.get("annotation")
    if word not in ANNOTATIONS:
        message = f"'annotation' must be one of {', '.join(ANNOTATIONS)}"
        problems.append(FieldProblem("annotation", "missing" if word is None else "value", message))
    elif alarm.closed and word != FALSE:
        message = f"'annotation' cannot be {word}: the alarm is over; it can only be called false"
        problems.append(FieldProblem("annotation", "closed", message))
    for name in LONGEST:
        problems += _text_problems(name, body.get(name))
    until, wrong = _until(body.get("until"), word, now)
    problems += wrong
    if problems:
        raise InputError(problems)
    return Annotation(str(word), body["author"].strip(), body["reason"].strip(), now, until)


def _text_problems(name: str, value: Any) -> list[FieldProblem]:
    if value is None:
        return [FieldProblem(name, "missing", f"'{name}' is missing: say {_WHAT[name]}")]
    if not isinstance(value, str) or not value.strip():
        return [FieldProblem(name, "type", f"'{name}' must be a text: say {_WHAT[name]}")]
    if not _is_text(value):
        return [FieldProblem(name, "type", f"'{name}' must be a text without control characters")]
    if len(value) > LONGEST[name]:
        return [FieldProblem(name, "long", f"'{name}' must have at most {LONGEST[name]} characters")]
    return []


def _is_text(value: str) -> bool:
    """Return whether a text is printable except for line ends and tabs; unpaired surrogates are not."""
    return re.sub(r"[\r\n\t]", "", value).isprintable()


_WHAT = {"author": "who you are", "reason": "why"}


def _until(value: Any, word: Any, now: datetime) -> tuple[datetime | None, list[FieldProblem]]:
    hint = "'until' must be a time with its zone, such as '2026-01-31T18:00:00Z'"
    if value is None:
        wrong = word == SILENCED
        return None, [FieldProblem("until", "missing", f"'until' is missing: {hint}")] if wrong else []
    if word in (EXPECTED, FALSE):
        return None, [FieldProblem("until", "extra", "'until' is for silenced alone: leave it out")]
    try:
        until = datetime.fromisoformat(value)
        aware = until.astimezone(UTC) if until.tzinfo else None
    except (TypeError, ValueError, OverflowError):
        aware = None
    if aware is None:
        return None, [FieldProblem("until", "type", hint)]
    if aware <= now:
        return None, [FieldProblem("until", "past", "'until' is over already: it must be in the future")]
    return aware, []
