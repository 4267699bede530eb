"""Parsing of PostgreSQL URLs; no message shows any part of a URL, as it may contain a password."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from driftbell.errors import ConfigError
from driftbell.records.database import Database

EXAMPLE = "'postgresql://user:password@host:5432/database?sslmode=verify-full'"
SCHEMES = ("postgresql", "postgres")
SSL_MODES = ("disable", "prefer", "require", "verify-full")
DEFAULT_PORT = 5432


def parse_database(url: str) -> Database:
    """Parse the URL of a database.

    >>> parse_database("postgresql://me:secret@db/log?sslmode=require")
    Database(host='db', port=5432, name='log', user='me', sslmode='require', sslrootcert=None)

    Raises:
        ConfigError: it is not a PostgreSQL URL, or a part of it is invalid.
    """
    parts, port = _split(url.strip())
    if not parts.hostname or "," in parts.hostname:
        raise ConfigError(f"must name one host, as {EXAMPLE} does")
    if not parts.username:
        raise ConfigError(f"must name a user, as {EXAMPLE} does")
    name = unquote(parts.path.removeprefix("/"))
    if not name or "/" in name:
        raise ConfigError(f"must name a database, as {EXAMPLE} does; in a password '/' is %2F")
    query = parse_qs(parts.query, keep_blank_values=True)
    unknown = sorted(set(query) - {"sslmode", "sslrootcert"})
    if unknown or any(len(values) > 1 for values in query.values()):
        raise ConfigError("must have no parameters after '?' but sslmode and sslrootcert, each once")
    mode = query.get("sslmode", ["prefer"])[0]
    if mode not in SSL_MODES:
        raise ConfigError(f"must have an sslmode that is one of {', '.join(SSL_MODES)}")
    root = query.get("sslrootcert", [None])[0]
    if root is not None and mode != "verify-full":
        raise ConfigError("must have sslmode=verify-full if it has sslrootcert")
    return Database(
        host=parts.hostname,
        port=port or DEFAULT_PORT,
        name=name,
        user=unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        sslmode=mode,
        sslrootcert=Path(root) if root else None,
    )


def _split(url: str) -> tuple[SplitResult, int | None]:
    invalid = ConfigError(
        f"must be a URL such as {EXAMPLE}; in a password '@', '/', '#', '?' and '%' are encoded"
    )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # without its cause, which contains a part of the URL
        raise invalid from None
    if parts.scheme not in SCHEMES or parts.fragment or "#" in url or port == 0:
        raise invalid
    return parts, port
