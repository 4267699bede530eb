"""Check every component of a running stack and suggest fixes."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from driftbell.ops.clocks import clock_finding
from driftbell.ops.component import ComponentProblem, Part
from driftbell.ops.stack import DEFAULT_LOGIN, Finding, Stack, State

SECONDS = 5.0
"""Time limit of one response."""

OVERDUE = timedelta(minutes=1)
RECENT = timedelta(minutes=15)
SCRAPE_RECENT = timedelta(minutes=2)
DATASOURCES = ("prometheus", "loki")
DASHBOARDS = ("driftbell-health", "driftbell-drift")


def examine(stack: Stack, *, clock: Callable[[], datetime], seconds: float = SECONDS) -> list[Finding]:
    """Check every component concurrently. Problems become findings, never exceptions.

    Args:
        stack: the components to check.
        clock: returns the current time (UTC).
        seconds: time limit of one response.
    """
    return asyncio.run(_examine(stack, clock(), seconds))


async def _examine(stack: Stack, now: datetime, seconds: float) -> list[Finding]:
    components: list[tuple[str, str | None, Callable[[Part], Awaitable[list[Finding]]]]] = [
        ("service", stack.service, lambda p: _service(replace(p, headers=stack.service_headers), now)),
        ("prometheus", stack.prometheus, lambda p: _prometheus(p, now)),
        ("loki", stack.loki, lambda p: _loki(p, stack, now)),
        ("grafana", stack.grafana, lambda p: _grafana(p, stack)),
        ("reports", stack.reports, lambda p: _reports(p, stack)),
        ("alertmanager", stack.alertmanager, lambda p: _alertmanager(p, wanted=stack.alertmanager_wanted)),
    ]
    named = [(name, url, check) for name, url, check in components if url is not None]
    async with httpx.AsyncClient(timeout=seconds) as client:
        results = await asyncio.gather(
            *(_check_component(name, url, check, client, seconds) for name, url, check in named)
        )
    by_component = {name: result for (name, _, _), result in zip(named, results, strict=True)}
    return [finding for result in _without_stack(stack, by_component).values() for finding in result]


def _without_stack(stack: Stack, findings: dict[str, list[Finding]]) -> dict[str, list[Finding]]:
    """Skip the components that nobody named if none of them answers: a service needs no Docker stack.

    Another program at such an address is no component; any web server answers as a report viewer does.
    """
    recognised = (f for name in stack.unnamed - {"reports"} for f in findings[name])
    if not stack.unnamed or any(f.state is State.OK for f in recognised):
        return findings
    skipped = {
        name: Finding(
            name,
            State.SKIPPED,
            f"not found at {getattr(stack, name)}, skipped",
            f"name it with --{name} if it runs elsewhere",
        )
        for name in stack.unnamed
    }
    return {name: [skipped[name]] if name in skipped else found for name, found in findings.items()}


async def _check_component(
    name: str,
    url: str,
    check: Callable[[Part], Awaitable[list[Finding]]],
    client: httpx.AsyncClient,
    seconds: float,
) -> list[Finding]:
    part = Part(name, url.rstrip("/"), client, seconds)
    try:
        return await check(part)
    except ComponentProblem as problem:
        return [Finding(name, State.WRONG, problem.message, problem.fix)]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):  # JSON of another program
        return [
            Finding(name, State.WRONG, f"the response of {part.url} is not from {name}", part.address_hint)
        ]


async def _service(part: Part, now: datetime) -> list[Finding]:
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


async def _service_clock(part: Part) -> list[Finding]:
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


async def _prometheus(part: Part, now: datetime) -> list[Finding]:
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
            if "401" in why or "403" in why:
                fix = "give Prometheus a key with the scope 'read': see docs/guides/stack.md"
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


async def _loki(part: Part, stack: Stack, now: datetime) -> list[Finding]:
    await part.get("/ready")
    findings = [Finding("loki", State.OK, "ready")]
    request_id = await _send_request(part, stack)
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


async def _send_request(part: Part, stack: Stack) -> str | None:
    """Send a request with an id that no other has; return the id if it was answered."""
    service = _service_part(part, stack)
    if service is None:
        return None
    request_id = f"doctor-{secrets.token_hex(8)}"
    inside = replace(service, headers={**service.headers, "X-Request-ID": request_id})
    try:
        await inside.get("/monitor/status")
    except ComponentProblem as problem:  # reported by the check of the service; an error is logged too
        return None if problem.status is None else request_id
    return request_id


def _service_part(part: Part, stack: Stack) -> Part | None:
    """Return the service as seen from the check of another component."""
    if stack.service is None:
        return None
    return Part("service", stack.service.rstrip("/"), part.client, part.seconds, stack.service_headers)


async def _has_line(part: Part, now: datetime, text: str, seconds: float | None = None) -> bool:
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


async def _grafana(part: Part, stack: Stack) -> list[Finding]:
    await part.json("/api/health")
    findings = [Finding("grafana", State.OK, "ready")]
    headers = {"Authorization": f"Bearer {stack.token}"} if stack.token else {}
    inside = Part(
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


async def _datasource(part: Part, uid: str) -> Finding:
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


async def _dashboard(part: Part, uid: str) -> Finding:
    try:
        title = (await part.json(f"/api/dashboards/uid/{uid}"))["dashboard"]["title"]
    except ComponentProblem as problem:
        if problem.status != 404:
            raise
        return Finding("dashboard", State.WRONG, f"Grafana has no dashboard '{uid}'", _SET_UP)
    return Finding("dashboard", State.OK, f"{title} ({uid}) is there")


_SET_UP = "run `driftbell grafana setup`, or mount deploy/grafana/provisioning"


async def _reports(part: Part, stack: Stack) -> list[Finding]:
    await part.get("/")
    findings = [Finding("reports", State.OK, "the report viewer lists")]
    try:
        page = await part.get("/drift_report_latest.html")
    except ComponentProblem as problem:
        if problem.status != 404:
            raise
        service = _service_part(part, stack)
        if service and await _has_report(service):
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


async def _has_report(service: Part) -> bool:
    try:
        return bool((await service.json("/monitor/status"))["latest_report_url"])
    except (ComponentProblem, LookupError, TypeError):  # reported by the check of the service
        return False


async def _alertmanager(part: Part, *, wanted: bool) -> list[Finding]:
    try:
        await part.get("/-/ready")
    except ComponentProblem as problem:
        if problem.status is None and not wanted:
            return [Finding("alertmanager", State.SKIPPED, "not running (profile alerts)")]
        raise
    return [Finding("alertmanager", State.OK, "ready")]
