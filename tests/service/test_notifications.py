"""Notifications of a service to webhooks: one per change of state, none lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.command_line import driftbell
from tests.conftest import (
    Running,
    alive,
    command,
    descendants,
    monitored,
    predict,
    running,
    starting,
    wait_until,
)
from tests.ports import free_port
from tests.receiver import Receiver, receiving

from driftbell.simulation.faults import CONTRACT_FAULTS, apply_faults
from driftbell.simulation.traffic import iris_rows

pytestmark = pytest.mark.service

PORTS = free_port(), free_port()
SECRET = "s3same"
ALARM, RESOLVED = "driftbell: iris ALARM", "driftbell: iris resolved"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with two webhook targets; each test starts the ones it needs."""
    with running(
        "up",
        tmp_path_factory.mktemp("notifications"),
        CHECK__EVERY="off",
        REPORTS__EVIDENTLY="off",
        WINDOW__ROWS="60",
        NOTIFICATIONS__URLS=" ".join(f"json://127.0.0.1:{port}/{SECRET}" for port in PORTS),
        NOTIFICATIONS__COOLDOWN="1ms",
        NOTIFICATIONS__LINK="http://ml.example.org/",
    ) as result:
        yield result


@pytest.fixture
def service(started: Running) -> Iterator[Running]:
    """The service before its first prediction."""
    monitored(started)
    started.sql("DELETE FROM notifications")
    started.sql("DELETE FROM predictions")
    yield started
    assert SECRET not in started.lines()
    assert SECRET not in repr(started.sql("SELECT * FROM notifications"))


@pytest.fixture
def first() -> Iterator[Receiver]:
    with receiving(PORTS[0]) as receiver:
        yield receiver


@pytest.fixture
def second() -> Iterator[Receiver]:
    with receiving(PORTS[1]) as receiver:
        yield receiver


def normal(service: Running, seed: int = 3) -> None:
    predict(service.url, iris_rows(60, np.random.default_rng(seed)))


def drifted(service: Running) -> None:
    rng = np.random.default_rng(3)
    predict(service.url, apply_faults(iris_rows(60, rng), CONTRACT_FAULTS, rng))


def checked(service: Running) -> dict[str, Any]:
    answer = httpx.post(f"{service.url}/monitor/trigger_now", timeout=130)
    assert answer.status_code == 200, answer.text
    return answer.json()


def settled(service: Running) -> bool:
    return service.metric("driftbell_notifications_pending") == 0


def monitor_of(service: Running) -> int:
    (monitor,) = [p for p in descendants(service.process.pid) if " driftbell monitor " in command(p)]
    return monitor


def test_an_alarm_and_its_end_are_notified_once(service: Running, first: Receiver, second: Receiver) -> None:
    normal(service)
    assert checked(service)["verdict"] == "ok"
    drifted(service)
    alarm = checked(service)
    assert alarm["verdict"] == "alarm"
    for _ in range(3):
        assert checked(service)["verdict"] == "alarm"
    wait_until(lambda: first.titles(SECRET), 60, "the alarm")
    normal(service, seed=4)
    over = checked(service)
    assert over["verdict"] == "ok"
    checked(service)
    wait_until(lambda: service.metric("driftbell_notifications_total", state="sent") == 2, 60, "the end")

    assert first.titles(SECRET) == second.titles(SECRET) == [ALARM, RESOLVED]
    message = first.messages[0]["message"]
    assert message.startswith(alarm["degradation"]["sentence"])
    assert f"http://ml.example.org{alarm['report_url']}" in message
    assert service.metric("driftbell_notifications_total", state="failed") == 0
    status = service.status()["notifications"]
    assert status["pending"] == 0
    assert (status["last"]["verdict"], status["last"]["before"]) == ("ok", "alarm")
    assert status["last"]["check_id"] == over["id"]
    for target in ("target 1 (json)", "target 2 (json)"):
        assert service.line("drift notification sent", check_id=alarm["id"], target=target)


def test_an_unreachable_target_receives_notifications_later_while_checks_continue(
    service: Running, first: Receiver
) -> None:
    drifted(service)
    alarm = checked(service)

    def refused() -> list[dict[str, Any]]:
        return [e for e in service.events("drift notification not sent") if e["check_id"] == alarm["id"]]

    wait_until(refused, 60, "the first attempt")
    line = refused()[0]
    assert (line["level"], line["target"]) == ("WARNING", "target 2 (json)")
    assert str(PORTS[1]) not in line["reason"]
    assert (
        service.metric("driftbell_notifications_pending") == service.status()["notifications"]["pending"] == 1
    )
    normal(service)
    assert checked(service)["verdict"] == "ok", "checks continue"
    wait_until(lambda: len(first.titles(SECRET)) == 2, 60, "both messages at the reachable target")
    with receiving(PORTS[1]) as late:
        wait_until(lambda: settled(service), 60, "the delivery")
        assert late.titles(SECRET) == first.titles(SECRET) == [ALARM, RESOLVED]


def test_a_hanging_target_delays_no_check(service: Running, first: Receiver, second: Receiver) -> None:
    first.hold.clear()
    drifted(service)
    checked(service)
    wait_until(lambda: first.messages, 60, "the attempt")
    assert checked(service)["verdict"] == "alarm"
    assert service.status()["monitor"] == "running"
    assert service.metric("driftbell_notifications_pending") == 1, "the first attempt still hangs"
    first.hold.set()
    wait_until(lambda: settled(service), 60, "the delivery")
    assert second.titles(SECRET) == [ALARM]


def test_a_monitor_killed_before_it_sends_loses_no_notification(service: Running) -> None:
    drifted(service)
    monitor = monitor_of(service)
    check = checked(service)
    os.kill(monitor, signal.SIGKILL)
    assert service.sql("SELECT check_id, state FROM notifications") == [(check["id"], "pending")]
    wait_until(lambda: not alive(monitor), 60, "the end of the monitor")
    with receiving(PORTS[0]) as first, receiving(PORTS[1]) as second:
        wait_until(lambda: settled(service), 90, "the delivery by the next monitor")
        checked(service)
        assert first.titles(SECRET) == second.titles(SECRET) == [ALARM]
        assert service.sql("SELECT check_id, state FROM notifications") == [(check["id"], "sent")]


def test_notify_test_reports_the_delivery_to_each_target(tmp_path: Path, first: Receiver) -> None:
    (tmp_path / "urls").write_text(f"# the team\n{first.url(SECRET)}\n")
    settings = {"NOTIFICATIONS__URLS_FILE": "urls"}

    def notify_test(*args: str) -> subprocess.CompletedProcess[str]:
        return driftbell("notify", "test", *args, cwd=tmp_path, **settings)

    done = notify_test()
    assert (done.returncode, done.stdout) == (0, "target 1 (json): delivered\n")
    assert done.stderr == ""
    assert first.titles(SECRET) == ["driftbell: test"]
    settings["NOTIFICATIONS__URLS"] = f"json://127.0.0.1:{free_port()}/hunter2"
    done = notify_test("--json")
    assert done.returncode == 2
    refused, accepted = json.loads(done.stdout)
    assert (refused["target"], refused["delivered"]) == ("target 1 (json)", False)
    assert refused["reason"].startswith("A Connection error")
    assert accepted == {"target": "target 2 (json)", "delivered": True, "reason": None}
    assert "hunter2" not in done.stdout + done.stderr


def test_an_invalid_url_stops_the_start_with_an_error(tmp_path: Path) -> None:
    with starting("monitor", tmp_path, NOTIFICATIONS__URLS="slakc://hunter2") as service:
        assert service.process.wait(60) == 2
        assert "notifications.urls: target 1 (slakc)" in service.lines()
        assert "hunter2" not in service.lines()


def test_an_alert_of_alertmanager_is_logged(started: Running) -> None:
    def post(status: str, count: int = 1) -> httpx.Response:
        labels = {"alertname": f"Drift{count}", "severity": "warning"}
        alert = {"status": status, "labels": labels, "annotations": {"summary": "x" * 1000}}
        body = {"version": "4", "status": status, "receiver": "log", "alerts": [alert] * count}
        return httpx.post(f"{started.url}/monitor/alertmanager", json=body)

    assert post("firing").status_code == post("resolved").status_code == 204
    wait_until(lambda: started.events("alert resolved"), 10, "the log line, which a thread writes")
    (firing,) = [e for e in started.events("alert firing") if e["alertname"] == "Drift1"]
    assert (firing["level"], firing["severity"], firing["summary"]) == ("WARNING", "warning", "x" * 300)
    (resolved,) = [e for e in started.events("alert resolved") if e["alertname"] == "Drift1"]
    assert resolved["level"] == "INFO"
    assert post("firing", 150).status_code == 204
    wait_until(lambda: started.events("further alerts are not logged"), 10, "the log line")
    assert len([e for e in started.events("alert firing") if e["alertname"] == "Drift150"]) == 100
    assert started.events("further alerts are not logged")[-1]["count"] == 50
    answer = httpx.post(f"{started.url}/monitor/alertmanager", json={"version": "4"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == "alerts"
