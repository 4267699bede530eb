"""Parsing of PostgreSQL URLs; no message shows any part of a URL, as it may contain a password."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote

from driftbell.errors import ConfigError
from driftbell.records.database import Address, Database

EXAMPLE = "'postgresql://user:password@host:5432/database?sslmode=verify-full'"
SCHEMES = ("postgresql", "postgres")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
VERIFIED = ("require", "verify-ca", "verify-full")
PARAMETERS = (
    "sslmode",
    "sslrootcert",
    "connect_timeout",
    "application_name",
    "host",
    "port",
    "target_session_attrs",
    "channel_binding",
)
SESSIONS = ("any", "read-write", "primary")
BINDINGS = ("disable", "prefer")
DEFAULT_PORT = 5432
MAX_SECONDS = 3600
MAX_NAME_LENGTH = 63
"""Characters of an application name that PostgreSQL keeps."""

_INVALID = f"must be a URL such as {EXAMPLE}; in a password '@', '/', '#', '?' and '%' are encoded"
_URL = re.compile(
    r"(?P<scheme>\w+)://(?P<hosts>[^/?#\x00-\x1f]*)(?P<path>/[^?#\x00-\x1f]*)?(?:\?(?P<query>[^#\x00-\x1f]*))?"
)
_ADDRESS = re.compile(r"(?:\[(?P<ip>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:/]*))(?::(?P<port>[0-9]{1,5}))?")


def parse_database(url: str) -> Database:
    """Parse the URL of a database, in the form that libpq and hosts of PostgreSQL use.

    >>> parse_database("postgresql://me:secret@db/log?sslmode=require").addresses
    (Address(host='db', port=5432),)
    >>> parse_database("postgresql://me@a,b:5433/log").addresses
    (Address(host='a', port=5432), Address(host='b', port=5433))
    >>> parse_database("postgresql://me@/log?host=/var/run/postgresql").addresses
    (Address(host='/var/run/postgresql', port=5432),)

    Raises:
        ConfigError: it is not a PostgreSQL URL, or a part of it is invalid.
    """
    parts = _split(url.strip())
    parameters = _parameters(parts.query)
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, separator, password = credentials.partition(":")
    if not user:
        raise ConfigError(f"must name a user, as {EXAMPLE} does")
    name = unquote(parts.path.removeprefix("/"))
    if not name or "/" in name:
        raise ConfigError(f"must name a database, as {EXAMPLE} does; in a password '/' is %2F")
    mode = parameters.get("sslmode", "prefer")
    root = parameters.get("sslrootcert")
    if root is not None and mode not in VERIFIED:
        raise ConfigError(f"must have an sslmode that is one of {', '.join(VERIFIED)} if it has sslrootcert")
    if root is not None and mode == "require":
        mode = "verify-ca"  # as libpq does
    return Database(
        addresses=_addresses(hosts, parameters),
        name=name,
        user=unquote(user),
        password=unquote(password) if separator else None,
        sslmode="prefer" if mode == "allow" else mode,
        sslrootcert=Path(root) if root and root != "system" else None,
        connect_timeout=_seconds(parameters.get("connect_timeout")),
        application_name=parameters.get("application_name", "driftbell"),
    )


def _split(url: str) -> SplitResult:
    """Split a URL; the standard library's releases differ in what they accept as hosts."""
    match = _URL.fullmatch(url)
    if match is None or match["scheme"].lower() not in SCHEMES:
        raise ConfigError(_INVALID)
    return SplitResult(match["scheme"].lower(), match["hosts"], match["path"] or "", match["query"] or "", "")


def _parameters(query: str) -> dict[str, str]:
    values = parse_qs(query, keep_blank_values=True)
    if set(values) - set(PARAMETERS) or any(len(value) > 1 for value in values.values()):
        names = ", ".join(PARAMETERS)
        raise ConfigError(f"must have no parameters after '?' but {names}, each once")
    parameters = {name: value[0] for name, value in values.items()}
    for name, choices in (
        ("sslmode", SSL_MODES),
        ("target_session_attrs", SESSIONS),
        ("channel_binding", BINDINGS),
    ):
        if parameters.get(name, choices[0]) not in choices:
            raise ConfigError(f"must have a {name} that is one of {', '.join(choices)}")
    application = parameters.get("application_name", "driftbell")
    if not application.isascii() or not application.isprintable() or len(application) > MAX_NAME_LENGTH:
        raise ConfigError(f"must have an application_name of at most {MAX_NAME_LENGTH} ASCII characters")
    return parameters


def _addresses(hosts: str, parameters: dict[str, str]) -> tuple[Address, ...]:
    """Parse `a:1,b:2`, or the parameters `host=a,b` and `port=1,2`."""
    in_query = "host" in parameters
    if in_query == bool(hosts.strip(":")):
        raise ConfigError(f"must name a host, as {EXAMPLE} does, or have the parameter host, but not both")
    names = (parameters["host"] if in_query else hosts).split(",")
    ports = parameters.get("port", "").split(",")
    ports = ports * len(names) if len(ports) == 1 else ports
    if len(ports) != len(names):
        raise ConfigError("must have one port, or as many ports as hosts")
    return tuple(_address(name, port, in_query) for name, port in zip(names, ports, strict=True))


def _address(text: str, port: str, in_query: bool) -> Address:
    decoded = unquote(text) if not in_query else text
    if decoded.startswith("/"):  # the folder of a Unix socket
        return Address(decoded.rstrip("/") or "/", _port(port))
    if in_query and ":" in decoded:
        return Address(decoded.strip("[]"), _port(port))
    match = _ADDRESS.fullmatch(decoded)
    host = match and (match["ip"] or match["name"])
    if not match or not host:
        raise ConfigError(_INVALID)
    return Address(host.lower(), _port(match["port"] or port))


def _port(text: str) -> int:
    if not text:
        return DEFAULT_PORT
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise ConfigError(_INVALID)
    return int(text)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,4}", text) or int(text) > MAX_SECONDS:
        raise ConfigError(f"must have a connect_timeout of 0 to {MAX_SECONDS} whole seconds")
    return float(text) or None  # 0 is the default, as in libpq
