"""Add a version of the configured model to the registry, after the checks of `driftbell init`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from driftbell.config.further_models import require_free_name
from driftbell.config.settings import Settings
from driftbell.errors import ConfigError, UntrustedModelError
from driftbell.models.golden import write_golden
from driftbell.models.remote import RemoteOptions
from driftbell.models.version_change import differences
from driftbell.ports import VersionStore
from driftbell.records.versions import GOLDEN_FILE, ModelVersion
from driftbell.tabular.column_options import ColumnOptions
from driftbell.wiring.examined_model import ExaminedModel, InitOptions, examine_model
from driftbell.wiring.init_score import Score
from driftbell.wiring.model_files import model_name
from driftbell.wiring.offered_model import offer_model
from driftbell.wiring.version_files import write_version_file
from driftbell.wiring.versions import describe_version, files_key, write_files


@dataclass(frozen=True, slots=True)
class AddOptions:
    """Options of the user; the settings are the defaults.

    Attributes:
        source: the model's file or folder; or a text: a name in a module, or a URL.
        author: who adds it.
        reference: a table file of rows like its training data; None for `model.reference`.
        target: the column of the labels; None for `model.target`.
        classes: names of the classes; none for `model.classes`.
        threshold: a class and the probability from which it is predicted; None for `model.threshold`.
        protocol: the protocol of a URL's server; None for `model.protocol`.
        columns: options for the columns, in addition to `[columns]`.
        note: the author's note.
    """

    source: Path | str
    author: str
    reference: Path | None = None
    target: str | None = None
    classes: tuple[str, ...] = ()
    threshold: str | None = None
    protocol: str | None = None
    columns: ColumnOptions = field(default_factory=ColumnOptions)
    note: str = ""


@dataclass(frozen=True, slots=True)
class AddedVersion:
    """Result of adding a version.

    Attributes:
        version: the registered version.
        is_new: whether it was not registered before.
        champion: the version of the champion; None before the first start of a service.
        differences: in what requests and answers differ from the champion's.
        golden_rows: number of golden answers.
        no_golden: why there are none; "" if there are some.
        score: its score on its reference; None without labels.
        warnings: what its library and the checks warn of.
        label_candidates: columns of which each could be the label, if none was chosen.
    """

    version: ModelVersion
    is_new: bool
    champion: str | None
    differences: tuple[str, ...]
    golden_rows: int
    no_golden: str
    score: Score | None
    warnings: tuple[str, ...]
    label_candidates: tuple[str, ...]


def add_version(
    settings: Settings,
    versions: VersionStore,
    options: AddOptions,
    *,
    now: datetime,
    trust: Callable[[UntrustedModelError], bool],
) -> AddedVersion:
    """Check a model and its reference, and register it as a version of the configured model.

    Args:
        settings: the service's settings.
        versions: the registry.
        options: the user's options.
        now: the time (UTC).
        trust: asks whether a model may be loaded that can run code; false refuses it.

    Raises:
        ConfigError: the model or the reference cannot be used, or the version has the name of a further
            model; the message says why.
        StoreError: the registry cannot be written.
    """
    examined = _examine(settings, options, trust)
    model = examined.served
    require_free_name(settings, model.version)
    columns = examined.settings.columns
    columns = columns.model_copy(update={"dtypes": {**columns.dtypes, **examined.other_types}})
    own = examined.settings.model_copy(update={"columns": columns})
    known = versions.get(model.version, model=model.name)
    if known is None:
        key = files_key(settings)
        files = write_files(own, versions, key)
        if examined.golden:
            with tempfile.TemporaryDirectory() as folder:
                golden = Path(folder) / "golden.json"
                write_golden(golden, examined.reading.model, examined.golden)
                files = (*files, write_version_file(versions, GOLDEN_FILE, golden, key))
        version = describe_version(own, model, files, added=now, author=options.author, note=options.note)
        is_new = versions.add(version)
    else:
        version, is_new = known, False
    champion = versions.state(now, model=model.name).champion
    served = versions.get(champion.version, model=model.name) if champion and champion.version else None
    return AddedVersion(
        version=version,
        is_new=is_new,
        champion=champion.version if champion else None,
        differences=tuple(differences(version, served)) if served else (),
        golden_rows=len(examined.golden),
        no_golden=examined.no_golden,
        score=examined.score,
        warnings=examined.warnings,
        label_candidates=examined.plan.candidates,
    )


def _examine(
    settings: Settings, options: AddOptions, trust: Callable[[UntrustedModelError], bool]
) -> ExaminedModel:
    configured = settings.model
    reference = options.reference or configured.reference
    if reference is None:
        raise ConfigError(
            "--reference is missing, and the settings have no model.reference: name a table file of rows "
            "like the training data of the version"
        )
    if not reference.is_file():
        raise ConfigError(f"--reference: {reference} is no file")
    classes = options.classes or configured.classes
    protocol = options.protocol or configured.protocol
    remote = RemoteOptions(protocol, configured.timeout.total_seconds())
    offered = offer_model(options.source, classes, remote, trust, configured.load_timeout.total_seconds())
    examined_options = InitOptions(
        model=options.source,
        reference=str(reference),
        target=options.target or configured.target,
        name=model_name(configured),
        classes=classes,
        threshold=options.threshold or configured.threshold,
        protocol=protocol,
        columns=_merged(settings.columns.options, options.columns),
    )
    return examine_model(examined_options, offered, reference)


def _merged(settings: ColumnOptions, user: ColumnOptions) -> ColumnOptions:
    return ColumnOptions(
        {**settings.kinds, **user.kinds},
        (*settings.exclude, *user.exclude),
        settings.include,
        settings.nulls,
        {**settings.dtypes, **user.dtypes},
        keep_null_words=(*settings.keep_null_words, *user.keep_null_words),
    )
