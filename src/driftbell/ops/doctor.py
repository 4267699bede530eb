"""Check every component of a running stack and suggest fixes."""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from driftbell.ops.clocks import clock_finding
from driftbell.ops.stack import DEFAULT_LOGIN, Finding, Stack, State

SECONDS = 5.0
"""Time limit of one response."""

OVERDUE = timedelta(minutes=1)
RECENT = timedelta(minutes=15)
SCRAPE_RECENT = timedelta(minutes=2)
DATASOURCES = ("prometheus", "loki")
DASHBOARDS = ("driftbell-health", "driftbell-drift")


class ComponentProblem(Exception):  # noqa: N818 - a problem of the stack, not of this program
    """A component does not work as expected.

    Args:
        message: the facts.
        fix: what to do.
        status: HTTP status; None without a response.
    """

    def __init__(self, message: str, fix: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message, self.fix, self.status = message, fix, status


def examine(stack: Stack, *, clock: Callable[[], datetime], seconds: float = SECONDS) -> list[Finding]:
    """Check every component concurrently. Problems become findings, never exceptions.

    Args:
        stack: the components to check.
        clock: returns the current time (UTC).
        seconds: time limit of one response.
    """
    return asyncio.run(_examine(stack, clock(), seconds))


async def _examine(stack: Stack, now: datetime, seconds: float) -> list[Finding]:
    components: list[tuple[str, str | None, Callable[[_Part], Awaitable[list[Finding]]]]] = [
        ("service", stack.service, lambda p: _service(p, now)),
        ("prometheus", stack.prometheus, lambda p: _prometheus(p, now)),
        ("loki", stack.loki, lambda p: _loki(p, stack.service, now)),
        ("grafana", stack.grafana, lambda p: _grafana(p, stack)),
        ("reports", stack.reports, lambda p: _reports(p, stack.service)),
        ("alertmanager", stack.alertmanager, lambda p: _alertmanager(p, wanted=stack.alertmanager_wanted)),
    ]
    async with httpx.AsyncClient(timeout=seconds) as client:
        findings_by_component = await asyncio.gather(
            *(
                _check_component(name, url, check, client, seconds)
                for name, url, check in components
                if url is not None
            )
        )
    return [finding for findings in findings_by_component for finding in findings]


async def _check_component(
    name: str,
    url: str,
    check: Callable[[_Part], Awaitable[list[Finding]]],
    client: httpx.AsyncClient,
    seconds: float,
) -> list[Finding]:
    part = _Part(name, url.rstrip("/"), client, seconds)
    try:
        return await check(part)
    except ComponentProblem as problem:
        return [Finding(name, State.WRONG, problem.message, problem.fix)]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):  # JSON of another program
        return [
            Finding(name, State.WRONG, f"the response of {part.url} is not from {name}", part.address_hint)
        ]


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
        return f"set its URL with --{self.name}, or skip it with --{self.name} off"

    async def get(self, path: str, **query: str) -> httpx.Response:
        """Send a GET request; raise `ComponentProblem` unless the response is a success."""
        url = self.url + path
        try:
            async with asyncio.timeout(self.seconds):  # the timeout of httpx restarts with every chunk
                answer = await self.client.get(
                    url, params=query, headers=dict(self.headers), auth=self.auth or httpx.USE_CLIENT_DEFAULT
                )
        except (TimeoutError, httpx.TimeoutException) as error:
            raise ComponentProblem(
                f"{url} did not answer within {self.seconds:g} s",
                "it hangs, or a firewall blocks the connection: read its log",
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(url, error) from error
        if answer.is_success:
            return answer
        detail = f": {_error_text(answer)}" if _error_text(answer) else ""
        fixes = {
            401: "set its credentials; for Grafana GRAFANA_TOKEN or GRAFANA_PASSWORD",
            403: "the credentials lack permission: use others",
            404: self.address_hint,
            503: "it is starting or not ready: wait 30 seconds, then read its log",
        }
        fix = self.address_hint if answer.is_redirect else fixes.get(answer.status_code, "read its log")
        raise ComponentProblem(f"{url} answers {answer.status_code}{detail}", fix, answer.status_code)

    async def json(self, path: str, **query: str) -> Any:
        """Send a GET request and return the JSON of the response."""
        answer = await self.get(path, **query)
        try:
            return answer.json()
        except ValueError as error:
            kind = answer.headers.get("content-type", "no type").partition(";")[0]
            raise ComponentProblem(
                f"{self.url}{path} answers with {kind} instead of JSON", self.address_hint
            ) from error

    def _unreachable(self, url: str, error: Exception) -> ComponentProblem:
        causes = _causes(error)
        if any(isinstance(c, socket.gaierror) for c in causes):
            return ComponentProblem(f"the host '{httpx.URL(url).host}' cannot be resolved", self.address_hint)
        if any(isinstance(c, ssl.SSLError) for c in causes):
            fix = "use http:// if it does not use TLS; trust its certificate with SSL_CERT_FILE"
            return ComponentProblem(f"no TLS connection to {self.url}: {error}", fix)
        if isinstance(error, httpx.ConnectError):
            return ComponentProblem(f"nothing answers at {self.url}", f"start it, or {self.address_hint}")
        return ComponentProblem(f"the server at {self.url} does not speak HTTP", self.address_hint)


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error with its causes and contexts, including members of exception groups."""
    errors = [error]
    for one in errors:
        inner = [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        errors += [e for e in inner if e is not None and e not in errors]
    return errors


def _error_text(answer: httpx.Response) -> str:
    """Return the error message of a response on one line; "" for an HTML page."""
    try:
        body = answer.json()
        text = next((str(body[k]) for k in ("detail", "message", "error") if body.get(k)), "")
    except (ValueError, AttributeError):
        text = "" if "html" in answer.headers.get("content-type", "") else answer.text
    return " ".join(text.split())[:200]


async def _service(part: _Part, now: datetime) -> list[Finding]:
    ready = await part.json("/health")
    findings = [Finding("service", State.OK, f"ready, serves {ready['model']} {ready['version']}")]
    findings += await _service_clock(part)
    status = await part.json("/monitor/status")
    if status["monitor"] != "running":
        findings.append(
            Finding("monitor", State.WRONG, "no monitor runs", "start `driftbell monitor` or `driftbell up`")
        )
        return findings
    last = status["last_check"]
    due = datetime.fromisoformat(status["next_run"]) if status["next_run"] else None
    summary = f"runs, the last verdict is {last['verdict']}" if last else "runs, no check yet"
    if due and due < now - OVERDUE:
        late = f"the check due at {due:%Y-%m-%d %H:%M:%S} UTC has not run"
        findings.append(Finding("monitor", State.WRONG, late, "search the log of the service for `drift`"))
    elif last and last["error"]:
        findings.append(
            Finding(
                "monitor",
                State.WRONG,
                f"the last check failed: {last['error']}",
                "read the log of the monitor",
            )
        )
    elif due is None:
        findings.append(Finding("monitor", State.OK, f"{summary}; scheduled checks are off (check.every)"))
    else:
        findings.append(Finding("monitor", State.OK, summary))
    return findings


async def _service_clock(part: _Part) -> list[Finding]:
    """Compare the clocks by the header `Date`, which has whole seconds: the time is half a second later."""
    sent = datetime.now(UTC)
    answer = await part.get("/health/live")
    middle = sent + (datetime.now(UTC) - sent) / 2
    try:
        theirs = parsedate_to_datetime(answer.headers.get("date", ""))
    except (TypeError, ValueError):
        return []
    wrong = clock_finding("the service", theirs + timedelta(seconds=0.5), middle)
    return [wrong] if wrong else []


async def _prometheus(part: _Part, now: datetime) -> list[Finding]:
    await part.get("/-/ready")
    findings = [Finding("prometheus", State.OK, "ready")]
    targets = (await part.json("/api/v1/targets", state="active"))["data"]["activeTargets"]
    findings.append(_scraped([t for t in targets if t["labels"].get("job") == "driftbell"], now))
    groups = (await part.json("/api/v1/rules"))["data"]["groups"]
    rules = [r for g in groups for r in g["rules"]]
    broken = [r for r in rules if r["health"] == "err"]
    if not rules:
        fix = "mount deploy/prometheus/rules and name it under rule_files"
        findings.append(Finding("rules", State.WRONG, "Prometheus has no rules", fix))
    elif broken:
        message = f"the rule {broken[0]['name']} fails: {broken[0].get('lastError', '')}"
        findings.append(Finding("rules", State.WRONG, message, "fix it in deploy/prometheus/rules"))
    else:
        findings.append(Finding("rules", State.OK, f"{len(rules)} rules loaded"))
    return findings


def _scraped(targets: list[Any], now: datetime) -> Finding:
    if not targets:
        fix = "add it to scrape_configs, see deploy/prometheus/prometheus.yml"
        return Finding("scrape", State.WRONG, "Prometheus has no target of job 'driftbell'", fix)
    for target in targets:
        if target["health"] != "up":
            why = target["lastError"] or f"it is {target['health']}"
            fix = "can Prometheus reach that address? is the service ready?"
            return Finding(
                "scrape", State.WRONG, f"Prometheus cannot scrape {target['scrapeUrl']}: {why}", fix
            )
        if now - _moment(target["lastScrape"]) > SCRAPE_RECENT:
            late = f"{target['scrapeUrl']} was last scraped at {target['lastScrape']}"
            return Finding("scrape", State.WRONG, late, "compare the clocks; read the log of Prometheus")
    return Finding("scrape", State.OK, f"Prometheus scrapes {', '.join(t['scrapeUrl'] for t in targets)}")


def _moment(text: str) -> datetime:
    """Parse a timestamp of Go, which has nine decimal places."""
    whole, _, rest = text.partition(".")
    zone = rest.lstrip("0123456789") if rest else ""
    return datetime.fromisoformat(f"{whole}{zone}")


async def _loki(part: _Part, service: str | None, now: datetime) -> list[Finding]:
    await part.get("/ready")
    findings = [Finding("loki", State.OK, "ready")]
    request_id = await _send_request(part, service)
    if await _has_line(part, now, request_id or ""):
        message = "Loki has the line of a request just sent" if request_id else "Loki has lines of ml_service"
        return [*findings, Finding("logs", State.OK, message)]
    fix = "do Promtail (or Alloy) and docker-proxy run? read their logs"
    if request_id and not await _has_line(part, now, '"event": "request"', seconds=0):
        if await _has_line(part, now, "", seconds=0):
            message = "Loki has lines of ml_service, but none of a request: is server.access_log off?"
            return [*findings, Finding("logs", State.WARNING, message, f"if it is on: {fix}")]
        request_id = None
    minutes = f"{RECENT.total_seconds() / 60:g} min"
    message = f"Loki has no line of ml_service within {minutes}"
    if request_id:
        message = "Loki has older lines of ml_service, but not the one of a request just sent"
    return [*findings, Finding("logs", State.WRONG, message, fix)]


async def _send_request(part: _Part, service: str | None) -> str | None:
    """Send a request with an id that no other has; return the id if it was answered."""
    if service is None:
        return None
    request_id = f"doctor-{secrets.token_hex(8)}"
    inside = _Part("service", service.rstrip("/"), part.client, part.seconds, {"X-Request-ID": request_id})
    try:
        await inside.get("/monitor/status")
    except ComponentProblem as problem:  # reported by the check of the service; an error is logged too
        return None if problem.status is None else request_id
    return request_id


async def _has_line(part: _Part, now: datetime, text: str, seconds: float | None = None) -> bool:
    """Poll for a while for a recent line of the service with a text."""
    start = str(int((now - RECENT).timestamp() * 1e9))
    query = '{container="ml_service"}' + (f" |= `{text}`" if text else "")
    ask = {"query": query, "start": start, "limit": "1", "direction": "backward"}
    deadline = time.monotonic() + (part.seconds if seconds is None else seconds)
    while True:
        answer = await part.json("/loki/api/v1/query_range", **ask)
        if any(stream["values"] for stream in answer["data"]["result"]):
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.5)


async def _grafana(part: _Part, stack: Stack) -> list[Finding]:
    await part.json("/api/health")
    findings = [Finding("grafana", State.OK, "ready")]
    headers = {"Authorization": f"Bearer {stack.token}"} if stack.token else {}
    inside = _Part(
        part.name, part.url, part.client, part.seconds, headers, None if stack.token else stack.login
    )
    try:
        findings += [await _datasource(inside, uid) for uid in DATASOURCES]
        findings += [await _dashboard(inside, uid) for uid in DASHBOARDS]
    except ComponentProblem as problem:
        if problem.status != 401:
            raise
        wrong = "Grafana refuses the token" if stack.token else f"Grafana refuses user '{stack.login[0]}'"
        fix = "set GRAFANA_TOKEN, or GRAFANA_USER and GRAFANA_PASSWORD (or GRAFANA_PASSWORD_FILE)"
        return [*findings, Finding("login", State.WRONG, wrong, fix)]
    if not stack.token and stack.login == DEFAULT_LOGIN:
        fix = "give Grafana a password of its own, see docs/guides/stack.md"
        findings.insert(1, Finding("login", State.WARNING, "Grafana still has the password admin", fix))
    return findings


async def _datasource(part: _Part, uid: str) -> Finding:
    try:
        name = (await part.json(f"/api/datasources/uid/{uid}"))["name"]
        await part.json(f"/api/datasources/uid/{uid}/health")
    except ComponentProblem as problem:
        if problem.status == 404:
            return Finding("datasource", State.WRONG, f"Grafana has no datasource '{uid}'", _SET_UP)
        if problem.status in (400, 500, 502):
            fix = "can Grafana reach it under the address in the datasource?"
            return Finding("datasource", State.WRONG, f"'{uid}' does not work: {problem.message}", fix)
        raise
    return Finding("datasource", State.OK, f"{name} ({uid}) works")


async def _dashboard(part: _Part, uid: str) -> Finding:
    try:
        title = (await part.json(f"/api/dashboards/uid/{uid}"))["dashboard"]["title"]
    except ComponentProblem as problem:
        if problem.status != 404:
            raise
        return Finding("dashboard", State.WRONG, f"Grafana has no dashboard '{uid}'", _SET_UP)
    return Finding("dashboard", State.OK, f"{title} ({uid}) is there")


_SET_UP = "run `driftbell grafana setup`, or mount deploy/grafana/provisioning"


async def _reports(part: _Part, service: str | None) -> list[Finding]:
    await part.get("/")
    findings = [Finding("reports", State.OK, "the report viewer lists")]
    try:
        page = await part.get("/drift_report_latest.html")
    except ComponentProblem as problem:
        if problem.status != 404:
            raise
        if service and await _has_report(_Part("service", service, part.client, part.seconds)):
            fix = "mount the service's reports folder into the viewer"
            lost = "the service has a report, the viewer does not"
            return [*findings, Finding("latest report", State.WRONG, lost, fix)]
        none = "none yet: the first comes with the first check on enough predictions"
        return [*findings, Finding("latest report", State.SKIPPED, none)]
    if "html" not in page.headers.get("content-type", ""):
        kind = page.headers.get("content-type", "nothing")
        fix = "serve it as text/html, see deploy/nginx"
        return [*findings, Finding("latest report", State.WRONG, f"is served as {kind}", fix)]
    return [*findings, Finding("latest report", State.OK, "opens")]


async def _has_report(service: _Part) -> bool:
    try:
        return bool((await service.json("/monitor/status"))["latest_report_url"])
    except (ComponentProblem, LookupError, TypeError):  # reported by the check of the service
        return False


async def _alertmanager(part: _Part, *, wanted: bool) -> list[Finding]:
    try:
        await part.get("/-/ready")
    except ComponentProblem as problem:
        if problem.status is None and not wanted:
            return [Finding("alertmanager", State.SKIPPED, "not running (profile alerts)")]
        raise
    return [Finding("alertmanager", State.OK, "ready")]
