"""Request bodies: bounded, strict JSON, with helpful errors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from starlette.requests import ClientDisconnect, Request

from driftbell.server.heavy_work import ClientGoneError, require_room, run_admitted
from driftbell.server.http.content_encoding import compression_hint, content_coding, decompress
from driftbell.server.http.problems import Refused

MAX_INLINE_BYTES = 16 * 1024
"""Larger bodies are parsed and checked in a thread: some 10 KiB take a millisecond."""

MAX_WAITING_BODIES = 16
"""Large bodies that may wait, if all have the maximum size: some seconds of work."""

MAX_DIGITS = 400
"""Integers with more digits are read as infinite floats; parsing thousands of digits takes long."""

T = TypeVar("T")


async def read_json(request: Request, limit: int, check: Callable[[Any], T]) -> T:
    """Read one JSON value and check it; a large one in a thread, so that other requests go on meanwhile.

    NaN, the infinities, and numbers too large for a float are returned as such floats, so that the schema
    refuses them with the field's name.

    Args:
        request: a request that was not read yet.
        limit: maximum size in bytes; reading stops there.
        check: returns the checked value, or raises an error.

    Raises:
        Refused: 400 not JSON, 413 too large, 415 not `application/json` in UTF-8; or as `check`.
        InputError: as `check`.
    """
    _check_headers(request)
    return await check_json(request, await read_bytes(request, limit), limit, check)


async def check_json(request: Request, raw: bytes, limit: int, check: Callable[[Any], T]) -> T:
    """Parse and check one JSON value; see `read_json`."""
    if len(raw) <= MAX_INLINE_BYTES:
        return check(parse_json(raw))
    return await check_large(request, raw, limit, lambda body: check(parse_json(body)))


async def check_large(request: Request, raw: bytes, limit: int, check: Callable[[bytes], T]) -> T:
    """Check a large body in a thread, one after the other.

    Args:
        request: the request.
        raw: its body.
        limit: maximum size of a body in bytes.
        check: as for `read_json`.

    Raises:
        OverloadedError: too many large bodies wait.
        Refused: 400 the client disconnected meanwhile; or as `check`.
    """
    try:
        return await run_admitted(
            lambda: check(raw),
            size=len(raw),
            limit=MAX_WAITING_BODIES * limit,
            is_gone=request.is_disconnected,
        )
    except ClientGoneError as error:
        raise Refused(400, "disconnected", "the client disconnected before its turn") from error


def parse_json(raw: bytes) -> Any:
    """Parse one JSON value; see `read_json`.

    Raises:
        Refused: 400, it is not JSON.
    """
    if not raw.strip():
        raise Refused(400, "empty_body", "the body is empty: send JSON as described at /docs")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        detail = compression_hint(raw) or "the body is not UTF-8: send JSON in UTF-8"
        raise Refused(400, "not_json", detail) from error
    try:
        return json.loads(text, parse_constant=float, parse_int=_integer, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Refused(400, "not_json", f"the body is not valid JSON: {error.msg} ({where})") from error
    except RecursionError as error:
        raise Refused(
            400, "not_json", "the body is not valid JSON for this service: nested too deeply"
        ) from error


def content_type(request: Request) -> tuple[str, str]:
    """Return a body's media type ("" if missing) and charset, in lower case."""
    kind, *parameters = request.headers.get("content-type", "").lower().split(";")
    charset = "utf-8"
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset":
            charset = value.strip().strip('"')
            break
    return kind.strip(), charset


def _check_headers(request: Request) -> None:
    kind, charset = content_type(request)
    if kind != "application/json" or charset not in ("utf-8", "utf8"):
        detail = "send the header 'Content-Type: application/json' and a body of JSON in UTF-8"
        raise Refused(415, "content_type", detail)


async def read_bytes(request: Request, limit: int) -> bytes:
    """Read a whole body, and decompress it if it has a `Content-Encoding`.

    Args:
        request: a request that was not read yet.
        limit: maximum size in bytes, before and after decompression; reading stops there.

    Raises:
        Refused: 413 too large, 400 the client disconnected or the compressed body is not valid, 415 unknown
            compression.
        OverloadedError: too many large bodies wait already.
    """
    coding = content_coding(request)
    length = request.headers.get("content-length", "")
    if length.isdigit():
        if int(length) > limit:
            _too_large(limit)
        if int(length) > MAX_INLINE_BYTES:
            require_room(int(length), MAX_WAITING_BODIES * limit)
    parts = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                _too_large(limit)
            parts.append(part)
    except ClientDisconnect as error:
        raise Refused(400, "disconnected", "the client disconnected before the body was complete") from error
    body = b"".join(parts)
    return await decompress(request, body, coding, limit, MAX_WAITING_BODIES * limit) if coding else body


def _too_large(limit: int) -> NoReturn:
    detail = f"the body is larger than {limit} bytes: send fewer rows at a time, or raise server.body_limit"
    raise Refused(413, "too_large", detail, headers={"Connection": "close"})


def _integer(token: str) -> int | float:
    return int(token) if len(token) <= MAX_DIGITS else float(token)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        duplicate = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise Refused(400, "duplicate", f"the field '{duplicate[:80]}' is there more than once")
    return members
