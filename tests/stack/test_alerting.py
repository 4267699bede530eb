"""Alert rules from Prometheus through Alertmanager to a webhook."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.conftest import Running, command, descendants, monitored, running, wait_until
from tests.receiver import Receiver, receiving
from tests.stack.prometheus import Prometheus, prometheus, stack_config
from tests.stack.servers import alertmanager

from driftbell.simulation.traffic import simulate

pytestmark = pytest.mark.service


@dataclass
class Stack:
    """The components that an alert passes."""

    service: Running
    prometheus: Prometheus
    webhook: Receiver

    def received(self, alert: str, status: str) -> bool:
        return any(
            a["labels"]["alertname"] == alert and a["status"] == status
            for body in self.webhook.messages
            for a in body["alerts"]
        )


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("alerting")
    with (
        running(
            "up",
            folder / "data",
            CHECK__EVERY="1h",
            REPORTS__EVIDENTLY="off",
            WINDOW__ROWS="100",
        ) as service,
        receiving() as webhook,
        alertmanager(folder, webhook=f"http://127.0.0.1:{webhook.port}/hook") as manager,
        prometheus(folder, stack_config(folder, service.url, manager)) as watching,
    ):
        monitored(service)
        yield Stack(service, watching, webhook)


def send(service: Running, *, normal: int = 0, drifted: int = 0) -> str:
    rng = np.random.default_rng(1)
    simulate(
        service.url,
        normal=normal,
        drifted=drifted,
        rate=None,
        rng=rng,
        report=lambda _: None,
        concurrency=8,
    )
    return httpx.post(f"{service.url}/monitor/trigger_now", timeout=60).json()["verdict"]


def test_an_alarm_fires_at_the_webhook_and_normal_traffic_resolves_it(stack: Stack) -> None:
    assert send(stack.service, normal=60, drifted=60) == "alarm"
    wait_until(lambda: stack.received("DriftAlarm", "firing"), 60, "the alarm at the webhook")
    assert stack.prometheus.firing() == {"DriftAlarm", "DriftListed", "Watchdog"}
    assert not stack.received("DriftListed", "firing")
    wait_until(lambda: send(stack.service, normal=110) == "ok", 120, "the end of the evidence")
    wait_until(lambda: stack.received("DriftAlarm", "resolved"), 60, "its end at the webhook")
    assert not stack.received("Watchdog", "firing")


def test_recording_rules_produce_series(stack: Stack) -> None:
    for name in (
        "route:driftbell_http_requests:rate1m",
        "job:driftbell_http_errors:ratio5m",
        "route:driftbell_http_request_duration_seconds:p50_5m",
        "route:driftbell_http_request_duration_seconds:p99_5m",
    ):
        wait_until(functools.partial(stack.prometheus.query, name), 60, name)


def test_a_killed_monitor_makes_the_check_stale(stack: Stack) -> None:
    (monitor,) = [p for p in descendants(stack.service.process.pid) if " monitor " in command(p)]
    os.kill(stack.service.process.pid, signal.SIGSTOP)  # else `up` would start another at once
    try:
        os.kill(monitor, signal.SIGKILL)
        wait_until(lambda: "DriftCheckStale" in stack.prometheus.firing(), 60, "the stale check")
        wait_until(lambda: stack.received("DriftCheckStale", "firing"), 60, "the stale check at the webhook")
    finally:
        os.kill(stack.service.process.pid, signal.SIGCONT)
    wait_until(lambda: "DriftCheckStale" not in stack.prometheus.firing(), 60, "the next monitor")


def test_alerts_of_a_service_that_is_down_are_inhibited(stack: Stack, tmp_path: Path) -> None:
    stack.service.stop()
    wait_until(lambda: stack.received("ServiceDown", "firing"), 60, "the alert on the service")
    assert "DriftCheckStale" not in stack.prometheus.firing()
