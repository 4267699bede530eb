"""Check each hop of a running stack, and say what is wrong and how to mend it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import httpx

SECONDS = 5.0
"""How long one answer may take."""

OVERDUE = timedelta(minutes=1)
RECENT = timedelta(minutes=15)
SCRAPE_RECENT = timedelta(minutes=2)
DATASOURCES = ("prometheus", "loki")
DASHBOARDS = ("driftbell-health", "driftbell-drift")
DEFAULT_LOGIN = ("admin", "admin")


class State(StrEnum):
    """How a hop is."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line.

    Attributes:
        hop: what was looked at.
        state: how it is.
        message: what was found.
        mend: what to do, where something is wrong.
    """

    hop: str
    state: State
    message: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Stack:
    """Where the parts are; None leaves one out.

    Attributes:
        service: the prediction service.
        prometheus: Prometheus.
        loki: Loki.
        grafana: Grafana.
        reports: the report viewer.
        alertmanager: Alertmanager.
        alertmanager_wanted: whether it is wrong that none runs.
        login: Grafana's user and password.
        token: Grafana's token, instead of them.
    """

    service: str | None
    prometheus: str | None
    loki: str | None
    grafana: str | None
    reports: str | None
    alertmanager: str | None
    alertmanager_wanted: bool = False
    login: tuple[str, str] = field(default=DEFAULT_LOGIN, repr=False)
    token: str | None = field(default=None, repr=False)


class Trouble(Exception):  # noqa: N818 - it is no error of this program
    """A hop is not as it should be.

    Args:
        message: what was found.
        mend: what to do.
        status: of the answer; None when there was none.
    """

    def __init__(self, message: str, mend: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message, self.mend, self.status = message, mend, status


def examine(stack: Stack, *, clock: Callable[[], datetime], seconds: float = SECONDS) -> list[Finding]:
    """Look at every hop, at the same time; what goes wrong is a finding, never an exception.

    Args:
        stack: where the parts are.
        clock: tells the time (UTC).
        seconds: how long one answer may take.
    """
    return asyncio.run(_examine(stack, clock(), seconds))


async def _examine(stack: Stack, now: datetime, seconds: float) -> list[Finding]:
    hops: list[tuple[str, str | None, Callable[[_Part], Awaitable[list[Finding]]]]] = [
        ("service", stack.service, lambda p: _service(p, now)),
        ("prometheus", stack.prometheus, lambda p: _prometheus(p, now)),
        ("loki", stack.loki, lambda p: _loki(p, now)),
        ("grafana", stack.grafana, lambda p: _grafana(p, stack)),
        ("reports", stack.reports, lambda p: _reports(p, stack.service)),
        ("alertmanager", stack.alertmanager, lambda p: _alertmanager(p, wanted=stack.alertmanager_wanted)),
    ]
    async with httpx.AsyncClient(timeout=seconds) as client:
        found = await asyncio.gather(
            *(_hop(name, url, look, client, seconds) for name, url, look in hops if url is not None)
        )
    return [finding for part in found for finding in part]


async def _hop(
    name: str,
    url: str,
    look: Callable[[_Part], Awaitable[list[Finding]]],
    client: httpx.AsyncClient,
    seconds: float,
) -> list[Finding]:
    part = _Part(name, url.rstrip("/"), client, seconds)
    try:
        return await look(part)
    except Trouble as trouble:
        return [Finding(name, State.WRONG, trouble.message, trouble.mend)]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):  # JSON, but of something else
        return [Finding(name, State.WRONG, f"what {part.url} answers is not {name}'s", part.address_hint)]


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    url: str
    client: httpx.AsyncClient
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: tuple[str, str] | None = None

    @property
    def address_hint(self) -> str:
        return f"give its address with --{self.name}, or leave it out with --{self.name} off"

    async def get(self, path: str, **query: str) -> httpx.Response:
        """Ask, and make every way not to get a good answer one sentence."""
        url = self.url + path
        try:
            async with asyncio.timeout(self.seconds):  # httpx alone would wait for each piece anew
                answer = await self.client.get(
                    url, params=query, headers=dict(self.headers), auth=self.auth or httpx.USE_CLIENT_DEFAULT
                )
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Trouble(
                f"{url} did not answer within {self.seconds:g} s",
                "it hangs, or a firewall is between: look at its log",
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(url, error) from error
        if answer.is_success:
            return answer
        detail = f": {_told(answer)}" if _told(answer) else ""
        mends = {
            401: "give its credentials; for Grafana GRAFANA_TOKEN or GRAFANA_PASSWORD",
            403: "the credentials may not read this: use others",
            404: self.address_hint,
            503: "it is starting or cannot work: wait half a minute, then look at its log",
        }
        mend = self.address_hint if answer.is_redirect else mends.get(answer.status_code, "look at its log")
        raise Trouble(f"{url} answers {answer.status_code}{detail}", mend, answer.status_code)

    async def json(self, path: str, **query: str) -> Any:
        """Ask for JSON."""
        answer = await self.get(path, **query)
        try:
            return answer.json()
        except ValueError as error:
            kind = answer.headers.get("content-type", "no type").partition(";")[0]
            raise Trouble(f"{self.url}{path} answers with {kind} and not JSON", self.address_hint) from error

    def _unreachable(self, url: str, error: Exception) -> Trouble:
        causes = _causes(error)
        if any(isinstance(c, socket.gaierror) for c in causes):
            return Trouble(f"the host '{httpx.URL(url).host}' is not known", self.address_hint)
        if any(isinstance(c, ssl.SSLError) for c in causes):
            mend = "use http:// if it has no TLS; trust its certificate with SSL_CERT_FILE"
            return Trouble(f"no TLS connection to {self.url}: {error}", mend)
        if isinstance(error, httpx.ConnectError):
            return Trouble(f"nothing answers at {self.url}", f"start it, or {self.address_hint}")
        return Trouble(f"what listens at {self.url} does not speak HTTP", self.address_hint)


def _causes(error: BaseException) -> list[BaseException]:
    """List an error and all that it came from, those that were tried at the same time included."""
    found = [error]
    for one in found:
        inner = [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        found += [e for e in inner if e is not None and e not in found]
    return found


def _told(answer: httpx.Response) -> str:
    """What an answer says in words, on one line, unless it is a page."""
    try:
        body = answer.json()
        text = next((str(body[k]) for k in ("detail", "message", "error") if body.get(k)), "")
    except (ValueError, AttributeError):
        text = "" if "html" in answer.headers.get("content-type", "") else answer.text
    return " ".join(text.split())[:200]


async def _service(part: _Part, now: datetime) -> list[Finding]:
    ready = await part.json("/health")
    found = [Finding("service", State.OK, f"ready, serves {ready['model']} {ready['version']}")]
    status = await part.json("/monitor/status")
    if status["monitor"] != "running":
        found.append(
            Finding("monitor", State.WRONG, "no monitor runs", "start `driftbell monitor` or `driftbell up`")
        )
        return found
    last = status["last_check"]
    due = datetime.fromisoformat(status["next_run"]) if status["next_run"] else None
    said = f"runs, the last check said {last['verdict']}" if last else "runs, no check yet"
    if due and due < now - OVERDUE:
        late = f"the check due at {due:%Y-%m-%d %H:%M:%S} UTC has not run"
        found.append(Finding("monitor", State.WRONG, late, "look at the service's log for `drift`"))
    elif last and last["error"]:
        found.append(
            Finding("monitor", State.WRONG, f"the last check failed: {last['error']}", "look at the log")
        )
    elif due is None:
        found.append(Finding("monitor", State.OK, f"{said}; checks by itself are off (check.every)"))
    else:
        found.append(Finding("monitor", State.OK, said))
    return found


async def _prometheus(part: _Part, now: datetime) -> list[Finding]:
    await part.get("/-/ready")
    found = [Finding("prometheus", State.OK, "ready")]
    targets = (await part.json("/api/v1/targets", state="active"))["data"]["activeTargets"]
    found.append(_scraped([t for t in targets if t["labels"].get("job") == "driftbell"], now))
    groups = (await part.json("/api/v1/rules"))["data"]["groups"]
    rules = [r for g in groups for r in g["rules"]]
    broken = [r for r in rules if r["health"] == "err"]
    if not rules:
        mend = "mount deploy/prometheus/rules and name it under rule_files"
        found.append(Finding("rules", State.WRONG, "Prometheus has no rules", mend))
    elif broken:
        message = f"the rule {broken[0]['name']} fails: {broken[0].get('lastError', '')}"
        found.append(Finding("rules", State.WRONG, message, "mend it in deploy/prometheus/rules"))
    else:
        found.append(Finding("rules", State.OK, f"{len(rules)} rules loaded"))
    return found


def _scraped(targets: list[Any], now: datetime) -> Finding:
    if not targets:
        mend = "add it to scrape_configs, see deploy/prometheus/prometheus.yml"
        return Finding("scrape", State.WRONG, "Prometheus has no target of job 'driftbell'", mend)
    for target in targets:
        if target["health"] != "up":
            why = target["lastError"] or f"it is {target['health']}"
            mend = "can Prometheus reach that address? is the service ready?"
            return Finding(
                "scrape", State.WRONG, f"Prometheus cannot scrape {target['scrapeUrl']}: {why}", mend
            )
        if now - _moment(target["lastScrape"]) > SCRAPE_RECENT:
            late = f"{target['scrapeUrl']} was last scraped at {target['lastScrape']}"
            return Finding("scrape", State.WRONG, late, "compare the clocks; look at Prometheus' log")
    return Finding("scrape", State.OK, f"Prometheus scrapes {', '.join(t['scrapeUrl'] for t in targets)}")


def _moment(text: str) -> datetime:
    """Read Go's time, which has nine digits of a second."""
    whole, _, rest = text.partition(".")
    zone = rest.lstrip("0123456789") if rest else ""
    return datetime.fromisoformat(f"{whole}{zone}")


async def _loki(part: _Part, now: datetime) -> list[Finding]:
    await part.get("/ready")
    found = [Finding("loki", State.OK, "ready")]
    if await _has_lines(part, now):
        found.append(Finding("logs", State.OK, "Loki has lines of ml_service"))
    else:
        minutes = f"{RECENT.total_seconds() / 60:g} min"
        mend = "does Promtail (or Alloy) run, and reach docker-proxy? look at their logs"
        found.append(Finding("logs", State.WRONG, f"Loki has no line of ml_service within {minutes}", mend))
    return found


async def _has_lines(part: _Part, now: datetime) -> bool:
    """Wait a little: the question to the service makes a line, on a quiet one the only line."""
    start = str(int((now - RECENT).timestamp() * 1e9))
    ask = {"query": '{container="ml_service"}', "start": start, "limit": "1", "direction": "backward"}
    deadline = time.monotonic() + part.seconds
    while True:
        answer = await part.json("/loki/api/v1/query_range", **ask)
        if any(stream["values"] for stream in answer["data"]["result"]):
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.5)


async def _grafana(part: _Part, stack: Stack) -> list[Finding]:
    await part.json("/api/health")
    found = [Finding("grafana", State.OK, "ready")]
    headers = {"Authorization": f"Bearer {stack.token}"} if stack.token else {}
    inside = _Part(
        part.name, part.url, part.client, part.seconds, headers, None if stack.token else stack.login
    )
    try:
        found += [await _datasource(inside, uid) for uid in DATASOURCES]
        found += [await _dashboard(inside, uid) for uid in DASHBOARDS]
    except Trouble as trouble:
        if trouble.status != 401:
            raise
        wrong = "Grafana refuses the token" if stack.token else f"Grafana refuses user '{stack.login[0]}'"
        mend = "set GRAFANA_TOKEN, or GRAFANA_USER and GRAFANA_PASSWORD (or GRAFANA_PASSWORD_FILE)"
        return [*found, Finding("login", State.WRONG, wrong, mend)]
    if not stack.token and stack.login == DEFAULT_LOGIN:
        mend = "give Grafana a password of its own, see docs/guides/stack.md"
        found.insert(1, Finding("login", State.WARNING, "Grafana still has the password admin", mend))
    return found


async def _datasource(part: _Part, uid: str) -> Finding:
    try:
        name = (await part.json(f"/api/datasources/uid/{uid}"))["name"]
        await part.json(f"/api/datasources/uid/{uid}/health")
    except Trouble as trouble:
        if trouble.status == 404:
            return Finding("datasource", State.WRONG, f"Grafana has no datasource '{uid}'", _SET_UP)
        if trouble.status in (400, 500, 502):
            mend = "can Grafana reach it under the address in the datasource?"
            return Finding("datasource", State.WRONG, f"'{uid}' does not work: {trouble.message}", mend)
        raise
    return Finding("datasource", State.OK, f"{name} ({uid}) works")


async def _dashboard(part: _Part, uid: str) -> Finding:
    try:
        title = (await part.json(f"/api/dashboards/uid/{uid}"))["dashboard"]["title"]
    except Trouble as trouble:
        if trouble.status != 404:
            raise
        return Finding("dashboard", State.WRONG, f"Grafana has no dashboard '{uid}'", _SET_UP)
    return Finding("dashboard", State.OK, f"{title} ({uid}) is there")


_SET_UP = "run `driftbell grafana setup`, or mount deploy/grafana/provisioning"


async def _reports(part: _Part, service: str | None) -> list[Finding]:
    await part.get("/")
    found = [Finding("reports", State.OK, "the report viewer lists")]
    try:
        page = await part.get("/drift_report_latest.html")
    except Trouble as trouble:
        if trouble.status != 404:
            raise
        if service and await _has_report(_Part("service", service, part.client, part.seconds)):
            mend = "mount the service's reports folder into the viewer"
            lost = "the service has a report, the viewer does not"
            return [*found, Finding("latest report", State.WRONG, lost, mend)]
        none = "none yet: the first comes with the first check on enough predictions"
        return [*found, Finding("latest report", State.SKIPPED, none)]
    if "html" not in page.headers.get("content-type", ""):
        kind = page.headers.get("content-type", "nothing")
        mend = "serve it as text/html, see deploy/nginx"
        return [*found, Finding("latest report", State.WRONG, f"is served as {kind}", mend)]
    return [*found, Finding("latest report", State.OK, "opens")]


async def _has_report(service: _Part) -> bool:
    try:
        return bool((await service.json("/monitor/status"))["latest_report_url"])
    except (Trouble, LookupError, TypeError):  # the service's own hop tells what is wrong
        return False


async def _alertmanager(part: _Part, *, wanted: bool) -> list[Finding]:
    try:
        await part.get("/-/ready")
    except Trouble as trouble:
        if trouble.status is None and not wanted:
            return [Finding("alertmanager", State.SKIPPED, "not running (profile alerts)")]
        raise
    return [Finding("alertmanager", State.OK, "ready")]
