"""Forms of logged features by the setting `columns.log`, for servers, checks and imports."""

from __future__ import annotations

from collections.abc import Callable

from driftbell.config.settings import Settings
from driftbell.models.logged_model import LoggedModel
from driftbell.models.reference import compared_column
from driftbell.ports import Model
from driftbell.records import PREDICTION_COLUMN, Columns
from driftbell.tabular.logged_values import FULL, LoggedValues, build_logged_values, check_forms
from driftbell.wiring.log_key import log_key
from driftbell.wiring.model import OpenedModel
from driftbell.wiring.model_files import build_model, read_cached_training


class LoggedVersions:
    """Forms in which the rows of each loaded version are logged.

    Args:
        settings: the service's own settings.

    Raises:
        ConfigError: the key cannot be read, see `log_key`.
    """

    def __init__(self, settings: Settings) -> None:
        self._forms = {name: form for name, form in settings.columns.log.items() if form != FULL}
        self._key = log_key(settings) if self._forms else b""
        self._others = _other_columns(settings)
        self._by_version: dict[str, LoggedValues | None] = {}

    def require_features(self, model: Model) -> None:
        """Require that the setting names features of the configured model.

        Raises:
            ConfigError: it names another column.
        """
        check_forms(model.schema.names, self._forms, self._others)

    def add(self, settings: Settings, model: Model) -> None:
        """Prepare what is logged of a version.

        Args:
            settings: those that open it.
            model: its model.

        Raises:
            ConfigError: a feature has no such form, or the reference cannot be read.
        """
        if self._forms:
            self._by_version[model.version] = self.build(model, lambda: _reference_columns(settings, model))

    def build(self, model: Model, columns: Callable[[], Columns]) -> LoggedValues | None:
        """Return what is logged of a model with this reference; None if it is everything."""
        if not self._forms:
            return None
        return build_logged_values(model.schema.features, self._forms, self._key, columns)

    def __call__(self, model: Model) -> LoggedValues | None:
        """Return what is logged of a version that was added; None if it is everything."""
        return self._by_version[model.version] if self._forms else None


def as_logged(settings: Settings, opened: OpenedModel) -> tuple[OpenedModel, LoggedValues | None]:
    """Return a model and its reference as the log has them, and what is logged.

    Raises:
        ConfigError: see `LoggedVersions`.
    """
    versions, model = LoggedVersions(settings), opened.model
    logged = versions.build(model, lambda: opened.reference.columns)
    if logged is None:
        return opened, None
    return OpenedModel(LoggedModel(model, logged.features), logged.reference(opened.reference)), logged


def logged_values(settings: Settings, model: Model) -> LoggedValues | None:
    """Return what is logged of the configured model.

    Raises:
        ConfigError: see `LoggedVersions`.
    """
    versions = LoggedVersions(settings)
    versions.require_features(model)
    versions.add(settings, model)
    return versions(model)


def _reference_columns(settings: Settings, model: Model) -> Columns:
    is_external = settings.model.prediction is not None
    training = None if is_external else read_cached_training(settings, model)
    training = training or build_model(settings)[1]
    return {name: compared_column(training.features[name]) for name in model.schema.names}


def _other_columns(settings: Settings) -> dict[str, str]:
    """Return the role of each column that is always logged."""
    options = settings.model
    others = dict.fromkeys(options.probabilities.values(), "probability of a class")
    for name, role in ((options.prediction, "prediction"), (options.target, "label")):
        if name is not None:
            others[name] = role
    return {PREDICTION_COLUMN: "prediction", **others}
