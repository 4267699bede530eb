"""Workers that die, one after the other, also those that replaced a dead one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest
from tests.conftest import CHEAP_MONITOR, EXAMPLE, Running, command, descendants, running, wait_until
from tests.failing import Load

pytestmark = pytest.mark.service

QUIET = {**CHEAP_MONITOR, "SERVER__ACCESS_LOG": "false", "CHECK__EVERY": "off"}


def workers(service: Running) -> set[int]:
    return {pid for pid in descendants(service.process.pid) if "spawn_main" in command(pid)}


def started(service: Running, count: int) -> None:
    wait_until(lambda: len(service.events("service started")) == count, 60, f"start {count}")


def test_a_worker_that_replaced_a_dead_one_is_replaced_too(tmp_path: Path) -> None:
    """The newest worker dies each time, so that each death but the first is one of a replacement."""
    with running("serve", tmp_path, **QUIET, SERVER__WORKERS="2") as service:
        started(service, 2)
        stays, newest = sorted(workers(service))
        with Load(service.url, clients=2, pause=0.02) as load:
            for deaths in range(1, 4):
                os.kill(newest, signal.SIGKILL)
                started(service, 2 + deaths)
                (replaced,) = workers(service) - {stays}
                assert replaced != newest
                newest = replaced
        assert load.statuses.keys() <= {0, 200}
        assert httpx.post(f"{service.url}/predict", json=EXAMPLE, timeout=10).is_success
        wait_until(lambda: set(load.answered) <= set(service.logged_ids()), 60, "all that was answered")
        logged = service.logged_ids()
        assert len(set(logged)) == len(logged)
        assert service.stop() == 0
