"""Disks, databases, networks and processes fail under load: what was answered is logged once, all goes on."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests import postgres
from tests.command_line import driftbell
from tests.conftest import (
    CHEAP_MONITOR,
    EXAMPLE,
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
from tests.failing import Load, Proxy, failing_disk, fill, small_disk
from tests.replicas import under_fire

pytestmark = pytest.mark.service

QUIET = {**CHEAP_MONITOR, "SERVER__ACCESS_LOG": "false", "CHECK__EVERY": "off"}
DURABLE = ("fsync=off", "full_page_writes=off", "max_connections=60")
"""What is committed survives the death of every process of the database, which is all that dies here."""


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    postgres.required()
    with contextlib.closing(postgres.Server(*DURABLE)) as server:
        yield server


@pytest.fixture
def proxy(server: postgres.Server) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


def named(server: postgres.Server, folder: Path, proxy: Proxy | None = None) -> tuple[str, dict[str, str]]:
    """Give a new database's name, and the settings that name it."""
    url = server.empty_database()
    reached = url.replace(f":{server.port}/", f":{proxy.port}/") if proxy else url
    file = folder / "url"
    file.write_text(reached, "utf-8")
    return url.split("?")[0].rpartition("/")[2], {"LOG__URL_FILE": str(file)}


def steady_load(service: Running, clients: int = 4) -> Load:
    """Send some hundred rows a second, which leaves the processors to the service."""
    return Load(service.url, clients=clients, pause=0.02)


def health(service: Running) -> int:
    return httpx.get(f"{service.url}/health", timeout=20).status_code


def all_once(answered: list[str], logged: list[str]) -> None:
    assert answered
    assert len(set(answered)) == len(answered)
    assert set(answered) <= set(logged)
    assert len(set(logged)) == len(logged)


def folded(service: Running) -> None:
    wait_until(lambda: service.metric("driftbell_log_queue") == 0, 60, "the log of all that was answered")
    service.status()  # which waits for the last of it


@pytest.mark.parametrize(
    ("on_failure", "durability", "how"),
    [
        ("refuse", "process", "crash"),
        ("spool", "process", "crash"),
        ("refuse", "power", "cut"),
        ("spool", "power", "cut"),
    ],
)
def test_a_database_that_is_away_for_some_seconds(
    server: postgres.Server, proxy: Proxy, tmp_path: Path, on_failure: str, durability: str, how: str
) -> None:
    name, settings = named(server, tmp_path, proxy)
    settings |= {"LOG__ON_FAILURE": on_failure, "LOG__DURABILITY": durability}
    with running("serve", tmp_path / "data", **QUIET, **settings) as service:
        with steady_load(service) as load:
            wait_until(lambda: len(load.answered) > 200, 60, "the load")
            if how == "crash":
                server.stop(signal.SIGQUIT)
            else:
                proxy.hold()
            try:
                wait_until(lambda: service.events("log cannot be written"), 60, "the service's notice")
                load.refused_ms.clear()
                answered = len(load.answered)
                time.sleep(2)
                assert health(service) == (503 if on_failure == "refuse" else 200)
                if on_failure == "refuse":
                    wait_until(lambda: len(load.refused_ms) > 100, 60, "refusals")
                else:
                    wait_until(lambda: len(load.answered) > answered + 100, 60, "answers meanwhile")
            finally:
                if how == "crash":
                    server.start()
                else:
                    proxy.mend()
            back = time.monotonic()
            wait_until(lambda: load.answers_since(back), 60, "an answer")
            wait_until(lambda: health(service) == 200, 60, "a healthy service")
        assert load.statuses.keys() <= ({200, 503} if on_failure == "refuse" else {200})
        folded(service)
        all_once(load.answered, [row[0] for row in server.run("SELECT id FROM predictions", name)])


def test_a_service_that_spools_starts_without_its_database_and_one_that_refuses_says_why(
    server: postgres.Server, proxy: Proxy, tmp_path: Path
) -> None:
    name, settings = named(server, tmp_path, proxy)
    proxy.refuse()
    with starting("serve", tmp_path / "a", **QUIET, **settings) as refuses:
        assert refuses.process.wait(60) == 2
        last = refuses.lines().splitlines()[-1]
        assert last.startswith("driftbell: the prediction log cannot be used: "), last
    spools = {**QUIET, **settings, "LOG__ON_FAILURE": "spool"}
    with running("up", tmp_path / "b", **spools, SERVER__WORKERS="2") as service:
        wait_until(lambda: service.events("drift scheduler started"), 60, "the monitor")
        assert httpx.get(f"{service.url}/health").json()["monitor"] == "unknown"
        with steady_load(service, clients=2) as load:
            wait_until(lambda: len(load.answered) > 50, 60, "the load")
            service.kill_tree()
    with running("serve", tmp_path / "b", **spools) as service:
        proxy.mend()
        wait_until(lambda: service.events("log can be written again"), 60, "the database")
        folded(service)
        all_once(load.answered, [row[0] for row in server.run("SELECT id FROM predictions", name)])


@pytest.mark.parametrize("on_failure", ["refuse", "spool"])
def test_a_full_disk(tmp_path: Path, on_failure: str) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "24m"):
        settings = {**QUIET, "CHECK__EVERY": "1s", "LOG__ON_FAILURE": on_failure}
        with running("up", disk, **settings) as service:
            monitored(service)
            processes = descendants(service.process.pid)
            with steady_load(service) as load:
                wait_until(lambda: len(load.answered) > 200, 60, "the load")
                ballast = fill(disk)
                wait_until(lambda: load.statuses[503] > 100, 60, "the disk's end")
                wait_until(lambda: health(service) == 503, 60, "a service that is not ready")
                time.sleep(3)
                assert httpx.get(f"{service.url}/metrics", timeout=10).status_code == 200
                ballast.unlink()
                back = time.monotonic()
                wait_until(lambda: load.answers_since(back), 60, "an answer")
                wait_until(lambda: health(service) == 200, 60, "a healthy service")
            assert load.statuses.keys() <= {200, 503}
            assert descendants(service.process.pid) == processes
            folded(service)
            all_once(load.answered, service.logged_ids())
            assert service.sql("PRAGMA integrity_check") == [("ok",)]
            checks = service.status()["checks"]
            wait_until(lambda: service.status()["checks"] != checks, 60, "a check after all that")


def test_a_disk_that_became_read_only(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with failing_disk(disk, tmp_path / "image") as fail:
        with running("up", disk, **QUIET) as service:
            monitored(service)
            processes = descendants(service.process.pid)
            with steady_load(service) as load:
                wait_until(lambda: len(load.answered) > 100, 60, "the load")
                fail()
                wait_until(lambda: load.statuses[503] > 100, 60, "refusals")
            assert load.statuses.keys() == {200, 503}
            assert health(service) == 503
            assert httpx.get(f"{service.url}/health/live").is_success
            assert descendants(service.process.pid) == processes
        shutil.copytree(disk, tmp_path / "copy", ignore=shutil.ignore_patterns("lost+found"))
    with running("serve", tmp_path / "copy", **QUIET) as again:
        folded(again)
        all_once(load.answered, again.logged_ids())


def test_a_worker_that_is_killed_or_paused_costs_nothing_that_was_answered(tmp_path: Path) -> None:
    with running("serve", tmp_path, **QUIET, SERVER__WORKERS="2") as service:

        def workers() -> list[int]:
            below = descendants(service.process.pid)
            return [pid for pid in below if "resource_tracker" not in command(pid)]

        with steady_load(service) as load:
            wait_until(lambda: len(load.answered) > 200, 60, "the load")
            paused, killed = workers()
            os.kill(paused, signal.SIGSTOP)
            try:
                time.sleep(1)  # its parent asks it whether it lives, and waits
                for _ in range(10):  # by new connections, which the other one takes
                    assert httpx.post(f"{service.url}/predict", json=EXAMPLE, timeout=5).is_success
            finally:
                os.kill(paused, signal.SIGCONT)
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: len(workers()) == 2 and killed not in workers(), 60, "another worker")
            wait_until(lambda: len(service.events("service started")) == 3, 60, "its start")
            now = time.monotonic()
            wait_until(lambda: load.answers_since(now), 60, "an answer")
            assert alive(paused)
            assert not alive(killed)
        assert load.statuses.keys() <= {0, 200}
        wait_until(lambda: set(load.answered) <= set(service.logged_ids()), 60, "what the dead one answered")
        all_once(load.answered, service.logged_ids())
        assert len(list((tmp_path / "journal").glob("*.jsonl"))) == 2


def test_a_label_that_follows_its_prediction_at_once_finds_it_whichever_worker_takes_it(
    tmp_path: Path,
) -> None:
    with (
        running("serve", tmp_path, **QUIET, SERVER__WORKERS="2") as service,
        Load(service.url, clients=4, pause=0.01),
        contextlib.ExitStack() as open_,
    ):
        clients = [open_.enter_context(httpx.Client(base_url=service.url)) for _ in range(8)]
        for client in clients:
            client.get("/health/live")  # connected, some to one worker and some to the other
        chance = random.Random(1)
        statuses = []
        for _ in range(60):
            one = chance.choice(clients).post("/predict", json=EXAMPLE).json()["id"]
            label = {"prediction_id": one, "label": "setosa"}
            statuses.append(chance.choice(clients).post("/labels", json=label).status_code)
        assert set(statuses) == {200}
        young = f"{int(time.time() * 1000):012x}{'0' * 20}"
        missed = clients[0].post("/labels", json={"prediction_id": young, "label": "setosa"})
        assert missed.status_code == 404


def test_a_journal_folder_that_is_removed_is_made_anew(tmp_path: Path) -> None:
    with running("serve", tmp_path, **QUIET) as service:
        with steady_load(service) as load:
            wait_until(lambda: len(load.answered) > 100, 60, "the load")
            shutil.rmtree(tmp_path / "journal")
            wait_until((tmp_path / "journal").exists, 60, "another folder")
            answered = len(load.answered)
            wait_until(lambda: len(load.answered) > answered + 200, 60, "more answers")
        assert load.statuses.keys() == {200}
        assert len(service.events("the journal was removed; a new one is started")) == 1
        service.kill_tree()
    with running("serve", tmp_path, **QUIET) as again:
        folded(again)
        all_once(load.answered, again.logged_ids())


def test_what_a_dead_server_left_is_in_a_check_by_hand(tmp_path: Path) -> None:
    with running("serve", tmp_path, **QUIET) as service:
        service.sql(
            "CREATE TRIGGER disk BEFORE INSERT ON predictions BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
        ids = [p["id"] for p in predict(service.url, [EXAMPLE] * 60)]
        wait_until(lambda: service.events("log cannot be written"), 60, "the service's notice")
        service.kill_tree()
    service.sql("DROP TRIGGER disk")
    assert service.logged_ids() == []
    found = driftbell("check", "--data-dir", str(tmp_path), cwd=tmp_path)
    assert found.returncode in (0, 1), found.stderr
    assert sorted(service.logged_ids()) == sorted(ids)
    assert list((tmp_path / "journal").iterdir()) == []


def test_one_check_an_interval_and_no_other_while_monitors_die_and_freeze(
    server: postgres.Server, tmp_path: Path
) -> None:
    fire = under_fire(server, tmp_path, seconds=1, every=5, chance=random.Random(5))
    assert fire.kills
    assert fire.pauses
    assert len(fire.checks) > 2
    assert fire.twice == 0
    assert fire.without <= fire.reported
    all_once(fire.answered, fire.logged)
