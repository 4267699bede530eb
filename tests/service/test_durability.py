"""What was answered is in the log, whatever is killed; what could not be logged was not answered."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.conftest import (
    CHEAP_MONITOR,
    EXAMPLE,
    Running,
    alive,
    command,
    descendants,
    metrics_folders,
    monitored,
    predict,
    running,
    starting,
    wait_until,
)
from tests.failing import Load

from driftbell.errors import StoreError

pytestmark = pytest.mark.service

QUIET = {**CHEAP_MONITOR, "SERVER__ACCESS_LOG": "false"}
FULL_DISK = "CREATE TRIGGER disk BEFORE INSERT ON predictions BEGIN SELECT RAISE(ABORT, 'disk is full'); END"


def steady_load(service: Running) -> Load:
    """Send rows and batches; the ids of what was answered are kept."""
    return Load(service.url, clients=4, pause=0.02)


def all_there(service: Running, answered: list[str]) -> None:
    wait_until(lambda: set(answered) <= set(service.logged_ids()), 60, "the log of all that was answered")
    logged = service.logged_ids()
    assert len(set(answered)) == len(answered)
    assert len(set(logged)) == len(logged)


@pytest.mark.parametrize(("verb", "workers"), [("up", 1), ("serve", 2)])
def test_what_was_answered_survives_kill_9_of_every_process(tmp_path: Path, verb: str, workers: int) -> None:
    settings = {**QUIET, "CHECK__EVERY": "1s", "SERVER__WORKERS": str(workers)}
    with running(verb, tmp_path, **settings) as service, steady_load(service) as load:
        if verb == "up":
            monitored(service)
        wait_until(lambda: len(load.answered) > 600, 60, "the load")
        service.kill_tree()
    assert load.statuses.keys() <= {0, 200}  # 0: of broken connections
    with running("serve", tmp_path, **QUIET) as again:
        all_there(again, load.answered)
        assert again.sql("PRAGMA integrity_check") == [("ok",)]
        assert again.status()["data_points"] == 500
        new = httpx.post(f"{again.url}/predict", json=EXAMPLE).json()["id"]
        wait_until(lambda: new in again.logged_ids(), 60, "the prediction in the log")


def test_own_ids_and_metadata_in_the_journal_survive_kill_9(tmp_path: Path) -> None:
    settings = {**QUIET, "LOG__ON_FAILURE": "spool"}
    with running("serve", tmp_path, **settings) as service:
        service.sql(FULL_DISK)
        for number in range(20):
            row = {**EXAMPLE, "id": f"o-{number}", "metadata": {"number": number, "shop": "Zürich"}}
            assert httpx.post(f"{service.url}/predict", json=row).json()["id"] == f"o-{number}"
        rows = [{**EXAMPLE, "id": number, "metadata": {"number": number}} for number in range(20, 40)]
        answers = httpx.post(f"{service.url}/predict/batch", json=rows).json()["predictions"]
        assert [answer["id"] for answer in answers] == [str(number) for number in range(20, 40)]
        assert service.logged_ids() == []
        service.kill_tree()
        service.sql("DROP TRIGGER disk")
    with running("serve", tmp_path, **settings) as again:
        wait_until(lambda: len(again.logged_ids()) == 40, 60, "the log of all that was answered")
        found = again.sql("SELECT id, json_extract(metadata, '$.number') FROM predictions ORDER BY seq")
        assert found == [(f"o-{n}" if n < 20 else str(n), n) for n in range(40)]
        labels = [{"prediction_id": name, "label": "setosa"} for name, _ in found]
        assert httpx.post(f"{again.url}/labels", json=labels).json()["accepted"] == 40
        again_sent = httpx.post(f"{again.url}/predict", json={**EXAMPLE, "id": "o-7"})
        assert again_sent.json()["class"] == "setosa"
        wait_until(lambda: again.metric("driftbell_predictions_repeated_total") == 1, 60, "the count")
        assert len(again.logged_ids()) == 40


def test_sigterm_under_load_ends_in_order(tmp_path: Path) -> None:
    with running("up", tmp_path, CHECK__EVERY="1s", SERVER__WORKERS="2", **QUIET) as service:
        monitored(service)
        children = descendants(service.process.pid)
        assert len(children) >= 4
        (metrics,) = metrics_folders(service)
        with steady_load(service) as load:
            wait_until(lambda: len(load.answered) > 200, 60, "the load")
            assert service.stop() == 0
        assert load.statuses.keys() <= {0, 200}
        all_there(service, load.answered)
        wait_until(lambda: not any(alive(pid) for pid in children), 60, "the end of every child")
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", httpx.URL(service.url).port))
        assert len(service.events("service stopped")) == 2
        assert len(service.events("drift scheduler stopped")) == 1
        assert [e for e in service.events() if e["level"] == "ERROR"] == []
        assert not metrics.exists()


def test_the_children_end_by_themselves_when_only_their_parent_is_killed(tmp_path: Path) -> None:
    with running("up", tmp_path, CHECK__EVERY="1s", SERVER__WORKERS="2", **QUIET) as service:
        children = descendants(service.process.pid)
        with steady_load(service) as load:
            wait_until(lambda: len(load.answered) > 100, 60, "the load")
            os.kill(service.process.pid, signal.SIGKILL)
            service.process.wait(5)
            wait_until(lambda: not any(alive(pid) for pid in children), 60, "the end of every child")
        all_there(service, load.answered)
        assert load.statuses.keys() <= {0, 200}


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the targets of notifications, which is read when a monitor starts."""
    file = tmp_path_factory.mktemp("targets") / "urls"
    file.write_text("# nobody yet\n", "utf-8")
    return file


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, urls: Path) -> Iterator[Running]:
    settings = {**QUIET, "CHECK__EVERY": "off", "NOTIFICATIONS__URLS_FILE": str(urls)}
    with running("up", tmp_path_factory.mktemp("durable"), **settings) as found:
        monitored(found)
        yield found


@pytest.fixture
def full(service: Running) -> Iterator[None]:
    """The log takes no rows, as on a full disk."""
    service.sql(FULL_DISK)
    try:
        yield
    finally:
        service.sql("DROP TRIGGER IF EXISTS disk")


@pytest.mark.usefixtures("full")
def test_what_cannot_be_logged_is_not_answered_but_counted_until_the_log_is_back(service: Running) -> None:
    logged = service.logged_ids()
    (kept,) = predict(service.url, [EXAMPLE])  # nobody knows yet; the journal has it
    wait_until(lambda: service.events("log cannot be written"), 60, "the service's notice")
    lost = service.metric("driftbell_predictions_lost_total")
    predicted = service.metric("driftbell_predictions_total")
    for path, body, rows in (("/predict", EXAMPLE, 1), ("/predict/batch", [EXAMPLE] * 3, 3)):
        answer = httpx.post(f"{service.url}{path}", json=body)
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["detail"] == StoreError("").public
        lost += rows
    assert httpx.get(f"{service.url}/health").status_code == 503
    assert service.metric("driftbell_predictions_lost_total") == lost
    assert service.metric("driftbell_log_writable") == 0
    assert service.metric("driftbell_predictions_total") == predicted
    assert service.logged_ids() == logged

    def reasons() -> list[bool]:
        return [
            e["level"] == "ERROR" and "disk is full" in e["error"] for e in service.events("request failed")
        ]

    wait_until(lambda: any(reasons()), 60, "the line")

    service.sql("DROP TRIGGER disk")
    wait_until(lambda: httpx.get(f"{service.url}/health").is_success, 60, "the log")
    (new,) = predict(service.url, [EXAMPLE])
    service.status()
    assert service.logged_ids() == [*logged, kept["id"], new["id"]]
    assert service.metric("driftbell_log_writable") == 1
    assert service.metric("driftbell_predictions_lost_total") == lost


def test_a_monitor_that_was_killed_is_started_again(service: Running) -> None:
    started, ended = (len(service.events(e)) for e in ("drift scheduler started", "monitor process ended"))
    (killed,) = monitors(service)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: monitors(service) not in ([], [killed]), 60, "another monitor")
    wait_until(lambda: len(service.events("drift scheduler started")) == started + 1, 60, "its start")
    assert len(service.events("monitor process ended")) == ended + 1
    assert httpx.get(f"{service.url}/health").is_success


def monitors(service: Running) -> list[int]:
    return [pid for pid in descendants(service.process.pid) if " monitor " in command(pid)]


def test_a_setting_that_went_wrong_meanwhile_costs_the_monitor_and_not_the_server(
    service: Running, urls: Path
) -> None:
    def ended() -> int:
        return service.lines().count('"monitor process ended"')

    monitored(service)
    before = ended()
    urls.write_text("half a li", "utf-8")
    os.kill(monitors(service)[0], signal.SIGKILL)
    wait_until(lambda: "line 1 of" in service.lines(), 60, "the monitor's last words")
    wait_until(lambda: ended() > before + 1, 60, "the parent's")
    assert httpx.post(f"{service.url}/predict", json=EXAMPLE, timeout=10).status_code == 200
    urls.write_text("# nobody again\n", "utf-8")
    wait_until(lambda: len(monitors(service)) == 1, 60, "a new monitor")


def test_a_setting_that_is_wrong_from_the_start_ends_both(tmp_path: Path) -> None:
    with starting("up", tmp_path, **QUIET, NOTIFICATIONS__URLS_FILE=str(tmp_path / "nowhere")) as service:
        assert service.process.wait(60) == 2
