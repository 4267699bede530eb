"""Sessions of people who have logged in to the pages: a signed cookie, valid in every worker and replica.

The cookie has the id of an API key and an end, signed by HMAC-SHA256 with the stored hash of that key. So a
session needs no table of its own, and ends when its key is revoked or expires.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import datetime, timedelta

from driftbell.records.api_keys import ADMIN, ApiKey
from driftbell.server.auth.keyring import Keyring

COOKIE = "driftbell_session"
LIFETIME = timedelta(hours=12)

_FORM = re.compile(r"([0-9a-f]{8})\.([0-9]{1,12})\.([0-9a-f]{64})")

_current: ContextVar[ApiKey | None] = ContextVar("driftbell_session", default=None)


def new_session(key: ApiKey, now: datetime) -> tuple[str, int]:
    """Return the value of a cookie for a key, and the seconds for which it is valid."""
    end = now + LIFETIME if key.expires is None else min(now + LIFETIME, key.expires)
    end_seconds = int(end.timestamp())
    return f"{key.id}.{end_seconds}.{_signature(key, end_seconds)}", int((end - now).total_seconds())


def session_key(headers: Iterable[tuple[bytes, bytes]], keyring: Keyring) -> ApiKey | None:
    """Return the valid key of a request's session; None without a valid session."""
    match = _FORM.fullmatch(_cookie(headers))
    if not match:
        return None
    key, end, now = keyring.by_id(match[1]), int(match[2]), keyring.clock()
    if key is None or key.end(now) or end <= now.timestamp():
        return None
    return key if hmac.compare_digest(match[3], _signature(key, end)) else None


def set_current(key: ApiKey | None) -> None:
    """Set the key of the session that sent the current request; None without a session."""
    _current.set(key)


def session_name() -> str:
    """Return the name of the current session's key; "" without a session."""
    key = _current.get()
    return key.name if key else ""


def may_change() -> bool:
    """Return whether the current request may change state, as far as its session decides it."""
    key = _current.get()
    return key is None or key.allows(ADMIN)


def _signature(key: ApiKey, end: int) -> str:
    return hmac.digest(
        bytes.fromhex(key.digest), f"driftbell session {key.id} {end}".encode(), "sha256"
    ).hex()


def _cookie(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                cookie, _, text = pair.strip().partition("=")
                if cookie == COOKIE:
                    return text
    return ""
