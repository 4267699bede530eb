"""Set a running Grafana up over its HTTP API: two datasources, a folder, two dashboards.

Running it again changes nothing. What was provisioned by files is left alone.
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

from driftbell.errors import ConfigError

FOLDER = {"uid": "driftbell", "title": "driftbell"}
DASHBOARDS = ("health.json", "drift.json")
TIMEOUT_SECONDS = 10.0
PAUSE_SECONDS = 0.5
"""Between two questions whether Grafana is ready."""
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """What was done with one thing.

    Attributes:
        kind: datasource, folder or dashboard.
        name: what people call it.
        uid: what Grafana calls it.
        what: created, updated, unchanged or "left alone".
        detail: why, or what changed; may be empty.
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
) -> Iterator[Done]:
    """Wait for Grafana, then create or update what the dashboards need, one thing a step.

    Args:
        url: where Grafana is, a sub-path included.
        auth: a service account's token, or user name and password.
        prometheus_url: where Grafana finds Prometheus.
        loki_url: where it finds Loki.
        wait: for how many seconds Grafana may still be starting.
        ca_file: certificates to trust instead of the system's (PEM).

    Yields:
        What was done, as soon as it is done.

    Raises:
        ConfigError: Grafana is not there, refuses the credentials or answers what it should not.
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
            "--url holds a user name or password: give --user, and the password in GRAFANA_PASSWORD"
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
        raise ConfigError(f"{ca_file}: no certificates can be read from it: {error}") from None
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
    """Asks Grafana, and makes every answer that is not the expected one a sentence."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        self._http = http
        self._url = url

    def wait_until_ready(self, seconds: float) -> None:
        """Return once Grafana and its database are up; what waiting cannot mend is an error at once."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            last = self._not_ready(min(TIMEOUT_SECONDS, max(1.0, left)))
            if not last:
                return
            if not time.monotonic() + PAUSE_SECONDS <= deadline:  # nan is no time to wait
                raise ConfigError(
                    f"Grafana at {self._url} was not ready within {seconds:g} s: {last}; is --url right?"
                )
            time.sleep(PAUSE_SECONDS)

    def _not_ready(self, timeout: float) -> str:
        """Say what is missing, or "" when Grafana is ready."""
        try:
            answer = self._send("GET", "/api/health", timeout=timeout)
        except httpx.RequestError as error:
            return _words(error)
        if answer.status_code >= 400:
            return f"GET /api/health answers {answer.status_code} ({_message(answer)})"
        database = self._json(answer).get("database")
        return "" if database == "ok" else f"its database is {database!r}"

    def get(self, path: str) -> Json | None:
        """Give what is there, or None where nothing is."""
        answer = self.ask("GET", path, {200, 404})
        return self._json(answer) if answer.status_code == 200 else None

    def ask(
        self, method: str, path: str, expected: set[int], body: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        """Send one request; the answer has one of the expected statuses."""
        try:
            answer = self._send(method, path, body)
        except httpx.RequestError as error:
            raise ConfigError(f"Grafana at {self._url}: {method} {path}: {_words(error)}") from None
        if answer.status_code not in expected:
            said = f"{method} {path} was answered {answer.status_code}: {_message(answer)}"
            raise ConfigError(f"Grafana at {self._url}: {said}")
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
                    "Is it https, and is its certificate known? Give its authority as --ca-file"
                ) from None
            raise
        if answer.is_redirect:
            to = answer.headers.get("location", "nowhere")
            raise ConfigError(f"{self._url} redirects to {to}: give Grafana's own URL as --url")
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
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            kind = answer.headers.get("content-type", "nothing")
            raise ConfigError(f"{answer.url} answers {kind} and not Grafana's JSON: is the URL right?")
        return found


def _within(seconds: float, ask: Callable[[], httpx.Response]) -> httpx.Response:
    """Wait no longer for the whole answer; httpx's own limit begins anew with each piece of it."""
    found: Future[httpx.Response] = Future()

    def run() -> None:
        try:
            found.set_result(ask())
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            found.set_exception(error)

    threading.Thread(target=run, name="grafana", daemon=True).start()
    try:
        return found.result(seconds + 1)  # the second is for httpx's own words about it
    except TimeoutError:
        raise httpx.ReadTimeout("no answer in time") from None


def _datasource(grafana: _Grafana, name: str, url: str, options: Json) -> Done:
    uid = name.lower()
    wanted: Json = {"uid": uid, "type": uid, "access": "proxy", "url": url}
    found = grafana.get(f"/api/datasources/uid/{uid}")
    if found is None:
        body = {**wanted, "name": name, "jsonData": options}
        answer = grafana.ask("POST", "/api/datasources", {200, 409}, body)
        if answer.status_code == 409:
            raise ConfigError(
                f"Grafana has a datasource {name!r} under another uid ({_message(answer)}), and the "
                f"dashboards look for the uid {uid!r}: rename that one in Grafana, then run this again"
            )
        return Done("datasource", name, uid, "created", url)
    if found.get("type") != uid:
        raise ConfigError(f"Grafana's datasource with the uid {uid!r} is of the type {found.get('type')!r}")
    if found.get("readOnly"):
        return Done("datasource", name, uid, "left alone", f"provisioned by a file, {found.get('url')}")
    had = found.get("jsonData") or {}
    if wanted.items() <= found.items() and options.items() <= had.items():
        return Done("datasource", name, uid, "unchanged", url)
    # a login or an option that somebody has added stays
    grafana.ask(
        "PUT", f"/api/datasources/uid/{uid}", {200}, {**found, **wanted, "jsonData": {**had, **options}}
    )
    was = found.get("url")
    return Done("datasource", name, uid, "updated", url if was == url else f"{was} → {url}")


def _folder(grafana: _Grafana) -> Done:
    uid, title = FOLDER["uid"], FOLDER["title"]
    if grafana.get(f"/api/folders/{uid}"):
        return Done("folder", title, uid, "unchanged")
    answer = grafana.ask("POST", "/api/folders", {200, 409, 412}, FOLDER)
    if answer.status_code == 200:
        return Done("folder", title, uid, "created")
    if grafana.get(f"/api/folders/{uid}"):  # somebody else was faster
        return Done("folder", title, uid, "unchanged")
    raise ConfigError(
        f"Grafana has a folder {title!r} under another uid ({_message(answer)}): "
        "rename it, then run this again"
    )


def _dashboard(grafana: _Grafana, dashboard: Json) -> Done:
    uid, title = dashboard["uid"], dashboard["title"]
    found = grafana.get(f"/api/dashboards/uid/{uid}")
    meta = (found or {}).get("meta") or {}
    if meta.get("provisioned"):
        return Done("dashboard", title, uid, "left alone", "provisioned by a file")
    if found and meta.get("folderUid") == FOLDER["uid"] and _holds(found.get("dashboard"), dashboard):
        return Done("dashboard", title, uid, "unchanged", meta.get("url", ""))
    body = {
        "dashboard": {**dashboard, "id": None},
        "folderUid": FOLDER["uid"],
        "overwrite": True,
        "message": "driftbell grafana setup",
    }
    answer = grafana.ask("POST", "/api/dashboards/db", {200, 400}, body)
    if answer.status_code == 400:
        if "provisioned" in _message(answer):
            return Done("dashboard", title, uid, "left alone", "provisioned by a file")
        raise ConfigError(f"Grafana does not take the dashboard {title!r}: {_message(answer)}")
    return Done("dashboard", title, uid, "updated" if found else "created", answer.json().get("url", ""))


def _holds(found: Any, wanted: Any) -> bool:
    """Whether all that is wanted is there; Grafana adds fields of its own and raises `schemaVersion`."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            _holds(found.get(k), v) for k, v in wanted.items() if k != "schemaVersion"
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_holds, found, wanted))
    return bool(found == wanted)


def _message(answer: httpx.Response) -> str:
    """Give Grafana's own words, or say what came instead."""
    try:
        found = answer.json()
        return str(found.get("message") or found.get("database") or "no message")[:300]
    except (ValueError, AttributeError):
        return f"a page of {answer.headers.get('content-type', 'no type')}, not Grafana's JSON"


def _words(error: httpx.RequestError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return str(error) or type(error).__name__
