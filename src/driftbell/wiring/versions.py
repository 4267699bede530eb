"""Registered versions of the configured model: registration, and the settings that open one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from driftbell.config.columns import ColumnSettings
from driftbell.config.settings import ModelSettings, Settings
from driftbell.data_folder import masked
from driftbell.errors import ConfigError, ModelError, StoreError
from driftbell.ports import EXTERNAL, Model, VersionStore
from driftbell.records.versions import (
    GOLDEN_FILE,
    MODEL_FILE,
    REFERENCE_FILE,
    SETTINGS_AUTHOR,
    AliasChange,
    ModelVersion,
    VersionFeature,
    VersionFile,
)
from driftbell.wiring.log_key import log_key
from driftbell.wiring.model import OpenedModel, open_model, open_serving_model
from driftbell.wiring.version_files import encrypt_version_files, open_version_file, write_version_file

VERSIONS_FOLDER = Path("models") / "versions"
"""Folder below the data folder: one data folder for each registered version, with its conversion cache."""

NOT_STORED = {"name", "path", "reference", "golden", "timeout", "load_timeout", "engine"}
"""Settings of `[model]` that a version does not keep: files have other paths, and the rest is the host's."""

logger = structlog.get_logger()


def describe_version(
    settings: Settings,
    model: Model,
    files: tuple[VersionFile, ...],
    *,
    added: datetime,
    author: str,
    note: str = "",
) -> ModelVersion:
    """Build the registration of a model that these settings open."""
    return ModelVersion(
        model=model.name,
        version=model.version,
        source="" if settings.model.path is None else str(settings.model.path),
        options={
            "model": settings.model.model_dump(mode="json", exclude=NOT_STORED),
            "columns": settings.columns.of_the_model,
        },
        files=files,
        features=tuple(
            VersionFeature(f.name, f.kind.value, f.nullable, f.dtype) for f in model.schema.features
        ),
        classes=model.classes,
        task=model.task.value,
        added=added,
        author=author,
        note=note,
    )


def write_files(settings: Settings, versions: VersionStore, key: bytes = b"") -> tuple[VersionFile, ...]:
    """Write the files that the settings of a model name to the store, encrypted with a key if there is one.

    Raises:
        ConfigError: one cannot be read, or is too large.
    """
    options = settings.model
    paths = {MODEL_FILE: options.path, REFERENCE_FILE: options.reference, GOLDEN_FILE: options.golden}
    return tuple(
        write_version_file(versions, role, path, key)
        for role, path in paths.items()
        if isinstance(path, Path)
    )


def files_key(settings: Settings) -> bytes:
    """Return the key that encrypts the files of versions; b"" if every feature is logged in full.

    A model and its reference need their full values, and they hold those of masked features.

    Raises:
        ConfigError: see `log_key`.
    """
    return log_key(settings) if settings.columns.masks_features else b""


def register_configured(settings: Settings, versions: VersionStore, model: Model, now: datetime) -> None:
    """Register the model of the settings, with its files if they are small enough.

    With a masked feature, files of earlier registrations are encrypted too.

    Raises:
        StoreError: the store cannot be written.
    """
    key = files_key(settings)
    if key:
        for known in versions.newest(model=model.name):
            encrypt_version_files(versions, known, key)
    try:
        files = write_files(settings, versions, key)
    except ConfigError as error:  # it is served from its own files
        logger.warning("files of the model are not registered", model=model.name, reason=str(error))
        files = ()
    version = describe_version(settings, model, files, added=now, author=SETTINGS_AUTHOR)
    if versions.add(version):
        logger.info("model version registered", model=model.name, version=model.version)


def register_champion(
    settings: Settings, versions: VersionStore, model: Model, now: datetime
) -> AliasChange | None:
    """Register the model of the settings, and return the champion; None if the store cannot be written.

    The model of the settings is the champion unless another version was promoted since the settings named
    it. A model that is served elsewhere has no other version, and is not registered.
    """
    if model.engine == EXTERNAL:
        return None
    try:
        register_configured(settings, versions, model, now)
        return versions.settle(model.version, now, model=model.name)
    except StoreError as error:
        logger.warning("model version is not registered yet", model=model.name, error=str(error))
        return None


def settings_of_version(settings: Settings, versions: VersionStore, version: ModelVersion) -> Settings:
    """Return the settings that open a registered version, after its files are written to the data folder.

    Args:
        settings: the service's own settings.
        versions: holds the files.
        version: the version.

    Raises:
        ConfigError: a file is missing or cannot be written, or this release does not know an option.
    """
    key = log_key(settings) if any(file.encrypted_with for file in version.files) else b""
    with masked(settings.mask):
        paths: dict[str, Path] = {
            file.role: open_version_file(versions, file, settings.data_dir, key) for file in version.files
        }
    source: Path | str | None = paths.get(MODEL_FILE)
    if source is None and version.source:
        source = ModelSettings.model_validate({"path": version.source}).path
        if isinstance(source, Path):
            raise ModelError(
                f"the files of version {version.version} are not in the registry: add {version.source} with "
                "`driftbell models add`"
            )
    values: Mapping[str, Any] = {
        **version.options["model"],
        "name": version.model,
        "path": source,
        "reference": paths.get(REFERENCE_FILE),
        "golden": paths.get(GOLDEN_FILE),
        "timeout": settings.model.timeout,
        "load_timeout": settings.model.load_timeout,
        "engine": settings.model.engine,
    }
    try:
        model = ModelSettings.model_validate(values)
        columns = ColumnSettings.model_validate(version.options["columns"])
    except ValueError as error:
        raise ModelError(
            f"version {version.version} was registered by another release of driftbell: {error}"
        ) from error
    folder = settings.data_dir / VERSIONS_FOLDER / version.version
    return settings.model_copy(update={"data_dir": folder, "model": model, "columns": columns})


def open_version(
    settings: Settings,
    versions: VersionStore,
    version: ModelVersion,
    *,
    prepare: Callable[[Settings, Model], None] = lambda settings, model: None,
) -> Model:
    """Open a registered version for serving; see `open_serving_model`.

    Args:
        settings: the service's own settings.
        versions: the registry.
        version: the version.
        prepare: called with the version's settings and its model.

    Raises:
        ConfigError: it cannot be opened, answers otherwise than its golden answers, or is another version.
    """
    own = settings_of_version(settings, versions, version)
    model = open_serving_model(own)
    _check_version(model, version)
    prepare(own, model)
    return model


def open_version_with_reference(
    settings: Settings, versions: VersionStore, version: ModelVersion
) -> OpenedModel:
    """Open a registered version with its reference; see `open_model`.

    Raises:
        ConfigError: see `open_version`.
    """
    opened = open_model(settings_of_version(settings, versions, version))
    _check_version(opened.model, version)
    return opened


def _check_version(model: Model, version: ModelVersion) -> None:
    if model.version != version.version:
        raise ModelError(
            f"{version.source or 'the default model'} is version {model.version} here, not the registered "
            f"version {version.version}: its code, server or libraries have changed"
        )
