"""What a service tells about its exposure, and who can read its files."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.conftest import Running, monitored, predict, running, starting, wait_until
from tests.unit.store.test_damage import filled, zeros

from driftbell.simulation.traffic import iris_rows

pytestmark = pytest.mark.service

WARNING = "service listens beyond loopback, and has no authentication"


def check(service: Running) -> None:
    monitored(service)
    predict(service.url, iris_rows(20, np.random.default_rng(1)))
    httpx.post(f"{service.url}/monitor/trigger_now", timeout=120).raise_for_status()


def modes(folder: Path, pattern: str) -> set[int]:
    """Return the permissions of the files that match a pattern."""
    return {path.stat().st_mode & 0o777 for path in folder.glob(pattern)}


def test_files_are_hidden_by_default_and_loopback_needs_no_warning(tmp_path: Path) -> None:
    with running("up", tmp_path / "data", CHECK__EVERY="off", REPORTS__EVIDENTLY="off") as service:
        check(service)
        assert modes(tmp_path / "data", "reports/*.html") == {0o600}
        assert modes(tmp_path / "data", "log.sqlite*") == {0o600}
        assert modes(tmp_path / "data", "reports") == {0o700}
        assert service.events(WARNING) == []


def test_with_the_umask_of_the_stack_the_viewer_can_read_the_reports(tmp_path: Path) -> None:
    settings = {"UMASK": "022", "SERVER__HOST": "0.0.0.0", "AUTH__REQUIRED": "with_keys"}
    quiet = {"CHECK__EVERY": "off", "REPORTS__EVIDENTLY": "off"}
    with running("up", tmp_path / "data", **settings, **quiet) as service:
        check(service)
        assert modes(tmp_path / "data", "reports/*.html") == {0o644}
        assert modes(tmp_path / "data", "reports") == {0o755}
        assert modes(tmp_path / "data", "journal/*.jsonl") == {0o600}
        warning = service.line(WARNING)
        assert (warning["level"], warning["host"]) == ("WARNING", "0.0.0.0")
        assert "docs/security.md" in warning["hint"]


def test_on_loopback_no_page_and_no_call_answers_under_another_name(tmp_path: Path) -> None:
    """DNS rebinding: the name of a web page points at 127.0.0.1."""
    with running("up", tmp_path / "data", CHECK__EVERY="off", REPORTS__EVIDENTLY="off") as service:
        spec = httpx.get(f"{service.url}/openapi.json").json()
        calls = [(m.upper(), path) for path, methods in spec["paths"].items() for m in methods]
        assert len(calls) > 25
        pages = ("/", "/login", "/docs", "/openapi.json", "/reports/", "/runbook", "/static/style.css", "/x")
        for name in ("evil.example", "evil.example:8000", "localhost.evil.example"):
            with httpx.Client(base_url=service.url, headers={"Host": name}) as client:
                for method, path in (*calls, *(("GET", page) for page in pages), ("POST", "/login")):
                    answer = client.request(method, path.replace("{", "").replace("}", ""))
                    assert answer.status_code == 421, (method, path, name)
                    assert "set-cookie" not in answer.headers
        answer = httpx.post(f"{service.url}/check", headers={"Referer": "http://evil.example/page"})
        assert answer.status_code == 403
        assert httpx.get(f"{service.url}/").is_success


def test_a_database_with_damaged_pages_is_not_healthy(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    filled(tmp_path / "data" / "log.sqlite")
    zeros(tmp_path / "data" / "log.sqlite", 4096)
    with starting("serve", tmp_path / "data", CHECK__EVERY="off") as service:

        def unhealthy() -> bool:
            answer = httpx.get(f"{service.url}/health", timeout=10)
            return answer.status_code == 503 and "damaged" in answer.json()["detail"]

        wait_until(unhealthy, 60, "503")
        error = service.line("prediction log is damaged")
        assert error["level"] == "ERROR"
        assert httpx.get(f"{service.url}/health/live", timeout=10).is_success
