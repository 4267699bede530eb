"""What makes a service fail, and load that keeps what was answered meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

ROW = b'{"sepal length (cm)":5.1,"sepal width (cm)":3.5,"petal length (cm)":1.4,"petal width (cm)":0.2}'
ANSWER_SECONDS = 20.0


class _Loop:
    """An event loop in a thread of its own."""

    def __enter__(self) -> Any:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.do(self._end())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _start(self) -> None:
        raise NotImplementedError

    async def _end(self) -> None:
        raise NotImplementedError


class Load(_Loop):
    """Clients that send row after row, and come again when they are thrown out; every id of a 200 is kept.

    Args:
        url: of the service; may be set anew while it runs.
        clients: how many.
        pause: seconds between an answer and the next request of a client.

    Attributes:
        answered: the ids of all answers with 200.
        statuses: how many answers had which status; 0 for connections that broke.
        refused_ms: how long each answer took that was no 200.
        slowest: seconds of the longest answer of any status.
    """

    def __init__(self, url: str, *, clients: int = 8, pause: float = 0.01) -> None:
        self.url = url
        self.answered: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.refused_ms: list[float] = []
        self.slowest = 0.0
        self._clients = clients
        self._pause = pause
        self._asked_for_last = 0.0
        self._over = False

    async def _start(self) -> None:
        self._tasks = [asyncio.create_task(self._send(i % 4 == 0)) for i in range(self._clients)]

    def stop(self) -> None:
        """Send no more; what is under way is waited for at the end."""
        self._over = True

    async def _end(self) -> None:
        self.stop()
        await asyncio.wait_for(asyncio.gather(*self._tasks), ANSWER_SECONDS + 5)

    async def _send(self, batches: bool) -> None:
        while not self._over:
            parts = urlsplit(self.url)
            try:
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            except OSError:
                self.statuses[0] += 1
                await asyncio.sleep(0.05)
                continue
            try:
                while not self._over and urlsplit(self.url) == parts:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        await self._ask(reader, writer, batches)
                    await asyncio.sleep(self._pause)
            except (OSError, EOFError, TimeoutError):
                self.statuses[0] += 1
                await asyncio.sleep(0.02)
            finally:
                writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, batches: bool) -> None:
        path, body = ("/predict/batch", b"[%b,%b,%b]" % (ROW, ROW, ROW)) if batches else ("/predict", ROW)
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        asked = time.monotonic()
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        body = await reader.readexactly(int(answer.split("content-length: ")[1].split("\r\n")[0]))
        took = time.monotonic() - asked
        status = int(answer.split(" ", 2)[1])
        self.statuses[status] += 1
        self.slowest = max(self.slowest, took)
        if status == 200:
            found = json.loads(body)
            self.answered += [p["id"] for p in found["predictions"]] if batches else [found["id"]]
            self._asked_for_last = max(self._asked_for_last, asked)
        else:
            assert status != 503 or "retry-after: 1\r\n" in answer, answer
            self.refused_ms.append(took * 1000)

    def answers_since(self, moment: float) -> bool:
        """Whether something was answered that was asked for after a moment of `time.monotonic`."""
        return self._asked_for_last > moment


class Proxy(_Loop):
    """A network between two that can be cut.

    Args:
        port: where it leads.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._flows = asyncio.Event()
        self._refuses = False
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def _start(self) -> None:
        self._flows.set()
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        await self._hang_up()

    def hold(self) -> None:
        """Let no byte through any more, and say nothing: a cable that was pulled out."""

        async def hold() -> None:
            self._flows.clear()

        self.do(hold())

    def refuse(self) -> None:
        """Reset every connection, and every new one."""

        async def refuse() -> None:
            self._refuses = True
            await self._hang_up()

        self.do(refuse())

    def mend(self) -> None:
        """Let new connections through; what hung on the old ones is lost."""

        async def mend() -> None:
            await self._hang_up()
            self._refuses = False
            self._flows.set()

        self.do(mend())

    async def _hang_up(self) -> None:
        for task in self._tasks:
            task.cancel()
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        if self._refuses:
            writer.transport.abort()
            return
        await self._flows.wait()
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._ends.add(back)
        for one, other in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._copy(one, other))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a disk in memory there; skip where that may not be done."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a disk in memory: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextlib.contextmanager
def failing_disk(folder: Path, image: Path) -> Iterator[Callable[[], None]]:
    """Mount a disk there that is read-only, as one with an error, from when what is given is called."""
    folder.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(32 * 1024 * 1024)
    mount = ["mount", "-o", "loop,errors=remount-ro", str(image), str(folder)]
    for command in (["mkfs.ext4", "-q", "-F", str(image)], mount):
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip(f"no {command[0]}")
        if done.returncode:
            pytest.skip(f"cannot mount a file as a disk: {done.stderr.strip()}")
    source = subprocess.run(["findmnt", "-no", "SOURCE", folder], capture_output=True, text=True).stdout
    trigger = Path("/sys/fs/ext4") / Path(source.strip()).name / "trigger_fs_error"

    def fail() -> None:
        trigger.write_text("1")

    try:
        yield fail
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Fill a disk with one file, but for some bytes."""
    found = folder / "ballast"
    with found.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    with found.open("r+b") as file:
        file.truncate(max(0, found.stat().st_size - leave))
    return found
