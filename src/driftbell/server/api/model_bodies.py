"""Bodies of requests that change versions."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from driftbell.errors import InputError
from driftbell.records import FieldProblem

MAX_LENGTH = 500
"""Characters of an author, a reason or a name."""


def read_promotion(body: Any) -> dict[str, Any]:
    """Check the body of a promotion.

    Raises:
        InputError: a field is missing, unknown or invalid.
    """
    members, problems = _read(body, {"schema_change"})
    problems += _not_boolean(members, "schema_change")
    return _valid(members, problems)


def read_challenge(body: Any) -> dict[str, Any]:
    """Check the body of a challenge; see `read_promotion`.

    >>> read_challenge({"author": "ada", "reason": "more trees"})
    Traceback (most recent call last):
    ...
    driftbell.errors.InputError: give 'share', a number such as 0.1, or 'shadow': true
    """
    members, problems = _read(body, {"share", "shadow", "sticky_feature", "sticky_header", "rollback"})
    for name in ("shadow", "rollback"):
        problems += _not_boolean(members, name)
    for name in ("sticky_feature", "sticky_header"):
        if members.get(name) is not None and not _is_text(members[name]):
            message = f"'{name}' must be a text of 1 to {MAX_LENGTH} characters"
            problems.append(FieldProblem(name, "type", message))
    share = members.get("share")
    if "share" not in members and not members.get("shadow"):
        message = "give 'share', a number such as 0.1, or 'shadow': true"
        problems.append(FieldProblem("share", "missing", message))
    elif "share" in members and (type(share) not in (int, float) or not 0 < members["share"] <= 1):
        message = "'share' must be a number above 0 and at most 1, such as 0.1"
        problems.append(FieldProblem("share", "range", message))
    return _valid(members, problems)


def read_stop(body: Any) -> dict[str, Any]:
    """Check the body of the end of a challenge; see `read_promotion`."""
    return _valid(*_read(body, ()))


def _read(body: Any, more: Collection[str]) -> tuple[dict[str, Any], list[FieldProblem]]:
    """Check author and reason, and return the body and its problems."""
    if not isinstance(body, dict):
        raise InputError([FieldProblem("", "not_an_object", "send an object with 'author' and 'reason'")])
    problems = [
        FieldProblem(name, "type", f"'{name}' must be a text of 1 to {MAX_LENGTH} characters")
        for name in ("author", "reason")
        if not _is_text(body.get(name))
    ]
    extra = [str(name)[:80] for name in body if name not in ("author", "reason", *more)]
    problems += [FieldProblem(name, "extra", f"unknown field '{name}'") for name in extra[:1]]
    return body, problems


def _not_boolean(body: dict[str, Any], name: str) -> list[FieldProblem]:
    if isinstance(body.get(name, False), bool):
        return []
    return [FieldProblem(name, "type", f"'{name}' must be true or false")]


def _valid(body: dict[str, Any], problems: list[FieldProblem]) -> dict[str, Any]:
    if problems:
        raise InputError(problems)
    return body


def _is_text(value: Any) -> bool:
    return (
        isinstance(value, str)
        and bool(value.strip())
        and len(value) <= MAX_LENGTH
        and not any("\ud800" <= c <= "\udfff" or c == "\0" for c in value)
    )
