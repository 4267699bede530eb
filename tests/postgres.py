"""A real PostgreSQL on loopback, in a folder of its own."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.ports import free_port

USER, PASSWORD = "driftbell", "p@ss/w:rd"
ENCODED = "p%40ss%2Fw%3Ard"
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=60")


def tools() -> Path | None:
    """Return the folder of the newest server's programs, or None."""
    programs = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda p: int(p.split("/")[4]))
    if programs:
        return Path(programs[-1]).parent
    path = shutil.which("postgres")
    return Path(path).parent if path else None


def absent() -> str:
    """Return why no PostgreSQL can be started, or ''."""
    if tools() is None:
        return "no PostgreSQL: apt-get install postgresql"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            return "PostgreSQL does not run as root, and there is no user postgres"
    return ""


class Server:
    """A PostgreSQL on loopback; it starts at once, and can be stopped and started again."""

    @property
    def startup_errors(self) -> tuple[type[Exception], ...]:
        from pg8000.exceptions import DatabaseError, InterfaceError

        return DatabaseError, InterfaceError

    def __init__(self, *options: str, tls: bool = False) -> None:
        programs = tools()
        assert programs, absent()
        self._tools = programs
        self.folder = Path(tempfile.mkdtemp(prefix="driftbell-pg-"))
        self.options = options
        self._account: dict[str, Any] = {}
        if os.geteuid() == 0:  # it refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._account = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self.port = free_port()
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        arguments = [
            "-D",
            str(self.data),
            "-U",
            USER,
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "-A",
            "scram-sha-256",
        ]
        initdb = subprocess.run(
            [self._tools / "initdb", *arguments, f"--pwfile={password}", "--locale=C.UTF-8", "--no-sync"],
            capture_output=True,
            text=True,
            cwd=self.folder,
            preexec_fn=processes.signalled_with_parent(signal.SIGTERM),
            **self._account,
        )
        assert initdb.returncode == 0, initdb.stderr
        self._clean_url: str | None = None
        if tls:
            self._certify()
        self.start()

    def _certify(self) -> None:
        """Enable TLS with a new certificate for localhost."""
        import trustme

        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.folder / "ca.pem")
        certificate = authority.issue_cert("localhost")
        for name, content in (
            ("server.key", certificate.private_key_pem),
            ("server.crt", certificate.cert_chain_pems[0]),
        ):
            content.write_to_path(self.folder / name)
            (self.folder / name).chmod(0o600)
            if self._account:
                os.chown(self.folder / name, self._account["user"], self._account["group"])
        files = (f"ssl_key_file={self.folder}/server.key", f"ssl_cert_file={self.folder}/server.crt")
        self.options = (*self.options, "ssl=on", *files)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        settings = ("listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}", *self.options)
        options = [word for setting in settings for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self.process = processes.start(
                [self._tools / "postgres", "-D", self.data, "-p", str(self.port), *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                on_parent_death=signal.SIGQUIT,
                **self._account,
            )
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(*self.startup_errors):
                self.run("SELECT 1")
                return
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def stop(self, how: int = signal.SIGINT) -> None:
        """Stop the server: SIGINT ends every session, SIGQUIT is like a crash."""
        self.process.send_signal(how)
        self.process.wait(60)

    def run(self, statement: str, database: str = "postgres") -> list[Any]:
        import pg8000.dbapi

        connection = pg8000.dbapi.connect(
            USER, host="127.0.0.1", port=self.port, database=database, password=PASSWORD, timeout=60
        )
        with contextlib.closing(connection):
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def url(self, database: str, query: str = "?sslmode=disable") -> str:
        return f"postgresql://{USER}:{ENCODED}@127.0.0.1:{self.port}/{database}{query}"

    def empty_database(self) -> str:
        name = f"test_{secrets.token_hex(4)}"
        self.run(f"CREATE DATABASE {name}")
        return self.url(name)

    def clean(self) -> str:
        """Return the URL of a database with empty tables."""
        from driftbell.config.postgres_url import parse_database
        from driftbell.store.postgres import open_postgres
        from driftbell.store.tables import metadata

        if self._clean_url is None:
            self._clean_url = self.empty_database()
            open_postgres(parse_database(self._clean_url)).close()
        name = self._clean_url.split("?")[0].rpartition("/")[2]
        self.run(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY", name)
        return self._clean_url

    def close(self) -> None:
        if self.process.poll() is None:
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)


def required() -> None:
    """Skip the test if PostgreSQL is missing, except in CI."""
    reason = absent()
    if reason:
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
