"""The contract's rows C7 to C19, as a client sees them that knows nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.conftest import EXAMPLE, Running, monitored, running

pytestmark = pytest.mark.service

NAME = re.compile(r"drift_report_\d{8}_\d{6}\.html")
MANUAL = re.compile(r"drift_report_manual_\d{8}_\d{6}\.html")


@dataclass
class Story:
    """What a client of a new service was answered, in order."""

    service: Running
    at_first: dict[str, Any] = field(default_factory=dict)
    with_seven: dict[str, Any] = field(default_factory=dict)
    after_seven: dict[str, Any] = field(default_factory=dict)
    with_forty: dict[str, Any] = field(default_factory=dict)
    manual: dict[str, Any] = field(default_factory=dict)
    at_last: dict[str, Any] = field(default_factory=dict)

    def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        return httpx.request(method, f"{self.service.url}{path}", json=body, timeout=130)

    def page(self, path: str) -> str:
        answer = self.call("GET", path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        return answer.text


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Every setting is the default: this is what `driftbell up` does."""
    with running("up", tmp_path_factory.mktemp("contract")) as service:
        monitored(service)
        told = Story(service)
        told.at_first = told.call("GET", "/monitor/status").json()
        for _ in range(7):
            assert told.call("POST", "/predict", EXAMPLE).status_code == 200
        told.with_seven = told.call("POST", "/monitor/trigger_now").json()
        told.after_seven = told.call("GET", "/monitor/status").json()
        for i in range(33):
            row = {**EXAMPLE, "sepal length (cm)": 4 + i / 10}
            assert told.call("POST", "/predict", row).status_code == 200
        told.with_forty = told.call("POST", "/monitor/trigger_now").json()
        told.manual = told.call("GET", "/monitor/generate_report").json()
        told.at_last = told.call("GET", "/monitor/status").json()
        yield told


def test_c7_a_setosa_is_predicted(story: Story) -> None:
    answer = story.call("POST", "/predict", EXAMPLE)
    body = answer.json()
    assert answer.status_code == 200
    assert body["class"] == "setosa"
    assert body["class_id"] == 0
    assert set(body) >= {"probabilities", "id", "model", "version"}
    assert body["probabilities"].keys() == {"setosa", "versicolor", "virginica"}
    assert sum(body["probabilities"].values()) == pytest.approx(1)


def test_c7_the_order_of_the_fields_and_whole_numbers_do_not_matter(story: Story) -> None:
    row = {"petal width (cm)": 2, "petal length (cm)": 6, "sepal width (cm)": 3, "sepal length (cm)": 7}
    body = story.call("POST", "/predict", row).json()
    assert (body["class"], body["class_id"]) == ("virginica", 2)


@pytest.mark.parametrize("shape", ["rows", "columns and data"])
def test_c7_a_batch_is_answered_like_its_rows(story: Story, shape: str) -> None:
    rows = [{**EXAMPLE, "petal length (cm)": v, "petal width (cm)": v / 3} for v in (1.4, 4.5, 6.0)]
    names = list(reversed(EXAMPLE))
    table = {"columns": names, "data": [[row[n] for n in names] for row in rows]}
    batch = story.call("POST", "/predict/batch", rows if shape == "rows" else table).json()["predictions"]
    single = [story.call("POST", "/predict", row).json() for row in rows]
    assert [p["class"] for p in batch] == [p["class"] for p in single]
    assert [p["probabilities"] for p in batch] == [p["probabilities"] for p in single]
    assert len({p["id"] for p in [*batch, *single]}) == 6


def test_c8_health_is_200_when_it_can_serve(story: Story) -> None:
    assert story.call("GET", "/health").status_code == 200
    assert story.call("GET", "/health").json()["status"] == "ready"
    assert story.call("GET", "/health/live").status_code == 200


def test_c9_status_says_whether_it_is_on_and_when_it_runs_next(story: Story) -> None:
    status = story.at_first
    assert status["enabled"] is True
    due = datetime.fromisoformat(status["next_run"])
    assert timedelta() < due - datetime.now(UTC) + timedelta(minutes=5) <= timedelta(minutes=10)


def test_c9_status_counts_data_points_and_lists_reports(story: Story) -> None:
    assert story.at_first["data_points"] == 0
    assert story.at_first["reports"] == []
    assert story.at_first["latest_report_url"] is None
    assert story.after_seven["data_points"] == 7
    assert story.at_last["data_points"] == 40
    assert story.at_last["latest_report_url"] == "/reports/drift_report_latest.html"
    newest = story.at_last["reports"][0]
    assert newest["url"] == f"/reports/{newest['name']}"
    assert newest["manual"] is True
    assert story.page(newest["url"])


def test_c9_status_has_the_last_check_with_its_sentence(story: Story) -> None:
    last = story.at_last["last_check"]
    assert last["id"] == story.manual["id"]
    assert last["sentence"] == story.manual["sentence"]
    assert last["verdict"] in ("ok", "warning", "alarm")


def test_c10_trigger_now_answers_when_the_check_is_done(story: Story) -> None:
    found = story.with_forty
    assert found["rows"] == 40
    assert found["verdict"] in ("ok", "warning", "alarm")
    assert found["sentence"]
    assert isinstance(found["drifted_columns"], list)
    assert story.page(found["report_url"])


def test_c11_generate_report_makes_a_manual_report(story: Story) -> None:
    assert MANUAL.fullmatch(story.manual["report_url"].removeprefix("/reports/"))
    assert story.page(story.manual["report_url"])


def test_c12_metrics_are_prometheus_text_with_requests_latency_and_predictions(story: Story) -> None:
    answer = story.call("GET", "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    families = {f.name: f for f in text_string_to_metric_families(answer.text)}
    requests = families["driftbell_http_requests"]
    assert requests.type == "counter"
    assert sum(s.value for s in requests.samples if s.labels.get("route") == "/predict") >= 40
    latency = families["driftbell_http_request_duration_seconds"]
    assert latency.type == "histogram"
    assert any(s.labels.get("le") == "+Inf" and s.labels["route"] == "/predict" for s in latency.samples)
    assert sum(s.value for s in families["driftbell_predictions"].samples) >= 40


def test_c13_checks_run_every_five_minutes_unless_told_otherwise(story: Story) -> None:
    assert datetime.fromisoformat(story.at_first["next_run"]).timestamp() % 300 == 0


def test_c14_the_window_is_the_last_500_predictions(story: Story) -> None:
    assert story.at_first["window_rows"] == 500


def test_c15_with_seven_of_ten_rows_it_says_so_and_makes_no_report(story: Story) -> None:
    assert story.with_seven["verdict"] == "unknown"
    assert "needs 10, has 7" in story.with_seven["sentence"]
    assert story.with_seven["report_url"] is None
    assert story.with_seven["drifted_columns"] == []
    assert story.after_seven["reports"] == []
    assert story.after_seven["latest_report_url"] is None


def test_c16_the_report_names_every_feature_and_the_test(story: Story) -> None:
    page = story.page(story.with_forty["report_url"])
    assert all(name in page for name in EXAMPLE)
    assert re.search("Kolmogorov|K-S", page)


def test_c17_reports_are_named_by_time_and_the_latest_is_the_newest(story: Story) -> None:
    assert NAME.fullmatch(story.with_forty["report_url"].removeprefix("/reports/"))
    folder = story.service.data_dir / "reports"
    newest = folder / story.manual["report_url"].removeprefix("/reports/")
    assert (folder / "drift_report_latest.html").read_bytes() == newest.read_bytes()
    assert not [p.name for p in folder.iterdir() if p.name.startswith(".")]


def test_c18_reports_are_listed_and_the_latest_is_served(story: Story) -> None:
    listed = story.page("/reports/")
    assert story.with_forty["report_url"] in listed
    assert story.manual["report_url"] in listed
    assert story.page("/reports/drift_report_latest.html") == story.page(story.manual["report_url"])


def test_c19_every_log_line_is_json_and_the_check_says_drift(story: Story) -> None:
    events = story.service.events()
    assert all({"time", "level", "event"} <= e.keys() for e in events)
    assert {e["level"] for e in events} <= {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
    assert any("scheduler started" in e["event"] for e in events)
    checks = story.service.events("drift check")
    assert {story.with_seven["id"], story.with_forty["id"]} <= {e["check_id"] for e in checks}
    assert any(e["sentence"] == story.with_forty["sentence"] for e in checks)
