"""One TOML file and the environment, made into frozen settings; where each value came from is kept."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from driftbell.alarms.budget import Budget
from driftbell.config.postgres_url import parse_database
from driftbell.config.values import (
    URL,
    URL_EXAMPLE,
    Address,
    Collector,
    DatabaseUrl,
    Duration,
    FalseAlarms,
    SecretUrls,
    Size,
)
from driftbell.errors import ConfigError
from driftbell.phrases import suggest_name
from driftbell.records.database import Database

PREFIX = "DRIFTBELL_"
FILE_VARIABLE = "DRIFTBELL_CONFIG"
FILE_NAME = "driftbell.toml"
UNSHOWN = ("notifications.urls", "notifications.link", "log.url", "tracing.endpoint")
"""Settings whose wrong values may hold a password."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSettings(_Section):
    """`[server]`."""

    host: str = "127.0.0.1"
    """The address to listen on; loopback unless told otherwise."""
    port: int = Field(8000, ge=1, le=65535)
    """The port to listen on."""
    workers: int = Field(1, ge=1, le=64)
    """Server processes on that port."""
    body_limit: Size = 1024 * 1024
    """The largest request body, such as '1MiB'; a larger one is refused before it is read whole."""
    queue_limit: int = Field(2000, ge=1)
    """Requests that may wait for the model or the log; beyond them the answer is 503."""
    access_log: bool = True
    """Whether each request is a log line."""


class LogSettings(_Section):
    """`[log]`."""

    url: DatabaseUrl = None
    """A PostgreSQL database for the log, a secret; without it, the log is a file in the data folder."""
    url_file: Path | None = None
    """A file with that URL, instead of it."""
    durability: Literal["process", "power", "async"] = "process"
    """What an answered prediction survives: a kill of every 'process', a 'power' cut, or nothing: 'async'."""
    on_failure: Literal["refuse", "spool"] = "refuse"
    """While the log cannot be written: 'refuse' with 503, or 'spool' to this disk until it is back."""


class WindowSettings(_Section):
    """`[window]`."""

    rows: int = Field(500, ge=1, le=1_000_000)
    """How many of the last predictions a check looks at."""


class CheckSettings(_Section):
    """`[check]`."""

    every: Duration = timedelta(minutes=5)
    """How often the monitor checks by itself, such as '5m'; 'off' leaves only checks that are asked for."""
    minimum_rows: int = Field(10, ge=1)
    """With fewer predictions in the window the verdict is unknown."""
    false_discovery_rate: float = Field(0.05, gt=0, lt=1)
    """Evidence of drift that is listed once it lasts (p-value after Benjamini–Hochberg over all columns)."""


class AlarmSettings(_Section):
    """`[alarms]`."""

    budget: FalseAlarms = Budget(1, timedelta(days=30))
    """How many false alarms are allowed, such as '1 per 30d' or '2 per 1000 checks'."""
    smallest_loss: float = Field(0.02, gt=0, lt=1)
    """The smallest loss of accuracy that is worth an alarm: 0.02 is two points."""


class ReportSettings(_Section):
    """`[reports]`."""

    keep: int = Field(200, ge=1)
    """How many checks' reports stay on disk; the oldest go first."""
    evidently: Literal["auto", "on", "off"] = "auto"
    """Whether each check writes the Evidently report; 'auto' does where the extra is installed."""


class NotificationSettings(_Section):
    """`[notifications]`."""

    urls: SecretUrls = ()
    """Who is told when the verdict changes: apprise URLs, which are secrets; none tells nobody."""
    urls_file: Path | None = None
    """A file with more of them, one a line; lines that begin with # are skipped."""
    cooldown: Duration = timedelta(minutes=30)
    """How long after a message the next one waits, unless it is an alarm; 'off' tells every change."""
    link: Address = None
    """Where people reach the service, such as 'https://ml.example.org', for the report's address."""


class ModelSettings(_Section):
    """`[model]`."""

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """What people call the model; without it, its file's name, or 'iris'."""
    path: Path | None = None
    """A fitted classifier (.skops, .joblib, .pkl, .onnx); none serves the Iris random forest."""
    sha256: str | None = Field(None, pattern=r"^[0-9a-fA-F]{64}$")
    """The file's SHA-256; without it no pickle or joblib file is loaded."""
    reference: Path | None = None
    """What predictions are compared with, .csv or .parquet: rows like the training data."""
    target: str | None = None
    """A column of the reference that is the label and not a feature."""
    engine: Literal["auto", "native"] = "auto"
    """What answers: 'auto' is ONNX Runtime where it answers as the model itself, which is 'native'."""


class RetentionSettings(_Section):
    """`[retention]`."""

    days: int | None = Field(None, ge=1, le=36500)
    """How many days predictions and checks stay in the log, besides today; without it, for ever."""
    archive: str | None = Field(None, min_length=1)
    """Where predictions go before they are deleted, a folder or URL such as 's3://bucket/driftbell'."""


class TracingSettings(_Section):
    """`[tracing]`."""

    endpoint: Collector | None = None
    """Where spans go, an OTLP/HTTP base URL such as 'http://127.0.0.1:4318'; without it nothing is traced."""
    sample: float = Field(1.0, ge=0, le=1)
    """The share of requests that are traced; what a caller's `traceparent` says comes first."""


class Settings(_Section):
    """Every setting; see `docs/reference/configuration.md`."""

    data_dir: Path = Path("driftbell-data")
    """Where everything written goes: log, models, reports."""
    server: ServerSettings = ServerSettings()
    log: LogSettings = LogSettings()
    window: WindowSettings = WindowSettings()
    check: CheckSettings = CheckSettings()
    alarms: AlarmSettings = AlarmSettings()
    reports: ReportSettings = ReportSettings()
    model: ModelSettings = ModelSettings()
    tracing: TracingSettings = TracingSettings()
    retention: RetentionSettings = RetentionSettings()
    notifications: NotificationSettings = NotificationSettings()

    @model_validator(mode="after")
    def _window_is_enough(self) -> Self:
        if self.window.rows < self.check.minimum_rows:
            raise ValueError(
                f"window.rows ({self.window.rows}) is less than check.minimum_rows "
                f"({self.check.minimum_rows}), so no check could ever judge: raise the one or lower the other"
            )
        return self

    @property
    def log_path(self) -> Path:
        """The SQLite file of the log, where no database is named."""
        return self.data_dir / "log.sqlite"

    @property
    def journals_dir(self) -> Path:
        """The folder of what is on its way to the log."""
        return self.data_dir / "journal"

    @property
    def reports_dir(self) -> Path:
        """The folder of the reports."""
        return self.data_dir / "reports"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and the source of each value by its dotted name (`default` where it is not listed)."""

    settings: Settings
    sources: Mapping[str, str]


def load(
    file: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Loaded:
    """Read the settings: defaults, then the file, then the environment, then what the command line said.

    Args:
        file: the TOML file; None takes `DRIFTBELL_CONFIG`, or `driftbell.toml` in the working folder
            where it exists.
        environment: variables such as `DRIFTBELL_CHECK__EVERY`; None takes the process's own.
        overrides: values by dotted name.

    Raises:
        ConfigError: a file cannot be read, a key is unknown, or a value is wrong; all are listed.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    layers = [
        _from_file(file, environment),
        _from_environment(environment),
        [(name, value, "command line") for name, value in (overrides or {}).items()],
    ]
    problems = []
    known = names()
    for layer in layers:
        for name, value, source in layer:
            if name not in known:
                problems.append(_unknown(name, source, known))
                continue
            values[name], sources[name] = value, source
    if not problems:
        try:
            return Loaded(Settings.model_validate(_nested(values)), sources)
        except ValidationError as error:
            problems = [_invalid(e, sources) for e in error.errors()]
    raise ConfigError("\n".join(problems))


def notification_urls(settings: NotificationSettings) -> list[tuple[str, str]]:
    """Give each URL that notifications go to, after the name of the setting that it comes from.

    Raises:
        ConfigError: the file cannot be read, or has a line that is no URL.
    """
    found = [("notifications.urls", url.get_secret_value()) for url in settings.urls]
    if settings.urls_file is None:
        return found
    try:
        text = settings.urls_file.read_text("utf-8")
    except OSError as error:
        raise ConfigError(
            f"notifications.urls_file: cannot read {settings.urls_file}: {error.strerror}"
        ) from error
    except UnicodeDecodeError:  # without its cause, which has the secret
        raise ConfigError(f"notifications.urls_file: {settings.urls_file} is not a text in UTF-8") from None
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        if not re.match(URL, line):
            where = f"line {number} of {settings.urls_file}"
            raise ConfigError(
                f"notifications.urls_file: {where} must be an apprise URL such as {URL_EXAMPLE}"
            )
        found.append(("notifications.urls_file", line))
    return found


def log_database(settings: LogSettings) -> Database | None:
    """Give the database that the log is in; None where it is a file in the data folder.

    Raises:
        ConfigError: both settings are there, or the file cannot be read or has no such URL.
    """
    if settings.url_file is None:
        return parse_database(settings.url.get_secret_value()) if settings.url else None
    if settings.url is not None:
        raise ConfigError("log.url and log.url_file are both set: leave one out")
    try:
        text = settings.url_file.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"log.url_file: cannot read {settings.url_file}: {error.strerror}") from error
    except UnicodeDecodeError:  # without its cause, which has the secret
        raise ConfigError(f"log.url_file: {settings.url_file} is not a text in UTF-8") from None
    try:
        return parse_database(text)
    except ConfigError as error:
        raise ConfigError(f"log.url_file: the line in {settings.url_file} {error}") from error


def names() -> list[str]:
    """List every setting's dotted name."""
    found: list[str] = []
    for key, field in Settings.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, _Section):
            found += [f"{key}.{k}" for k in inner.model_fields]
        else:
            found.append(key)
    return found


def shown(settings: Settings) -> dict[str, str | int | float | bool | None]:
    """Give every value by dotted name as one would write it in the file; of secrets, that there are some."""

    def plain(value: Any) -> Any:
        if isinstance(value, timedelta):
            seconds = value.total_seconds()
            return f"{seconds / 60:.15g}m" if seconds % 60 == 0 else f"{seconds:.15g}s"
        if isinstance(value, tuple):  # secrets
            return f"({len(value)} set)" if value else None
        if isinstance(value, SecretStr):
            return "(set)"
        return str(value) if isinstance(value, Path | Budget) else value

    found = {}
    for name in names():
        value: Any = settings
        for part in name.split("."):
            value = getattr(value, part)
        off = value is None and name in ("check.every", "notifications.cooldown")
        found[name] = "off" if off else plain(value)
    return found


def variable(name: str) -> str:
    """Name the environment variable of a setting.

    >>> variable("check.every")
    'DRIFTBELL_CHECK__EVERY'
    """
    return PREFIX + name.replace(".", "__").upper()


def _from_file(file: Path | None, environment: Mapping[str, str]) -> list[tuple[str, Any, str]]:
    named = file or (Path(environment[FILE_VARIABLE]) if environment.get(FILE_VARIABLE) else None)
    path = named or Path(FILE_NAME)
    if named is None and not path.is_file():
        return []
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration file {path} is not valid TOML: {error}") from error
    found = []
    for key, value in content.items():
        if isinstance(value, dict) and value:
            found += [(f"{key}.{k}", v, str(path)) for k, v in value.items()]
        else:
            found.append((key, value, str(path)))
    return found


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, Any, str]]:
    return [
        (key.removeprefix(PREFIX).lower().replace("__", "."), value, f"environment, {key}")
        for key, value in environment.items()
        if key.startswith(PREFIX) and key != FILE_VARIABLE and value  # compose files set empty ones
        if not re.match(f"{PREFIX}(SERVICE_|PORT(_|$))", key)  # Kubernetes' own, for a service of our name
    ]


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[key] = value
    return tree


def _unknown(name: str, source: str, known: Sequence[str]) -> str:
    key = name.rpartition(".")[2]
    same_key = [setting for setting in known if setting.rpartition(".")[2] == key]
    question = suggest_name(name, known) or (f"did you mean '{same_key[0]}'?" if same_key else "")
    hint = question or "`driftbell config` lists every setting"
    return f"unknown setting '{name}' ({source}): {hint}"


def _invalid(error: Any, sources: Mapping[str, str]) -> str:
    name = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    if not name:
        return f"settings: {message}"
    message = message[:1].lower() + message[1:]
    given = "" if name in UNSHOWN else f", got {error['input']!r}"
    return f"setting '{name}' ({sources.get(name, 'default')}): {message}{given}"
