"""A model file as its user offers it: loaded with consent, before there is a configuration."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from driftbell.config.settings import Settings
from driftbell.errors import ConfigError, ModelError, UntrustedModelError
from driftbell.models.feature_names import with_names_of
from driftbell.models.foreign_code import LOAD_SECONDS
from driftbell.models.load import is_folder, load_model
from driftbell.models.loaded import LoadedModel
from driftbell.models.onnx_features import onnx_features
from driftbell.models.onnx_file import load_onnx
from driftbell.models.remote import RemoteOptions
from driftbell.ports import Model
from driftbell.records import Column
from driftbell.tabular.features import FeatureTable
from driftbell.tabular.schema import infer_schema
from driftbell.wiring.native_model import UnknownValues, read_native, read_reference


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A model that has been loaded.

    Attributes:
        source: its file or folder; or a text: a name in a module, or a URL.
        loaded: the model; of an ONNX file, only its features.
        version: its version.
        sha256: its hash, if the user has consented to load it; else None.
        estimator: the type of the model.
        warnings: what its library has warned of.
    """

    source: Path | str
    loaded: LoadedModel
    version: str
    sha256: str | None
    estimator: str
    warnings: tuple[str, ...]

    def named_as(self, columns: Collection[str]) -> LoadedModel:
        """Return the model with the names that its features have in a reference."""
        return with_names_of(self.loaded, list(columns))


@dataclass(frozen=True, slots=True)
class OfferedReading:
    """The model and its reference; see `NativeReading`."""

    model: Model
    table: FeatureTable
    labels: Column | None
    other_types: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[UnknownValues, ...] = ()


def offer_model(
    source: Path | str,
    classes: tuple[str, ...],
    remote: RemoteOptions,
    trust: Callable[[UntrustedModelError], bool],
    limit: float = LOAD_SECONDS,
) -> OfferedModel:
    """Load a model; if that can run code, only with consent.

    Args:
        source: the file or folder; or a text: a name in a module, or a URL.
        classes: the user's class names.
        remote: how a server is called.
        trust: asks for consent.
        limit: time in seconds for a file to be loaded, or a module to be imported.

    Raises:
        ConfigError: the file cannot be loaded, or is not trusted.
    """
    if isinstance(source, Path) and not is_folder(source) and not source.exists():
        raise ConfigError(f"cannot read the model {source}: there is no such file")
    if isinstance(source, Path) and source.suffix.lower() == ".onnx":
        return OfferedModel(source, onnx_features(source), "", None, "ONNX graph", ())
    sha256 = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            loaded, version = load_model(source, None, classes, remote, limit)
        except UntrustedModelError as error:
            if not trust(error):
                raise ConfigError(
                    f"{error.reason}; its SHA-256 is {error.sha256}. If you trust its origin, pass --trust"
                ) from error
            sha256 = error.sha256
            loaded, version = load_model(source, sha256, classes, remote, limit)
    texts = tuple(dict.fromkeys(_version_warning(source, w.message) for w in caught))
    return OfferedModel(source, loaded, version, sha256, _type_name(loaded), tuple(t for t in texts if t))


def read_with(offered: OfferedModel, settings: Settings, name: str) -> OfferedReading:
    """Read the reference of a model as it was fitted on it.

    Raises:
        ConfigError: the reference cannot be read, or does not fit the model.
    """
    reference = settings.model.reference
    if reference is None:
        raise ModelError("model.reference is missing")
    if isinstance(offered.source, str) or offered.source.suffix.lower() != ".onnx":
        reading = read_native(settings, offered.loaded, reference, name=name, version=offered.version)
        return OfferedReading(
            reading.model, reading.table, reading.labels, reading.other_types, reading.unknown
        )
    table, labels = read_reference(reference, settings.columns.options, settings.model.target)
    schema = infer_schema(table.columns, table.dtypes)
    conversion = load_onnx(
        offered.source,
        name=name,
        schema=schema,
        features=table.columns,
        sha256=None,
        names=settings.model.classes,
    )
    if conversion.model is None:
        raise ModelError(f"{offered.source} has no graph")
    return OfferedReading(conversion.model, table, labels)


def _version_warning(source: Path | str, warning: Warning | str) -> str:
    """Return a sentence on a model that another version of scikit-learn has saved; "" for other warnings."""
    saved = getattr(warning, "original_sklearn_version", None)
    if saved is None:
        return ""
    here = getattr(warning, "current_sklearn_version", "")
    return (
        f"{source} was saved by scikit-learn {saved}, and is loaded by {here}: install "
        f"'scikit-learn=={saved}' beside driftbell, or save the model again, if its answers must not change"
    )


def _type_name(loaded: LoadedModel) -> str:
    """Return the type of a model; of a pipeline, also that of its last step."""
    estimator = loaded.estimator
    if estimator is None:
        return loaded.description
    name = type(estimator).__name__
    steps = getattr(estimator, "steps", None)
    return f"{name} with {type(steps[-1][1]).__name__}" if steps else name
