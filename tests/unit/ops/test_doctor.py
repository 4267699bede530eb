"""The doctor: a clear sentence for each way a component can fail, never a traceback, never a long wait."""

from __future__ import annotations

import contextlib
import json
import os
import re
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlsplit

import pytest
from tests import command_line
from tests.ports import free_port

from driftbell.ops.doctor import examine
from driftbell.ops.stack import Finding, Stack, State

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
NOTHING = Stack(None, None, None, None, None, None)


@dataclass
class Fake:
    """A server that answers by path, and notes what it was asked."""

    answers: dict[str, Any]
    url: str = ""
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    date: str = ""


@contextlib.contextmanager
def serving(answers: dict[str, Any], context: ssl.SSLContext | None = None) -> Iterator[Fake]:
    """Serve answers: a dict is JSON, a text is a page, a number is a status, a pair is a status and JSON.

    A function is called with the query.
    """
    fake = Fake(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.asked.append((self.path, dict(self.headers)))
            url = urlsplit(self.path)
            result = fake.answers.get(url.path, 404)
            if callable(result):
                result = result(unquote_plus(url.query))
            status, body = result if isinstance(result, tuple) else (200, result)
            if isinstance(body, int):
                status, body = body, "<html>no"
            kind = "text/html" if isinstance(body, str) else "application/json"
            content = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return fake.date or super().date_time_string(timestamp)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        fake.url = f"http{'s' if context else ''}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()


def look(stack: Stack, seconds: float = 5.0) -> list[Finding]:
    return examine(stack, clock=lambda: NOW, seconds=seconds)


def only(findings: list[Finding], component: str) -> Finding:
    (outcome,) = [f for f in findings if f.component == component]
    return outcome


# what a healthy part answers

STATUS = {
    "monitor": "running",
    "next_run": (NOW + timedelta(minutes=3)).isoformat(),
    "last_check": {"verdict": "ok", "error": None},
    "latest_report_url": "/reports/drift_report_latest.html",
}
SERVICE = {
    "/health": {"status": "ready", "model": "iris", "version": "v1"},
    "/health/live": {"status": "alive"},
    "/monitor/status": STATUS,
}
TARGET = {
    "labels": {"job": "driftbell", "instance": "ml_service:8000"},
    "scrapeUrl": "http://ml_service:8000/metrics",
    "lastScrape": "2026-01-31T11:59:58.123456789Z",
    "lastError": "",
    "health": "up",
}
PROMETHEUS = {
    "/-/ready": "Prometheus is Ready.",
    "/api/v1/targets": {"status": "success", "data": {"activeTargets": [TARGET]}},
    "/api/v1/rules": {"data": {"groups": [{"rules": [{"name": "DriftAlarm", "health": "ok"}]}]}},
}
LOKI = {
    "/ready": "ready",
    "/loki/api/v1/query_range": {"data": {"result": [{"stream": {}, "values": [["1", "{}"]]}]}},
}
GRAFANA = {
    "/api/health": {"database": "ok"},
    **{f"/api/datasources/uid/{u}": {"name": u.title(), "uid": u} for u in ("prometheus", "loki")},
    **{f"/api/datasources/uid/{u}/health": {"status": "OK"} for u in ("prometheus", "loki")},
    **{
        f"/api/dashboards/uid/{u}": {"dashboard": {"title": u}}
        for u in ("driftbell-health", "driftbell-drift")
    },
}
REPORTS = {"/": "<html>list", "/drift_report_latest.html": "<html>report"}
PARTS: dict[str, dict[str, Any]] = {
    "service": SERVICE,
    "prometheus": PROMETHEUS,
    "loki": LOKI,
    "grafana": GRAFANA,
    "reports": REPORTS,
    "alertmanager": {"/-/ready": "OK"},
}


def test_a_healthy_stack_is_all_well_but_for_the_default_password() -> None:
    with contextlib.ExitStack() as fakes:
        urls: dict[str, Any] = {
            name: fakes.enter_context(serving(answers)).url for name, answers in PARTS.items()
        }
        result = look(Stack(**urls))
    assert [f.component for f in result if f.state is State.WARNING] == ["login"]
    assert [f for f in result if f.state not in (State.OK, State.WARNING)] == []
    assert len(result) == 16


def one_hop(part: str, answers: dict[str, Any], **more: Any) -> list[Finding]:
    with serving({**PARTS[part], **answers}) as fake:
        return look(replace(NOTHING, **{part: fake.url, **more}))


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("part", "answers", "component", "words"),
    [
        ("service", {"/health": (503, {"detail": "the disk\nis full"})}, "service", "503: the disk is full"),
        ("service", {"/health": 404}, "service", "404"),
        ("service", {"/health": "<html>"}, "service", "with text/html instead of JSON"),
        ("service", {"/health": {"ok": True}}, "service", "is not from service"),
        ("service", {"/health": [1]}, "service", "is not from service"),
        ("service", {"/monitor/status": {**STATUS, "monitor": "not running"}}, "monitor", "no monitor runs"),
        (
            "service",
            {"/monitor/status": {**STATUS, "next_run": (NOW - HOUR).isoformat()}},
            "monitor",
            "due at 2026-01-31 11:00:00 UTC has not run",
        ),
        (
            "service",
            {"/monitor/status": {**STATUS, "last_check": {"verdict": "unknown", "error": "MemoryError"}}},
            "monitor",
            "failed: MemoryError",
        ),
        ("prometheus", {"/-/ready": 503}, "prometheus", "503"),
        ("prometheus", {"/api/v1/targets": {"data": {"activeTargets": []}}}, "scrape", "no target"),
        (
            "prometheus",
            {
                "/api/v1/targets": {
                    "data": {"activeTargets": [{**TARGET, "health": "down", "lastError": "no such host"}]}
                }
            },
            "scrape",
            "cannot scrape http://ml_service:8000/metrics: no such host",
        ),
        (
            "prometheus",
            {
                "/api/v1/targets": {
                    "data": {"activeTargets": [{**TARGET, "lastScrape": "2026-01-31T12:00:00+01:00"}]}
                }
            },
            "scrape",
            "last scraped",
        ),
        ("prometheus", {"/api/v1/rules": {"data": {"groups": []}}}, "rules", "no rules"),
        (
            "prometheus",
            {
                "/api/v1/rules": {
                    "data": {"groups": [{"rules": [{"name": "A", "health": "err", "lastError": "many"}]}]}
                }
            },
            "rules",
            "the rule A fails: many",
        ),
        ("loki", {"/ready": (503, "Ingester not ready")}, "loki", "503"),
        ("loki", {"/loki/api/v1/query_range": {"data": {"result": []}}}, "logs", "no line .* 15 min"),
        ("grafana", {"/api/datasources/uid/loki": 404}, "datasource", "no datasource 'loki'"),
        (
            "grafana",
            {"/api/datasources/uid/loki/health": (400, {"message": "dial tcp: lookup loki"})},
            "datasource",
            "'loki' does not work: .*lookup loki",
        ),
        ("grafana", {"/api/dashboards/uid/driftbell-drift": 404}, "dashboard", "no dashboard"),
        ("grafana", {"/api/dashboards/uid/driftbell-drift": 403}, "grafana", "403"),
        ("grafana", {"/api/datasources/uid/prometheus": (401, {"message": "x"})}, "login", "refuses user"),
        ("reports", {"/": 403}, "reports", "403"),
        ("reports", {"/drift_report_latest.html": 500}, "reports", "500"),
        ("reports", {"/drift_report_latest.html": {}}, "latest report", "application/json"),
        ("alertmanager", {"/-/ready": 503}, "alertmanager", "503"),
    ],
)
def test_a_problem_is_reported_with_a_fix(
    part: str, answers: dict[str, Any], component: str, words: str
) -> None:
    wrong = [f for f in one_hop(part, answers) if f.state is State.WRONG]
    assert [f.component for f in wrong] == [component]
    assert re.search(words, wrong[0].message)
    assert wrong[0].fix
    assert "\n" not in wrong[0].message


def test_a_monitor_that_only_checks_on_request_is_well() -> None:
    result = one_hop("service", {"/monitor/status": {**STATUS, "next_run": None, "last_check": None}})
    assert only(result, "monitor").state is State.OK
    assert "off" in only(result, "monitor").message


def test_a_viewer_without_reports_is_wrong_only_where_the_service_has_one() -> None:
    empty = {"/drift_report_latest.html": 404}
    assert only(one_hop("reports", empty), "latest report").state is State.SKIPPED
    for url, state in ((STATUS["latest_report_url"], State.WRONG), (None, State.SKIPPED)):
        with serving({"/monitor/status": {**STATUS, "latest_report_url": url}}) as service:
            result = one_hop("reports", empty, service=service.url)
        assert only(result, "latest report").state is state


LINES = {"data": {"result": [{"stream": {}, "values": [["1", "{}"]]}]}}
NO_LINES: dict[str, Any] = {"data": {"result": []}}


@pytest.mark.parametrize(
    ("lines", "state", "words"),
    [
        (lambda query: LINES, State.OK, "the line of a request just sent"),
        (lambda query: NO_LINES if "doctor-" in query else LINES, State.WRONG, "older lines"),
        (lambda query: NO_LINES if "|=" in query else LINES, State.WARNING, "access_log off"),
        (lambda query: NO_LINES, State.WRONG, "no line of ml_service"),
    ],
)
def test_the_line_of_an_own_request_is_looked_for(
    lines: Callable[[str], Any], state: State, words: str
) -> None:
    with serving({**LOKI, "/loki/api/v1/query_range": lines}) as loki, serving(SERVICE) as service:
        finding = only(look(replace(NOTHING, loki=loki.url, service=service.url), seconds=1), "logs")
    assert (finding.state, words in finding.message) == (state, True), finding
    (request_id,) = {headers["X-Request-ID"] for _, headers in service.asked if "X-Request-ID" in headers}
    query = next(path for path, _ in loki.asked if "query_range" in path)
    assert f"|= `{request_id}`" in unquote_plus(query)


def test_a_clock_that_differs_is_a_warning() -> None:
    with serving(SERVICE) as service:
        service.date = "Sat, 31 Jan 2026 12:00:00 GMT"
        assert only(look(replace(NOTHING, service=service.url)), "clock").state is State.WARNING
        service.date = "yesterday"
        assert [f for f in look(replace(NOTHING, service=service.url)) if f.component == "clock"] == []


def test_a_line_that_arrives_only_now_is_enough() -> None:
    query = "/loki/api/v1/query_range"
    with serving({**LOKI, query: {"data": {"result": []}}}) as loki:
        threading.Timer(1, loki.answers.update, [{query: LOKI[query]}]).start()
        assert only(look(replace(NOTHING, loki=loki.url)), "logs").state is State.OK


def test_an_alertmanager_that_was_not_requested_may_be_absent() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    (result,) = look(replace(NOTHING, alertmanager=nowhere))
    assert (result.state, result.message) == (State.SKIPPED, "not running (profile alerts)")
    (result,) = look(replace(NOTHING, alertmanager=nowhere, alertmanager_wanted=True))
    assert result.state is State.WRONG


STACK = frozenset(("prometheus", "loki", "grafana", "reports"))


def test_a_service_without_the_docker_stack_is_well() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with serving(SERVICE) as service, serving({"/": "another web server"}) as other:
        service.date = "Sat, 31 Jan 2026 12:00:00 GMT"
        urls = (service.url, nowhere, nowhere, other.url, other.url, None)
        findings = look(replace(Stack(*urls), unnamed=STACK))
        assert {f.component for f in findings if f.state is State.SKIPPED} == STACK
        assert State.WRONG not in {f.state for f in findings}
        assert only(findings, "loki") == Finding(
            "loki",
            State.SKIPPED,
            f"not found at {nowhere}, skipped",
            "name it with --loki if it runs elsewhere",
        )
        findings = look(replace(Stack(*urls), unnamed=STACK - {"loki"}))
        assert only(findings, "loki").state is State.WRONG


def test_a_missing_component_of_a_stack_that_is_there_is_wrong() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with serving(PROMETHEUS) as prometheus:
        stack = Stack(None, prometheus.url, nowhere, nowhere, nowhere, None, unnamed=STACK)
        assert {f.component for f in look(stack) if f.state is State.WRONG} == STACK - {"prometheus"}


def test_grafana_gets_the_credentials_and_no_finding_contains_them() -> None:
    with serving(GRAFANA) as fake:
        stack = replace(NOTHING, grafana=fake.url)
        for given, sent in (
            (replace(stack, token="glsa_secret"), "Bearer glsa_secret"),
            (replace(stack, login=("ann", "s3cret")), "Basic YW5uOnMzY3JldA=="),
        ):
            fake.asked.clear()
            result = look(given)
            assert {f.state for f in result} == {State.OK}
            sent_to = {path: headers.get("Authorization") for path, headers in fake.asked}
            assert sent_to.pop("/api/health") is None
            assert set(sent_to.values()) == {sent}
            assert "secret" not in repr(result) + repr(given)
            assert "s3cret" not in repr(result) + repr(given)


def test_a_refused_token_is_reported() -> None:
    with serving({**GRAFANA, "/api/datasources/uid/prometheus": (401, {})}) as fake:
        result = only(look(replace(NOTHING, grafana=fake.url, token="old")), "login")
    assert (result.state, result.message) == (State.WRONG, "Grafana refuses the token")
    assert "GRAFANA_TOKEN" in result.fix


# the command line

ALL_OFF = dict.fromkeys(PARTS, "off")


def doctor(*args: str, addresses: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
    options = [f"--{name}={url}" for name, url in {**ALL_OFF, **addresses}.items()]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("GRAFANA_", "DRIFTBELL_"))}
    inherited["DRIFTBELL_DATA_DIR"] = "/nonexistent/data"
    return command_line.run(("doctor", *options, *args), Path.cwd(), inherited | environment)


def test_command_prints_a_line_per_component_and_exits_by_the_findings(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("fr0m-file\n")
    with serving(LOKI) as loki, serving(GRAFANA) as grafana:
        addresses = {"loki": loki.url, "grafana": grafana.url}
        done = doctor(addresses=addresses, GRAFANA_PASSWORD_FILE=str(tmp_path / "password"))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[:2] == ["✓ loki: ready", "✓ logs: Loki has lines of ml_service"]
        assert {line[0] for line in done.stdout.splitlines()[:-1]} == {"✓"}
        assert done.stdout.splitlines()[-1].startswith("– data: there is no data folder")
        loki.answers["/loki/api/v1/query_range"] = {"data": {"result": []}}
        done = doctor("--json", addresses=addresses)
    assert done.returncode == 3
    wrong = [f for f in json.loads(done.stdout) if f["state"] not in ("ok", "skipped")]
    assert [(f["component"], f["state"]) for f in wrong] == [("logs", "wrong"), ("login", "warning")]


@pytest.mark.parametrize(
    ("addresses", "environment", "words"),
    [
        ({"loki": "127.0.0.1:3100"}, {}, "--loki must be a URL"),
        ({"loki": "http://127.0.0.1:x"}, {}, "--loki must be a URL"),
        ({"loki": ""}, {}, "--loki must be a URL"),
        ({"loki": "http://[::1"}, {}, "--loki must be a URL"),
        ({"grafana": "http://ann:s3cret@[::1"}, {}, "--grafana must not contain a user"),
        ({"grafana": "http://ann:s3cret@127.0.0.1"}, {}, "--grafana must not contain a user"),
        ({}, {"GRAFANA_PASSWORD_FILE": "/nowhere/x"}, "GRAFANA_PASSWORD_FILE /nowhere/x: No such file"),
    ],
)
def test_usage_errors(addresses: dict[str, str], environment: dict[str, str], words: str) -> None:
    done = doctor(addresses=addresses, **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "s3cret" not in done.stderr
