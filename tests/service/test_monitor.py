"""The monitor: by itself, when asked, one check a slot however many monitors run, and after every crash."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.conftest import EXAMPLE, Running, alive, monitored, predict, running, wait_until

from driftbell.simulation.faults import CONTRACT_FAULTS, apply_faults
from driftbell.simulation.traffic import iris_rows

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """No automatic checks: each test asks for its own."""
    folder = tmp_path_factory.mktemp("monitor")
    with running("up", folder, CHECK__EVERY="off", REPORTS__KEEP="4", REPORTS__EVIDENTLY="off") as found:
        monitored(found)
        yield found


@pytest.fixture
def rows(service: Running) -> list[dict[str, Any]]:
    """Thirty normal predictions, and no others, are in the log."""
    service.sql("DELETE FROM predictions")
    found = iris_rows(30, np.random.default_rng(3))
    predict(service.url, found)
    return found


def trigger(service: Running, **query: str) -> httpx.Response:
    return httpx.post(f"{service.url}/monitor/trigger_now", params=query, timeout=130)


def checked(service: Running) -> dict[str, Any]:
    answer = trigger(service)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.usefixtures("rows")
def test_a_trigger_answers_with_the_check(service: Running) -> None:
    found = checked(service)
    assert found["kind"] == "triggered"
    assert found["rows"] == 30
    assert found["verdict"] == "unknown"
    assert found["sentence"].startswith("No drift")
    assert found["drifted_columns"] == []
    assert found["error"] is None
    assert httpx.get(f"{service.url}{found['report_url']}").is_success
    assert service.status()["last_check"] == found
    history = httpx.get(f"{service.url}/monitor/checks?limit=1").json()["checks"]
    del found["degradation"], history[0]["degradation"]  # which leaves its evidence out
    del found["metrics"], found["metric_labels"]
    assert history == [found]
    columns = httpx.get(f"{service.url}/monitor/checks/{found['id']}").json()["columns"]
    assert {c["column"] for c in columns} >= set(EXAMPLE) | {"prediction"}


@pytest.mark.usefixtures("rows")
def test_a_trigger_that_does_not_wait_says_where_to_look(service: Running) -> None:
    answer = trigger(service, wait="false")
    assert answer.status_code == 202
    where = answer.headers["location"]
    assert answer.json()["url"] == where
    assert answer.json()["state"] == "pending"

    def done() -> bool:
        return httpx.get(f"{service.url}{where}").json()["state"] == "done"

    wait_until(done, 60, "the check")
    check = httpx.get(f"{service.url}{where}").json()["check"]
    assert check == checked_by_id(service, check["id"])
    assert check["rows"] == 30


def checked_by_id(service: Running, check_id: str) -> dict[str, Any]:
    found = httpx.get(f"{service.url}/monitor/checks/{check_id}").json()
    return {k: v for k, v in found.items() if k != "columns"}


def test_a_check_covers_what_was_answered_before_it_was_asked_for(service: Running) -> None:
    service.sql("DELETE FROM predictions")

    def sent_and_checked(_: int) -> bool:
        (answer,) = predict(service.url, [EXAMPLE])
        check = checked(service)
        newest = service.sql("SELECT json_extract(body, '$.last') FROM checks WHERE id = ?", check["id"])[0][
            0
        ]
        return service.sql("SELECT seq FROM predictions WHERE id = ?", answer["id"])[0][0] <= newest

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(sent_and_checked, range(24)))


@pytest.mark.usefixtures("rows")
def test_triggers_at_the_same_time_are_all_answered_and_predictions_go_on(service: Running) -> None:
    answered = 0
    enough = iris_rows(200, np.random.default_rng(4))
    predict(service.url, enough)
    normal = itertools.cycle(enough)
    with ThreadPoolExecutor(9) as pool:
        asked = [pool.submit(trigger, service) for _ in range(8)]
        manual = pool.submit(httpx.get, f"{service.url}/monitor/generate_report", timeout=130)
        while not all(a.done() for a in [*asked, manual]):
            assert httpx.post(f"{service.url}/predict", json=next(normal), timeout=10).is_success
            answered += 1
    assert {a.result().status_code for a in [*asked, manual]} == {200}
    assert all(a.result().json()["verdict"] in ("ok", "alarm") for a in asked)
    assert manual.result().json()["kind"] == "manual"
    assert answered > 0
    assert service.sql("SELECT count(*) FROM check_requests WHERE state = 'pending'") == [(0,)]


def test_only_the_newest_reports_are_kept(service: Running) -> None:
    predict(service.url, [EXAMPLE] * 10)
    for _ in range(6):
        checked(service)
    folder = service.data_dir / "reports"
    names = (p.name for p in folder.iterdir() if "latest" not in p.name)
    kept = sorted(names, key=lambda name: name.replace("manual_", ""))  # by time
    changed = [n for n in kept if not (folder / n).read_bytes().endswith(b"importance 0 -->\n")]
    assert len(kept) - len(changed) <= 4, "reports of changed verdicts stay"
    assert len(kept) < 6 + len(changed)
    assert [r["name"] for r in service.status()["reports"]] == kept[::-1]
    assert service.status()["last_check"]["report_url"] == f"/reports/{kept[-1]}"


@pytest.mark.parametrize(
    "features",
    ['["5.123457"]', "{5.123457", "5.123457", '"5.123457"'],
    ids=["list", "no JSON", "number", "string"],
)
@pytest.mark.usefixtures("rows")
def test_a_check_that_crashes_is_unknown_and_the_next_one_runs(service: Running, features: str) -> None:
    failures = service.metric("driftbell_check_failures_total")
    unknown = service.metric("driftbell_checks_total", verdict="unknown")
    service.sql(
        "INSERT INTO predictions (id, time, model, version, features, output, probabilities, latency_ms) "
        "SELECT 'broken', time, model, version, ?, output, probabilities, 1 FROM predictions LIMIT 1",
        features,
    )
    try:
        check = checked(service)
    finally:
        service.sql("DELETE FROM predictions WHERE id = 'broken'")
    assert check["verdict"] == "unknown"
    assert check["error"]
    assert check["report_url"] is None
    assert service.metric("driftbell_check_failures_total") == failures + 1
    assert service.metric("driftbell_checks_total", verdict="unknown") == unknown + 1
    assert service.status()["check_failures"] == failures + 1
    assert service.status()["last_check"]["error"] == check["error"]
    line = service.line("drift check failed", check_id=check["id"])
    assert line["level"] == "ERROR"
    assert "5.123457" not in service.lines()
    after = checked(service)
    assert after["error"] is None
    assert after["sentence"].startswith("No drift")
    assert service.events("monitor process ended") == []


def test_after_the_simulators_drifted_half_exactly_the_three_features_are_named(service: Running) -> None:
    service.sql("DELETE FROM predictions")
    rng = np.random.default_rng(11)
    normal = iris_rows(50, rng)
    predict(service.url, normal)
    assert set(EXAMPLE).isdisjoint(checked(service)["drifted_columns"])
    predict(service.url, apply_faults(iris_rows(50, rng), CONTRACT_FAULTS, rng))
    check = checked(service)
    assert check["verdict"] == "alarm"
    assert check["rows"] == 100
    features = [c for c in check["drifted_columns"] if c in EXAMPLE]
    assert features == ["sepal length (cm)", "sepal width (cm)", "petal length (cm)"]
    assert check["drifted_columns"][:3] == features
    assert all(name in check["sentence"] for name in features)


def test_the_largest_numbers_that_are_allowed_are_checked_like_others(service: Running) -> None:
    service.sql("DELETE FROM predictions")
    largest = 3.4028234663852886e38
    predict(service.url, [dict.fromkeys(EXAMPLE, v) for v in (largest, -largest, 0, 5e-324) * 5])
    check = checked(service)
    assert check["error"] is None
    assert check["verdict"] in ("warning", "alarm")
    for path in (f"/monitor/checks/{check['id']}", check["report_url"], "/", "/index.json", "/metrics"):
        assert httpx.get(f"{service.url}{path}").status_code == 200, path


def test_a_foreign_file_among_the_reports_is_neither_listed_nor_in_the_way(service: Running) -> None:
    folder = service.data_dir / "reports"
    folder.mkdir(exist_ok=True)
    for name in ("drift_report_99999999_999999.html", "notes.html", "drift_report_latest.html.bak"):
        (folder / name).write_text("foreign")
    listed = httpx.get(f"{service.url}/reports/")
    assert listed.is_success
    assert "99999999" not in listed.text
    assert "notes" not in listed.text
    assert not any("99999999" in r["name"] for r in service.status()["reports"])


def test_monitors_check_at_whole_intervals_share_the_work_and_replace_each_other(tmp_path: Path) -> None:
    """None, then two, then the one that is left when the other was killed."""
    settings = {"CHECK__EVERY": "1s", "REPORTS__KEEP": "3", "REPORTS__EVIDENTLY": "off"}
    with running("serve", tmp_path, **settings) as service, ExitStack() as started:
        predict(service.url, iris_rows(20, np.random.default_rng(0)))
        for answer in (trigger(service), httpx.get(f"{service.url}/monitor/generate_report")):
            assert answer.status_code == 503
            assert "`driftbell monitor`" in answer.json()["detail"]
            assert answer.headers["retry-after"]
        assert service.status()["enabled"] is False
        assert service.status()["monitor"] == "not running"
        assert service.status()["next_run"] is None
        assert httpx.get(f"{service.url}/health").json()["monitor"] == "not running"

        pair = [started.enter_context(running("monitor", tmp_path, **settings)) for _ in range(2)]
        wait_until(lambda: all(m.events("drift scheduler started") for m in pair), 120, "both monitors")
        begun = len(slots(service))
        wait_until(lambda: len(slots(service)) >= begun + 6, 60, "six checks")
        once(slots(service))
        holders = [m for m in pair if m.events("drift monitor holds the lease")]
        assert len(holders) == 1
        wait_until(lambda: service.metric("driftbell_checks_total", verdict="unknown") >= 3, 60, "checks")
        status = service.status()
        assert status["enabled"] is True
        due = datetime.fromisoformat(status["next_run"])
        assert due.microsecond == 0
        assert abs(due - datetime.now(UTC)) < timedelta(seconds=5)
        assert status["last_check"]["kind"] == "automatic"
        assert status["last_check"]["rows"] == 20
        assert 1 <= len(status["reports"]) <= 3
        assert not any(r["manual"] for r in status["reports"])
        assert {e["kind"] for m in pair for e in m.events("drift check")} == {"automatic"}
        assert all(len(m.events("drift scheduler started")) == 1 for m in pair)

        (holder,) = holders
        (other,) = [m for m in pair if m is not holder]
        os.kill(holder.process.pid, signal.SIGKILL)
        assert not other.events("drift monitor holds the lease")
        before = len(slots(service))
        wait_until(lambda: other.events("drift monitor holds the lease"), 60, "the new holder")
        wait_until(lambda: len(slots(service)) >= before + 3, 60, "its checks")
        once(slots(service))
        answered: list[httpx.Response] = []

        def is_answered() -> bool:  # the lease lasts for a second, so that a busy machine may miss it once
            answered.append(trigger(service))
            return answered[-1].is_success

        wait_until(is_answered, 60, "a check on request")
        assert answered[-1].json()["verdict"] == "unknown"

        assert other.stop() == 0
        assert not alive(other.process.pid)
        wait_until(lambda: service.status()["monitor"] == "not running", 60, "the release of the lease")


def slots(service: Running) -> list[int]:
    """The second in which each automatic check ran; with an interval of one second, that is its slot."""
    found = service.sql("SELECT body FROM checks WHERE kind = 'automatic' ORDER BY seq")
    return [int(datetime.fromisoformat(json.loads(body)["time"]).timestamp()) for (body,) in found]


def once(found: list[int]) -> None:
    assert found == sorted(set(found))
