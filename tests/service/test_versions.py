"""Versions are promoted under load in several workers and replicas; no request is lost or mixed up."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from skops import io as skops_io
from tests import postgres
from tests.command_line import driftbell
from tests.conftest import CHEAP_MONITOR, EXAMPLE, Running, descendants, running, wait_until
from tests.conftest import command as command_of
from tests.failing import Load

pytestmark = pytest.mark.service

QUIET = {**CHEAP_MONITOR, "SERVER__ACCESS_LOG": "false", "CHECK__EVERY": "off"}
CLASSES = ("setosa", "versicolor", "virginica")
WRITING = timedelta(milliseconds=100)
"""Time between the end of a latency and the time of its line, on a busy machine."""

WHY = {"author": "ada", "reason": "a test"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A logistic regression for the Iris data, and the data."""
    folder = tmp_path_factory.mktemp("versions")
    data: Any = load_iris(as_frame=True)
    labels = data.target.map(dict(enumerate(CLASSES)))
    data.data.assign(species=labels).to_csv(folder / "iris.csv", index=False)
    model = LogisticRegression(max_iter=1000).fit(data.data, labels)
    skops_io.dump(model, folder / "linear.skops")
    skops_io.dump(LogisticRegression(max_iter=1000).fit(data.data.iloc[:, :2], labels), folder / "two.skops")
    return folder


def command(data_dir: Path, *args: str, **settings: str) -> Any:
    done = driftbell("models", *args, "--json", cwd=data_dir, DATA_DIR=str(data_dir), **settings)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def add(data_dir: Path, files: Path, name: str = "linear.skops", **settings: str) -> str:
    facts = command(data_dir, "add", str(files / name), "--reference", str(files / "iris.csv"), **settings)
    version: str = facts["version"]
    return version


def promote(url: str, version: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{url}/models/{version}/promote", json={**WHY, **body}, timeout=150)


def served(url: str) -> str:
    answer = httpx.post(f"{url}/predict", json=EXAMPLE, timeout=10).raise_for_status()
    assert answer.json()["class"] == "setosa"
    return version_of(url)


def version_of(url: str) -> str:
    version: str = httpx.get(f"{url}/health", timeout=10).json()["version"]
    return version


def alternate(url: str, versions: tuple[str, str], promotions: int) -> None:
    """Promote one version after the other; the second is the champion at first."""
    for number in range(promotions):
        answer = promote(url, versions[number % 2])
        assert answer.status_code == 200, answer.text


def check_every_prediction(url: str, rows: Iterable[tuple[str, str, float]]) -> None:
    """Check that each prediction's version was the champion while its request was in progress.

    Args:
        url: of the service.
        rows: time, version and latency (ms) of the predictions.
    """
    changes = httpx.get(f"{url}/models", timeout=10).json()["changes"][::-1]
    starts = [(datetime.fromisoformat(c["active_from"]), c["version"]) for c in changes]
    periods = list(pairwise([*starts, (starts[-1][0] + timedelta(days=1), "")]))
    seen = set()
    for time_text, version, latency in rows:
        end = datetime.fromisoformat(time_text + "+00:00")
        # the time is read after the latency ends, so the request began a little earlier than their difference
        begin = end - timedelta(milliseconds=latency) - WRITING
        champions = {v for (start, v), (stop, _) in periods if start <= end and begin < stop}
        assert version in champions, (time_text, version, latency, changes)
        seen.add(version)
    assert len(seen) == 2


def test_promotions_under_load_lose_no_request_and_mix_no_versions(files: Path, tmp_path: Path) -> None:
    with running("serve", tmp_path, **QUIET, SERVER__WORKERS="2") as service:
        first = served(service.url)
        second = add(tmp_path, files)
        assert served(service.url) == first
        with Load(service.url, clients=16, pause=0.01) as load:
            alternate(service.url, (second, first), 6)
            wait_until(lambda: version_of(service.url) == first, 10, "the last switch")
        assert set(load.statuses) == {200}
        assert len(load.answered) > 500
        wait_until(lambda: set(load.answered) <= set(service.logged_ids()), 60, "all that was answered")
        rows = service.sql("SELECT time, version, latency_ms FROM predictions")
        check_every_prediction(service.url, rows)
        counts = {s.labels["version"] for s in service.samples() if s.name == "driftbell_predictions_total"}
        assert counts == {first, second}


def test_a_version_that_a_worker_cannot_load_is_not_promoted(files: Path, tmp_path: Path) -> None:
    with running("serve", tmp_path, **QUIET) as service:
        first = served(service.url)
        second = add(tmp_path, files)
        content = service.sql("SELECT sha256, part, content FROM model_files")
        service.sql("UPDATE model_files SET content = ?", b"damaged")
        refused = promote(service.url, second)
        assert refused.status_code == 409
        assert "cannot load" in refused.json()["detail"]
        assert "is damaged in the registry" in refused.json()["detail"]
        assert served(service.url) == first
        for sha256, part, data in content:
            where = "WHERE sha256 = ? AND part = ?"
            service.sql(f"UPDATE model_files SET content = ? {where}", data, sha256, part)
        promoted = promote(service.url, second).json()
        assert (promoted["before"], promoted["version"], promoted["workers"]) == (first, second, 1)
        wait_until(lambda: served(service.url) == second, 10, "the switch")
        assert promote(service.url, second).json()["detail"] == f"{second} is the champion already"
        unknown = promote(service.url, second[:-1])
        assert unknown.status_code == 404
        assert unknown.json()["detail"] == (
            f"no version of 'iris' is named '{second[:-1]}'; did you mean '{second}'? "
            f"The versions, newest first: {second} and {first}"
        )
        assert promote(service.url, second, author=" ").status_code == 422


def test_other_features_need_consent_and_everything_follows_the_champion(files: Path, tmp_path: Path) -> None:
    with running("serve", tmp_path, **QUIET) as service:
        narrow = add(tmp_path, files, "two.skops")
        refused = promote(service.url, narrow)
        assert refused.status_code == 409
        assert "feature 'petal width (cm)' is missing" in refused.json()["detail"]
        assert promote(service.url, narrow, schema_change=True).status_code == 200
        wait_until(lambda: version_of(service.url) == narrow, 10, "the switch")
        row = {name: EXAMPLE[name] for name in list(EXAMPLE)[:2]}
        assert httpx.post(f"{service.url}/predict", json=row, timeout=10).is_success
        assert httpx.post(f"{service.url}/predict/batch", json=[row], timeout=10).json()["version"] == narrow
        refusal = httpx.post(f"{service.url}/predict", json=EXAMPLE, timeout=10)
        assert refusal.status_code == 422
        paths = httpx.get(f"{service.url}/openapi.json", timeout=10).json()["paths"]
        body = paths["/predict"]["post"]["requestBody"]["content"]["application/json"]
        assert list(body["schema"]["properties"]) == [*row, "id", "metadata"]
        assert service.status()["version"] == narrow
        assert service.metric("driftbell_model_info", version=narrow) == 1
        for path, key in (("checks", "checks"), ("alarms", "alarms")):
            url = f"{service.url}/monitor/{path}"
            assert httpx.get(url, params={"version": narrow}, timeout=10).json() == {key: []}
            assert "newest first" in httpx.get(url, params={"version": "none"}, timeout=10).json()["detail"]
        performance = f"{service.url}/monitor/performance"
        other = httpx.get(f"{service.url}/models", timeout=10).json()["versions"][1]["version"]
        for version in (narrow, other):
            answer = httpx.get(performance, params={"version": version}, timeout=10).json()
            assert answer["version"] == version
        assert httpx.get(performance, params={"version": "none"}, timeout=10).status_code == 404
        back = httpx.post(f"{service.url}/models/rollback", json=WHY, timeout=60)
        assert back.status_code == 200
        wait_until(lambda: served(service.url) == back.json()["version"], 10, "the rollback")
        one = httpx.get(f"{service.url}/models/{narrow}", timeout=10).json()
        assert [c["reason"] for c in one["history"]] == ["a test"]


def test_a_restart_keeps_a_promoted_version_and_changed_settings_win(files: Path, tmp_path: Path) -> None:
    settings = {"MODEL__NAME": "iris", "MODEL__TARGET": "species", **QUIET}
    with running("serve", tmp_path, **QUIET) as service:
        first = served(service.url)
    second = add(tmp_path, files)
    assert command(tmp_path, "promote", second)["workers"] == 0
    for _ in range(2):
        with running("serve", tmp_path, **QUIET) as service:
            assert served(service.url) == second
    own = {"MODEL__PATH": str(files / "linear.skops"), "MODEL__REFERENCE": str(files / "iris.csv")}
    with running("serve", tmp_path, **settings, **own) as service:
        assert served(service.url) == second
        assert command(tmp_path, "list")["versions"][0]["aliases"] == ["champion"]
    with running("serve", tmp_path, **QUIET) as service:
        assert served(service.url) == first


def test_the_death_of_a_worker_ends_no_promotion(files: Path, tmp_path: Path) -> None:
    with running("serve", tmp_path, **QUIET, SERVER__WORKERS="2") as service:
        second = add(tmp_path, files)
        victim = max(p for p in descendants(service.process.pid) if "spawn_main" in command_of(p))
        with Load(service.url, clients=4, pause=0.02) as load:
            outcome: list[dict[str, Any]] = []
            promoting = threading.Thread(
                target=lambda: outcome.append(command(tmp_path, "promote", second)), daemon=True
            )
            os.kill(victim, signal.SIGSTOP)  # it cannot load the version
            promoting.start()
            wait_until(lambda: service.sql("SELECT id FROM promotions"), 30, "the promotion")
            os.kill(victim, signal.SIGKILL)
            promoting.join(100)
            assert outcome
            wait_until(lambda: served(service.url) == second, 20, "the switch")
        assert set(load.statuses) <= {0, 200}
        for _ in range(20):  # also the worker that replaced the dead one
            assert served(service.url) == second


@pytest.mark.slow
def test_two_replicas_on_postgresql_switch_together(
    files: Path, tmp_path: Path, postgres_server: postgres.Server
) -> None:
    url = postgres_server.empty_database()
    (tmp_path / "url").write_text(url, "utf-8")
    settings = {**QUIET, "LOG__URL_FILE": str(tmp_path / "url")}
    with contextlib.ExitStack() as started:
        replicas: list[Running] = [
            started.enter_context(running("serve", tmp_path / name, **settings)) for name in "ab"
        ]
        first = served(replicas[0].url)
        second = add(tmp_path / "a", files, LOG__URL_FILE=str(tmp_path / "url"))
        loads = [started.enter_context(Load(r.url, clients=32, pause=0.02)) for r in replicas]
        alternate(replicas[0].url, (second, first), 6)
        for load in loads:
            load.stop()
        assert {status for load in loads for status in load.statuses} == {200}
        for replica in replicas:
            replica.status()
        database = url.split("?")[0].rpartition("/")[2]
        query = "SELECT to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), version, latency_ms, id"
        rows = postgres_server.run(f"{query} FROM predictions", database)
        assert {name for load in loads for name in load.answered} <= {row[3] for row in rows}
        check_every_prediction(replicas[0].url, [(row[0], row[1], row[2]) for row in rows])


def predicted(url: str, rows: int) -> list[str]:
    """Send rows of setosa, and return the ids of their predictions."""
    answers = [httpx.post(f"{url}/predict", json=EXAMPLE, timeout=10).raise_for_status() for _ in range(rows)]
    return [answer.json()["id"] for answer in answers]


def trigger(url: str) -> Any:
    return httpx.post(f"{url}/monitor/trigger_now", timeout=120).raise_for_status().json()


def test_late_labels_of_the_version_before_are_measured_and_not_mixed(files: Path, tmp_path: Path) -> None:
    settings = {**QUIET, "CHECK__MINIMUM_ROWS": "10"}
    with running("up", tmp_path, **settings) as service:
        url, first = service.url, served(service.url)
        second = add(tmp_path, files)
        wait_until(lambda: service.status()["monitor"] == "running", 60, "the monitor")
        before = predicted(url, 30)
        assert promote(url, second).status_code == 200
        wait_until(lambda: version_of(url) == second, 10, "the switch")
        after = predicted(url, 25)
        labels = [{"prediction_id": one, "label": "virginica"} for one in before]
        labels += [{"prediction_id": one, "label": "setosa"} for one in after]
        wait_until(lambda: {*before, *after} <= set(service.logged_ids()), 30, "the predictions")
        assert httpx.post(f"{url}/labels", json=labels, timeout=10).json()["accepted"] == 55
        check = trigger(url)
        assert (check["version"], service.status()["last_check"]["version"]) == (second, second)
        measured = {}
        for version in (first, second):
            query = {"version": version}
            [last] = httpx.get(f"{url}/monitor/checks", params=query, timeout=10).json()["checks"]
            realized = httpx.get(f"{url}/monitor/performance", params=query, timeout=10).json()["metrics"]
            measured[version] = (last["rows"], realized["accuracy"]["realized"]["value"])
        assert measured == {first: (31, 0.0), second: (25, 1.0)}
        for version, role in ((first, "replaced"), (second, "champion")):
            assert service.metric("driftbell_version_role", version=version, role=role) == 1
            scraped = {"version": version, "metric": "accuracy", "kind": "realized"}
            assert service.metric("driftbell_version_performance", **scraped) == measured[version][1]
        roles = {item["version"]: item["role"] for item in service.status()["versions"]}
        assert roles == {first: "replaced", second: "champion"}
        trigger(url)
        counts = service.sql("SELECT version, count(*) FROM checks GROUP BY version")
        assert dict(counts) == {first: 1, second: 2}
        assert httpx.get(f"{url}/monitor/alarms", timeout=10).json() == {"alarms": []}
