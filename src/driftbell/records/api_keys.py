"""API keys: what is stored about a key, and how a new one is generated."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

PREDICT, LABEL, READ, ADMIN = "predict", "label", "read", "admin"
SCOPES = (PREDICT, LABEL, READ, ADMIN)
"""Permissions of a key: predictions, labels, everything that only reads, and everything."""

PREFIX = "dbk_"
"""Start of each key, by which scanners for leaked secrets can find it."""

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the store has it, without the key itself.

    Attributes:
        id: a public identifier, which is also a part of the key.
        name: the name of its user; unique among the keys that are not revoked.
        scopes: members of `SCOPES`; `admin` includes the others.
        digest: the hexadecimal SHA-256 of the key. A slow hash protects passwords, which can be guessed; a
            key has 256 random bits.
        created: when it was created (UTC).
        expires: when it ends (UTC); None for never.
        last_used: when it was last used (UTC), accurate to a minute; None if it never was.
        revoked: when it was revoked (UTC); None if it was not.
    """

    id: str
    name: str
    scopes: frozenset[str]
    digest: str = field(repr=False)
    created: datetime
    expires: datetime | None = None
    last_used: datetime | None = None
    revoked: datetime | None = None

    def allows(self, scope: str) -> bool:
        """Return whether the key has a scope."""
        return scope in self.scopes or ADMIN in self.scopes

    def end(self, now: datetime) -> str:
        """Return why the key is not valid any more: "revoked", "expired", or "" if it is."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else ""


def new_api_key(
    name: str, scopes: Iterable[str], *, now: datetime, expires: datetime | None = None
) -> tuple[ApiKey, str]:
    """Return a new key: what is to be stored, and the key itself, which is to be shown once.

    >>> stored, key = new_api_key("ada", ["predict"], now=datetime(2026, 1, 31))
    >>> key.startswith(f"dbk_{stored.id}_"), stored.digest == digest_of(key.encode())
    (True, True)
    """
    key_id = secrets.token_hex(4)
    key = f"{PREFIX}{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return ApiKey(key_id, name, frozenset(scopes), digest_of(key.encode()), now, expires), key


def digest_of(key: bytes) -> str:
    """Return the hexadecimal SHA-256 of a key."""
    return hashlib.sha256(key).hexdigest()
