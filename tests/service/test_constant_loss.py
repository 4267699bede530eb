"""A constant loss is one alarm over HTTP, for any number of checks by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from tests.conftest import Running, monitored, predict, running

from driftbell.simulation.traffic import iris_rows

pytestmark = [pytest.mark.service, pytest.mark.timeout(600)]

ROWS, BLOCKS, LOSS = 2000, 6, 0.065
OTHER = {"setosa": "virginica", "versicolor": "virginica", "virginica": "versicolor"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = {"CHECK__EVERY": "off", "REPORTS__EVIDENTLY": "off", "WINDOW__ROWS": str(ROWS)}
    with running("up", tmp_path_factory.mktemp("loss"), **settings) as service:
        monitored(service)
        yield service


def block(service: Running, seed: int, wrong: float) -> dict[str, Any]:
    """Send a block with labels, of which a share says that the answer was wrong, and check it."""
    rng = np.random.default_rng(seed)
    answers = predict(service.url, iris_rows(ROWS, rng))
    classes = [answer["class"] for answer in answers]
    is_wrong = rng.random(ROWS) < wrong
    labels = [OTHER[name] if other else name for name, other in zip(classes, is_wrong, strict=True)]
    body = [{"prediction_id": a["id"], "label": one} for a, one in zip(answers, labels, strict=True)]
    httpx.post(f"{service.url}/labels", json=body, timeout=60).raise_for_status()
    return check(service)


def check(service: Running) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(f"{service.url}/monitor/trigger_now", timeout=120).json()
    return answer


def alarms(service: Running) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{service.url}/monitor/alarms").json()["alarms"]
    return found


def test_a_constant_loss_stays_one_alarm_until_it_is_over(service: Running) -> None:
    first = block(service, BLOCKS, 0.0)
    assert first["verdict"] == "ok", first["sentence"]
    wrong = 1 - first["degradation"]["performance"]["reference"] + LOSS
    verdicts = [block(service, seed, wrong)["verdict"] for seed in range(BLOCKS)]
    opened = verdicts.index("alarm")
    assert set(verdicts[opened:]) == {"alarm"}
    (alarm,) = alarms(service)
    assert alarm["open"]

    evidence = [check(service)["degradation"]["evidence"] for _ in range(5)]
    assert all(again == evidence[0] for again in evidence)
    assert [(a["id"], a["open"]) for a in alarms(service)] == [(alarm["id"], True)]

    assert alarm["closing_reason"] is None
    assert '<details class="alarm">' in httpx.get(f"{service.url}/").text  # the block above says the same
    assert alarm["estimated_loss"] == check(service)["degradation"]["estimated_loss"]

    assert block(service, BLOCKS + 1, 0.0)["verdict"] != "alarm"
    (closed,) = alarms(service)
    assert (closed["id"], closed["open"]) == (alarm["id"], False)
    assert_what_it_was_is_stated(service, closed)


def assert_what_it_was_is_stated(service: Running, closed: dict[str, Any]) -> None:
    largest = closed["largest_loss"]
    assert largest["low"] < LOSS < largest["high"]
    assert largest["value"] >= closed["estimated_loss"]["value"]
    assert closed["closing_reason"].startswith("The model performs as well as on its reference")
    since = closed["change_point"]["time"][:16].replace("T", " ")
    until = closed["closed"][:16].replace("T", " ")
    assert closed["sentence"].startswith(f"From {since} UTC until {until} UTC, the largest loss was ")
    assert closed["sentence"].endswith(closed["closing_reason"])
    page = httpx.get(f"{service.url}/").text
    assert f"{since} UTC to {until} UTC" in page
    assert '<details class="alarm" open>' in page
    assert f"<dt>Closed because</dt><dd>{closed['closing_reason']}</dd>" in page
    assert httpx.get(f"{service.url}/index.json").json()["alarms"] == [closed]
