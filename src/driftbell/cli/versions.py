"""Commands of the group models for the registered versions of the configured model."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftbell.cli.init import ask_for_trust, column_options, model_source, score_text
from driftbell.cli.model_output import output_of_model
from driftbell.cli.model_process import name_model
from driftbell.cli.root import common, settings
from driftbell.errors import ConfigError
from driftbell.phrases import count_of, join_names, printable

if TYPE_CHECKING:
    from driftbell.config.settings import Settings
    from driftbell.ports import VersionStore
    from driftbell.records.versions import ModelVersion, VersionState
    from driftbell.wiring.add_version import AddedVersion

json_option = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
author_option = click.option("--author", help="Your name [default: your login name].")


@dataclass(frozen=True, slots=True)
class Registry:
    """The registry of the configured model.

    Attributes:
        settings: all settings.
        versions: the store of versions.
        model: the model's name.
    """

    settings: Settings
    versions: VersionStore
    model: str

    def find(self, text: str) -> ModelVersion:
        """Return the version with this name or unique beginning of a name.

        Raises:
            ConfigError: there is none, or several.
        """
        versions = self.versions.newest(model=self.model)
        matches = [v for v in versions if v.version == text] or [
            v for v in versions if text and v.version.startswith(text)
        ]
        if len(matches) == 1:
            return matches[0]
        if matches:
            names = join_names(v.version for v in matches)
            raise ConfigError(f"several versions of '{self.model}' begin with '{printable(text)}': {names}")
        from driftbell.models.known_versions import unknown_version_text

        raise ConfigError(unknown_version_text(text, [v.version for v in versions], model=self.model))

    def state(self) -> VersionState:
        """Return the current aliases and promotion."""
        return self.versions.state(datetime.now(UTC), model=self.model)


@contextmanager
def opened_registry(
    config_file: Path | None, data_dir: str | None, *, create: bool = False
) -> Iterator[Registry]:
    """Open the registry of the configured model.

    Args:
        config_file: the configuration file; None is that of the environment or the working folder.
        data_dir: the data folder; None is that of the settings.
        create: whether it is created if there is none.

    Raises:
        ConfigError: there is none, and it is not created.
    """
    loaded = settings(config_file, data_dir=data_dir)
    from driftbell.wiring.model_files import model_name
    from driftbell.wiring.store import open_existing_store, open_store

    store = (open_store if create else open_existing_store)(loaded.settings)
    try:
        yield Registry(loaded.settings, store.versions, model_name(loaded.settings.model))
    finally:
        store.close()


@click.command("list")
@common
@json_option
def list_versions(config_file: Path | None, data_dir: str | None, parent: int | None, as_json: bool) -> None:
    """List the versions, newest first, with the champion, and the challenger and its share.

    \b
    Example:
      driftbell models list --json
    """
    from driftbell.models.challenge import last_rollback
    from driftbell.publish.version_views import aliases_by_version, change_view, traffic_text, version_view

    with opened_registry(config_file, data_dir) as registry:
        versions = registry.versions.newest(model=registry.model)
        state = registry.state()
        ended = last_rollback(registry.versions, model=registry.model)
    aliases = aliases_by_version(state)
    if as_json:
        views = [version_view(v, aliases) for v in versions]
        challenger = change_view(state.challenger) if state.challenger else None
        view = {
            "model": registry.model,
            "challenger": challenger,
            "rollback": change_view(ended) if ended else None,
            "versions": views,
        }
        click.echo(json.dumps(view, indent=1))
        return
    for v in versions:
        names = "".join(f"  {alias}" for alias in aliases.get(v.version, []))
        if state.challenger and state.challenger.version == v.version:
            names += f" ({traffic_text(state.challenger)})"
        click.echo(f"{v.version}{names}  added {v.added:%Y-%m-%d %H:%M} by {printable(v.author)}")
        note = f" ({printable(v.note)})" if v.note else ""
        features, source = count_of(len(v.features), "feature"), printable(v.source or "default model")
        click.echo(f"  {v.task}, {features}, {source}{note}")
    if ended:
        click.echo(f"rolled back at {ended.active_from:%Y-%m-%d %H:%M} UTC: {printable(ended.reason)}")
    if not versions:
        click.echo(f"no versions of {registry.model}: a service registers its model when it starts")


@click.command("show")
@common
@click.argument("version")
@json_option
def show_version(
    config_file: Path | None, data_dir: str | None, parent: int | None, version: str, as_json: bool
) -> None:
    """Show one version: features, classes, files, and when it was the champion.

    VERSION may be the beginning of a version.

    \b
    Example:
      driftbell models show 3f2a
    """
    from driftbell.publish.version_views import aliases_by_version, change_view, traffic_text, version_view
    from driftbell.records.versions import CHALLENGER, CHAMPION

    with opened_registry(config_file, data_dir) as registry:
        registered = registry.find(version)
        aliases = aliases_by_version(registry.state())
        changes = [
            change
            for alias in (CHAMPION, CHALLENGER)
            for change in registry.versions.history(100, model=registry.model, alias=alias)
            if change.version == registered.version
        ]
    view: dict[str, Any] = {
        **version_view(registered, aliases),
        "history": [change_view(change) for change in changes],
    }
    if as_json:
        click.echo(json.dumps(view, indent=1))
        return
    for line in _version_lines(registered, aliases.get(registered.version, [])):
        click.echo(line)
    for change in changes:
        traffic = f", {traffic_text(change)}" if change.share is not None else ""
        reason = f": {printable(change.reason)}" if change.reason else ""
        when = f"{change.active_from:%Y-%m-%d %H:%M:%S}"
        click.echo(f"{change.alias:<10} since {when} UTC{traffic}, by {printable(change.author)}{reason}")


def _version_lines(version: ModelVersion, aliases: list[str]) -> Iterator[str]:
    yield f"Model      {version.model}, version {version.version}{''.join(f', {a}' for a in aliases)}"
    yield f"Source     {printable(version.source or 'default model')}"
    yield f"Added      {version.added:%Y-%m-%d %H:%M} UTC by {printable(version.author)}"
    if version.note:
        yield f"Note       {printable(version.note, 200)}"
    classes = f" into {join_names(version.classes)}" if version.classes else ""
    yield f"Task       {version.task}{classes}"
    for name, probability in (version.options["model"].get("threshold") or {}).items():
        yield f"Threshold  {printable(name, 40)} is predicted from a probability of {probability!r} on"
    yield f"Features   {join_names(f'{f.name} ({f.kind})' for f in version.features)}"
    for file in version.files:
        how = ", encrypted" if file.encrypted_with else ""
        size = f"{file.size:,} bytes{how}"
        yield f"File       {file.role}: {printable(file.name)}, {size}, SHA-256 {file.sha256}"


@click.command("add")
@common
@click.argument("model")
@click.option(
    "--reference",
    metavar="TABLE",
    type=click.Path(path_type=Path),
    help="Rows like the training data of this version [default: model.reference].",
)
@click.option("--target", metavar="COL", help="Column with the labels [default: model.target].")
@click.option(
    "--classes",
    metavar="NAMES",
    help="Names of the classes that the model answers as 0, 1, ..., as 'no,yes' [default: model.classes].",
)
@click.option(
    "--threshold",
    metavar="CLASS=P",
    help="Predict a class only from a probability on, such as churn=0.8 [default: model.threshold].",
)
@click.option(
    "--protocol",
    type=click.Choice(["json", "mlflow", "v2"]),
    help="Protocol of the server of a URL [default: model.protocol].",
)
@click.option("--exclude", multiple=True, metavar="NAMES", help="Columns that are not read, as 'id,row_*'.")
@click.option(
    "--column", "kinds", multiple=True, metavar="NAME=KIND", help="Kind of a column; may be repeated."
)
@click.option(
    "--keep-null-words",
    "keep_null_words",
    multiple=True,
    metavar="NAMES",
    help="Columns in which NA, None and the like are texts and not null, such as 'region'.",
)
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    metavar="NAME=TYPE",
    help="Type in which the model is given a column, such as zip=str; may be repeated.",
)
@click.option("--trust", is_flag=True, help="Load a model that can run code, such as a pickle.")
@author_option
@click.option("--note", default="", help="A note on this version.")
@json_option
def add(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    model: str,
    reference: Path | None,
    target: str | None,
    classes: str | None,
    threshold: str | None,
    protocol: str | None,
    trust: bool,
    author: str | None,
    note: str,
    as_json: bool,
    **columns: tuple[str, ...],
) -> None:
    """Add a version of the configured model.

    MODEL is a file, a folder of MLflow, 'module:function' or a URL, as for `driftbell init`. It is loaded
    with its reference, and its answers are compared with those of its own library. Its files, at most 256 MiB
    each, are stored in the prediction log. It answers no request before it is promoted.

    \b
    Examples:
      driftbell models add churn-2.skops --reference held_out.csv --note "more trees"
      driftbell models add churn-3.joblib --trust
      driftbell models add churn.skops --threshold churn=0.7
    """
    from driftbell.wiring.add_version import AddOptions, add_version

    options = AddOptions(
        source=model_source(model),
        author=author or login_name(),
        reference=reference,
        target=target,
        classes=tuple(part.strip() for part in classes.split(",")) if classes else (),
        threshold=threshold,
        protocol=protocol,
        columns=column_options(columns),
        note=note,
    )
    name_model(model)
    with output_of_model(), opened_registry(config_file, data_dir, create=True) as registry:
        added = add_version(
            registry.settings,
            registry.versions,
            options,
            now=datetime.now(UTC),
            trust=(lambda _: True) if trust else ask_for_trust,
        )
    if as_json:
        facts = {**asdict(added), "version": added.version.version, "model": added.version.model}
        click.echo(json.dumps(facts, indent=1, ensure_ascii=False, default=str))
        return
    for line in _added_lines(added):
        click.echo(line)


def _added_lines(added: AddedVersion) -> Iterator[str]:
    version = added.version
    verb = "added" if added.is_new else "was registered before and stays as it is"
    yield f"{version.model} {version.version} {verb}"
    yield f"Score      {score_text(added.score, added.label_candidates)}"
    rows = f"{count_of(added.golden_rows, 'answer')} of the model's own library"
    yield f"Golden     {rows if added.golden_rows else f'none: {added.no_golden}'}"
    if added.champion == version.version:
        yield "Champion   this version"
    elif added.champion:
        texts = "; ".join(added.differences) or "the same features, classes and task"
        yield f"Champion   {added.champion}: {texts}"
    for warning in added.warnings:
        yield f"Warning    {warning}"


def login_name() -> str:
    """Return the login name of the user, or "unknown"."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return "unknown"
