"""A fake of the part of Docker's API that a log collector may use: reading containers and networks."""

from __future__ import annotations

import contextlib
import json
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
STREAMS = {"stdout": 1, "stderr": 2}


@dataclass(frozen=True)
class Container:
    """A container whose output is a growing file."""

    name: str
    output: Path
    stream: str = "stdout"
    composed: bool = True

    @property
    def id(self) -> str:
        return self.name.encode().hex().ljust(64, "0")

    def summary(self) -> dict[str, Any]:
        labels = {PROJECT: "driftbell", SERVICE: self.name} if self.composed else {}
        networks = {"monitoring": {"NetworkID": "n1", "IPAddress": "172.18.0.2"}}
        return {
            "Id": self.id,
            "Names": [f"/{self.name}"],
            "Labels": labels,
            "State": "running",
            "Ports": [],
            "HostConfig": {"NetworkMode": "monitoring"},
            "NetworkSettings": {"Networks": networks},
        }


@dataclass
class Docker:
    """Address of the API, the requests that a read-only proxy would have refused, and times asked for."""

    url: str
    refused: list[str] = field(default_factory=list)
    since: list[int] = field(default_factory=list)


class Log:
    """The log of a container: each line has the time at which it was first seen."""

    def __init__(self, output: Path) -> None:
        self._file = output.open("rb")
        self._rest = b""
        self._lock = threading.Lock()
        self._lines: list[tuple[int, bytes]] = []

    def after(self, index: int) -> list[tuple[int, bytes]]:
        """Return time (ns) and text of the lines from an index on."""
        with self._lock:
            *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
            self._lines += [(time.time_ns(), line) for line in lines]
            return self._lines[index:]

    def close(self) -> None:
        self._file.close()


def nanoseconds(since: str) -> int:
    """Parse Docker's parameter `since`: seconds, with or without decimal places."""
    return int(Decimal(since or "0") * 10**9)


def docker_time(moment: int) -> bytes:
    """Write a time in Docker's format."""
    whole = datetime.fromtimestamp(moment // 10**9, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{moment % 10**9:09d}Z".encode()


@contextlib.contextmanager
def docker(*containers: Container) -> Iterator[Docker]:
    """Serve these containers on a free loopback port."""
    ended = threading.Event()
    logs = {container.id: Log(container.output) for container in containers}

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            match [p for p in url.path.split("/") if not p.startswith("v1.")][1:]:
                case ["_ping"]:
                    self.json("OK")
                case ["networks"]:
                    self.json([{"Id": "n1", "Name": "monitoring", "Scope": "local", "Labels": {}}])
                case ["containers", "json"]:
                    self.json([c.summary() for c in containers if wanted(c, url.query)])
                case ["containers", id_, "json"]:
                    self.json({"Id": id_, "Config": {"Tty": False}})
                case ["containers", id_, "logs"]:
                    since = nanoseconds(parse_qs(url.query).get("since", ["0"])[0])
                    self.follow(next(c for c in containers if c.id == id_), since)
                case _:
                    self.refuse()

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            self.refuse()

        def refuse(self) -> None:
            api.refused.append(f"{self.command} {self.path}")
            self.send_error(403)

        def json(self, value: object) -> None:
            self.send_response(200)
            self.send_header("Api-Version", "1.51")
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(value).encode() if self.command == "GET" else b"")

        def follow(self, container: Container, since: int) -> None:
            """Return each line as a frame: stream, length, and Docker's time before the text."""
            if since:
                api.since.append(since)
            self.send_response(200)
            self.end_headers()
            index = 0
            with contextlib.suppress(OSError):
                while not ended.is_set():
                    lines = logs[container.id].after(index)
                    index += len(lines)
                    for moment, line in lines:
                        if moment < since:
                            continue
                        text = docker_time(moment) + b" " + line + b"\n"
                        head = struct.pack(">BxxxL", STREAMS[container.stream], len(text))
                        self.wfile.write(head + text)
                    time.sleep(0.1)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.daemon_threads = True
    api = Docker(f"tcp://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield api
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        for log in logs.values():
            log.close()


def wanted(container: Container, query: str) -> bool:
    filters = json.loads(parse_qs(query).get("filters", ["{}"])[0])
    return all(label in container.summary()["Labels"] for label in filters.get("label", []))
