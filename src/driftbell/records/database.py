"""The address of a PostgreSQL database."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Database:
    """A PostgreSQL database and its connection parameters.

    Attributes:
        host: the server's name or address.
        port: its port.
        name: the database's name.
        user: the database role.
        password: its password; None if the server requires none.
        sslmode: `disable`, `prefer` (TLS if the server supports it), `require` (TLS without verification),
            or `verify-full` (TLS, with a certificate that is valid for this host name).
        sslrootcert: file with the trusted authorities; None uses the system's.
    """

    host: str
    port: int
    name: str
    user: str
    password: str | None = field(default=None, repr=False)
    sslmode: str = "prefer"
    sslrootcert: Path | None = None
