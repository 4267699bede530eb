"""Configure a running Grafana over its HTTP API: two datasources, a folder, two dashboards.

Idempotent. Objects provisioned from files are not changed.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import httpx

from driftbell.error_capture import ErrorCapture
from driftbell.errors import ConfigError

FOLDER = {"uid": "driftbell", "title": "driftbell"}
DASHBOARDS = ("health.json", "drift.json")
TIMEOUT_SECONDS = 10.0
PAUSE_SECONDS = 0.5
"""Pause between two readiness requests."""
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SetupStep:
    """Result of one step of the setup.

    Attributes:
        kind: datasource, folder or dashboard.
        name: name or title.
        uid: its id in Grafana.
        what: created, updated, unchanged or "left alone".
        detail: reason or change; may be empty.
    """

    kind: str
    name: str
    uid: str
    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.what}" + (f" ({self.detail})" if self.detail else "")


def dashboards() -> list[Json]:
    """Read the dashboards that ship with driftbell.

    >>> [d["title"] for d in dashboards()]
    ['ML Service Health', 'Model Drift']
    """
    folder = resources.files("driftbell.ops") / "dashboards"
    return [json.loads((folder / name).read_text("utf-8")) for name in DASHBOARDS]


def setup(
    url: str,
    *,
    auth: tuple[str, str] | str,
    prometheus_url: str,
    loki_url: str,
    wait: float,
    ca_file: Path | None = None,
) -> Iterator[SetupStep]:
    """Wait for Grafana, then create or update datasources, folder and dashboards.

    Args:
        url: URL of Grafana, including a sub-path.
        auth: token of a service account, or user name and password.
        prometheus_url: URL at which Grafana reaches Prometheus.
        loki_url: URL at which Grafana reaches Loki.
        wait: seconds to wait for Grafana to start.
        ca_file: certificate authorities to trust instead of those of the system (PEM).

    Yields:
        The result of each step, as soon as it is complete.

    Raises:
        ConfigError: Grafana is unreachable, rejects the credentials or sends an unexpected response.
    """
    with _client(url, auth, ca_file) as http:
        grafana = _Grafana(http, url)
        grafana.wait_until_ready(wait)
        yield _datasource(grafana, "Prometheus", prometheus_url, {"httpMethod": "POST", "timeInterval": "5s"})
        yield _datasource(grafana, "Loki", loki_url, {"maxLines": 1000})
        yield _folder(grafana)
        for dashboard in dashboards():
            yield _dashboard(grafana, dashboard)


def _client(url: str, auth: tuple[str, str] | str, ca_file: Path | None) -> httpx.Client:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"--url is not a URL: {error}") from None
    if parsed.userinfo:
        raise ConfigError(
            "--url contains a user name or password: use --user, and GRAFANA_PASSWORD for the password"
        )
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError("--url must be like http://127.0.0.1:3000")
    if not all(word and word.isprintable() for word in ([auth] if isinstance(auth, str) else auth)):
        raise ConfigError("the token, user name or password for Grafana is empty or has a control character")
    if isinstance(auth, str) and not auth.isascii():
        raise ConfigError("the token for Grafana has a character that is not ASCII")
    try:
        trusted = ssl.create_default_context(cafile=ca_file) if ca_file else True
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot read certificates from {ca_file}: {error}") from None
    headers = {"Accept": "application/json"}
    if isinstance(auth, str):
        headers["Authorization"] = f"Bearer {auth}"
    return httpx.Client(
        base_url=url,
        headers=headers,
        auth=None if isinstance(auth, str) else httpx.BasicAuth(*auth),
        verify=trusted,
    )


class _Grafana:
    """Client of Grafana's API that turns unexpected responses into `ConfigError`."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        self._http = http
        self._url = url

    def wait_until_ready(self, seconds: float) -> None:
        """Return once Grafana and its database are up; raise at once if waiting cannot help."""
        deadline = time.monotonic() + seconds
        while True:
            remaining = deadline - time.monotonic()
            reason = self._not_ready(min(TIMEOUT_SECONDS, max(1.0, remaining)))
            if not reason:
                return
            if not time.monotonic() + PAUSE_SECONDS <= deadline:  # also false for NaN
                raise ConfigError(
                    f"Grafana at {self._url} was not ready within {seconds:g} s: {reason}; is --url right?"
                )
            time.sleep(PAUSE_SECONDS)

    def _not_ready(self, timeout: float) -> str:
        """Return the reason why Grafana is not ready, or ""."""
        try:
            answer = self._send("GET", "/api/health", timeout=timeout)
        except httpx.RequestError as error:
            return _reason(error)
        if answer.status_code >= 400:
            return f"GET /api/health answers {answer.status_code} ({_message(answer)})"
        database = self._json(answer).get("database")
        return "" if database == "ok" else f"its database is {database!r}"

    def get(self, path: str) -> Json | None:
        """Return the JSON of the response, or None for 404."""
        answer = self.request("GET", path, {200, 404})
        return self._json(answer) if answer.status_code == 200 else None

    def request(
        self, method: str, path: str, expected: set[int], body: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        """Send one request; raise unless the status is expected."""
        try:
            answer = self._send(method, path, body)
        except httpx.RequestError as error:
            raise ConfigError(f"Grafana at {self._url}: {method} {path}: {_reason(error)}") from None
        if answer.status_code not in expected:
            status = f"{method} {path} was answered {answer.status_code}: {_message(answer)}"
            raise ConfigError(f"Grafana at {self._url}: {status}")
        self._json(answer)
        return answer

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
    ) -> httpx.Response:
        try:
            answer = _within(timeout, lambda: self._http.request(method, path, json=body, timeout=timeout))
        except httpx.ConnectError as error:
            if "CERTIFICATE" in str(error) or "SSL" in str(error):
                raise ConfigError(
                    f"Grafana at {self._url}: the TLS connection failed: {error}. "
                    "Is it https, and is its certificate trusted? Name its authority with --ca-file"
                ) from None
            raise
        if answer.is_redirect:
            to = answer.headers.get("location", "nowhere")
            raise ConfigError(f"{self._url} redirects to {to}: use the final URL as --url")
        if answer.status_code == 401:
            raise ConfigError(
                f"Grafana at {self._url} refuses the user name and password or token ({_message(answer)})"
            )
        if answer.status_code == 403:
            raise ConfigError(
                f"Grafana at {self._url} forbids {method} {path} ({_message(answer)}): "
                "use an account with the role Admin"
            )
        return answer

    def _json(self, answer: httpx.Response) -> Json:
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            kind = answer.headers.get("content-type", "nothing")
            raise ConfigError(f"{answer.url} answers {kind} instead of Grafana's JSON: is the URL right?")
        return body


def _within(seconds: float, ask: Callable[[], httpx.Response]) -> httpx.Response:
    """Limit the time of the whole response; the timeout of httpx restarts with every chunk."""
    response: Future[httpx.Response] = Future()

    def run() -> None:
        with ErrorCapture() as captured:
            response.set_result(ask())
        if captured.error:
            response.set_exception(captured.error)  # raised again in the waiting thread

    threading.Thread(target=run, name="grafana", daemon=True).start()
    try:
        return response.result(seconds + 1)  # httpx raises its own, more precise error first
    except TimeoutError:
        raise httpx.ReadTimeout("no answer in time") from None


def _datasource(grafana: _Grafana, name: str, url: str, options: Json) -> SetupStep:
    uid = name.lower()
    wanted: Json = {"uid": uid, "type": uid, "access": "proxy", "url": url}
    existing = grafana.get(f"/api/datasources/uid/{uid}")
    if existing is None:
        body = {**wanted, "name": name, "jsonData": options}
        answer = grafana.request("POST", "/api/datasources", {200, 409}, body)
        if answer.status_code == 409:
            raise ConfigError(
                f"Grafana has a datasource {name!r} under another uid ({_message(answer)}), and the "
                f"dashboards look for the uid {uid!r}: rename that one in Grafana, then run this again"
            )
        return SetupStep("datasource", name, uid, "created", url)
    if existing.get("type") != uid:
        raise ConfigError(
            f"Grafana's datasource with the uid {uid!r} is of the type {existing.get('type')!r}"
        )
    if existing.get("readOnly"):
        return SetupStep(
            "datasource", name, uid, "left alone", f"provisioned by a file, {existing.get('url')}"
        )
    had = existing.get("jsonData") or {}
    if wanted.items() <= existing.items() and options.items() <= had.items():
        return SetupStep("datasource", name, uid, "unchanged", url)
    # keep a login or an option that a user added
    grafana.request(
        "PUT", f"/api/datasources/uid/{uid}", {200}, {**existing, **wanted, "jsonData": {**had, **options}}
    )
    was = existing.get("url")
    return SetupStep("datasource", name, uid, "updated", url if was == url else f"{was} → {url}")


def _folder(grafana: _Grafana) -> SetupStep:
    uid, title = FOLDER["uid"], FOLDER["title"]
    if grafana.get(f"/api/folders/{uid}"):
        return SetupStep("folder", title, uid, "unchanged")
    answer = grafana.request("POST", "/api/folders", {200, 409, 412}, FOLDER)
    if answer.status_code == 200:
        return SetupStep("folder", title, uid, "created")
    if grafana.get(f"/api/folders/{uid}"):  # another process created it meanwhile
        return SetupStep("folder", title, uid, "unchanged")
    raise ConfigError(
        f"Grafana has a folder {title!r} under another uid ({_message(answer)}): "
        "rename it, then run this again"
    )


def _dashboard(grafana: _Grafana, dashboard: Json) -> SetupStep:
    uid, title = dashboard["uid"], dashboard["title"]
    existing = grafana.get(f"/api/dashboards/uid/{uid}")
    meta = (existing or {}).get("meta") or {}
    if meta.get("provisioned"):
        return SetupStep("dashboard", title, uid, "left alone", "provisioned by a file")
    if existing and meta.get("folderUid") == FOLDER["uid"] and _holds(existing.get("dashboard"), dashboard):
        return SetupStep("dashboard", title, uid, "unchanged", meta.get("url", ""))
    body = {
        "dashboard": {**dashboard, "id": None},
        "folderUid": FOLDER["uid"],
        "overwrite": True,
        "message": "driftbell grafana setup",
    }
    answer = grafana.request("POST", "/api/dashboards/db", {200, 400}, body)
    if answer.status_code == 400:
        if "provisioned" in _message(answer):
            return SetupStep("dashboard", title, uid, "left alone", "provisioned by a file")
        raise ConfigError(f"Grafana rejects the dashboard {title!r}: {_message(answer)}")
    return SetupStep(
        "dashboard", title, uid, "updated" if existing else "created", answer.json().get("url", "")
    )


def _holds(actual: Any, wanted: Any) -> bool:
    """Return whether `actual` contains `wanted`; Grafana adds fields and increases `schemaVersion`."""
    if isinstance(wanted, dict):
        return isinstance(actual, dict) and all(
            _holds(actual.get(k), v) for k, v in wanted.items() if k != "schemaVersion"
        )
    if isinstance(wanted, list):
        return isinstance(actual, list) and len(actual) == len(wanted) and all(map(_holds, actual, wanted))
    return bool(actual == wanted)


def _message(answer: httpx.Response) -> str:
    """Return the error message of a response, or its content type."""
    try:
        body = answer.json()
        return str(body.get("message") or body.get("database") or "no message")[:300]
    except (ValueError, AttributeError):
        return f"a page of {answer.headers.get('content-type', 'no type')}, not Grafana's JSON"


def _reason(error: httpx.RequestError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return str(error) or type(error).__name__
