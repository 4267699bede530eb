"""Translate database errors into `StoreError`."""

from __future__ import annotations

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


def describe(error: BaseException) -> str:
    """Return the message of a database, driver or network error."""
    first: Any = error.args[0] if error.args else ""
    if isinstance(first, dict):  # pg8000 passes PostgreSQL's fields
        return str(first.get("M", "it does not say why"))
    cause = error.__cause__
    return f"{error}: {cause}" if isinstance(cause, OSError) and str(cause) not in str(error) else str(error)
