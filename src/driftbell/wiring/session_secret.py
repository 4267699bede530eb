"""The secret that signs the sessions of the pages: in a file, so in no database and no backup."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from driftbell.atomic_write import write_atomically
from driftbell.config.display import read_secret_file
from driftbell.config.settings import Settings
from driftbell.data_folder import exclusive_setup
from driftbell.errors import ConfigError

FILE_NAME = "session.secret"
SETTING = "auth.session_secret_file"
SECRET_BYTES = 32

MIN_LENGTH = 32
"""Characters; `openssl rand -hex 32` prints 64."""


def session_secret(settings: Settings) -> bytes:
    """Read the secret, from the configured file, or from one in the data folder, which is created.

    Raises:
        ConfigError: the file cannot be read or created, or is too short for a secret; no message has it.
    """
    configured = settings.auth.session_secret_file
    path = configured or settings.data_dir / FILE_NAME
    if configured is None:
        require_own_file(settings.data_dir, path)
    secret = read_secret_file(SETTING, path).strip()
    if len(secret) < MIN_LENGTH:
        cure = "write one with `openssl rand -hex 32`" if configured else f"remove {path}, a start creates it"
        raise ConfigError(f"{SETTING}: {path.name} must have at least {MIN_LENGTH} characters: {cure}")
    return secret.encode()


def require_own_file(folder: Path, path: Path) -> None:
    """Create the file unless it exists, and hide it from other users."""
    try:
        if not path.exists():
            with exclusive_setup(folder):  # all processes on this folder sign with the same one
                if not path.exists():
                    write_atomically(path, f"{secrets.token_hex(SECRET_BYTES)}\n".encode(), mode=0o600)
            return
        status = path.stat()
        if status.st_mode & 0o077 and status.st_uid == os.geteuid():  # copied by hand
            path.chmod(0o600)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
