"""Setting `[models]`: further models of the service, each with a settings file of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator

from driftbell.config.sources import FILE_NAME, FILE_VARIABLE
from driftbell.errors import ConfigError

if TYPE_CHECKING:
    from driftbell.config.settings import Settings

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
DEFAULT = "default"
"""The name of the model of the main settings, for `driftbell monitor --model`."""

RESERVED = frozenset({"challenger", "compare", DEFAULT, "rollback"})
"""Names that would mean something else: routes below `/models`, and the default model."""

PROCESS_SECTIONS = ("server", "auth", "tracing", "models")
"""Sections of the settings that belong to the service, and not to one of its models."""


def parse_models(value: object) -> dict[str, object]:
    """Return the settings file by name of a mapping, or of a text such as `churn=churn/driftbell.toml`.

    Raises:
        ValueError: it has another form, or a name cannot be used.
    """
    if isinstance(value, str):
        value = {name.strip(): file.strip() for name, _, file in (p.partition("=") for p in value.split(","))}
    example = '{churn = "churn/driftbell.toml"}'
    if not isinstance(value, Mapping) or not all(isinstance(f, str | Path) and f for f in value.values()):
        raise ValueError(f"must be settings files by name, such as {example}")
    for name in value:
        if not NAME.fullmatch(name):
            raise ValueError(
                f"name '{name}' must begin with a lower-case letter and have at most 63 lower-case letters, "
                "digits, '_' and '-'"
            )
        if name in RESERVED:
            raise ValueError(f"name '{name}' is reserved: choose another one")
    return dict(value)


ModelFiles = Annotated[dict[str, Path], BeforeValidator(parse_models)]


def load_models(main: Settings) -> dict[str, Settings]:
    """Load the settings of the further models by name; what belongs to the service is that of the main ones.

    Only their files count: variables of the environment belong to the main settings.

    Raises:
        ConfigError: a file cannot be read, a value is invalid or belongs to the service, or two models have
            the same data folder or database.
    """
    loaded: dict[str, Settings] = {}
    for name, file in main.models.items():
        try:
            loaded[name] = _load(main, name, file)
        except ConfigError as error:
            raise ConfigError(f"models.{name}: {error}") from error
    _check_separate(main, loaded)
    return loaded


def require_free_name(main: Settings, version: str) -> None:
    """Require that no further model has the name of a version of the main one.

    Raises:
        ConfigError: one has, so `/models/NAME` would mean both.
    """
    if version in main.models:
        raise ConfigError(
            f"models.{version}: the main model has a version of this name, so /models/{version} would mean "
            "both: give the further model another name"
        )


def settings_of_model(main: Settings, name: str | None) -> Settings:
    """Return the settings of a further model; of the main one for `DEFAULT` or None.

    Raises:
        ConfigError: see `load_models`; or no model has this name.
    """
    if name is None or name == DEFAULT:
        return main
    models = load_models(main)
    if name not in models:
        known = ", ".join((DEFAULT, *models))
        raise ConfigError(f"no model is named '{name}' in [models] of the settings: the models are {known}")
    return models[name]


def _load(main: Settings, name: str, file: Path) -> Settings:
    from driftbell.config.settings import load

    own = load(file, environment={})
    belonging = sorted(s for s in own.sources if s.partition(".")[0] in (*PROCESS_SECTIONS, "umask"))
    if belonging:
        raise ConfigError(
            f"{file} sets {', '.join(belonging)}, which the service has once for all models: set it in the "
            "main settings"
        )
    if own.settings.model.name != name:
        raise ConfigError(f'the model must have the same name in {file}: set model.name = "{name}" there')
    notifications = own.settings.notifications
    if notifications.link is None and main.notifications.link:
        link = f"{main.notifications.link.rstrip('/')}/models/{name}"
        notifications = notifications.model_copy(update={"link": link})
    shared = {section: getattr(main, section) for section in (*PROCESS_SECTIONS, "umask")}
    return own.settings.model_copy(update={**shared, "models": {}, "notifications": notifications})


def _check_separate(main: Settings, loaded: Mapping[str, Settings]) -> None:
    """Require that each model has a data folder, and a database if it has one, of its own."""
    from driftbell.config.settings import log_database

    owners: dict[object, str] = {}
    for name, settings in {"": main, **loaded}.items():
        file = str(main.models[name]) if name else _main_file()
        database = log_database(settings.log)
        folder = f"data folder {settings.data_dir}: set another data_dir"
        places: dict[object, str] = {os.path.realpath(settings.data_dir): folder}
        if database is not None:
            same = f"database {database.name}: set another log.url"
            places |= dict.fromkeys(((address, database.name) for address in database.addresses), same)
        for place, what in places.items():
            if place in owners:
                raise ConfigError(f"models.{name}: {file} and {owners[place]} have the same {what} in {file}")
        owners |= dict.fromkeys(places, file)


def _main_file() -> str:
    return os.environ.get(FILE_VARIABLE) or (FILE_NAME if Path(FILE_NAME).is_file() else "the main settings")
