"""Development certificates, signed by a new authority with a discarded key."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from driftbell.errors import ConfigError, MissingExtraError

HOSTS = ("localhost", "reports.localhost", "grafana.localhost", "127.0.0.1", "::1")
"""Names of every development certificate."""

VALID = timedelta(days=365)
SKEW = timedelta(days=1)
"""The validity starts earlier by this, because clocks differ."""


@dataclass(frozen=True, slots=True)
class DevCertificates:
    """Paths and validity of the files.

    Attributes:
        certificate: the server's certificate.
        key: its private key.
        authority: the certificate of the authority, for clients to trust.
        hosts: names of the certificate.
        until: end of its validity (UTC).
    """

    certificate: Path
    key: Path
    authority: Path
    hosts: tuple[str, ...]
    until: datetime


def dev_certificates(folder: Path, *, hosts: Sequence[str] = (), now: datetime) -> DevCertificates:
    """Write `tls.crt`, `tls.key` and `ca.crt`.

    The proxy in the container runs as another user (101) and must read the key. Therefore the files are
    readable by all, the folder is closed to others, and each file is mounted separately. The key of the
    authority is never written, so a client that trusts `ca.crt` trusts this certificate only.

    Args:
        folder: target folder; created if missing.
        hosts: host names or addresses in addition to `HOSTS`.
        now: current time (UTC); start of the year of validity.

    Raises:
        ConfigError: trustme is missing, a host is invalid, a file exists, other users can enter the
            folder, or it cannot be written.
    """
    try:
        import trustme
    except ImportError as error:
        raise MissingExtraError("driftbell certs dev", "certs") from error
    names = tuple(dict.fromkeys([*HOSTS, *map(_host, hosts)]))
    written = DevCertificates(folder / "tls.crt", folder / "tls.key", folder / "ca.crt", names, now + VALID)
    described = {"organization_name": "driftbell", "organization_unit_name": f"development {now:%F %T}"}
    authority = trustme.CA(**described)
    try:
        leaf = authority.issue_cert(*names, **described, not_before=now - SKEW, not_after=written.until)
    except ValueError as error:  # a name that is too long, say
        raise ConfigError(f"--host: cannot create a certificate for {', '.join(hosts)}: {error}") from error
    content = {
        written.certificate: b"".join(pem.bytes() for pem in leaf.cert_chain_pems),
        written.key: leaf.private_key_pem.bytes(),
        written.authority: authority.cert_pem.bytes(),
    }
    _write(folder, content)
    return written


def _host(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if re.fullmatch(r"(\*\.)?([\w-]+\.)*[\w-]*[^\W\d][\w-]*", text):
            return text
    raise ConfigError(f"--host: '{text}' is not a host name or address; omit scheme and port")


def _write(folder: Path, content: dict[Path, bytes]) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        existing = [str(path) for path in content if path.exists()]
        if existing:
            raise ConfigError(f"files exist: {', '.join(existing)}; remove them, or choose another folder")
        if folder.stat().st_mode & 0o011:
            raise ConfigError(
                f"other users can enter {folder}, which will contain the key: chmod 700 {folder}"
            )
        for path, pem in content.items():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
                file.write(pem)
            path.chmod(0o644)  # regardless of the umask, see above
    except OSError as error:
        raise ConfigError(f"cannot write certificates to {folder}: {error.strerror}") from error
