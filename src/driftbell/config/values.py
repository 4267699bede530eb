"""Types of settings' values as they are written: durations, sizes, addresses, budgets."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from driftbell.alarms.budget import Budget, parse_budget
from driftbell.alarms.smallest_loss import parse_smallest_loss
from driftbell.config.postgres_url import parse_database
from driftbell.errors import ConfigError

CODE = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*"
"""A module and a name in it."""

MAX_PERIOD = timedelta(days=3660)
"""Longest period of days; each day has a slice."""

URL, URL_EXAMPLE = r"[\w+.-]+://\S", "'json://localhost:9000/hook'"
_ORIGIN = r"(?i)(https?)://([\w-]+(\.[\w-]+)*|\[[0-9a-f:.]+\])(:\d{1,5})?"
OWN_PATHS = {
    *(
        "check",
        "invocations",
        "ping",
        "predictions",
        "v2",
        "docs",
        "health",
        "index.json",
        "labels",
        "login",
        "logout",
        "metrics",
        "monitor",
        "openapi.json",
        "predict",
    ),
    *("reports", "reports.json", "runbook", "runbook.json", "static"),
}
"""First segments of the paths of the service."""

_HOST = r"\*|(\*\.)?[\w-]+(\.[\w-]+)*|[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:]*"
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {
    "": 1,
    "b": 1,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
}


def _duration(value: object) -> object:
    if isinstance(value, str):
        if value == "off":
            return None
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", value)
        if not match:
            raise ValueError("must be a duration such as '5m', '30s' or '1h', or 'off'")
        seconds = float(match[1]) * _UNITS[match[2]]
        if not 0.001 <= seconds <= 1e9:
            raise ValueError("must be a duration from '1ms' to about 30 years, or 'off'")
        return timedelta(seconds=seconds)
    if isinstance(value, int | float):
        raise ValueError("must be a duration with its unit, such as '5m' or '30s', or 'off'")
    return value


def _hosts(value: object) -> object:
    """Split a string of host names at commas and spaces."""
    names = re.findall(r"[^\s,]+", value) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(
        isinstance(n, str) and re.fullmatch(_HOST, n) for n in names
    ):
        raise ValueError("must be host names without a port, such as 'ml.example.org' or '*.example.org'")
    return tuple(map(str, names))


def _proxies(value: object) -> object:
    """Split a string of addresses and networks at commas and spaces."""
    texts = re.findall(r"[^\s,]+", value) if isinstance(value, str) else value
    hint = "must be addresses or networks of proxies, such as '127.0.0.1' or '10.1.0.0/16'"
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ValueError(hint)
    proxies = []
    for text in texts:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise ValueError(hint) from error
        if network.prefixlen == 0:
            raise ValueError(f"{hint}: a trusted proxy can name any address as that of its client")
        proxies.append(str(network) if "/" in text else str(network.network_address))
    return tuple(proxies)


def _origins(value: object) -> object:
    """Split a string of origins at commas and spaces, and leave out a default port, as browsers do."""
    texts = re.findall(r"[^\s,]+", value) if isinstance(value, str) else value
    hint = "must be origins such as 'https://app.example.org' or 'http://localhost:3000', or '*' alone"
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ValueError(hint)
    if tuple(texts) == ("*",):
        return ("*",)
    origins = []
    for text in texts:
        match = re.fullmatch(_ORIGIN, text)
        if not match:
            raise ValueError(hint)
        default = {"http": ":80", "https": ":443"}[match[1].lower()]
        origins.append(text.lower().removesuffix(default))
    return tuple(origins)


def _path_prefix(value: object) -> object:
    if value in (None, "", "/"):
        return None
    text = value.rstrip("/") if isinstance(value, str) else ""
    segments = text.split("/")[1:]
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text) or {".", ".."} & set(segments):
        raise ValueError("must be a path such as '/ml' or '/models/churn', with letters, digits and '-._~'")
    if segments[0] in OWN_PATHS:
        raise ValueError(f"must not begin with /{segments[0]}, which is a path of the service itself")
    return text


def _time_limit(value: object) -> object:
    limit = _duration(value)
    if limit is None or (isinstance(limit, timedelta) and limit < timedelta(seconds=1)):
        raise ValueError("must be a duration of at least a second, such as '10s'")
    return limit


def _size(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+)\s*([a-zA-Z]*)\s*", value)
        if not match or match[2].lower() not in _SIZES:
            raise ValueError("must be a size such as '1MiB' or a number of bytes")
        return int(match[1]) * _SIZES[match[2].lower()]
    return value


def _model_source(value: object) -> object:
    """Return the path of a model; a URL, or a name in a module, stays a text."""
    if value is None or isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a file or folder, 'module:function', or a URL")
    if re.match(r"https?://[^/?#]*@", value):
        raise ValueError("must not contain a user or password")
    is_code = re.fullmatch(CODE, value) and not Path(value).exists()
    return value if is_code or value.startswith(("http://", "https://")) else Path(value)


def _class_names(value: object) -> object:
    """Split a string of class names at commas."""
    names = [n.strip() for n in value.split(",")] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(
        isinstance(n, str | int) and str(n).strip() for n in names
    ):
        raise ValueError("must be a list of names, such as ['no', 'yes']")
    texts = tuple(map(str, names))
    if len(texts) == 1:
        raise ValueError("must have at least two names")
    repeated = sorted({n for n in texts if texts.count(n) > 1})
    if repeated:
        raise ValueError(f"has a name twice: {', '.join(repeated)}")
    return texts


def _collector(value: str) -> str:
    if any(character in value for character in "@?#"):
        raise ValueError("must not contain credentials or a query: set headers in OTEL_EXPORTER_OTLP_HEADERS")
    hint = "must be the base URL of an OTLP/HTTP collector, such as 'http://127.0.0.1:4318'"
    try:
        url = urlsplit(value)
        valid = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError as error:
        raise ValueError(hint) from error
    if not valid or not value.isprintable() or " " in value:
        raise ValueError(hint)
    if url.path.rstrip("/").endswith("/v1/traces"):
        raise ValueError(f"{hint}, without '/v1/traces'")
    return value


def _secret_urls(value: object) -> object:
    """Split a string before each URL, as apprise does; no message shows any part of a value."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple):
        raise ValueError("must be a list of apprise URLs")
    plain = [u.get_secret_value() if isinstance(u, SecretStr) else str(u) for u in texts]
    urls = [u for text in plain for u in re.split(r"[\s,]+(?=[\w+.-]+://)", text.strip(" \t\r\n,")) if u]
    for number, url in enumerate(urls, 1):
        if not re.match(URL, url):
            raise ValueError(f"must be apprise URLs such as {URL_EXAMPLE}, but number {number} is not one")
    return tuple(map(SecretStr, urls))


def _address(value: object) -> object:
    if value is not None and not (isinstance(value, str) and re.fullmatch(r"https?://[^\s@?#]+", value)):
        raise ValueError("must be an address such as 'https://ml.example.org', without user, '?' and '#'")
    return value


def _database(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if value is None:
        return None
    try:
        parse_database(text if isinstance(text, str) else "")
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return SecretStr(str(text).strip())


def _budget(value: object) -> object:
    if isinstance(value, Budget):
        return value
    try:
        return parse_budget(value if isinstance(value, str) else "")
    except ConfigError as error:
        raise ValueError(str(error)) from error


def _smallest_loss(value: object) -> object:
    """Return a number, a share as a text such as "10%", or None for the default."""
    try:
        smallest = parse_smallest_loss(value)
    except ConfigError as error:
        raise ValueError(str(error)) from error
    return smallest.amount if smallest.share is None else f"{100 * smallest.share:.15g}%"


def _whole_days(value: timedelta | None) -> timedelta | None:
    if value is not None and (value % timedelta(days=1) or value > MAX_PERIOD):
        raise ValueError(f"must be whole days, at most {MAX_PERIOD.days}, such as '30d', or 'off'")
    return value


Duration = Annotated[timedelta | None, BeforeValidator(_duration)]
Days = Annotated[timedelta | None, BeforeValidator(_duration), AfterValidator(_whole_days)]
Hosts = Annotated[tuple[str, ...], BeforeValidator(_hosts)]
Proxies = Annotated[tuple[str, ...], BeforeValidator(_proxies)]
Origins = Annotated[tuple[str, ...], BeforeValidator(_origins)]
PathPrefix = Annotated[str | None, BeforeValidator(_path_prefix)]
TimeLimit = Annotated[timedelta, BeforeValidator(_time_limit)]
Size = Annotated[int, BeforeValidator(_size), Field(ge=64)]
ReportSize = Annotated[int, BeforeValidator(_size), Field(ge=1024**2)]
Collector = Annotated[str, AfterValidator(_collector)]
SecretUrls = Annotated[tuple[SecretStr, ...], BeforeValidator(_secret_urls)]
Address = Annotated[str | None, BeforeValidator(_address)]
DatabaseUrl = Annotated[SecretStr | None, BeforeValidator(_database)]
ModelSource = Annotated[Path | str | None, BeforeValidator(_model_source)]
ClassNames = Annotated[tuple[str, ...], BeforeValidator(_class_names)]
SmallestRelevantLoss = Annotated[float | str | None, BeforeValidator(_smallest_loss)]
FalseAlarms = Annotated[Budget, BeforeValidator(_budget)]
