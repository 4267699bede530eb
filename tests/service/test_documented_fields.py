"""The fields that the documents name are those that the API answers, no more and no less."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.conftest import Running, monitored, predict, running

from driftbell.simulation.faults import CONTRACT_FAULTS, apply_faults
from driftbell.simulation.traffic import iris_rows

pytestmark = pytest.mark.service

DOCS = Path(__file__).parents[2] / "docs"
OF_REGRESSIONS = {"rmse", "r2"}


def documented(file: str, section: str) -> set[str]:
    """Return the fields in the first column of the table of a section."""
    text = (DOCS / file).read_text("utf-8").split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    table = text.split("| --- | --- |\n", 1)[1].split("\n\n", 1)[0]
    return {name for line in table.splitlines() for name in re.findall("`(.+?)`", line.split("|")[1])}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with an alarm, and with labels of some predictions."""
    with running(
        "up", tmp_path_factory.mktemp("fields"), CHECK__EVERY="off", REPORTS__EVIDENTLY="off"
    ) as service:
        monitored(service)
        generator = np.random.default_rng(5)
        answers = predict(service.url, apply_faults(iris_rows(150, generator), CONTRACT_FAULTS, generator))
        labels = [{"prediction_id": a["id"], "label": a["class"]} for a in answers[:30]]
        httpx.post(f"{service.url}/labels", json=labels).raise_for_status()
        check = httpx.post(f"{service.url}/monitor/trigger_now", timeout=60).json()
        assert check["verdict"] == "alarm", check["sentence"]
        yield service


def get(service: Running, path: str) -> Any:
    return httpx.get(f"{service.url}{path}", timeout=10).raise_for_status().json()


def test_the_fields_of_the_status_are_documented(service: Running) -> None:
    assert get(service, "/monitor/status").keys() == documented("reference/http.md", "Status")


def test_the_fields_of_checks_are_documented(service: Running) -> None:
    fields, of_degradation = (documented("reference/http.md", name) for name in ("Checks", "Degradation"))
    (listed,) = get(service, "/monitor/checks")["checks"]
    one = get(service, f"/monitor/checks/{listed['id']}")
    assert one.keys() == fields
    assert one["degradation"].keys() == of_degradation
    assert listed.keys() == fields - {"columns", "metrics", "metric_labels"}
    text = (DOCS / "reference/http.md").read_text("utf-8")
    (brief,) = re.findall(r"The list of checks has only (.*) of it\.", text)
    assert listed["degradation"].keys() == set(re.findall("`(.+?)`", brief))


def test_the_fields_of_alarms_are_documented(service: Running) -> None:
    fields = documented("reference/http.md", "Alarms")
    (alarm,) = get(service, "/monitor/alarms")["alarms"]
    assert alarm.keys() == fields
    assert get(service, f"/monitor/alarms/{alarm['id']}") == get(service, "/monitor/status")["alarm"] == alarm
    check = get(service, f"/monitor/checks/{alarm['id']}")["degradation"]
    for name in ("change_point", "estimated_loss", "sentence"):
        assert alarm[name] == check[name], name
    text = (DOCS / "reference/http.md").read_text("utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| `largest_loss`"))
    assert alarm["largest_loss"].keys() == set(re.findall("`(.+?)`", row)) - {"largest_loss"}


def test_the_fields_of_the_performance_are_documented(service: Running) -> None:
    fields = documented("guides/labels.md", "Performance") - OF_REGRESSIONS
    assert get(service, "/monitor/performance").keys() == fields


def test_the_fields_of_a_prediction_and_of_the_registry_are_documented(service: Running) -> None:
    text = (DOCS / "reference/http.md").read_text("utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| `GET /models`"))
    for name in ("changes", "challenges"):
        assert f"`{name}`" in row
        assert name in get(service, "/models")
    row = next(line for line in text.splitlines() if line.startswith("| `GET /predictions/{id}`"))
    label_id = predict(service.url, iris_rows(1, np.random.default_rng(1)))[0]["id"]
    named = {*re.findall("`([a-z]+)`", row), "time", "version", "features", "probabilities"}
    answer = httpx.Response(404)
    for _ in range(100):
        answer = httpx.get(f"{service.url}/predictions/{label_id}")
        if answer.status_code == 200:
            break
    assert named <= answer.json().keys()
