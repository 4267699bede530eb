"""Settings of authentication, and the API key of a client."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator

from driftbell.config.display import path_without_credentials, read_secret_file
from driftbell.config.section import Section
from driftbell.config.sources import KEY_VARIABLE
from driftbell.errors import ConfigError

OPEN_NAMES = ("health", "metrics")


def _open_names(value: object) -> object:
    """Split a string of names at commas and spaces."""
    names = re.findall(r"[^\s,]+", value) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not set(names) <= set(OPEN_NAMES):
        raise ValueError('must be a list of "health" and "metrics", or empty')
    return tuple(names)


class AuthSettings(Section):
    """`[auth]`."""

    required: Literal["auto", "always", "never", "with_keys"] = "auto"
    """Whether requests need an API key; 'auto': beyond loopback; 'with_keys': as soon as one exists."""
    open: Annotated[tuple[str, ...], BeforeValidator(_open_names)] = ("health",)
    """Routes that never need a key: 'health' (`/health` and `/health/live`), 'metrics'."""


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
