"""A backup of a service under load, restored: the same window, checks, reports and model version."""

from __future__ import annotations

from pathlib import Path
from subprocess import CompletedProcess

import httpx
import pytest
from tests import command_line
from tests.conftest import CHEAP_MONITOR, EXAMPLE, predict, running, wait_until
from tests.failing import Load

pytestmark = pytest.mark.service

QUIET = {**CHEAP_MONITOR, "SERVER__ACCESS_LOG": "false"}


def driftbell(folder: Path, *args: object) -> CompletedProcess[str]:
    return command_line.driftbell(*map(str, args), cwd=folder)


def test_a_backup_under_load_is_whole_and_comes_back(tmp_path: Path) -> None:
    data, saved, restored = tmp_path / "data", tmp_path / "saved", tmp_path / "restored"
    with running("up", data, CHECK__EVERY="1s", **QUIET) as service:
        predict(service.url, [EXAMPLE] * 20)
        wait_until(lambda: service.status()["reports"], 120, "a report")
        with Load(service.url, clients=4, pause=0.02) as load:
            wait_until(lambda: len(load.answered) > 600, 60, "load")
            before, at_first = list(load.answered), service.status()
            done = driftbell(tmp_path, "backup", saved, "--data-dir", data)
            assert done.returncode == 0, done.stderr
            backed_up = len(load.answered)
            wait_until(lambda: len(load.answered) > backed_up + 100, 60, "more load")
            assert driftbell(tmp_path, "restore", saved, "--data-dir", data).returncode == 2
    assert load.statuses.keys() == {200}

    done = driftbell(tmp_path, "restore", saved, "--data-dir", restored)
    assert done.returncode == 0, done.stderr
    with running("up", restored, CHECK__EVERY="off", **QUIET) as again:
        assert again.sql("PRAGMA integrity_check") == [("ok",)]
        logged = again.logged_ids()
        assert set(before) <= set(logged) < set(service.logged_ids())
        assert len(set(logged)) == len(logged)
        assert done.stdout.startswith(f"{restored}: {len(logged)} predictions")
        now = again.status()
        assert (now["model"], now["version"]) == (at_first["model"], at_first["version"])
        assert now["data_points"] == now["window_rows"] == 500
        assert again.events("model trained") == []
        checks = httpx.get(f"{again.url}/monitor/checks").json()["checks"]
        assert at_first["last_check"]["id"] in [c["id"] for c in checks]
        assert all(httpx.get(f"{again.url}{r}").is_success for c in checks for r in c["reports"])
        answers: list[httpx.Response] = []

        def triggered() -> bool:  # the lease that was backed up may still look alive, and then expire
            answers.append(httpx.post(f"{again.url}/monitor/trigger_now", timeout=60))
            return answers[-1].is_success

        wait_until(triggered, 60, "a check of the restored log")
        assert answers[-1].json()["rows"] == 500
        assert httpx.post(f"{again.url}/predict", json=EXAMPLE).json()["id"] in again.logged_ids()


def test_nothing_is_restored_under_a_running_service_whose_log_was_removed(tmp_path: Path) -> None:
    data, saved = tmp_path / "data", tmp_path / "saved"
    with running("serve", data, **QUIET):
        assert driftbell(tmp_path, "backup", saved, "--data-dir", data).returncode == 0
        for file in data.glob("log.sqlite*"):
            file.unlink()
        done = driftbell(tmp_path, "restore", saved, "--data-dir", data)
        assert (done.returncode, done.stdout) == (2, "")
        assert "runs on" in done.stderr
        assert "stop it first" in done.stderr
        assert not (data / "log.sqlite").exists()
