"""Hostile clients and headers: every answer is bounded, marked and never an error of the service."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from tests import processes
from tests.conftest import (
    CHEAP_MONITOR,
    EXAMPLE,
    Running,
    descendants,
    monitored,
    running,
    starting,
    wait_until,
    with_models,
)
from tests.failing import Load
from tests.ports import free_port

pytestmark = pytest.mark.service

PATHS = (
    "/",
    "/index.json",
    "/reports/",
    "/reports.json",
    "/runbook",
    "/docs",
    "/openapi.json",
    "/health",
    "/health/live",
    "/metrics",
    "/monitor/status",
    "/monitor/checks",
    "/monitor/alarms",
    "/monitor/alarms/none/label-sheet",
    "/static/style.css",
    "/static/",
    "/nothing",
)


@pytest.mark.parametrize("path", PATHS)
def test_no_answer_may_be_read_as_another_type(service: Running, path: str) -> None:
    answer = httpx.get(f"{service.url}{path}")
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]


def test_predictions_and_refusals_are_marked_too(service: Running) -> None:
    answers = [
        httpx.post(f"{service.url}/predict", json=EXAMPLE),
        httpx.post(f"{service.url}/predict", json={}),
        httpx.post(f"{service.url}/predict/batch", json=[EXAMPLE]),
        httpx.get(f"{service.url}/", headers={"A": "x" * 20_000}),
        httpx.get(f"{service.url}/", headers={"Host": "evil.example"}),
        httpx.request("PROPFIND", f"{service.url}/"),
    ]
    assert [answer.status_code for answer in answers] == [200, 422, 200, 431, 421, 405]
    assert {answer.headers["x-content-type-options"] for answer in answers} == {"nosniff"}


def test_unknown_methods_do_not_multiply_the_metrics(service: Running) -> None:
    async def ask(method: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port)
        writer.write(f"{method} /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer

    async def ask_all() -> None:
        for method in ("PROPFIND", "MKCOL", "LOCK", "REPORT", "M-SEARCH", "PURGE", "SUBSCRIBE", "TRACE"):
            assert b" 405 " in await ask(method)

    asyncio.run(ask_all())
    labels = {s.labels["method"] for s in service.samples() if s.name == "driftbell_http_requests_total"}
    assert labels <= {"GET", "POST", "HEAD", "other"}


def stopped(process: subprocess.Popen[bytes], *signals: signal.Signals) -> int:
    """Send signals to a whole tree, and return the exit code of its root."""
    tree = [process.pid, *descendants(process.pid)]
    for number in signals:
        for pid in tree:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
    return process.wait(30)


def test_a_signal_to_the_whole_tree_stops_it_in_order(tmp_path: Path) -> None:
    with running("up", tmp_path, **CHEAP_MONITOR, CHECK__EVERY="off") as service:
        with Load(service.url, clients=2, pause=0.001) as load:
            wait_until(lambda: len(load.answered) > 20, 60, "the load")
            load.stop()
            assert stopped(service.process, signal.SIGTERM) == 0
        assert len(service.events("service stopped")) == 1
    assert set(load.answered) <= {row[0] for row in service.sql("SELECT id FROM predictions")}


def test_a_log_that_nobody_reads_stops_neither_the_service_nor_its_end(tmp_path: Path) -> None:
    port = free_port()
    data = with_models(tmp_path / "data")
    reader, writer = os.pipe()
    settings = {"DATA_DIR": str(data), "SERVER__PORT": str(port), "CHECK__EVERY": "off"}
    process = processes.start(
        [sys.executable, "-m", "driftbell", "serve"],
        env={**os.environ, **{f"DRIFTBELL_{k}": v for k, v in settings.items()}},
        stdout=writer,
        stderr=writer,
    )
    os.close(writer)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: httpx.get(f"{url}/health").is_success, 60, "the service")
        with httpx.Client(base_url=url) as client:
            for _ in range(600):  # a pipe takes the lines of some 340
                assert client.post("/predict", json=EXAMPLE).is_success
            assert client.get("/health/live").is_success
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reader)


def test_a_request_that_waits_for_a_check_gets_503_when_the_service_stops(tmp_path: Path) -> None:
    settings = {**CHEAP_MONITOR, "CHECK__EVERY": "off"}
    with (
        running("serve", tmp_path, **settings) as service,
        starting("monitor", tmp_path, **settings) as monitor,
        ThreadPoolExecutor(2) as pool,
    ):
        monitored(service)
        monitor.process.send_signal(signal.SIGSTOP)
        try:
            calls = [
                pool.submit(httpx.request, method, f"{service.url}{path}", timeout=60)
                for method, path in (("POST", "/monitor/trigger_now"), ("GET", "/monitor/generate_report"))
            ]
            wait_until(lambda: service.metric("driftbell_http_requests_in_flight") == 3, 60, "the requests")
            assert service.stop() == 0
            answers = [call.result() for call in calls]
        finally:
            monitor.process.send_signal(signal.SIGCONT)
    assert [answer.status_code for answer in answers] == [503, 503]
    assert {answer.headers["retry-after"] for answer in answers} == {"1"}
    assert all("is stopping" in answer.json()["detail"] for answer in answers)
