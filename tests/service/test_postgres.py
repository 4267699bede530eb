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

from driftbell.errors import StoreError

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
        predict(a.url, [EXAMPLE])  # nobody knows yet; the journal has it
        wait_until(lambda: a.events("log cannot be written"), 60, "the service's notice")
        words = ("127.0.0.1", str(server.port), "connection", "refused", "pg8000", "network")
        paths = (
            "/health",
            "/monitor/status",
            "/monitor/checks",
            "/monitor/alarms",
            "/monitor/performance",
            "/",
            "/index.json",
        )
        refusals = [httpx.get(f"{a.url}{path}", timeout=20) for path in paths]
        refusals += [
            httpx.post(f"{a.url}/{path}", json=body, timeout=20)
            for path, body in (
                ("monitor/trigger_now", None),
                ("labels", {"prediction_id": ids[0], "label": "setosa"}),
                ("predict", EXAMPLE),
                ("predict/batch", [EXAMPLE]),
            )
        ]
        for answer in refusals:
            assert answer.status_code == 503, answer.url
            assert answer.json()["detail"] == StoreError("").public, answer.url
            text = answer.text.lower()
            assert not any(word in text for word in words), answer.text
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
