"""An alarm over HTTP: read, labelled, annotated, and heeded by the next check."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from tests.conftest import Running, monitored, predict, running, wait_until

from driftbell.simulation.faults import CONTRACT_FAULTS, apply_faults
from driftbell.simulation.traffic import iris_rows

pytestmark = pytest.mark.service

SAID = {"author": "ada", "reason": "new flowers"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(
        "up", tmp_path_factory.mktemp("alarms"), CHECK__EVERY="off", REPORTS__EVIDENTLY="off"
    ) as found:
        monitored(found)
        yield found


@pytest.fixture(scope="module")
def alarm(service: Running) -> dict[str, Any]:
    """The alarm that drifted traffic opens."""
    generator = np.random.default_rng(5)
    predict(service.url, apply_faults(iris_rows(150, generator), CONTRACT_FAULTS, generator))
    checked = httpx.post(f"{service.url}/monitor/trigger_now", timeout=60).json()
    assert checked["verdict"] == "alarm", checked["sentence"]
    found = service.status()["alarm"]
    assert found["id"] == checked["id"]
    return found


def get(service: Running, path: str) -> Any:
    return httpx.get(f"{service.url}{path}", timeout=10).raise_for_status().json()


def annotate(service: Running, alarm_id: str, body: Any) -> httpx.Response:
    return httpx.post(f"{service.url}/monitor/alarms/{alarm_id}/annotation", json=body, timeout=10)


def test_the_alarm_is_listed_and_in_the_status(service: Running, alarm: dict[str, Any]) -> None:
    (listed,) = get(service, "/monitor/alarms")["alarms"]
    assert listed == get(service, f"/monitor/alarms/{alarm['id']}") == service.status()["alarm"] == alarm
    assert (listed["open"], listed["annotation"]) == (True, None)
    assert "petal length (cm)" in listed["sentence"]
    assert service.status()["warnings"] == []


def test_the_rows_to_label_come_as_a_table_to_fill_in(service: Running, alarm: dict[str, Any]) -> None:
    answer = httpx.get(f"{service.url}/monitor/alarms/{alarm['id']}/label-sheet")
    assert answer.headers["content-type"].startswith("text/csv")
    assert f'filename="label-sheet-{alarm["id"]}.csv"' in answer.headers["content-disposition"]
    lines = answer.text.splitlines()
    assert lines[0].startswith("prediction_id,label,prediction,sepal length (cm)")
    assert 2 <= len(lines) <= 101


@pytest.mark.parametrize(
    ("alarm_id", "body", "status", "field"),
    [
        ("nobody", {**SAID, "annotation": "false"}, 404, None),
        ("", {**SAID, "annotation": "wrong"}, 422, "annotation"),
        ("", {"annotation": "false", "reason": "x"}, 422, "author"),
        ("", {"annotation": "false", "author": "x"}, 422, "reason"),
        ("", {**SAID, "annotation": "silenced"}, 422, "until"),
        ("", {**SAID, "annotation": "false", "who": 1}, 422, "who"),
        ("", [], 422, ""),
    ],
)
def test_what_is_wrong_with_a_mark_is_named(
    service: Running, alarm: dict[str, Any], alarm_id: str, body: Any, status: int, field: str | None
) -> None:
    answer = annotate(service, alarm_id or alarm["id"], body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [e["field"] for e in answer.json().get("errors", [])] == ([] if field is None else [field])


def test_marks_are_taken_and_an_expected_alarm_makes_a_new_reference(
    service: Running, alarm: dict[str, Any]
) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    silent = (
        annotate(service, alarm["id"], {**SAID, "annotation": "silenced", "until": until})
        .raise_for_status()
        .json()
    )
    assert (silent["open"], silent["until"]) == (True, until)
    page = httpx.get(service.url).text
    assert f'<dd>silenced by ada until <time datetime="{until}">' in page
    assert f"<code>driftbell labels FILE --url {service.url}</code>" in page
    before = service.status()["last_check"]
    assert before["drifted_columns"]
    over = annotate(service, alarm["id"], {**SAID, "annotation": "expected"}).raise_for_status().json()
    assert (over["open"], over["annotation"], over["author"]) == (False, "expected", "ada")
    wait_until(lambda: service.status()["last_check"]["id"] != before["id"], 60, "the check after the mark")
    status = service.status()
    assert status["alarm"] is None
    last = status["last_check"]
    assert "Cannot judge yet whether the model performs worse" in last["sentence"]
    listed = httpx.get(f"{service.url}/monitor/checks").json()["checks"][0]
    assert listed["id"] == last["id"]
    assert last["verdict"] == listed["verdict"] == last["degradation"]["verdict"] == "unknown"
    assert service.line("drift check", check_id=last["id"])["verdict"] == "unknown"
    assert service.metric("driftbell_verdict", verdict="unknown") == 1
    assert service.metric("driftbell_degradation_verdict", verdict="unknown") == 1
    assert "Cannot judge yet" in httpx.get(service.url, headers={"accept": "text/html"}).text
    answer = annotate(service, alarm["id"], {**SAID, "annotation": "expected"})
    assert (answer.status_code, answer.json()["errors"][0]["reason"]) == (422, "closed")
