"""Errors as `application/problem+json` (RFC 9457), each with the field and what to do."""

from __future__ import annotations

import http
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from starlette.responses import Response

from driftbell.errors import InputError
from driftbell.records import FieldProblem

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 50
MOST_PROBLEMS = 1000
"""A body with so many is not read further: telling what is wrong must not cost more than answering."""

T = TypeVar("T")

SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "reason", "message"],
                "properties": {
                    "field": {"type": "string"},
                    "reason": {"type": "string"},
                    "message": {"type": "string"},
                    "row": {"type": "integer"},
                },
            },
        },
    },
}


class Refused(Exception):  # noqa: N818 - it is an answer, not a fault of ours
    """A request that is answered with a problem.

    Args:
        status: the HTTP status.
        reason: a short word for the counter of rejected inputs.
        detail: one sentence which says what to do.
        errors: the fields that are wrong.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.errors = errors
        self.headers = headers


def problem(
    status: int,
    detail: str,
    *,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Build the response."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = [_error(e) for e in errors[:MOST_ERRORS]]
    # escaped to ASCII: what the sender wrote may hold half a surrogate pair, which UTF-8 cannot carry
    return Response(json.dumps(body), status, headers, MEDIA_TYPE)


def _error(found: FieldProblem) -> dict[str, Any]:
    shown: dict[str, Any] = {"field": found.field, "reason": found.reason, "message": found.message}
    if found.row is not None:
        shown["row"] = found.row
    return shown


def each_checked(rows: Sequence[Any], check: Callable[[Any, int], T]) -> list[T]:
    """Check rows, and tell what is wrong with all of them at once, up to `MOST_PROBLEMS`.

    Args:
        rows: what was sent.
        check: takes a row and its place, gives what it is read as, or raises `InputError`.

    Raises:
        InputError: with the problems of every row.
    """
    found: list[T] = []
    problems: list[FieldProblem] = []
    for index, row in enumerate(rows):
        try:
            found.append(check(row, index))
        except InputError as error:
            problems += error.problems
        if len(problems) >= MOST_PROBLEMS:
            break
    if problems:
        raise InputError(problems)
    return found


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe problem answers for OpenAPI."""
    content = {MEDIA_TYPE: {"schema": SCHEMA}}
    return {s: {"description": http.HTTPStatus(s).phrase, "content": content} for s in statuses}
