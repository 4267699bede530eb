"""A webhook receiver on loopback that records the messages it receives."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Messages in the order of arrival; `status` answers the next request."""

    def __init__(self, port: int = 0) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        self.hold = threading.Event()
        self.hold.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.messages.append({**body, "path": self.path, "status": receiver.status})
                receiver.hold.wait(30)
                with contextlib.suppress(OSError):  # the sender may have disconnected
                    self.send_response(receiver.status)
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def url(self, path: str = "hook", query: str = "") -> str:
        return f"json://127.0.0.1:{self.port}/{path}{query}"

    def titles(self, path: str = "hook") -> list[str]:
        """Return the titles of the messages accepted at a path."""
        return [m["title"] for m in self.messages if m["path"] == f"/{path}" and m["status"] == 200]

    def stop(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@contextlib.contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    """Run a receiver, on a given port or a free one."""
    receiver = Receiver(port)
    try:
        yield receiver
    finally:
        receiver.stop()
