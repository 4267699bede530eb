"""What a database says, as errors of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from driftbell.errors import LogError


@contextmanager
def told() -> Iterator[None]:
    """Make whatever a database fails with a `LogError`, without the statement and its values."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        raise LogError(f"the prediction log cannot be used: {_words(error)}") from error
    except UnicodeError as error:
        raise LogError("the prediction log cannot be used: a text is not UTF-8") from error


def _words(error: sa.exc.SQLAlchemyError) -> str:
    cause: Any = getattr(error, "orig", None) or error
    found = cause.args[0] if cause.args else cause
    if isinstance(found, dict):  # PostgreSQL's own words
        return str(found.get("M", "it does not say why"))
    inner = cause.__cause__
    return f"{cause}: {inner}" if isinstance(inner, OSError) and str(inner) not in str(cause) else str(cause)
