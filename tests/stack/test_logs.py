"""Loki and Promtail on loopback with our files: the queries of the contract return the service's lines."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from tests import processes
from tests.conftest import EXAMPLE, Running, monitored, predict, running, wait_until
from tests.ports import free_port
from tests.stack.fake_docker import Container, Docker, docker
from tests.stack.queries import logql

from driftbell.simulation.faults import CONTRACT_FAULTS, apply_faults
from driftbell.simulation.traffic import iris_rows

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]
LOKI = ROOT / "deploy/loki/loki-config.yaml"
PROMTAIL = ROOT / "deploy/promtail/promtail-config.yaml"

LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR"}
ML_SERVICE = '{container="ml_service"}'
PLAIN = "2026/03/01 10:00:00 [error] 31#31: *1 open() failed"
TEXT = "a line that is not JSON and has no level, errors or not"


def parsed(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text("utf-8"))


def binary(name: str) -> str:
    variable = f"{name.upper()}_BIN"
    path = shutil.which(os.environ.get(variable, name))
    if not path:
        pytest.skip(f"no {name} here: set {variable} to its path")
    return path


@contextlib.contextmanager
def program(name: str, config: dict[str, Any], folder: Path, ready: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run Loki or Promtail with an adapted configuration until the block ends."""
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    log = folder / f"{name}.log"
    with log.open("ab") as out:
        process = processes.start([binary(name), f"-config.file={file}"], stdout=out, stderr=out, cwd=folder)

    def answers() -> bool:
        assert process.poll() is None, f"{name} ended:\n{log.read_text('utf-8')}"
        return httpx.get(ready, timeout=5).is_success

    try:
        wait_until(answers, 60, f"{name} at {ready}")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def moved(value: Any, place: Path) -> Any:
    """Return the configuration with another folder instead of /loki."""
    if isinstance(value, dict):
        return {k: moved(v, place) for k, v in value.items()}
    if isinstance(value, list):
        return [moved(v, place) for v in value]
    if isinstance(value, str) and re.match(r"/loki(/|$)", value):
        return f"{place}{value}"
    return value


def own_server(config: dict[str, Any]) -> str:
    """Move a server to free loopback ports, and return its address."""
    config["server"] |= {
        "http_listen_address": "127.0.0.1",
        "http_listen_port": free_port(),
        "grpc_listen_address": "127.0.0.1",
        "grpc_listen_port": free_port(),
    }
    return f"http://127.0.0.1:{config['server']['http_listen_port']}"


@dataclass(frozen=True)
class Line:
    """A line returned by Loki."""

    time: str
    text: str
    labels: dict[str, str]
    metadata: dict[str, str]


class Restartable:
    """A program that can be killed, stopped and started again on its data."""

    def __init__(self, name: str, config: dict[str, Any], folder: Path) -> None:
        self._name = name
        self._folder = folder
        self._config = config
        self.url = own_server(config)
        self._up = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        ready = f"{self.url}/ready"
        self._process = self._up.enter_context(program(self._name, self._config, self._folder, ready))

    def kill(self) -> None:
        assert self._process
        self._process.kill()
        self._up.close()

    def stop(self) -> None:
        self._up.close()


class Loki(Restartable):
    """Loki with our configuration."""

    def __init__(self, folder: Path) -> None:
        super().__init__("loki", moved(parsed(LOKI), folder), folder)

    def ask(self, query: str) -> list[Line]:
        answer = httpx.get(
            f"{self.url}/loki/api/v1/query_range",
            params={"query": query, "since": "1h", "limit": 5000, "direction": "forward"},
            headers={"X-Loki-Response-Encoding-Flags": "categorize-labels"},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        streams = answer.json()["data"]["result"]
        return [
            Line(moment, text, s["stream"], more.get("structuredMetadata", {}))
            for s in streams
            for moment, text, more in s["values"]
        ]

    def texts(self, query: str) -> set[str]:
        return {line.text for line in self.ask(query)}


@dataclass
class Logs:
    """A service, its Loki, and the container API that the collector reads."""

    service: Running
    loki: Loki
    promtail: Restartable
    engine: Docker

    def arrived(self) -> bool:
        """Return whether Loki has every line of the service."""
        return set(self.service.lines().splitlines()) <= self.loki.texts(ML_SERVICE)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logs]:
    """Yield a service with logged normal and drifted traffic, a check, an invalid and a failed request."""
    for name in ("loki", "promtail"):
        binary(name)
    folder = tmp_path_factory.mktemp("logs")
    loki = Loki(folder)
    other, quiet = folder / "other.out", folder / "quiet.out"
    other.write_text(f"{TEXT}\n{PLAIN}\n", "utf-8")
    quiet.write_text("level=error msg=mine\n", "utf-8")
    with contextlib.ExitStack() as stack:
        stack.callback(loki.stop)
        loki.start()
        service = stack.enter_context(
            running("up", folder / "service", CHECK__EVERY="off", REPORTS__EVIDENTLY="off")
        )
        engine = stack.enter_context(
            docker(
                Container("ml_service", service.output),
                Container("other", other, "stderr"),
                Container("promtail", quiet),
                Container("alloy", quiet),
                Container("stranger", quiet, composed=False),
            )
        )
        config = parsed(PROMTAIL)
        config["positions"]["filename"] = str(folder / "positions.yaml")
        config["clients"][0]["url"] = f"{loki.url}/loki/api/v1/push"
        config["scrape_configs"][0]["docker_sd_configs"][0]["host"] = engine.url
        promtail = Restartable("promtail", config, folder)
        stack.callback(promtail.stop)
        promtail.start()
        produce_lines(service)
        collected = Logs(service, loki, promtail, engine)
        wait_until(collected.arrived, 60, "every line in Loki")
        yield collected


def produce_lines(service: Running) -> None:
    """Cause log lines of every kind."""
    monitored(service)
    rng = np.random.default_rng(7)
    predict(service.url, iris_rows(50, rng))
    predict(service.url, apply_faults(iris_rows(50, rng), CONTRACT_FAULTS, rng))
    check = httpx.post(f"{service.url}/monitor/trigger_now", timeout=130).json()
    assert check["verdict"] == "alarm"
    bad = httpx.post(f"{service.url}/predict", json={}, headers={"X-Request-ID": "bad-one"})
    assert bad.status_code == 422
    service.sql("CREATE TRIGGER disk BEFORE INSERT ON predictions BEGIN SELECT RAISE(ABORT, 'disk'); END")

    def predict_as(request_id: str) -> int:
        headers = {"X-Request-ID": request_id}
        return httpx.post(f"{service.url}/predict", json=EXAMPLE, headers=headers).status_code

    # the journal still takes the first ones; they are refused once the journal cannot be moved
    wait_until(lambda: predict_as("before-it-failed") == 503, 60, "a refusal")
    assert predict_as("failed-one") == 503
    service.sql("DROP TRIGGER disk")
    wait_until(lambda: predict_as("after-it-failed") == 200, 60, "a prediction")


def words(service: Running, word: str) -> set[str]:
    return {line for line in service.lines().splitlines() if word in line}


@pytest.mark.parametrize("word", ["INFO", "drift", "ERROR"])
def test_the_queries_of_the_contract_return_lines_with_levels(logs: Logs, word: str) -> None:
    lines = logs.loki.ask(f'{ML_SERVICE} |= "{word}"')
    assert {line.text for line in lines} == words(logs.service, word) != set()
    for line in lines:
        event = json.loads(line.text)
        assert line.labels["level"] == event["level"]
        assert line.labels["level"] in LEVELS
    if word != "drift":
        assert {line.labels["level"] for line in lines} == {word}


def test_a_line_has_few_labels_its_own_time_and_ids_as_metadata(logs: Logs) -> None:
    lines = logs.loki.ask(ML_SERVICE)
    for line in lines:
        labels = line.labels.keys() - {"service_name"}  # Loki's own
        assert labels == {"container", "stream", "service", "level"}
        assert (line.labels["service"], line.labels["stream"]) == ("ml_service", "stdout")
        assert line.metadata["container_id"] == b"ml_service".hex()[:12]
        event = json.loads(line.text)
        written = datetime.fromisoformat(event["time"]) - datetime.fromisoformat("1970-01-01T00:00:00Z")
        assert int(line.time) == written // timedelta(microseconds=1) * 1000
        assert line.metadata.get("request_id") == event.get("request_id")


@pytest.mark.parametrize(("request_id", "level"), [("bad-one", "WARNING"), ("failed-one", "ERROR")])
def test_the_lines_of_one_request_are_found_by_its_id(logs: Logs, request_id: str, level: str) -> None:
    lines = logs.loki.ask(f'{ML_SERVICE} | request_id="{request_id}"')
    assert {line.text for line in lines} == words(logs.service, f'"{request_id}"') != set()
    assert {line.labels["level"] for line in lines} == {level}
    levelled = f'{{container="ml_service", level="{level}"}} | request_id="{request_id}"'
    assert logs.loki.texts(levelled) == {line.text for line in lines}


def test_a_line_that_is_not_json_is_kept(logs: Logs) -> None:
    lines = {line.text: line for line in logs.loki.ask('{container="other"}')}
    assert lines.keys() == {TEXT, PLAIN}
    assert "level" not in lines[TEXT].labels
    assert lines[PLAIN].labels["level"] == "ERROR"
    assert lines[PLAIN].labels["stream"] == "stderr"


def test_lines_of_collectors_and_of_foreign_containers_are_excluded(logs: Logs) -> None:
    answer = httpx.get(f"{logs.loki.url}/loki/api/v1/label/container/values").json()
    assert set(answer["data"]) == {"ml_service", "other"}


def test_the_collector_sends_only_requests_that_the_proxy_allows(logs: Logs) -> None:
    assert logs.engine.refused == []


@pytest.mark.parametrize("expression", logql())
def test_the_dashboards_queries_return_lines(logs: Logs, expression: str) -> None:
    answer = httpx.get(f"{logs.loki.url}/loki/api/v1/query_range", params={"query": expression}, timeout=20)
    assert answer.is_success, answer.text
    assert answer.json()["data"]["result"], expression


def test_after_a_crash_of_loki_no_line_is_missing(logs: Logs) -> None:
    before = {word: logs.loki.texts(f'{ML_SERVICE} |= "{word}"') for word in ("INFO", "drift", "ERROR")}
    logs.loki.kill()
    httpx.get(f"{logs.service.url}/monitor/status", headers={"X-Request-ID": "meanwhile"}).raise_for_status()
    time.sleep(2)  # the collector tries in vain
    logs.loki.start()
    for word, texts in before.items():
        assert texts <= logs.loki.texts(f'{ML_SERVICE} |= "{word}"')
    wait_until(logs.arrived, 60, "every line in Loki")
    assert logs.loki.texts(f'{ML_SERVICE} | request_id="meanwhile"')


def ask_as(logs: Logs, request_id: str) -> None:
    """Cause one log line."""
    headers = {"X-Request-ID": request_id}
    httpx.get(f"{logs.service.url}/monitor/status", headers=headers).raise_for_status()


def test_a_restart_of_promtail_while_loki_is_away_loses_no_line_of_another_time(logs: Logs) -> None:
    """Lines that it has read and not sent are lost, as the guide says: it asks for later ones only."""
    ask_as(logs, "before-both")
    wait_until(lambda: logs.loki.texts(f'{ML_SERVICE} | request_id="before-both"'), 60, "the line before")
    before = logs.loki.texts(ML_SERVICE)
    logs.loki.kill()
    for number in range(5):
        ask_as(logs, f"meanwhile-{number}")
    time.sleep(2)  # the collector has read them, and sends them in vain
    logs.promtail.stop()
    logs.promtail.start()
    logs.loki.start()
    ask_as(logs, "after-both")
    wait_until(lambda: logs.loki.texts(f'{ML_SERVICE} | request_id="after-both"'), 60, "the line after")
    texts = logs.loki.texts(ML_SERVICE)
    lost = set(logs.service.lines().splitlines()) - texts
    assert before <= texts
    assert all('"meanwhile-' in line for line in lost)
    assert logs.engine.since  # it has asked for later lines only


@pytest.mark.parametrize("text", ["`", '"', "\\", "100 %", '"event": "request"'])
def test_any_text_can_be_filtered_for_on_the_dashboard(logs: Logs, text: str) -> None:
    for expression in logql(text):
        answer = httpx.get(
            f"{logs.loki.url}/loki/api/v1/query_range", params={"query": expression}, timeout=20
        )
        assert answer.is_success, answer.text
        found = [value for s in answer.json()["data"]["result"] for _, value in s["values"]]
        if not expression.startswith("sum"):
            assert all(text in line for line in found)
            assert bool(found) == any(text in line for line in logs.loki.texts(ML_SERVICE))


def test_each_program_accepts_its_configuration_file() -> None:
    for command in (
        [binary("loki"), "-verify-config", f"-config.file={LOKI}"],
        [binary("promtail"), "-check-syntax", f"-config.file={PROMTAIL}"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
