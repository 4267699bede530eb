"""Further models of the service: names that are free, and errors that name the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from driftbell.config.further_models import require_free_name
from driftbell.config.settings import Settings
from driftbell.errors import ConfigError, StoreError
from driftbell.ports import Model
from driftbell.store.sql import SqlStore


@contextmanager
def named_model(main: Settings, name: str) -> Iterator[None]:
    """Add the name of a further model and its settings file to the errors of its start.

    Raises:
        ConfigError, StoreError: as raised inside.
    """
    where = f"models.{name} ({main.models[name]})"
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    except StoreError as error:
        raise StoreError(f"{where}: {error}") from error


def check_model_names(main: Settings, store: SqlStore, model: Model) -> None:
    """Check that no version of the main model has the name of a further one: `/models/NAME` would mean both.

    Raises:
        ConfigError: one has.
    """
    require_free_name(main, model.version)
    for name in main.models:
        with suppress(StoreError):  # a store that cannot be read yet is not waited for
            if store.versions.get(name, model=model.name) is not None:
                require_free_name(main, name)


def uses_spool(settings: Settings) -> bool:
    """Return whether the service runs without the store, spooling predictions until it is available."""
    return settings.log.on_failure == "spool"
