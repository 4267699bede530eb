"""The secret key of hashes in the log: in a file, so in no database and no backup."""

from __future__ import annotations

from pathlib import Path

from driftbell.atomic_write import write_atomically
from driftbell.config.display import read_secret_file
from driftbell.config.settings import Settings, log_database
from driftbell.data_folder import exclusive_setup
from driftbell.errors import ConfigError
from driftbell.tabular.logged_values import key_id
from driftbell.wiring.session_secret import MIN_LENGTH, require_own_file

FILE_NAME = "log.key"
ID_FILE = "log.key.id"
"""The name of the key that this data folder has used, which does not reveal it."""

SETTING = "columns.log_key_file"


def log_key(settings: Settings) -> bytes:
    """Read the key, from the configured file, or from one in the data folder, which is created once.

    Raises:
        ConfigError: the file cannot be read or created, is too short, or has another key than before; no
            message has the key.
    """
    configured = settings.columns.log_key_file
    path = configured or settings.data_dir / FILE_NAME
    if configured is None:
        if log_database(settings.log) is not None:
            raise ConfigError(
                f"{SETTING} is missing: services that share the log in PostgreSQL hash with one key; write "
                "it with `openssl rand -hex 32` to a file that all of them can read"
            )
        if (settings.data_dir / ID_FILE).exists() and not path.exists():
            raise ConfigError(f"{path} is missing: {_cure(settings)}")
        require_own_file(settings.data_dir, path)
    secret = read_secret_file(SETTING, path).strip()
    if len(secret) < MIN_LENGTH:
        raise ConfigError(
            f"{SETTING}: {path.name} must have at least {MIN_LENGTH} characters: write it with "
            "`openssl rand -hex 32`"
        )
    key = secret.encode()
    _require_same(settings, path, key_id(key))
    return key


def _require_same(settings: Settings, path: Path, name: str) -> None:
    """Require the key that this data folder has used before, and remember a first one.

    Raises:
        ConfigError: it is another one, or cannot be remembered.
    """
    file = settings.data_dir / ID_FILE
    try:
        with exclusive_setup(settings.data_dir, settings.mask):
            if not file.exists():
                write_atomically(file, f"{name}\n".encode(), mode=0o600)
            known = file.read_text("ascii", "replace").strip()
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from error
    if known != name:
        raise ConfigError(f"{path} has another key than before: {_cure(settings)}")


def _cure(settings: Settings) -> str:
    return (
        "values would get other hashes than those in the log. Bring back the old key, or remove "
        f"{settings.data_dir / ID_FILE} to start anew with another one"
    )
