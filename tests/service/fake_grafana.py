"""A strict, stateful fake of the part of Grafana's HTTP API that the set-up command uses.

Paths, statuses and words are those of Grafana 13 (`pkg/api/datasources.go`, `dashboard.go`, `apierrors/`).
"""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "glsa_correct-token"
USER, PASSWORD = "admin", "correct-horse"

Answer = tuple[int, Any]


@dataclass
class Grafana:
    """State of the fake, and the requests that it received."""

    url: str = ""
    datasources: dict[str, dict[str, Any]] = field(default_factory=dict)
    folders: dict[str, dict[str, Any]] = field(default_factory=dict)
    dashboards: dict[str, dict[str, Any]] = field(default_factory=dict)
    provisioned: set[str] = field(default_factory=set)
    """Uids of provisioned dashboards."""
    starting: float = 0.0
    """Monotonic time until which its database is down."""
    forced: dict[str, tuple[int, str, bytes]] = field(default_factory=dict)
    """Scripted answers by "METHOD path": status, content type, body."""
    redirect: str = ""
    editor: bool = False
    """Whether the account lacks permission."""
    requests: list[str] = field(default_factory=list)

    @property
    def writes(self) -> list[str]:
        return [r for r in self.requests if not r.startswith("GET")]

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        if path == "/api/health":
            up = time.monotonic() >= self.starting
            return (200, {"database": "ok", "version": "13.1.3"}) if up else (503, {"database": "failing"})
        refused = self._refused(headers)
        if refused:
            return refused
        given = None
        if method != "GET":
            if headers.get("Content-Type") != "application/json":
                return 400, {"message": "bad request data"}
            given = json.loads(body)
        for pattern, handler in (
            (r"GET /api/datasources/uid/([\w-]+)", self._get_datasource),
            (r"POST /api/datasources", self._add_datasource),
            (r"PUT /api/datasources/uid/([\w-]+)", self._put_datasource),
            (r"GET /api/folders/([\w-]+)", self._get_folder),
            (r"POST /api/folders", self._add_folder),
            (r"GET /api/dashboards/uid/([\w-]+)", self._get_dashboard),
            (r"POST /api/dashboards/db", self._save_dashboard),
        ):
            match = re.fullmatch(pattern, f"{method} {path}")
            if match:
                arguments: list[Any] = [*match.groups(), *([given] if given is not None else [])]
                return handler(*arguments)
        return 404, {"message": "Not found"}

    def _refused(self, headers: Any) -> Answer | None:
        given = headers.get("Authorization", "")
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if given.startswith("Basic ") and given != f"Basic {basic}":
            return 401, {"message": "Invalid username or password", "messageId": "password-auth.failed"}
        if given.startswith("Bearer ") and given != f"Bearer {TOKEN}":
            return 401, {"message": "Invalid API key"}
        if not given:
            return 401, {"message": "Unauthorized"}
        if self.editor:
            return 403, {"message": "You'll need additional permissions to perform this action."}
        return None

    def _get_datasource(self, uid: str) -> Answer:
        datasource = self.datasources.get(uid)
        return (200, datasource) if datasource else (404, {"message": "Data source not found"})

    def _add_datasource(self, given: dict[str, Any]) -> Answer:
        if not {"name", "type", "access"} <= given.keys() or not _is_url(given["url"]):
            return 400, {"message": "bad request data"}
        if given["name"] in {d["name"] for d in self.datasources.values()}:
            return 409, {"message": "data source with the same name already exists"}
        number = len(self.datasources) + 1
        made = {"id": number, "orgId": 1, "version": 1, "readOnly": False, "isDefault": False, **given}
        self.datasources[given["uid"]] = made
        return 200, {"message": "Datasource added", "id": number, "name": given["name"], "datasource": made}

    def _put_datasource(self, uid: str, given: dict[str, Any]) -> Answer:
        datasource = self.datasources.get(uid)
        if not datasource:
            return 404, {"message": "Data source not found"}
        if not {"name", "type", "access"} <= given.keys() or not _is_url(given["url"]):
            return 400, {"message": "bad request data"}
        if datasource["readOnly"]:
            return 403, {"message": "Cannot update read-only data source"}
        if given.get("version", datasource["version"]) < datasource["version"]:
            return 409, {"message": "Datasource has already been updated by someone else."}
        self.datasources[uid] = {**datasource, **given, "version": datasource["version"] + 1}
        return 200, {"message": "Datasource updated", "datasource": self.datasources[uid]}

    def _get_folder(self, uid: str) -> Answer:
        folder = self.folders.get(uid)
        return (200, folder) if folder else (404, {"message": "folder not found", "status": "not-found"})

    def _add_folder(self, given: dict[str, Any]) -> Answer:
        if not given.get("title"):
            return 400, {"message": "folder title cannot be empty"}
        if given["uid"] in self.folders:
            return 412, {
                "message": "the folder has been changed by someone else",
                "status": "version-mismatch",
            }
        self.folders[given["uid"]] = {"id": 1, "version": 1, **given}
        return 200, self.folders[given["uid"]]

    def _get_dashboard(self, uid: str) -> Answer:
        dashboard = self.dashboards.get(uid)
        if not dashboard:
            return 404, {"message": "Dashboard not found", "status": "not-found"}
        meta = {
            "folderUid": dashboard["folderUid"],
            "provisioned": uid in self.provisioned,
            "url": f"/d/{uid}/x",
        }
        return 200, {"dashboard": dashboard["dashboard"], "meta": meta}

    def _save_dashboard(self, given: dict[str, Any]) -> Answer:
        dashboard, folder = given["dashboard"], given.get("folderUid", "")
        uid = dashboard["uid"]
        if not dashboard.get("title"):
            return 400, {"message": "Dashboard title cannot be empty", "status": "empty-name"}
        if len(uid) > 40:
            return 400, {"message": "uid too long, max 40 characters"}
        if folder and folder not in self.folders:
            return 400, {"message": "folder not found"}
        if uid in self.provisioned:
            return 400, {"message": "Cannot save provisioned dashboard"}
        had = self.dashboards.get(uid)
        if had and not given.get("overwrite"):
            message = "The dashboard has been changed by someone else"
            return 412, {"message": message, "status": "version-mismatch"}
        version = had["dashboard"]["version"] + 1 if had else 1
        made = {**copy.deepcopy(dashboard), "id": 7, "version": version, "schemaVersion": 42}
        for panel in made["panels"]:
            panel["pluginVersion"] = "13.1.3"
        self.dashboards[uid] = {"dashboard": made, "folderUid": folder}
        return 200, {"uid": uid, "url": f"/d/{uid}/x", "status": "success", "version": version}


def _is_url(text: object) -> bool:
    return bool(re.fullmatch(r"https?://[\w.-]+(:\d+)?(/.*)?", str(text)))


class _Handler(BaseHTTPRequestHandler):
    def _serve(self) -> None:
        grafana: Grafana = self.server.grafana  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = f"{self.command} {self.path}"
        grafana.requests.append(asked)
        if grafana.redirect:
            self._reply(302, "text/html", b"<a>Found</a>", location=grafana.redirect)
        elif asked in grafana.forced:
            self._reply(*grafana.forced[asked])
        else:
            status, content = grafana.answer(self.command, self.path, self.headers, body)
            self._reply(status, "application/json; charset=UTF-8", json.dumps(content).encode())

    do_GET = do_POST = do_PUT = _serve  # noqa: N815

    def _reply(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def fake_grafana(port: int = 0) -> Iterator[Grafana]:
    """Serve a fake on loopback until the end of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    grafana = server.grafana = Grafana(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield grafana
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
