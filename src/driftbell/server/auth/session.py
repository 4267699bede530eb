"""Sessions of people who have logged in to the pages: a signed cookie, valid in every worker and replica.

The cookie has the id of an API key, an id of its own and an end, signed by HMAC-SHA256 with a secret that is
not in the database. So a session ends when its key is revoked or expires, and cannot be forged by whoever
reads the database or a backup of it. Stored are only the ids of sessions that people have ended.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

from driftbell.records.api_keys import ADMIN, ApiKey
from driftbell.server.auth.keyring import Keyring

COOKIE = "driftbell_session"
LIFETIME = timedelta(hours=12)

MIN_SECRET_BYTES = 32
"""As many as the signature has; a shorter secret could be guessed from a session."""

_FORM = re.compile(r"([0-9a-f]{8})\.([0-9a-f]{32})\.([0-9]{1,12})\.([0-9a-f]{64})")

_current: ContextVar[ApiKey | None] = ContextVar("driftbell_session", default=None)


class Sessions:
    """Signs sessions and checks them.

    Args:
        keyring: the keys that sessions stand for.
        secret: the key of the signatures; with another one, all sessions end.

    Raises:
        ValueError: the secret is too short.
    """

    def __init__(self, keyring: Keyring, secret: bytes) -> None:
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"the secret of sessions must have at least {MIN_SECRET_BYTES} bytes")
        self._keyring = keyring
        self._secret = secret

    def begin(self, key: ApiKey) -> tuple[str, int]:
        """Return the value of a cookie for a key, and the seconds for which it is valid."""
        now = self._keyring.clock()
        end = now + LIFETIME if key.expires is None else min(now + LIFETIME, key.expires)
        session_id, end_seconds = secrets.token_hex(16), int(end.timestamp())
        signature = self._signature(key.id, session_id, end_seconds, key.digest)
        return f"{key.id}.{session_id}.{end_seconds}.{signature}", int((end - now).total_seconds())

    def key_of(self, headers: Iterable[tuple[bytes, bytes]]) -> ApiKey | None:
        """Return the valid key of a request's session; None without a valid session."""
        found = self._find(headers)
        return found[0] if found else None

    def end(self, headers: Iterable[tuple[bytes, bytes]]) -> ApiKey | None:
        """End the session of a request, in every process; return its key, or None without a valid session."""
        found = self._find(headers)
        if found is None:
            return None
        key, session_id, end = found
        self._keyring.end_session(session_id, datetime.fromtimestamp(end, UTC))
        return key

    def _find(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[ApiKey, str, int] | None:
        """Return the key, the id and the end of a request's session; None without a valid session."""
        match = _FORM.fullmatch(_cookie(headers))
        if not match:
            return None
        key, session_id, end = self._keyring.by_id(match[1]), match[2], int(match[3])
        signature = self._signature(match[1], session_id, end, key.digest if key else "")
        now = self._keyring.clock()
        if not hmac.compare_digest(match[4], signature) or key is None:
            return None
        is_over = key.end(now) or end <= now.timestamp() or session_id in self._keyring.ended
        return None if is_over else (key, session_id, end)

    def _signature(self, key_id: str, session_id: str, end: int, digest: str) -> str:
        # with the hash, so that a session is never that of another key with the same id
        text = f"driftbell session {key_id} {session_id} {end} {digest}"
        return hmac.digest(self._secret, text.encode(), "sha256").hex()


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


def _cookie(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                cookie, _, text = pair.strip().partition("=")
                if cookie == COOKIE:
                    return text
    return ""
