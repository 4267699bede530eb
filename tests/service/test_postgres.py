"""Replicas on one PostgreSQL: one log, one window; the database may crash under them."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests import postgres
from tests.command_line import driftbell
from tests.conftest import EXAMPLE, Running, predict, running, wait_until

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    postgres.required()
    with contextlib.closing(postgres.Server(*postgres.FAST)) as server:
        yield server


def seen(service: Running) -> int:
    return int(service.status()["data_points"])


def test_replicas_share_one_window_and_outlive_a_crash_of_the_database(
    server: postgres.Server, tmp_path: Path
) -> None:
    url = server.empty_database()
    (tmp_path / "url").write_text(f"{url}\n")
    named = {"LOG__URL_FILE": str(tmp_path / "url")}
    upgraded = driftbell("db", "upgrade", cwd=tmp_path, **named)
    assert "upgraded from an empty database" in upgraded.stdout, upgraded.stderr
    assert "already up to date" in driftbell("db", "upgrade", cwd=tmp_path, **named).stdout
    with running("serve", tmp_path / "a", **named) as a, running("serve", tmp_path / "b", **named) as b:
        ids = [p["id"] for service in (a, b) for p in predict(service.url, [EXAMPLE] * 20)]
        for service in (a, b):
            wait_until(lambda service=service: seen(service) == 40, 60, "one window")  # type: ignore[misc]
        assert not (tmp_path / "a" / "log.sqlite").exists()

        server.stop(signal.SIGQUIT)
        status = httpx.get(f"{a.url}/monitor/status", timeout=20)
        assert status.status_code == 503
        assert "the prediction log cannot be used" in status.json()["detail"]
        server.start()

        def answers() -> bool:
            return httpx.post(f"{b.url}/predict", json=EXAMPLE, timeout=20).is_success

        wait_until(answers, 60, "an answer after the crash")
        wait_until(lambda: seen(a) >= 41, 60, "one window after the crash")
        for service in (a, b):
            assert postgres.PASSWORD not in service.lines()
            assert postgres.ENCODED not in service.lines()
    logged = [
        row[0] for row in server.run("SELECT id FROM predictions", url.split("?")[0].rpartition("/")[2])
    ]
    assert set(ids) <= set(logged)
    assert len(set(logged)) == len(logged)
