"""Manners of HTTP that load balancers, scripts and proxies rely on."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import httpx
import pandas as pd
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


def test_a_csv_body_is_answered_as_csv(service: Running) -> None:
    rows = pd.DataFrame([EXAMPLE] * 3)
    headers = {"Content-Type": "text/csv"}
    answer = httpx.post(f"{service.url}/predict/batch", content=rows.to_csv(index=False), headers=headers)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8", answer.text
    table = pd.read_csv(io.StringIO(answer.text))
    assert table["class"].tolist() == ["setosa"] * 3
    assert table["class_id"].tolist() == [0] * 3
    assert (table["probability of setosa"] > 0.9).all()
    packed = httpx.post(
        f"{service.url}/predict/batch",
        content=gzip.compress(rows.to_csv(index=False, sep=";", decimal=",").encode()),
        headers={**headers, "Content-Encoding": "gzip", "Accept": "application/json"},
    )
    assert [p["class"] for p in packed.json()["predictions"]] == ["setosa"] * 3
    wanted = {"Accept": "text/csv"}
    as_csv = httpx.post(f"{service.url}/predict/batch", json=[EXAMPLE], headers=wanted)
    assert as_csv.text.startswith("id,class,class_id,")
    bad = httpx.post(f"{service.url}/predict/batch", content=rows.to_csv(), headers=headers)
    assert bad.status_code == 422
    assert "to_csv(index=False)" in bad.json()["detail"]


@pytest.mark.parametrize("orient", ["split", "records"])
def test_json_of_pandas_is_accepted(service: Running, orient: Literal["split", "records"]) -> None:
    rows = pd.DataFrame([EXAMPLE] * 3, index=["a", "b", "c"])
    answer = httpx.post(
        f"{service.url}/predict/batch",
        content=rows.to_json(orient=orient),
        headers={"Content-Type": "application/json"},
    )
    assert [p["class"] for p in answer.json()["predictions"]] == ["setosa"] * 3


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (pd.DataFrame([EXAMPLE]).to_json(), "to_json(orient='split')"),
        (json.dumps({"columns": list(EXAMPLE), "data": [[1, 2, 3, 4]], "index": 5}), "list of row labels"),
        (json.dumps({"columns": list(EXAMPLE), "index": [0]}), "send exactly"),
    ],
)
def test_other_json_of_pandas_is_refused(service: Running, body: str, says: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{service.url}/predict/batch", content=body, headers=headers)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


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
