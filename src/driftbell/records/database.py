"""The address of a PostgreSQL database."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a server.

    Attributes:
        host: its name or IP address, or the folder of its Unix socket, which starts with '/'.
        port: its port, which is also in the name of its Unix socket.
    """

    host: str
    port: int = 5432


@dataclass(frozen=True, slots=True)
class Database:
    """A PostgreSQL database and its connection parameters.

    Attributes:
        addresses: its servers, at least one; of several, the first that accepts writes is used.
        name: the database's name.
        user: the database role.
        password: its password; None if the server requires none.
        sslmode: `disable`, `prefer` (TLS if the server supports it), `require` (TLS without verification),
            `verify-ca` (TLS, with a certificate of a trusted authority), or `verify-full` (which is valid for
            this host name, too). A Unix socket has no TLS.
        sslrootcert: file with the trusted authorities; None uses the system's.
        connect_timeout: seconds for a connection to one server; None uses the default.
        application_name: the name of the sessions on the server.
    """

    addresses: tuple[Address, ...]
    name: str
    user: str
    password: str | None = field(default=None, repr=False)
    sslmode: str = "prefer"
    sslrootcert: Path | None = None
    connect_timeout: float | None = None
    application_name: str = "driftbell"
