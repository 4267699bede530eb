"""Metrics that add up with several workers, request ids, and logs without a feature value."""

from __future__ import annotations

import os
import secrets
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tests.conftest import (
    CHEAP_MONITOR,
    EXAMPLE,
    Running,
    command,
    descendants,
    metrics_folders,
    monitored,
    predict,
    ready,
    running,
    total,
    wait_until,
)

pytestmark = pytest.mark.service

MARK = 5.123457
FEATURES = set(EXAMPLE)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("metrics")
    with running(
        "up", folder, CHECK__EVERY="off", SERVER__WORKERS="2", **CHEAP_MONITOR, WINDOW__ROWS="40"
    ) as found:
        monitored(found)
        yield found


def post(service: Running, body: object = EXAMPLE, **headers: str) -> httpx.Response:
    """Ask on a connection of its own, so that any worker may answer."""
    return httpx.post(f"{service.url}/predict", json=body, headers=headers, timeout=20)


def counters(service: Running) -> list[Path]:
    """The counters' file of each worker that has started."""
    return [f for folder in metrics_folders(service) for f in folder.glob("counter_*.db")]


def test_counters_add_up_whatever_worker_answers(service: Running) -> None:
    wait_until(lambda: len(counters(service)) == 2, 60, "the second worker")
    before = service.samples()
    with ThreadPoolExecutor(16) as pool:
        classes = [a.json()["class"] for a in pool.map(lambda _: post(service), range(120))]
        statuses = [a.status_code for a in pool.map(lambda _: post(service, {}), range(40))]
    assert classes == ["setosa"] * 120
    assert statuses == [422] * 40
    for after in [service.samples() for _ in range(6)]:
        for name, labels, new in (
            ("driftbell_predictions_total", {"class": "setosa"}, 120),
            ("driftbell_predictions_total", {}, 120),
            ("driftbell_rejected_inputs_total", {"reason": "missing"}, 40),
            ("driftbell_http_requests_total", {"route": "/predict", "status": "200"}, 120),
            ("driftbell_http_requests_total", {"route": "/predict", "status": "422"}, 40),
            ("driftbell_http_request_duration_seconds_count", {"route": "/predict", "status": "200"}, 120),
            ("driftbell_http_request_duration_seconds_count", {"route": "/predict", "status": "4xx"}, 40),
        ):
            assert total(after, name, **labels) == total(before, name, **labels) + new


def test_predictions_are_counted_by_class_and_version(service: Running) -> None:
    answer = post(service).json()
    labels = {"class": answer["class"], "model": answer["model"], "version": answer["version"]}
    before = service.metric("driftbell_predictions_total", **labels)
    post(service)
    assert service.metric("driftbell_predictions_total", **labels) == before + 1


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/nothing/here", "unmatched", "404"),
        ("GET", "/predict", "unmatched", "405"),
        ("GET", "/monitor/checks/none", "/monitor/checks/{check_id}", "404"),
        ("GET", "/monitor/checks?limit=0", "/monitor/checks", "422"),
        ("GET", "/reports/none.html", "/reports/{name}", "404"),
        ("GET", "/static/none", "/static", "404"),
        ("GET", "/openapi.json", "/openapi.json", "200"),
    ],
)
def test_every_request_has_a_latency_failed_ones_too(
    service: Running, method: str, path: str, route: str, status: str
) -> None:
    counted = "other" if route == "unmatched" else method
    labels = {"method": counted, "route": route}
    of_requests = {**labels, "status": status}
    of_times = {**labels, "status": "4xx" if status.startswith("4") else status}
    before = service.samples()
    assert httpx.request(method, f"{service.url}{path}").status_code == int(status)
    after = service.samples()
    for name, names in (
        ("driftbell_http_requests_total", of_requests),
        ("driftbell_http_request_duration_seconds_count", of_times),
    ):
        assert total(after, name, **names) == total(before, name, **names) + 1
    seconds = "driftbell_http_request_duration_seconds_sum"
    assert (
        total(before, seconds, **of_times)
        < total(after, seconds, **of_times)
        < total(before, seconds, **of_times) + 5
    )


def test_random_paths_and_methods_make_no_labels(service: Running) -> None:
    def ask(prefix: str) -> None:
        for path in ("", "reports/", "monitor/checks/", "monitor/requests/", "static/"):
            httpx.get(f"{service.url}/{path}{prefix}{secrets.token_hex(8)}")
        for method in ("PROPFIND", "MKCOL", "LOCK", "REPORT", "M-SEARCH"):
            httpx.request(method, f"{service.url}/health")

    def labels() -> set[tuple[tuple[str, str], ...]]:
        return {
            tuple(sorted(s.labels.items()))
            for s in service.samples()
            if s.name == "driftbell_http_requests_total"
        }

    ask("")
    service.samples()  # counts itself only afterwards
    first = labels()
    for _ in range(5):
        ask("x")
    assert labels() == first
    routes = {dict(found)["route"] for found in first}
    assert "other" in {dict(found)["method"] for found in first}
    assert not any("x" * 1 + "0" in route for route in routes)


def test_drift_gauges_come_from_the_last_check(service: Running) -> None:
    rows = [{**EXAMPLE, "sepal length (cm)": 8 + i / 100} for i in range(40)]
    predict(service.url, rows)
    checks = service.metric("driftbell_checks_total")
    check = httpx.post(f"{service.url}/monitor/trigger_now", timeout=60).json()
    assert check["verdict"] in ("warning", "alarm")  # by what was sent before
    found = service.samples()
    assert total(found, "driftbell_log_up") == 1
    assert total(found, "driftbell_window_rows") == 40
    assert total(found, "driftbell_last_check_rows") == 40
    assert total(found, "driftbell_checks_total") == checks + 1
    assert total(found, "driftbell_check_duration_seconds_count") == checks + 1
    assert total(found, "driftbell_check_duration_seconds_sum") > 0
    assert total(found, "driftbell_last_check_timestamp_seconds") > 1.7e9
    assert {s.labels["verdict"]: s.value for s in found if s.name == "driftbell_verdict"} == {
        v: float(v == check["verdict"]) for v in ("ok", "warning", "alarm", "unknown")
    }
    verdicts = [s.labels for s in found if s.name == "driftbell_column_verdict" and s.value == 1]
    assert {v["column"] for v in verdicts if v["verdict"] == "warning"} == set(check["drifted_columns"])
    assert {v["column"] for v in verdicts} >= FEATURES | {"prediction"}
    statistics = [s for s in found if s.name == "driftbell_column_statistic"]
    assert {s.labels["column"] for s in statistics} >= FEATURES
    assert {s.labels["kind"] for s in statistics} == {"p_value", "distance"}
    assert all(0 <= s.value <= 1 for s in statistics if s.labels["kind"] == "p_value")


def test_a_request_id_is_echoed_and_in_the_log(service: Running) -> None:
    given = f"test-{secrets.token_hex(4)}.1_A"
    assert post(service, {}, **{"X-Request-ID": given}).headers["x-request-id"] == given
    line = service.line("request", request_id=given)
    assert (line["route"], line["status"], line["level"]) == ("/predict", 422, "WARNING")


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a/b", 'a"b', "<script>", "\xe9".encode("latin-1")])
def test_a_bad_request_id_is_replaced(service: Running, given: str | bytes) -> None:
    value = given if isinstance(given, bytes) else given.encode()
    answer = httpx.get(f"{service.url}/health/live", headers={b"X-Request-ID": value})
    assert answer.headers["x-request-id"] not in (given, "")
    assert answer.headers["x-request-id"].isalnum()


def test_two_requests_never_have_the_same_id(service: Running) -> None:
    assert len({httpx.get(f"{service.url}/health/live").headers["x-request-id"] for _ in range(20)}) == 20


def test_no_log_line_holds_a_feature_value(service: Running) -> None:
    name = "sepal length (cm)"
    assert post(service, {**EXAMPLE, name: MARK}).status_code == 200
    for bad in (
        {**EXAMPLE, name: str(MARK)},
        {**EXAMPLE, name: [MARK]},
        {**EXAMPLE, name: None, "petal width (cm)": MARK},
        {**EXAMPLE, str(MARK): MARK},
        [MARK],
        str(MARK),
    ):
        assert post(service, bad).status_code == 422
    broken = f'{{"{name}": {MARK}'
    answer = httpx.post(
        f"{service.url}/predict", content=broken, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    service.sql("CREATE TRIGGER full BEFORE INSERT ON predictions BEGIN SELECT RAISE(ABORT, 'full'); END")
    try:
        wait_until(lambda: post(service, {**EXAMPLE, name: MARK}).status_code == 503, 60, "the refusal")
    finally:
        service.sql("DROP TRIGGER full")
    given = "crashed-once"
    with crashing(service):
        crashed = httpx.get(f"{service.url}/monitor/checks", headers={"X-Request-ID": given})
        assert crashed.status_code == 500
    assert crashed.headers["content-type"] == "application/problem+json"
    assert crashed.headers["x-request-id"] == given
    assert str(MARK) not in crashed.text
    line = service.line("request failed", request_id=given)
    assert line["error_type"]
    assert line["where"]
    labels = {"route": "/monitor/checks", "status": "500"}
    assert service.metric("driftbell_http_request_duration_seconds_count", **labels) == 1
    assert service.events()
    assert str(MARK) not in service.lines()


class crashing:  # noqa: N801
    """A saved check that cannot be read makes the service crash where it reads checks."""

    def __init__(self, service: Running) -> None:
        self._service = service

    def __enter__(self) -> None:
        self._service.sql(
            "INSERT INTO checks (id, time, kind, model, version, verdict, duration, error, body) "
            "VALUES ('bad', '2026-01-01 00:00:00', 'manual', 'iris', 'v', 'ok', 0, '', ?)",
            f"{{{MARK}",
        )

    def __exit__(self, *_: object) -> None:
        self._service.sql("DELETE FROM checks WHERE id = 'bad'")


def test_a_killed_workers_requests_in_flight_are_forgotten_its_counts_are_not(service: Running) -> None:
    post(service)
    predictions = service.metric("driftbell_predictions_total")
    url = httpx.URL(service.url)
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    half = head + b"Content-Length: 9\r\n\r\n{"
    connections = [socket.create_connection((url.host, url.port or 80), timeout=10) for _ in range(8)]
    try:
        for connection in connections:
            connection.sendall(half)
        wait_until(lambda: service.metric("driftbell_http_requests_in_flight") >= 8, 60, "the requests")
        killed = workers(service)
        assert len(killed) == 2
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
    finally:
        for connection in connections:
            connection.close()
    wait_until(lambda: len(set(workers(service)) - set(killed)) == 2 and ready(service), 150, "new workers")
    in_flight = "driftbell_http_requests_in_flight"  # of the scrape itself
    wait_until(lambda: service.metric(in_flight) == 1, 60, "the requests to be forgotten")
    assert service.metric("driftbell_predictions_total") == predictions
    post(service)
    assert service.metric("driftbell_predictions_total") == predictions + 1


def workers(service: Running) -> list[int]:
    return [pid for pid in descendants(service.process.pid) if "spawn_main" in command(pid)]
