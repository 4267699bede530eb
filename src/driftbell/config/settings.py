"""Settings from defaults, a TOML file, the environment and the command line, with each value's source."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from driftbell.config.alarms import AlarmSettings
from driftbell.config.auth import AuthSettings
from driftbell.config.check import CheckSettings, LimitValues
from driftbell.config.columns import ColumnSettings
from driftbell.config.display import file_value, read_secret_file, without_credentials
from driftbell.config.further_models import ModelFiles
from driftbell.config.postgres_url import parse_database
from driftbell.config.section import Section
from driftbell.config.sources import PREFIX, values_of_environment, values_of_file
from driftbell.config.threshold import ClassThreshold, ProbabilityColumns
from driftbell.config.values import (
    URL,
    URL_EXAMPLE,
    Address,
    ClassNames,
    Collector,
    DatabaseUrl,
    Days,
    Duration,
    Hosts,
    ModelSource,
    Origins,
    PathPrefix,
    Proxies,
    ReportSize,
    SecretUrls,
    Size,
    TimeLimit,
)
from driftbell.errors import ConfigError
from driftbell.phrases import suggest_name
from driftbell.records.database import Database

SECRET_SETTINGS = ("notifications.urls", "notifications.link", "log.url", "tracing.endpoint")
"""Settings that may contain a password, so that no message shows their values."""


class ServerSettings(Section):
    """`[server]`."""

    host: str = "127.0.0.1"
    """The address to listen on; the default is reachable from this machine only."""
    port: int = Field(8000, ge=1, le=65535)
    """The port to listen on."""
    allowed_hosts: Hosts = ()
    """More host names of the service than localhost and `notifications.link`; another name gets 421."""
    trusted_proxies: Proxies = ()
    """Proxies in front that set `X-Forwarded-For` and `-Proto`, such as '127.0.0.1' or '10.1.0.0/16'."""
    workers: int = Field(1, ge=1, le=64)
    """Server processes on that port."""
    body_limit: Size = 1024 * 1024
    """The largest accepted request body, such as '1MiB'; a larger one is refused before it is read."""
    header_limit: Size = 16 * 1024
    """The largest accepted request line with its headers; a larger one gets 431."""
    header_timeout: TimeLimit = timedelta(seconds=10)
    """The time for the headers of a request to arrive; later it gets 408."""
    body_timeout: TimeLimit = timedelta(seconds=30)
    """The time for the body of a request to arrive, which gets 408 later, and for an answer to be read."""
    keep_alive: TimeLimit = timedelta(seconds=75)
    """How long an idle connection stays open; longer than a load balancer in front keeps its own."""
    connections: int | None = Field(None, ge=1, le=100_000)
    """The most open connections of one process; without it, what the limit of open files leaves room for."""
    queue_limit: int = Field(2000, ge=1)
    """The most requests that wait for the model or the log; further ones get 503."""
    root_path: PathPrefix = None
    """The path below which a proxy publishes the service, such as '/ml'; the proxy may keep or strip it."""
    forwarded_prefix: bool = False
    """Whether links follow the header `X-Forwarded-Prefix`; only behind a proxy that sets or removes it."""
    cors_origins: Origins = ()
    """Origins of other web pages that may use the service, such as 'https://app.example.org', or '*'."""
    access_log: bool = True
    """Whether each request is logged."""


class LogSettings(Section):
    """`[log]`."""

    url: DatabaseUrl = None
    """The URL of a PostgreSQL database for the log, a secret; without it, the log is a local file."""
    url_file: Path | None = None
    """A file that contains the URL, instead of `log.url`."""
    durability: Literal["process", "power", "async"] = "process"
    """Durability: predictions survive a crash ('process'), power loss ('power') or neither ('async')."""
    on_failure: Literal["refuse", "spool"] = "refuse"
    """If the log cannot be written: 'refuse' predictions with 503, or 'spool' them to the local disk."""


class WindowSettings(Section):
    """`[window]`."""

    rows: int = Field(500, ge=1, le=1_000_000)
    """The number of latest predictions that a check judges."""
    period: Days = None
    """The days before today of which a check judges all predictions too, such as '30d'; 'off' judges none."""


class ReportSettings(Section):
    """`[reports]`."""

    keep: int = Field(200, ge=1)
    """The number of unchanged checks with reports on disk; of requested checks, as many more."""
    max_size: ReportSize = 1024**3
    """The size of all reports, such as '1GiB'; of unchanged checks, Evidently's pages are deleted first."""
    evidently: Literal["auto", "on", "off"] = "auto"
    """Whether each check writes the Evidently report; 'auto' does if the extra is installed."""


class NotificationSettings(Section):
    """`[notifications]`."""

    urls: SecretUrls = ()
    """Receivers of notifications about a changed verdict: apprise URLs, which are secrets."""
    urls_file: Path | None = None
    """A file with more URLs, one on each line; lines that begin with # are ignored."""
    cooldown: Duration = timedelta(minutes=30)
    """The shortest time between two notifications, except alarms; 'off' sends every one at once."""
    needs_labels: bool = False
    """Whether it is notified once that only labels tell if the model performs worse, and when it is over."""
    link: Address = None
    """The address of the service for people, such as 'https://ml.example.org', for links to reports."""


class ModelSettings(Section):
    """`[model]`."""

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """The model's name; without it, the file's name without its suffix, or 'iris'."""
    path: ModelSource = None
    """A model: a file or MLflow folder, 'module:function' or a URL; the default is an Iris random forest."""
    sha256: str | None = Field(None, pattern=r"^[0-9a-fA-F]{64}$")
    """The SHA-256 of the file; required for files that can run code: pickle, joblib, PyTorch."""
    reference: Path | None = None
    """The reference that predictions are compared with, a table file: rows like the training data."""
    target: str | None = None
    """The column of the reference that holds the label."""
    prediction: str | None = None
    """The column of the reference that holds the predictions of a model that is served elsewhere."""
    probabilities: ProbabilityColumns = Field(default_factory=dict)
    """Its columns with the probability of a class, such as {yes = "p_yes"}; of two classes, one is enough."""
    task: Literal["classification", "regression"] | None = None
    """Its task, if whole numbers may be classes or amounts."""
    version: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Its version; without it, that of its reference."""
    classes: ClassNames = ()
    """Names of the classes of a model that answers 0, 1 and so on, such as ["no", "yes"]."""
    threshold: ClassThreshold = None
    """A class that is predicted only from a probability on, such as {churn = 0.8}; else another one is."""
    protocol: Literal["json", "mlflow", "v2"] = "json"
    """The protocol of a URL's server: plain JSON, MLflow's `/invocations`, or Open Inference Protocol V2."""
    timeout: TimeLimit = timedelta(seconds=10)
    """The time for the server of a URL to answer."""
    load_timeout: TimeLimit = timedelta(minutes=5)
    """The time for a file of the model to be loaded, or its module to be imported."""
    golden: Path | None = None
    """Answers of the model's own library that `driftbell init` wrote; other answers stop the start."""
    engine: Literal["auto", "native"] = "auto"
    """The engine: the model's own library ('native'), or ONNX Runtime if it predicts the same ('auto')."""


class RetentionSettings(Section):
    """`[retention]`."""

    days: int | None = Field(None, ge=1, le=36500)
    """The number of full days that predictions and checks stay in the log; without it, all stay."""
    archive: str | None = Field(None, min_length=1)
    """The archive of predictions before they are deleted: a folder, or a URL such as 's3://bucket/driftbell'."""


class TracingSettings(Section):
    """`[tracing]`."""

    endpoint: Collector | None = None
    """The OTLP/HTTP URL of a trace collector, such as 'http://127.0.0.1:4318'; without it, tracing is off."""
    sample: float = Field(1.0, ge=0, le=1)
    """The share of requests that are traced; a caller's `traceparent` takes precedence."""


class Settings(Section):
    """All settings; see `docs/reference/configuration.md`."""

    data_dir: Path = Path("driftbell-data")
    """The folder of all files that driftbell writes: log, models, reports."""
    umask: str = Field("077", pattern=r"^[0-7]{3}$")
    """The permissions that new files of the services lack; '077' hides them from other users."""
    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    log: LogSettings = LogSettings()
    window: WindowSettings = WindowSettings()
    check: CheckSettings = CheckSettings()
    limits: LimitValues = Field(default_factory=dict)
    """Your own limits of columns, such as {"age.null_share" = 0.1}; a value beyond one is a warning."""
    alarms: AlarmSettings = AlarmSettings()
    reports: ReportSettings = ReportSettings()
    model: ModelSettings = ModelSettings()
    models: ModelFiles = Field(default_factory=dict)
    """Settings files of further models by name, such as {churn = "churn.toml"}, served at `/models/churn`."""
    columns: ColumnSettings = ColumnSettings()
    tracing: TracingSettings = TracingSettings()
    retention: RetentionSettings = RetentionSettings()
    notifications: NotificationSettings = NotificationSettings()

    @model_validator(mode="after")
    def _window_is_enough(self) -> Self:
        if self.window.rows < self.check.minimum_rows:
            raise ValueError(
                f"window.rows ({self.window.rows}) is less than check.minimum_rows "
                f"({self.check.minimum_rows}), so every verdict would be unknown: raise window.rows"
            )
        return self

    @property
    def mask(self) -> int:
        """The umask as a number."""
        return int(self.umask, 8)

    @property
    def log_path(self) -> Path:
        """The SQLite file of the log, unless a database is configured."""
        return self.data_dir / "log.sqlite"

    @property
    def journals_dir(self) -> Path:
        """The folder of the write-ahead journals."""
        return self.data_dir / "journal"

    @property
    def reports_dir(self) -> Path:
        """The folder of the reports."""
        return self.data_dir / "reports"


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings, and the source of each value by its dotted name; a missing name has its default."""

    settings: Settings
    sources: Mapping[str, str]


def load(
    file: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> LoadedSettings:
    """Load the settings: defaults, then the file, then the environment, then the command line.

    Args:
        file: the TOML file; None reads `DRIFTBELL_CONFIG`, or `driftbell.toml` in the working folder if it
            exists.
        environment: variables such as `DRIFTBELL_CHECK__EVERY`; None reads the process's own.
        overrides: values of the command line by dotted name.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value is invalid; all are listed.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    layers = [
        values_of_file(file, environment),
        values_of_environment(environment),
        [(name, value, "command line") for name, value in (overrides or {}).items()],
    ]
    problems = []
    known_names = setting_names()
    for layer in layers:
        for name, value, source in layer:
            if name not in known_names:
                if value == {} and name in Settings.model_fields:
                    continue  # a section without settings
                problems.append(_unknown_setting(name, source, known_names))
                continue
            values[name], sources[name] = value, source
    if not problems:
        try:
            return LoadedSettings(Settings.model_validate(_nested(values)), sources)
        except ValidationError as error:
            problems = [_invalid_value(e, sources) for e in error.errors()]
    raise ConfigError("\n".join(problems))


def notification_urls(settings: NotificationSettings) -> list[tuple[str, str]]:
    """Return the URL of each receiver of notifications, after the name of the setting that it comes from.

    Raises:
        ConfigError: the file cannot be read, or has a line that is not a URL.
    """
    urls = [("notifications.urls", url.get_secret_value()) for url in settings.urls]
    if settings.urls_file is None:
        return urls
    text = read_secret_file("notifications.urls_file", settings.urls_file)
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        if not re.match(URL, line):
            where = f"line {number} of {settings.urls_file}"
            raise ConfigError(
                f"notifications.urls_file: {where} must be an apprise URL such as {URL_EXAMPLE}"
            )
        urls.append(("notifications.urls_file", line))
    return urls


def log_database(settings: LogSettings) -> Database | None:
    """Return the database of the log; None if the log is a file in the data folder.

    Raises:
        ConfigError: both settings are present, or the file cannot be read or contains no such URL.
    """
    if settings.url_file is None:
        return parse_database(settings.url.get_secret_value()) if settings.url else None
    if settings.url is not None:
        raise ConfigError("log.url and log.url_file are both set: remove one")
    text = read_secret_file("log.url_file", settings.url_file)
    try:
        return parse_database(text)
    except ConfigError as error:
        raise ConfigError(f"log.url_file: the line in {settings.url_file} {error}") from error


def setting_names() -> list[str]:
    """Return every setting's dotted name."""
    return list(setting_descriptions())


def setting_descriptions() -> dict[str, str]:
    """Return every setting's description by its dotted name."""
    descriptions: dict[str, str] = {}
    for section, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            for key, setting in kind.model_fields.items():
                descriptions[f"{section}.{key}"] = setting.description or ""
        else:
            descriptions[section] = field.description or ""
    return descriptions


def setting_values(settings: Settings) -> dict[str, str | int | float | bool | None]:
    """Return every value by dotted name as it is written in the file; of secrets, only that they are set."""
    values = {}
    for name in setting_names():
        value: Any = settings
        for part in name.split("."):
            value = getattr(value, part)
        off = value is None and name in ("check.every", "notifications.cooldown")
        values[name] = "off" if off else file_value(value)
    return values


def environment_variable(name: str) -> str:
    """Return the name of a setting's environment variable.

    >>> environment_variable("check.every")
    'DRIFTBELL_CHECK__EVERY'
    """
    return PREFIX + name.replace(".", "__").upper()


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[key] = value
    return tree


def _unknown_setting(name: str, source: str, known_names: Sequence[str]) -> str:
    key = name.rpartition(".")[2]
    same_key = [setting for setting in known_names if setting.rpartition(".")[2] == key]
    question = suggest_name(name, known_names) or (f"did you mean '{same_key[0]}'?" if same_key else "")
    hint = question or "`driftbell config` lists every setting"
    return f"unknown setting '{name}' ({source}): {hint}"


def _invalid_value(error: Any, sources: Mapping[str, str]) -> str:
    name = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    if not name:
        return f"settings: {message}"
    message = message[:1].lower() + message[1:]
    value = "" if name in SECRET_SETTINGS else f", got {without_credentials(repr(error['input']))}"
    return f"setting '{name}' ({sources.get(name, 'default')}): {message}{value}"
