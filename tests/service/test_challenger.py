"""A challenger answers its share of the requests in every worker; keys stay on their version."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from skops import io as skops_io
from tests.command_line import driftbell
from tests.conftest import EXAMPLE, Running, descendants, monitored, running, wait_until
from tests.conftest import command as command_of
from tests.failing import Load
from tests.service.test_versions import QUIET, WHY, WRITING, add, command, files, promote, served, version_of

from driftbell.server.challenge import share_of

__all__ = ["files"]

pytestmark = pytest.mark.service

USERS = [f"user {number}" for number in range(40)]
SETTLING = timedelta(seconds=3)
"""Every worker has read the registry after this time, which is a second, also on a busy machine."""


def challenge(url: str, version: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{url}/models/{version}/challenge", json={**WHY, **body}, timeout=150)


def started(url: str, version: str, **body: Any) -> datetime:
    """Start a challenge, wait until it is in force, and return when it began."""
    answer = challenge(url, version, **body)
    assert answer.status_code == 200, answer.text
    begin = datetime.fromisoformat(answer.json()["active_from"])
    time.sleep(max(0.0, (begin + SETTLING - datetime.now(begin.tzinfo)).total_seconds()))
    return begin


def answering(service: Running, user: str | None, row: dict[str, Any] = EXAMPLE) -> list[str]:
    """Ask every route for a row, each on a new connection, and return the versions that answered."""
    headers = {} if user is None else {"X-User": user}
    inputs = [{"name": k, "shape": [1], "datatype": "FP64", "data": [v]} for k, v in row.items()]
    bodies: dict[str, Any] = {
        "/predict": row,
        "/predict/batch": [row, row],
        "/invocations": {"dataframe_records": [row]},
        "/v2/models/iris/infer": {"inputs": inputs},
    }
    versions = []
    for path, body in bodies.items():
        answer = httpx.post(f"{service.url}{path}", json=body, headers=headers, timeout=20)
        facts = answer.raise_for_status().json()
        if path == "/invocations":
            version = logged_version(service, facts["ids"][0])
        else:
            version = facts.get("version") or facts["model_version"]
        versions.append(version)
    return versions


def logged_version(service: Running, prediction_id: str) -> str:
    wait_until(lambda: prediction_id in service.logged_ids(), 20, "the log")
    [(version,)] = service.sql("SELECT version FROM predictions WHERE id = ?", prediction_id)
    return str(version)


def check_users(service: Running, first: str, second: str, share: float, users: Iterable[str]) -> None:
    for user in users:
        expected = second if share_of(user.encode(), second) < share else first
        assert set(answering(service, user)) == {expected}, user


def workers(service: Running) -> list[int]:
    return [p for p in descendants(service.process.pid) if "spawn_main" in command_of(p)]


def test_keys_stay_on_their_version_in_every_worker_and_over_restarts(files: Path, tmp_path: Path) -> None:
    settings = {**QUIET, "SERVER__WORKERS": "2"}
    with running("serve", tmp_path, **settings) as service:
        first, second = served(service.url), add(tmp_path, files)
        facts = command(tmp_path, "challenge", second, "--share", "0.3", "--sticky-header", "X-User")
        assert (facts["champion"], facts["workers"], facts["sticky"]) == (first, 2, "header:x-user")
        begin = datetime.fromisoformat(facts["active_from"])
        assert datetime.now(begin.tzinfo) < begin
        wait_until(lambda: datetime.now(begin.tzinfo) > begin + SETTLING, 20, "the challenge")
        check_users(service, first, second, 0.3, USERS)
        assert set(answering(service, None)) == {first}
        listed = command(tmp_path, "list")
        assert listed["challenger"]["share"] == 0.3
        assert [v["aliases"] for v in listed["versions"]] == [["challenger"], ["champion"]]
        assert version_of(service.url) == first
        killed = max(workers(service))
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: killed not in workers(service) and len(workers(service)) == 2, 60, "a new worker")
        check_users(service, first, second, 0.3, USERS[:10])
        started(service.url, second, share=0.7, sticky_header="x-user")
        check_users(service, first, second, 0.7, USERS[:20])
    with running("serve", tmp_path, **settings) as service:
        check_users(service, first, second, 0.7, USERS[:20])
        ended = httpx.post(f"{service.url}/models/challenger/stop", json=WHY, timeout=20).raise_for_status()
        assert ended.json()["version"] == second
        time.sleep(SETTLING.total_seconds())
        check_users(service, first, second, 0, USERS[:10])
        assert httpx.get(f"{service.url}/models", timeout=20).json()["challenger"] is None


def test_a_share_by_chance_and_a_promotion_of_the_challenger_under_load(files: Path, tmp_path: Path) -> None:
    share = 0.3
    with running("serve", tmp_path, **QUIET, SERVER__WORKERS="2") as service:
        first, second = served(service.url), add(tmp_path, files)
        with Load(service.url, clients=16, pause=0.02) as load:
            begin = started(service.url, second, share=share)
            count = len(load.answered)
            wait_until(lambda: len(load.answered) > count + 1500, 60, "answers of both versions")
            answer = promote(service.url, second)
            assert answer.status_code == 200, answer.text
            end = datetime.fromisoformat(answer.json()["active_from"])
            wait_until(lambda: version_of(service.url) == second, 10, "the promotion")
            time.sleep(1)
        assert set(load.statuses) == {200}
        wait_until(lambda: set(load.answered) <= set(service.logged_ids()), 60, "all that was answered")
        counts = {first: 0, second: 0}
        for text, version, latency in service.sql("SELECT time, version, latency_ms FROM predictions"):
            stop = datetime.fromisoformat(text + "+00:00")
            start = stop - timedelta(milliseconds=latency) - WRITING
            if stop < begin:
                assert version == first
            elif start > end:
                assert version == second
            elif begin < start and stop < end:
                counts[version] += 1
        rows = sum(counts.values())
        assert rows > 1500
        # a batch of three rows is answered by one version
        assert abs(counts[second] - share * rows) < 5 * math.sqrt(3 * rows * share * (1 - share))
        assert httpx.get(f"{service.url}/models", timeout=20).json()["challenger"] is None
        assert set(answering(service, None)) == {second}


def test_a_feature_decides_and_impossible_challenges_are_refused(files: Path, tmp_path: Path) -> None:
    feature = "sepal length (cm)"
    with running("serve", tmp_path, **QUIET) as service:
        url, first, second = service.url, served(service.url), add(tmp_path, files)
        for body, status, text in (
            ({}, 422, "give 'share', a number such as 0.1, or 'shadow': true"),
            ({"share": "0.1"}, 422, "'share' must be a number above 0 and at most 1"),
            ({"share": 0.1, "shadow": 1}, 422, "'shadow' must be true or false"),
            ({"share": 0.1, "sticky": "x"}, 422, "unknown field 'sticky'"),
            ({"share": 0.1, "sticky_header": ""}, 422, "'sticky_header' must be a text"),
            ({"share": 1}, 409, "above 0 and below 1"),
            ({"share": 0.1, "sticky_feature": "user"}, 409, "'user' is no feature"),
            ({"share": 0.1, "sticky_header": "x y"}, 409, "no name of a request header"),
        ):
            refused = challenge(url, second, **body)
            assert (refused.status_code, text in refused.text) == (status, True), refused.text
        assert "is the champion" in challenge(url, first, share=0.1).json()["detail"]
        narrow = add(tmp_path, files, "two.skops")
        assert "feature 'petal width (cm)' is missing" in challenge(url, narrow, share=0.1).json()["detail"]
        assert challenge(url, "none", share=0.1).status_code == 404
        stop = httpx.post(f"{url}/models/challenger/stop", json=WHY, timeout=20)
        assert (stop.status_code, "has no challenger" in stop.text) == (409, True)
        started(url, second, share=0.5, sticky_feature=feature)
        versions = set()
        for tenth in range(45, 70):
            expected = second if share_of(str(tenth / 10).encode(), second) < 0.5 else first
            if tenth % 10 == 0:
                expected = second if share_of(b"%d" % (tenth // 10), second) < 0.5 else first
            assert set(answering(service, None, {**EXAMPLE, feature: tenth / 10})) == {expected}
            versions.add(expected)
        assert versions == {first, second}
        mixed = [{**EXAMPLE, feature: tenth / 10} for tenth in range(45, 70)]
        answer = httpx.post(f"{url}/predict/batch", json=mixed, timeout=20).json()
        assert answer["version"] == first
        assert "challenger" in challenge(url, narrow, share=0.5).json()["detail"]
        back = httpx.post(f"{url}/models/rollback", json=WHY, timeout=60)
        assert back.status_code == 409  # there was no other champion


def write_bad_model(folder: Path) -> None:
    """Write a model that answers another class than the right one."""
    data: Any = load_iris(as_frame=True)
    wrong = data.target.map({0: "versicolor", 1: "virginica", 2: "setosa"})
    skops_io.dump(LogisticRegression(max_iter=1000).fit(data.data, wrong), folder / "bad.skops")


def list_text(data_dir: Path) -> str:
    return driftbell("models", "list", cwd=data_dir, DATA_DIR=str(data_dir)).stdout


def test_a_bad_challenger_is_rolled_back_while_requests_run(files: Path, tmp_path: Path) -> None:
    write_bad_model(files)
    with running("up", tmp_path, **QUIET, SERVER__WORKERS="2") as service:
        monitored(service)
        url, first, second = service.url, served(service.url), add(tmp_path, files, "bad.skops")
        began = started(url, second, share=0.5, rollback=True)
        assert "until it performs worse" in list_text(tmp_path)
        with Load(url, clients=16, pause=0.02) as load:
            wait_until(lambda: len(load.answered) > 2000, 60, "answers of both versions")
            httpx.post(f"{url}/monitor/trigger_now", timeout=60).raise_for_status()
            assert httpx.get(f"{url}/models", timeout=20).json()["challenger"]["version"] == second
            labels = [{"prediction_id": name, "label": "setosa"} for name in load.answered]
            wait_until(lambda: set(load.answered[: len(labels)]) <= set(service.logged_ids()), 30, "the log")
            for part in range(0, len(labels), 1000):
                answer = httpx.post(f"{url}/labels", json=labels[part : part + 1000], timeout=30)
                assert answer.status_code == 200, answer.text
            httpx.post(f"{url}/monitor/trigger_now", timeout=60).raise_for_status()
            end = service.line("challenger rolled back", version=second, champion=first)
            time.sleep(SETTLING.total_seconds())
            count = len(load.answered)
            wait_until(lambda: len(load.answered) > count + 500, 60, "answers of the champion")
        assert set(load.statuses) == {200}
        listed = httpx.get(f"{url}/models", timeout=20).json()
        ended, start = listed["challenges"][:2]
        assert listed["challenger"] is None
        assert (ended["author"], ended["is_rollback"], ended["version"]) == ("monitor", True, None)
        assert (ended["reason"], start["version"]) == (end["reason"], second)
        assert f"{second} performs worse than {first}, by " in ended["reason"]
        wait_until(lambda: set(load.answered) <= set(service.logged_ids()), 60, "all that was answered")
        stop = datetime.fromisoformat(ended["active_from"])
        for text, version in service.sql("SELECT time, version FROM predictions"):
            when = datetime.fromisoformat(text + "+00:00")
            if when > stop + SETTLING or when < began - WRITING:
                assert version == first
        assert service.metric("driftbell_rollbacks_total") == 1
        assert "rolled back at " in list_text(tmp_path)
        assert len(service.events("challenger compared")) == 1


def test_a_shadow_predicts_copies_and_answers_nobody(files: Path, tmp_path: Path) -> None:
    with running("serve", tmp_path, **QUIET, SERVER__WORKERS="2") as service:
        first, second = served(service.url), add(tmp_path, files)
        refused = challenge(service.url, second, shadow=True, sticky_header="x-user")
        assert (refused.status_code, "needs no sticky key" in refused.text) == (409, True)
        begin = started(service.url, second, shadow=True)
        with Load(service.url, clients=16, pause=0.02) as load:
            killed = max(workers(service))
            wait_until(lambda: len(load.answered) > 500, 60, "answers")
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: killed not in workers(service) and len(workers(service)) == 2, 60, "a worker")
            count = len(load.answered)
            wait_until(lambda: len(load.answered) > count + 500, 60, "answers")
            assert set(answering(service, None)) == {first}
        assert set(load.statuses) <= {0, 200}  # 0: connections to the killed worker
        joined = "shadow_predictions s JOIN predictions p ON p.id = prediction_id"
        copies = f"SELECT p.version, s.version, s.time FROM {joined}"
        wait_until(lambda: len(service.sql(copies)) > 500, 30, "copies")
        rows = service.sql(copies)
        assert {row[:2] for row in rows} == {(first, second)}
        assert min(row[2] for row in rows) >= begin.replace(tzinfo=None).isoformat(" ")
        assert {row[0] for row in service.sql("SELECT DISTINCT version FROM predictions")} == {first}
        by_version = {
            s.labels["version"]
            for s in service.samples()
            if s.name == "driftbell_predictions_total" and s.value
        }
        assert by_version == {first}
        assert service.metric("driftbell_shadow_predictions_total", model="iris", version=second) > 500
        assert service.metric("driftbell_shadow_dropped_total", reason="model") == 0
        assert not service.events("shadow cannot predict")
        # a label of the answered prediction is one of both
        labels = [{"prediction_id": name, "label": "setosa"} for name in load.answered]
        httpx.post(f"{service.url}/labels", json=labels, timeout=30).raise_for_status()
        compared = httpx.get(f"{service.url}/models/compare", timeout=30).raise_for_status().json()
        assert (compared["before"]["version"], compared["after"]["version"]) == (first, second)
        assert compared["agreement"]["rows"] >= compared["pairs"] > 500
        assert compared["agreement"]["matrix"] == [[compared["agreement"]["rows"]]]
        assert compared["after"]["p95_latency_ms"] > 0
        assert compared["verdict"] in ("equal", "unknown")
        alone = httpx.get(f"{service.url}/models/compare", params={"before": first}, timeout=30)
        assert alone.status_code == 409
        # the shadow becomes the champion: it answers, and copies nothing any more
        assert promote(service.url, second).status_code == 200
        wait_until(lambda: version_of(service.url) == second, 10, "the promotion")
        time.sleep(SETTLING.total_seconds())
        count = len(service.sql(copies))
        assert set(answering(service, None)) == {second}
        time.sleep(SETTLING.total_seconds())
        assert len(service.sql(copies)) == count
