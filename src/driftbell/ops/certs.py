"""Certificates for development: signed by an authority that is made for them and forgotten."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from driftbell.errors import ConfigError

HOSTS = ("localhost", "reports.localhost", "grafana.localhost", "127.0.0.1", "::1")
"""The names that every development certificate has."""

VALID = timedelta(days=365)
SKEW = timedelta(days=1)
"""Valid from before now, since clocks differ."""


@dataclass(frozen=True, slots=True)
class DevCertificates:
    """What was written.

    Attributes:
        certificate: the server's certificate.
        key: its private key.
        authority: the certificate of the authority, for clients to trust.
        hosts: the names it is for.
        until: when it ends (UTC).
    """

    certificate: Path
    key: Path
    authority: Path
    hosts: tuple[str, ...]
    until: datetime


def dev_certificates(folder: Path, *, hosts: Sequence[str] = (), now: datetime) -> DevCertificates:
    """Write `tls.crt`, `tls.key` and `ca.crt`.

    The proxy in the container runs as another user (101) and must read the key, so the files are readable
    and the folder is not to be entered by others: each file is mounted by itself. The authority's own key is
    never written: whoever trusts `ca.crt` trusts this one certificate.

    Args:
        folder: made if it is not there.
        hosts: more host names or addresses than `HOSTS`.
        now: the time (UTC); valid for a year from it.

    Raises:
        ConfigError: trustme is not installed, a host is no host, a file is there already, others may enter
            the folder, or it cannot be written.
    """
    try:
        import trustme
    except ImportError as error:
        raise ConfigError("trustme is not installed: pip install 'driftbell[certs]'") from error
    names = tuple(dict.fromkeys([*HOSTS, *map(_host, hosts)]))
    written = DevCertificates(folder / "tls.crt", folder / "tls.key", folder / "ca.crt", names, now + VALID)
    described = {"organization_name": "driftbell", "organization_unit_name": f"development {now:%F %T}"}
    authority = trustme.CA(**described)
    try:
        leaf = authority.issue_cert(*names, **described, not_before=now - SKEW, not_after=written.until)
    except ValueError as error:  # a name that is too long, say
        raise ConfigError(f"--host: no certificate can be made for {', '.join(hosts)}: {error}") from error
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
    raise ConfigError(f"--host: '{text}' is not a host name or an address; give it without scheme and port")


def _write(folder: Path, content: dict[Path, bytes]) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = [str(path) for path in content if path.exists()]
        if there:
            raise ConfigError(f"already there: {', '.join(there)}; remove them, or name another folder")
        if folder.stat().st_mode & 0o011:
            raise ConfigError(f"other users may enter {folder}, where the key will be: chmod 700 {folder}")
        for path, pem in content.items():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
                file.write(pem)
            path.chmod(0o644)  # whatever the umask: see above
    except OSError as error:
        raise ConfigError(f"cannot write certificates to {folder}: {error.strerror}") from error
