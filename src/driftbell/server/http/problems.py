"""Errors as `application/problem+json` (RFC 9457), each with the field and what to do."""

from __future__ import annotations

import http
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from starlette.responses import Response

from driftbell.errors import InputError
from driftbell.records import FieldProblem

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 50
"""Errors of a body that are listed in an answer."""

MAX_PROBLEMS = 1000
"""Errors of a body after which its other rows are not checked: a refusal must cost less than an answer."""

RETRY_SECONDS = 1
"""A client that was refused for lack of room may try again after so long, unless the answer names a time."""

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


class Refused(Exception):  # noqa: N818 - it is an answer, not a failure of the service
    """A request that is refused with a problem.

    Args:
        status: the HTTP status.
        reason: label of the counter of rejected inputs.
        detail: one sentence that says what to do.
        errors: the problems of each field.
        headers: more headers of the answer.

    Attributes:
        rows: number of rows of the request; None if they cannot be counted.
    """

    rows: int | None = None

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
    """Build the response; 429 and 503 have a `Retry-After`."""
    if status in (429, 503):
        headers = {"Retry-After": str(RETRY_SECONDS), **(headers or {})}
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = [_error(e) for e in errors[:MAX_ERRORS]]
    # escaped to ASCII: the sender's text may hold half a surrogate pair, which UTF-8 cannot encode
    return Response(json.dumps(body), status, headers, MEDIA_TYPE)


def log_hint(request_id: str) -> str:
    """Return where the cause of a failed request is written.

    >>> log_hint("3f2a")
    "the service's log has the reason in the line with the request id 3f2a"
    """
    line = f" in the line with the request id {request_id}" if request_id else ""
    return f"the service's log has the reason{line}"


def _error(error: FieldProblem) -> dict[str, Any]:
    view: dict[str, Any] = {"field": error.field, "reason": error.reason, "message": error.message}
    if error.row is not None:
        view["row"] = error.row
    return view


@contextmanager
def refused_together(rows: int | None) -> Iterator[None]:
    """Note in an error that all rows of a request are refused with it.

    Args:
        rows: their number; None if they cannot be counted.
    """
    try:
        yield
    except (InputError, Refused) as error:
        if error.rows is None:
            error.rows = rows
        raise


def check_each(rows: Sequence[Any], check: Callable[[Any, int], T]) -> list[T]:
    """Check rows and report the problems of all of them at once, up to `MAX_PROBLEMS`.

    Args:
        rows: JSON values.
        check: returns the checked row from a row and its position, or raises `InputError`.

    Raises:
        InputError: holds the problems of every row.
    """
    checked: list[T] = []
    problems: list[FieldProblem] = []
    for index, row in enumerate(rows):
        try:
            checked.append(check(row, index))
        except InputError as error:
            problems += error.problems
        if len(problems) >= MAX_PROBLEMS:
            break
    if problems:
        raise InputError(problems)
    return checked


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe problem answers for OpenAPI."""
    content = {MEDIA_TYPE: {"schema": SCHEMA}}
    return {s: {"description": http.HTTPStatus(s).phrase, "content": content} for s in statuses}
