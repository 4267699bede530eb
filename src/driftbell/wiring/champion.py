"""The champion with its reference, for checks and reports."""

from __future__ import annotations

import structlog

from driftbell.config.settings import Settings
from driftbell.errors import ModelError, StoreError
from driftbell.ports import Store
from driftbell.wiring.model import OpenedModel, open_model
from driftbell.wiring.store import clock
from driftbell.wiring.versions import open_version_with_reference

logger = structlog.get_logger()


def open_champion(settings: Settings, store: Store) -> OpenedModel:
    """Open the champion and its reference: the configured model, unless another version was promoted.

    It only reads the registry: settings take effect there when a server process starts with them.

    Raises:
        ConfigError: it cannot be opened.
        StoreError: a file of the version cannot be read from the registry.
    """
    configured = open_model(settings)
    model = configured.model
    try:
        champion = store.versions.state(clock(), model=model.name).champion
    except StoreError as error:  # a monitor that spools starts without its database, and follows later
        logger.warning("model versions cannot be read yet", model=model.name, error=str(error))
        return configured
    if not champion or champion.configured != model.version or champion.version in (None, model.version):
        return configured
    return open_registered(settings, store, str(champion.version), model=model.name)


def open_registered(settings: Settings, store: Store, version: str, *, model: str) -> OpenedModel:
    """Open a registered version and its reference.

    Raises:
        ConfigError: it is not registered, or cannot be opened.
    """
    registered = store.versions.get(version, model=model)
    if registered is None:
        raise ModelError(f"version {version} of {model} is not registered")
    return open_version_with_reference(settings, store.versions, registered)
