"""Sessions of people who have logged in to the pages: a signed cookie, valid in every worker and replica.

The cookie has the id of an API key and an end, signed by HMAC-SHA256 with a secret that is not in the
database. So a session needs no table of its own, ends when its key is revoked or expires, and cannot be
forged by whoever reads the database or a backup of it.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import timedelta

from driftbell.records.api_keys import ADMIN, ApiKey
from driftbell.server.auth.keyring import Keyring

COOKIE = "driftbell_session"
LIFETIME = timedelta(hours=12)

MIN_SECRET_BYTES = 32
"""As many as the signature has; a shorter secret could be guessed from a session."""

_FORM = re.compile(r"([0-9a-f]{8})\.([0-9]{1,12})\.([0-9a-f]{64})")

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
        end_seconds = int(end.timestamp())
        return f"{key.id}.{end_seconds}.{self._signature(key.id, end_seconds, key.digest)}", int(
            (end - now).total_seconds()
        )

    def key_of(self, headers: Iterable[tuple[bytes, bytes]]) -> ApiKey | None:
        """Return the valid key of a request's session; None without a valid session."""
        match = _FORM.fullmatch(_cookie(headers))
        if not match:
            return None
        key, end, now = self._keyring.by_id(match[1]), int(match[2]), self._keyring.clock()
        is_signed = hmac.compare_digest(match[3], self._signature(match[1], end, key.digest if key else ""))
        return key if is_signed and key and not key.end(now) and now.timestamp() < end else None

    def _signature(self, key_id: str, end: int, digest: str) -> str:
        # with the hash, so that a session is never that of another key with the same id
        text = f"driftbell session {key_id} {end} {digest}"
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
