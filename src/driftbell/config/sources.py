"""Sources of settings: the TOML file and the environment. Without pydantic, so that they are read quickly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from driftbell.errors import ConfigError

PREFIX = "DRIFTBELL_"
FILE_VARIABLE = "DRIFTBELL_CONFIG"
KEY_VARIABLE, URL_VARIABLE = "DRIFTBELL_API_KEY", "DRIFTBELL_URL"
"""Variables of clients: the API key, and the address of the service for `driftbell.Monitor`; no settings."""

START_OR_NAME = "is the service running there? start it with `driftbell up`, or name its address with --url"
"""Hint after a service that cannot be reached."""

GIVE_KEY = f"give this command a key in {KEY_VARIABLE} or with --api-key-file"
"""The cure after a 401 or 403."""

FILE_NAME = "driftbell.toml"


def values_of_file(file: Path | None, environment: Mapping[str, str]) -> list[tuple[str, Any, str]]:
    """Return the values of the TOML file: dotted name, value and source of each.

    Args:
        file: the file; None is that of the environment, or `driftbell.toml` in the working folder.
        environment: the variables.

    Raises:
        ConfigError: the file cannot be read.
    """
    chosen = file or (Path(environment[FILE_VARIABLE]) if environment.get(FILE_VARIABLE) else None)
    path = chosen or Path(FILE_NAME)
    if chosen is None and not path.is_file():
        return []
    import tomllib

    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration file {path} is not valid TOML: {error}") from error
    values = []
    for key, value in content.items():
        if isinstance(value, dict) and value and key not in ("limits", "models"):
            values += [(f"{key}.{k}", v, str(path)) for k, v in value.items()]
        else:
            values.append((key, value, str(path)))
    return values


def values_of_environment(environment: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return the values of variables such as `DRIFTBELL_CHECK__EVERY`: dotted name, value and source of each.

    Args:
        environment: the variables.
    """
    return [
        (key.removeprefix(PREFIX).lower().replace("__", "."), value, f"environment, {key}")
        for key, value in environment.items()
        if key.startswith(PREFIX)
        and key not in (FILE_VARIABLE, KEY_VARIABLE, URL_VARIABLE)
        and value  # Compose sets unused ones to ""
        if not re.match(f"{PREFIX}(SERVICE_|PORT(_|$))", key)  # by Kubernetes, for a service named driftbell
    ]
