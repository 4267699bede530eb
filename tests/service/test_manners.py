"""Manners of HTTP that load balancers, scripts and proxies rely on."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tests.conftest import CHEAP_MONITOR, EXAMPLE, Running, starting
from tests.service.bad_requests import zstd

pytestmark = pytest.mark.service

VARYING = {"date", "x-request-id"}
PAGES = (
    "/",
    "/index.json",
    "/reports/",
    "/reports.json",
    "/runbook",
    "/runbook.json",
    "/docs",
    "/openapi.json",
    "/health",
    "/health/live",
    "/monitor/checks",
    "/monitor/alarms",
    "/monitor/performance",
    "/monitor/checks/none",
    "/static/style.css",
    "/static/nothing.css",
    "/nothing",
)


def headers_of(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in VARYING}


@pytest.mark.parametrize("path", PAGES)
def test_head_has_the_status_and_headers_of_get(service: Running, path: str) -> None:
    head, get = httpx.head(service.url + path), httpx.get(service.url + path)
    assert head.status_code == get.status_code
    assert head.content == b""
    expected, actual = headers_of(get), headers_of(head)
    if get.headers["content-type"].startswith("text/html") or path in ("/index.json",):  # has times in it
        expected.pop("content-length"), actual.pop("content-length")
    assert actual == expected


def test_head_of_the_metrics_has_no_body_and_is_counted_by_its_route(service: Running) -> None:
    head = httpx.head(f"{service.url}/metrics")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 1000
    assert service.metric("driftbell_http_requests_total", route="/metrics", method="HEAD", status="200") >= 1


def test_head_sends_no_body_on_the_connection(service: Running) -> None:
    """A body after the head of an answer would be read as the next answer."""
    url = httpx.URL(service.url)
    with socket.create_connection((url.host, url.port or 80), timeout=10) as connection:
        for closing in ("", "Connection: close\r\n"):
            connection.sendall(f"HEAD /health HTTP/1.1\r\nHost: localhost\r\n{closing}\r\n".encode())
        data = b""
        while part := connection.recv(65536):
            data += part
    assert re.findall(rb"HTTP/1.1 (\d+)", data) == [b"200", b"200"]
    assert b"{" not in data


def test_head_does_not_generate_a_report(service: Running) -> None:
    answer = httpx.head(f"{service.url}/monitor/generate_report")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert httpx.head(f"{service.url}/predict").headers["allow"] == "POST"
    assert httpx.put(f"{service.url}/health").headers["allow"] == "GET, HEAD"


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_asks_for_the_head_of_the_health(service: Running) -> None:
    result = subprocess.run(
        ["curl", "-sSI", f"{service.url}/health"], capture_output=True, text=True, timeout=30
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("HTTP/1.1 200 OK")


def test_simulate_reads_the_address_from_the_configuration_file(service: Running, tmp_path: Path) -> None:
    port = httpx.URL(service.url).port
    (tmp_path / "other.toml").write_text(f"[server]\nport = {port}\n", "utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "driftbell", "simulate", "--config=other.toml", "--normal=3", "--drifted=0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "3 answered 200" in result.stdout, result.stderr


def deflated_raw(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize(
    ("coding", "compress"),
    [
        ("gzip", gzip.compress),
        ("X-GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", deflated_raw),
        ("zstd", zstd),
        ("identity", bytes),
        ("identity, gzip", gzip.compress),
    ],
)
def test_compressed_bodies_are_answered_as_plain_ones(
    service: Running, coding: str, compress: Callable[[bytes], bytes]
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    for path, value, rows in (("/predict", EXAMPLE, 1), ("/predict/batch", [EXAMPLE] * 5000, 5000)):
        body = compress(json.dumps(value).encode())
        answer = httpx.post(service.url + path, content=body, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        predictions = answer.json().get("predictions", [answer.json()])
        assert [p["class"] for p in predictions] == ["setosa"] * rows
    prediction_id = answer.json()["predictions"][0]["id"]
    ids = json.dumps([{"prediction_id": prediction_id, "label": "setosa"}]).encode()
    labels = httpx.post(f"{service.url}/labels", content=compress(ids), headers=headers, timeout=30)
    assert labels.status_code == 200, labels.text


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_sends_a_gzip_file(service: Running, tmp_path: Path) -> None:
    (tmp_path / "rows.json.gz").write_bytes(gzip.compress(json.dumps([EXAMPLE] * 3).encode()))
    command = ["curl", "-sS", f"{service.url}/predict/batch", "--data-binary", "@rows.json.gz"]
    command += ["-H", "Content-Type: application/json", "-H", "Content-Encoding: gzip"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert len(json.loads(result.stdout)["predictions"]) == 3


@pytest.fixture(scope="module")
def has_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")


@pytest.mark.usefixtures("has_ipv6")
def test_an_ipv6_address_is_printed_in_brackets(tmp_path: Path) -> None:
    with starting("serve", tmp_path, **CHEAP_MONITOR, SERVER__HOST="::1") as service:
        line = service.line("service started") and service.line("service starting")
        assert line["url"] == f"http://[::1]:{httpx.URL(service.url).port}"
        assert httpx.get(f"{line['url']}/health").status_code == 200
