"""Translate database errors into `StoreError`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from driftbell.errors import StoreError


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise each database error as a `StoreError`, without the statement and its values."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        reason = describe(getattr(error, "orig", None) or error)
        raise StoreError(f"the prediction log cannot be used: {reason}") from error
    except OSError as error:  # a network error that the driver does not wrap
        raise StoreError(f"the prediction log cannot be used: {describe(error)}") from error
    except UnicodeError as error:
        raise StoreError("the prediction log cannot be used: a text is not UTF-8") from error


SQLITE_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
POSTGRES_DAMAGE = {"XX001", "XX002"}
"""SQLSTATE of damaged data and of a damaged index."""


def is_damage(error: BaseException | None) -> bool:
    """Return whether a database error means that stored data is damaged."""
    original = getattr(error, "orig", None)
    if isinstance(original, sqlite3.Error):
        code = getattr(original, "sqlite_errorcode", 0)
        return (code & 0xFF) in SQLITE_DAMAGE  # the lowest byte of an extended code is the primary one
    fields: Any = original.args[0] if original is not None and original.args else None
    return isinstance(fields, dict) and fields.get("C") in POSTGRES_DAMAGE


def describe(error: BaseException) -> str:
    """Return the message of a database, driver or network error."""
    first: Any = error.args[0] if error.args else ""
    if isinstance(first, dict):  # pg8000 passes PostgreSQL's fields
        return str(first.get("M", "it does not say why"))
    cause = error.__cause__
    return f"{error}: {cause}" if isinstance(cause, OSError) and str(cause) not in str(error) else str(error)
