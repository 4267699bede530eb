"""Encryption of contents that hold values of masked features, with the key of the hashes."""

from __future__ import annotations

import hashlib
import hmac
import secrets

_TAG_BYTES = 16


def encrypt(text: bytes, key: bytes) -> bytes:
    """Encrypt a text: a nonce, a keyed hash, and the text XOR a SHAKE-256 stream.

    Source: FIPS 202 (SHAKE-256 as an extendable-output function), RFC 7693 (keyed BLAKE2).

    >>> decrypt(encrypt(b"[1, 2]", b"secret"), b"secret"), decrypt(encrypt(b"[1, 2]", b"secret"), b"other")
    (b'[1, 2]', None)
    """
    head = secrets.token_bytes(_TAG_BYTES)
    hidden = _with_stream(text, head, key)
    return head + _tag(head + hidden, key) + hidden


def decrypt(stored: bytes, key: bytes) -> bytes | None:
    """Decrypt a text; None if it was encrypted with another key, or not at all."""
    head, tag, hidden = stored[:_TAG_BYTES], stored[_TAG_BYTES : 2 * _TAG_BYTES], stored[2 * _TAG_BYTES :]
    return _with_stream(hidden, head, key) if hmac.compare_digest(tag, _tag(head + hidden, key)) else None


def _with_stream(text: bytes, head: bytes, key: bytes) -> bytes:
    stream = hashlib.shake_256(hashlib.blake2b(head, key=key[:64]).digest()).digest(len(text))
    return (int.from_bytes(text) ^ int.from_bytes(stream)).to_bytes(len(text))


def _tag(content: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(content, key=key[:64], digest_size=_TAG_BYTES, person=b"waiting room").digest()
