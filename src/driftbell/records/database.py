"""The address of a PostgreSQL database."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Database:
    """A PostgreSQL database and how to reach it.

    Attributes:
        host: the server's name or address.
        port: its port.
        name: the database's name.
        user: who logs in.
        password: None where the server asks for none.
        sslmode: `disable`, `prefer` (TLS where the server has it), `require` (TLS, whoever answers), or
            `verify-full` (TLS with the server whose certificate has this host's name).
        sslrootcert: who signs such certificates; None takes those whom the system trusts.
    """

    host: str
    port: int
    name: str
    user: str
    password: str | None = field(default=None, repr=False)
    sslmode: str = "prefer"
    sslrootcert: Path | None = None
