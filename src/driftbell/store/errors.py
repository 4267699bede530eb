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
        raise LogError(
            f"the prediction log cannot be used: {words(getattr(error, 'orig', None) or error)}"
        ) from error
    except OSError as error:  # the network's, which the driver lets through
        raise LogError(f"the prediction log cannot be used: {words(error)}") from error
    except UnicodeError as error:
        raise LogError("the prediction log cannot be used: a text is not UTF-8") from error


def words(error: BaseException) -> str:
    """Say what went wrong as the database, the driver or the network said it."""
    found: Any = error.args[0] if error.args else ""
    if isinstance(found, dict):  # PostgreSQL's own words
        return str(found.get("M", "it does not say why"))
    inner = error.__cause__
    return f"{error}: {inner}" if isinstance(inner, OSError) and str(inner) not in str(error) else str(error)
