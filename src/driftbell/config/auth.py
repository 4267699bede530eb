"""Settings of authentication, and the API key of a client."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from driftbell.config.display import path_without_credentials, read_secret_file
from driftbell.config.section import Section
from driftbell.config.sources import KEY_VARIABLE
from driftbell.config.values import Address
from driftbell.errors import ConfigError

OPEN_NAMES = ("health", "metrics")


def _open_names(value: object) -> object:
    """Split a string of names at commas and spaces."""
    names = re.findall(r"[^\s,]+", value) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not set(names) <= set(OPEN_NAMES):
        raise ValueError('must be a list of "health" and "metrics", or empty')
    return tuple(names)


_PERIODS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}


def parse_rate(text: str) -> tuple[int, float]:
    """Return the number of requests and the seconds of a rate.

    Raises:
        ValueError: it is not one.

    >>> parse_rate("100/second"), parse_rate("5000 / hour")
    ((100, 1.0), (5000, 3600.0))
    """
    match = re.fullmatch(r"\s*([1-9]\d{0,8})\s*/\s*(second|minute|hour)\s*", text)
    if not match:
        raise ValueError("must be a rate such as '100/second', '600/minute' or '5000/hour'")
    return int(match[1]), _PERIODS[match[2]]


def _rate(value: object) -> object:
    if value is None:
        return None
    count, seconds = parse_rate(value if isinstance(value, str) else "")
    return f"{count}/{next(name for name, period in _PERIODS.items() if period == seconds)}"


def _issuer(value: str | None) -> str | None:
    if value is not None and value.startswith("http://"):
        host = urlsplit(value).hostname or ""
        if host not in ("localhost", "::1") and not host.startswith("127."):
            raise ValueError("must be an https URL: its keys decide who gets in")
    return value


class AuthSettings(Section):
    """`[auth]`."""

    required: Literal["auto", "always", "never", "with_keys"] = "auto"
    """Whether requests need an API key; 'auto': beyond loopback; 'with_keys': as soon as one exists."""
    open: Annotated[tuple[str, ...], BeforeValidator(_open_names)] = ("health",)
    """Routes that never need a key: 'health' (`/health` and `/health/live`), 'metrics'."""
    issuer: Annotated[Address, AfterValidator(_issuer)] = None
    """URL of an OpenID Connect issuer; its bearer tokens are accepted besides keys (extra `oidc`)."""
    audience: str | None = Field(None, min_length=1)
    """The name of this service in the claim `aud` of tokens; required with `auth.issuer`."""
    scope_claim: str = Field("scope", min_length=1)
    """The claim with the scopes of a token: a text with spaces, or a list."""
    session_secret_file: Path | None = None
    """A file with the secret that signs logins, the same for all replicas; without it, one in `data_dir`."""
    rate: Annotated[str | None, BeforeValidator(_rate)] = None
    """The most requests of one key to one server process, such as '100/second'; without it, any number."""


def client_headers(file: Path | None = None) -> dict[str, str]:
    """Return the headers with the API key of a client; none if it has no key.

    Args:
        file: a file that holds the key; None reads the variable `DRIFTBELL_API_KEY`.

    Raises:
        ConfigError: the file cannot be read, or what is there cannot be a key; no message has the key.
    """
    if file is None:
        source, text = KEY_VARIABLE, os.environ.get(KEY_VARIABLE, "").strip()
        if not text:
            return {}
    else:
        source = f"--api-key-file {path_without_credentials(file)}"
        text = read_secret_file("--api-key-file", file).strip()
    if not re.fullmatch(r"[!-~]+", text):
        raise ConfigError(f"{source} must hold one API key, as `driftbell keys create` prints it")
    return {"Authorization": f"Bearer {text}"}
