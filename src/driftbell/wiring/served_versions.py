"""The versions that a server process loads at its start, and the way it loads further ones."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable

import structlog

from driftbell.config.settings import Settings
from driftbell.error_capture import ErrorCapture
from driftbell.errors import ConfigError, DriftbellError, ModelError, StoreError
from driftbell.models.foreign_code import error_text
from driftbell.ports import EXTERNAL, Model, VersionStore
from driftbell.records.versions import ServerWorker, VersionState
from driftbell.server.version_follower import VersionSource
from driftbell.wiring.store import clock
from driftbell.wiring.versions import open_version, register_champion

logger = structlog.get_logger()


def version_source(
    settings: Settings,
    versions: VersionStore,
    configured: Model,
    *,
    prepare: Callable[[Settings, Model], None] = lambda settings, model: None,
) -> VersionSource | None:
    """Load the champion, and the version that takes over next, before this process accepts requests.

    This process reports itself first: a promotion that begins later waits for it, and one that is complete
    already is read here.

    Args:
        settings: all settings.
        versions: the registry.
        configured: the model of the settings, loaded.
        prepare: called with the settings and the model of each other version before it serves.

    Returns:
        None for a model that is served elsewhere.

    Raises:
        ConfigError: the champion cannot be loaded.
    """
    if configured.engine == EXTERNAL:
        return None
    worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    def load(version: str) -> Model:
        if version == configured.version:
            return configured
        registered = versions.get(version, model=configured.name)
        if registered is None:
            raise ModelError(f"version {version} of {configured.name} is not registered")
        return open_version(settings, versions, registered, prepare=prepare)

    models = {configured.version: configured}
    state: VersionState | None = None
    champion = configured.version
    try:
        versions.report_worker(ServerWorker(worker, configured.name, clock()))
        if not register_champion(settings, versions, configured, clock()):
            return VersionSource(versions, worker, (configured,), load)
        reported = False  # the registry is read once more after the report of all that it names
        while True:
            state = versions.state(clock(), model=configured.name)
            named = [change.version for change in (state.champion, state.upcoming) if change]
            missing = [version for version in named if version and version not in models]
            if state.champion and state.champion.version:
                champion = state.champion.version
            versions.report_worker(ServerWorker(worker, configured.name, clock(), tuple(models)))
            if not missing and reported:
                break
            reported = not missing
            for version in missing:
                models[version] = _load_champion(load, version)
            _load_challengers(load, state, models)
    except StoreError as error:
        logger.warning("model versions cannot be read yet", model=configured.name, error=str(error))
    first = models.get(champion, configured)
    others = (model for model in models.values() if model is not first)
    return VersionSource(versions, worker, (first, *others), load, state)


def _load_challengers(load: Callable[[str], Model], state: VersionState, models: dict[str, Model]) -> None:
    """Load the challengers into `models`; one that cannot be loaded is tried again while the service runs."""
    for change in (state.challenger, state.upcoming_challenger):
        if change and change.version and change.version not in models:
            with ErrorCapture() as captured:  # a model may fail with any error
                models[change.version] = load(change.version)
            if captured.error:
                error = captured.error
                text = str(error) if isinstance(error, DriftbellError) else error_text(error)
                logger.error("challenger cannot be loaded", version=change.version, error=text)


def _load_champion(load: Callable[[str], Model], version: str) -> Model:
    try:
        return load(version)
    except ConfigError as error:
        raise ModelError(
            f"the champion {version} cannot be loaded: {error}. `driftbell models rollback` goes back to the "
            "version before"
        ) from error
