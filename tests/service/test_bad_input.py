"""Bad input of every kind: a problem that names the field, counted, never logged, and the service goes on."""

from __future__ import annotations

import itertools
import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from tests.conftest import EXAMPLE, Running, predict, total, wait_until
from tests.service.bad_requests import BAD, DETAIL_LIMIT, GOOD, JSON, POST, SEPAL, Bad

pytestmark = pytest.mark.service


def test_the_good_row_that_the_bad_ones_are_made_of_is_good(service: Running) -> None:
    assert httpx.post(f"{service.url}/predict", content=GOOD, headers=JSON).status_code == 200
    assert len(BAD) >= 60


def test_numbers_at_the_edge_of_what_is_allowed_are_answered(service: Running) -> None:
    largest = 3.4028234663852886e38
    rows = [{**EXAMPLE, SEPAL: v} for v in (largest, -largest, 5e-324, -0.0, 0)]
    assert len(predict(service.url, rows)) == 5


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_bad_input_is_refused_and_counted_and_never_logged(service: Running, bad: Bad) -> None:
    logged = len(service.logged_ids())
    before = service.samples()
    content = bad.content.encode() if isinstance(bad.content, str) else bad.content
    answer = httpx.post(
        f"{service.url}{bad.path}",
        content=content,
        headers=JSON if bad.headers is None else bad.headers,
        timeout=10,
    )
    is_problem(answer, bad.status)
    body = answer.json()
    assert bad.says in body["detail"]
    if bad.at is not None:
        assert any(e["field"] == bad.at and e.get("row") == bad.row for e in body["errors"])
    assert len(service.logged_ids()) == logged
    after = service.samples()
    labels = {"route": bad.path, "method": "POST", "status": str(bad.status)}
    for name, found in (
        ("driftbell_http_requests_total", labels),
        ("driftbell_http_request_duration_seconds_count", {**labels, "status": "4xx"}),
        ("driftbell_rejected_inputs_total", {"reason": bad.reason}),
    ):
        assert total(after, name, **found) == total(before, name, **found) + 1
    assert httpx.get(f"{service.url}/health").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("PUT", "/predict", "POST"),
        ("DELETE", "/predict", "POST"),
        ("PATCH", "/predict/batch", "POST"),
        ("OPTIONS", "/predict", "POST"),
        ("POST", "/health", "GET"),
        ("POST", "/metrics", "GET"),
        ("GET", "/monitor/trigger_now", "POST"),
        ("POST", "/monitor/generate_report", "GET"),
        ("DELETE", "/monitor/status", "GET"),
        ("POST", "/reports/", "GET"),
        ("DELETE", "/reports/drift_report_latest.html", "GET"),
        ("PUT", "/static/style.css", "GET"),
        ("PROPFIND", "/health", "GET"),
    ],
)
def test_a_wrong_method_is_405_and_told_what_is_allowed(
    service: Running, method: str, path: str, allowed: str
) -> None:
    answer = httpx.request(method, f"{service.url}{path}")
    is_problem(answer, 405)
    assert allowed in answer.headers["allow"]
    assert allowed in answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/predict/row",
        "/monitor",
        "/monitor/checks/0123456789abcdef",
        "/monitor/checks/%00",
        "/monitor/checks/%ed%a0%80",
        "/monitor/checks/' OR 1=1 --",
        "/monitor/requests/nobody",
        "/static/nothing.css",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/.env",
        "/" + "a" * 5000,
    ],
)
def test_an_unknown_path_is_404(service: Running, path: str) -> None:
    is_problem(httpx.get(f"{service.url}{path}", follow_redirects=True), 404)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        *(
            ("GET", f"/monitor/checks?limit={v}", "limit")
            for v in ("0", "-1", "1001", "many", "1.5", "", "9" * 5000)
        ),
        *(("POST", f"/monitor/trigger_now?wait={v}", "wait") for v in ("maybe", "2", "", "%00")),
        ("GET", "/monitor/generate_report?wait=later", "wait"),
    ],
)
def test_a_query_parameter_out_of_range_is_refused_by_name(
    service: Running, method: str, path: str, name: str
) -> None:
    before = service.metric("driftbell_rejected_inputs_total", reason="query")
    answer = httpx.request(method, f"{service.url}{path}")
    is_problem(answer, 422)
    assert f"'{name}'" in answer.json()["detail"]
    assert answer.json()["errors"][0]["field"] == name
    assert service.metric("driftbell_rejected_inputs_total", reason="query") == before + 1


@pytest.mark.parametrize(
    "name",
    [
        b"../log.sqlite",
        b"..%2flog.sqlite",
        b"%2e%2e/log.sqlite",
        b"%2e%2e%2flog.sqlite",
        b"%252e%252e%252flog.sqlite",
        b"..%5clog.sqlite",
        b"....//log.sqlite",
        b"%2fetc%2fpasswd",
        b"/etc/passwd",
        b"drift_report_latest.html%00",
        b"drift_report_latest.html%0a",
        b"drift_report_latest.html/../../log.sqlite",
        b"drift_report_20260101_000000.html",
        b".drift_report_latest.html.part",
        b"%c0%ae%c0%ae/log.sqlite",
        b"DRIFT_REPORT_LATEST.HTML",
    ],
)
def test_reports_never_gives_another_file(service: Running, name: bytes) -> None:
    head = b"GET /reports/%b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    status, body = spoken(service, head % name)
    assert status == 404
    assert json.loads(body)["status"] == 404
    assert b"SQLite" not in body


def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent(service: Running) -> None:
    for more in (b"", b"Expect: 100-continue\r\n"):
        status, body = spoken(
            service,
            POST + b"Content-Length: 1073741824\r\n" + more + b"\r\n",
        )
        assert status == 413
        assert "1048576 bytes" in json.loads(body)["detail"]


def test_a_chunked_body_is_cut_off_at_the_limit(service: Running) -> None:
    before = service.metric("driftbell_rejected_inputs_total", reason="too_large")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    sent = 0
    with socket.create_connection(address(service), timeout=10) as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            while sent < 64 * 1024 * 1024:  # the end of the body is never sent
                connection.sendall(chunk)
                sent += 0x10000
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < 32 * 1024 * 1024
    assert service.metric("driftbell_rejected_inputs_total", reason="too_large") == before + 1


def test_a_chunked_body_within_the_limit_is_taken(service: Running) -> None:
    def parts() -> Iterator[bytes]:
        for part in itertools.batched(GOOD.encode(), 7) if hasattr(itertools, "batched") else [GOOD.encode()]:
            yield bytes(part)

    assert httpx.post(f"{service.url}/predict", content=parts(), headers=JSON).status_code == 200


def test_a_client_that_goes_away_in_the_middle_of_its_body_is_counted(service: Running) -> None:
    before = service.metric("driftbell_rejected_inputs_total", reason="disconnected")
    logged = len(service.logged_ids())
    with socket.create_connection(address(service), timeout=10) as connection:
        connection.sendall(POST + b"Content-Length: 100\r\n\r\n{")
        wait_until(lambda: service.metric("driftbell_http_requests_in_flight") >= 2, 60, "the request")
    wait_until(
        lambda: service.metric("driftbell_rejected_inputs_total", reason="disconnected") == before + 1,
        10,
        "the count",
    )
    assert len(service.logged_ids()) == logged


@pytest.mark.parametrize(
    "sent",
    [
        b"\0\1\2\3 garbage \xff\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"FOO /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        POST + b"Content-Length: -5\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /health HTTP/1.1\r\nHost x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_is_refused_and_kills_nothing(service: Running, sent: bytes) -> None:
    status, _ = spoken(service, sent)
    assert status == 400
    assert httpx.post(f"{service.url}/predict", json=EXAMPLE).status_code == 200


@pytest.mark.parametrize("offered", [b"h2c", b"websocket"])
@pytest.mark.parametrize("apart", [False, True], ids=["at once", "the body later"])
def test_an_offer_of_another_protocol_is_ignored(service: Running, offered: bytes, apart: bool) -> None:
    """Java's HTTP client offers h2c, and sends head and body apart."""
    length = b"Content-Length: %d\r\n\r\n" % len(GOOD)
    parts = [POST + b"Connection: Upgrade\r\nUpgrade: " + offered + b"\r\n" + length, GOOD.encode()]
    with socket.create_connection(address(service), timeout=10) as connection:
        for part in parts if apart else [b"".join(parts)]:
            connection.sendall(part)
            time.sleep(0.05)
        connection.sendall(POST + b"Connection: close\r\n" + length + GOOD.encode())
        received = b""
        while part := connection.recv(65536):
            received += part
    assert received.count(b"HTTP/1.1 200") == received.count(b'"class":"setosa"') == 2


@pytest.mark.parametrize("host", [b"[", b"a b<>\"'", b"\xff", b"", b"x" * 5000])
def test_a_strange_host_header_breaks_no_page(service: Running, host: bytes) -> None:
    status, body = spoken(service, b"GET / HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
    assert status in ((200, 421) if host else (200,))
    assert host not in body or b"<" not in host


def test_nothing_that_was_refused_made_an_error_line(service: Running) -> None:
    answer = httpx.post(f"{service.url}/predict", content="{", headers=JSON)
    line = service.line("request", request_id=answer.headers["x-request-id"])
    assert (line["level"], line["status"]) == ("WARNING", 400)
    assert [e for e in service.events() if e["level"] == "ERROR"] == []


def is_problem(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert 0 < len(body["detail"]) < DETAIL_LIMIT
    assert len(answer.content) < 20_000


def address(service: Running) -> tuple[str, int]:
    url = httpx.URL(service.url)
    return url.host, url.port or 80


def spoken(service: Running, sent: bytes) -> tuple[int, bytes]:
    """Send bytes as they are and give the status and body of the answer; the sender's half stays open."""
    with socket.create_connection(address(service), timeout=10) as connection:
        connection.sendall(sent)
        received = b""
        while part := connection.recv(65536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body
