"""Values of settings as `driftbell config` and messages have them: without passwords."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from driftbell.errors import ConfigError

_USER = re.compile(r"(?<=://)\S*@|[^\s:/'\"]+:(?!//)[^\s'\"]*@")
_QUERY = re.compile(r"(:/[^\s?#]*)[?#]\S+")
_URL_AS_PATH = re.compile(r"(\w[\w+.-]+:/).+", re.DOTALL)

MAX_LENGTH = 1000
"""Characters of a printed value or message: the patterns look at each character more than once."""


def without_credentials(text: str) -> str:
    """Hide the user, the password and the query of every URL in a text.

    >>> without_credentials("sftp://ann:s3cr/et@host/x, ann:s3cret@host and s3://bucket/a?key=s3cret")
    'sftp://***@host/x, ***@host and s3://bucket/a?***'
    """
    shortened = text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]}…"
    return _QUERY.sub(r"\1?***", _USER.sub("***@", shortened))


def path_without_credentials(path: Path) -> str:
    """Return a path as text; of a URL that stands there by mistake, only the scheme.

    >>> path_without_credentials(Path("slack://s3cret/B"))
    'slack:/***'
    """
    return _URL_AS_PATH.sub(r"\1***", without_credentials(str(path)))


def file_value(value: Any) -> str | int | float | bool | None:
    """Return a value as it is written in the file; of a secret, only that it is set."""
    from pydantic import SecretStr

    from driftbell.alarms.budget import Budget

    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        return f"{seconds / 60:.15g}m" if seconds % 60 == 0 else f"{seconds:.15g}s"
    if isinstance(value, tuple) and any(isinstance(v, SecretStr) for v in value):
        return f"({len(value)} set)"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or None
    if isinstance(value, dict):
        return ", ".join(part for name, v in value.items() for part in _entries(name, v)) or None
    if isinstance(value, SecretStr):
        return "(set)"
    if isinstance(value, Path):
        return path_without_credentials(value)
    return without_credentials(str(value)) if isinstance(value, str | Budget) else value


def _entries(name: str, value: Any) -> list[str]:
    """Return `name=value`, or `name>key=value` of each key of a mapping."""
    if not isinstance(value, dict):
        return [f"{name}={value}"]
    return [f"{name}>{key}={v}" for key, v in value.items()]


def read_secret_file(setting: str, path: Path) -> str:
    """Read a file with a secret.

    Raises:
        ConfigError: it cannot be read; the message has no secret, even if the setting holds it by mistake.
    """
    printable = path_without_credentials(path)
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"{setting}: cannot read {printable}: {error.strerror}") from error
    except UnicodeDecodeError:  # without its cause, which contains the secret
        raise ConfigError(f"{setting}: {printable} is not UTF-8 text") from None
