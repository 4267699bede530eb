"""Run nginx with the files of deploy/nginx, for the tests of the stack and of the pages."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import processes
from tests.conftest import wait_until
from tests.ports import free_port

DEPLOY = Path(__file__).parents[2] / "deploy" / "nginx"
NGINX = os.environ.get("NGINX_BIN") or shutil.which("nginx", path=f"{os.environ.get('PATH')}:/usr/sbin")

needs_nginx = pytest.mark.skipif(
    not NGINX and os.environ.get("CI") != "true", reason="Debian's nginx is not installed"
)


@dataclass
class Nginx:
    """A running nginx: its address by the port in the file, and its output."""

    ports: dict[int, int]
    output: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[8080]}"

    @property
    def tls(self) -> str:
        return f"https://localhost:{self.ports[8443]}"

    def requests(self) -> list[dict[str, Any]]:
        """Return the access log; every line is JSON."""
        return [json.loads(line) for line in self.output.read_text("utf-8").splitlines()]


def version() -> tuple[int, ...]:
    assert NGINX, "CI promises nginx: install Debian's nginx-light and libnginx-mod-http-xslt-filter"
    output = subprocess.run([NGINX, "-v"], capture_output=True, text=True).stderr
    return tuple(map(int, re.findall(r"nginx/(\d+)\.(\d+)\.(\d+)", output)[0]))


def written(
    name: str, folder: Path, moved: dict[str, str], user: str = "root"
) -> tuple[list[str], dict[int, int]]:
    """Copy a file of the repository with the paths, ports and addresses of this test."""
    text = (DEPLOY / name).read_text("utf-8")
    ports = {int(port): free_port() for port in re.findall(r"listen (\d+)", text)}
    moved = (
        {"/tmp/": f"{folder}/"} | moved | {f"listen {a}": f"listen 127.0.0.1:{b}" for a, b in ports.items()}
    )
    for old, new in (moved | {"/etc/nginx/": f"{DEPLOY}/"}).items():
        text = text.replace(old, new)
    if version() < (1, 25, 1):  # which knew HTTP/2 by another word
        text = re.sub(r"(listen \S+ ssl);\n *http2 on;", r"\1 http2;", text)
    (folder / "nginx.conf").write_text(text, "utf-8")
    once = "daemon off;" + (f" user {user};" if os.geteuid() == 0 else "")  # to reach the test's folders
    return [str(NGINX), "-c", str(folder / "nginx.conf"), "-g", once], ports


@contextlib.contextmanager
def nginx(name: str, folder: Path, moved: dict[str, str], user: str = "root") -> Iterator[Nginx]:
    """Run nginx on a file of the repository."""
    folder.mkdir(parents=True, exist_ok=True)
    command, ports = written(name, folder, moved, user)
    with (folder / "out").open("ab") as out, (folder / "err").open("ab") as err:
        process = processes.start(command, stdout=out, stderr=err)
    server = Nginx(ports, folder / "out")

    def up() -> bool:
        assert process.poll() is None, (folder / "err").read_text("utf-8")
        return httpx.get(f"{server.url}/healthz").text == "ok\n"

    try:
        wait_until(up, 60, "nginx")
        yield server
    finally:
        process.terminate()
        process.wait(20)
