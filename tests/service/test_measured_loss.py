"""Over HTTP, labels decide about the rows that they are of, and alarms say whose rows they measure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from tests.conftest import Running, monitored, predict, running

from driftbell.simulation.faults import apply_faults, parse_fault
from driftbell.simulation.traffic import iris_rows

pytestmark = [pytest.mark.service, pytest.mark.timeout(600)]

ROWS = 500
OTHER = {"setosa": "virginica", "versicolor": "virginica", "virginica": "versicolor"}
OLD, NEW = "stuck:petal length (cm)=1.4", "stuck:petal width (cm)=0.2"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = {"CHECK__EVERY": "off", "REPORTS__EVIDENTLY": "off", "WINDOW__ROWS": str(ROWS)}
    with running("up", tmp_path_factory.mktemp("measured"), **settings) as service:
        monitored(service)
        yield service


def send(service: Running, seed: int, fault: str = "") -> list[dict[str, Any]]:
    """Send the rows of a check, and return the answers."""
    rng = np.random.default_rng(seed)
    rows = iris_rows(ROWS, rng)
    return predict(service.url, apply_faults(rows, [parse_fault(fault)], rng) if fault else rows)


def label(service: Running, answers: Sequence[dict[str, Any]], wrong: float) -> None:
    """Label answers, of which a share is wrong."""
    is_wrong = np.random.default_rng(len(answers)).random(len(answers)) < wrong
    body = [
        {"prediction_id": a["id"], "label": OTHER[a["class"]] if other else a["class"]}
        for a, other in zip(answers, is_wrong, strict=True)
    ]
    httpx.post(f"{service.url}/labels", json=body, timeout=60).raise_for_status()


def check(service: Running) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(f"{service.url}/monitor/trigger_now", timeout=120).json()
    return answer


@pytest.fixture(scope="module")
def usual(service: Running) -> float:
    """The error rate of the reference, after a quiet check without labels."""
    send(service, 1)
    quiet = check(service)
    assert quiet["verdict"] == "ok", quiet["sentence"]
    assert_no_loss(quiet)
    return 1.0 - quiet["degradation"]["performance"]["reference"]


def assert_no_loss(answer: dict[str, Any]) -> None:
    loss = answer["degradation"]["estimated_loss"]
    assert loss["low"] < 0 < loss["high"] < 0.06
    assert loss["low"] <= loss["value"] <= loss["high"]


def test_a_quiet_check_with_labels_states_the_loss_that_they_measure(service: Running, usual: float) -> None:
    label(service, send(service, 2), usual)
    quiet = check(service)
    assert quiet["verdict"] == "ok", quiet["sentence"]
    assert_no_loss(quiet)


def test_labels_of_every_row_decide_also_after_good_months(service: Running, usual: float) -> None:
    """Two harmless blocks do not hide that the newest one is 15 points worse."""
    for seed in (3, 4):
        label(service, send(service, seed, OLD), usual)
        harmless = check(service)
        assert harmless["verdict"] == "warning"
        claim = "(Inputs changed, performance did not|Labels do not confirm an estimated loss)"
        assert re.match(f"{claim}: estimated without labels, the loss is ", harmless["sentence"])
        measured = re.search(r"labels of rows (of|from) 20.* UTC show no certain loss", harmless["sentence"])
        assert measured, harmless["sentence"]
        assert_no_loss(harmless)
    label(service, send(service, 5, OLD), usual + 0.15)
    worse = check(service)
    assert worse["verdict"] == "alarm"
    assert "by its labels, since " in worse["sentence"]
    assert "estimated without labels" not in worse["sentence"]
    loss = worse["degradation"]["estimated_loss"]
    assert 0 < loss["low"] < 0.15 < loss["high"]


def test_labels_of_an_older_fault_do_not_acquit_a_newer_one(service: Running, usual: float) -> None:
    older = send(service, 6, OLD)
    check(service)
    newer = send(service, 7, NEW)
    label(service, older, usual)
    for labels in (0, 60):
        if labels:
            label(service, newer[:labels], usual)
        alarm = check(service)
        assert alarm["verdict"] == "alarm"
        assert "estimated without labels" in alarm["sentence"]
        assert re.search(
            r"The newest \d+ labels, of rows until 20.* UTC, show no (certain )?loss", alarm["sentence"]
        )
        few = f"Only {labels} labels are" if labels else "No label is"
        assert f"{few} of suspected rows (petal width (cm), since 20" in alarm["sentence"]
        assert " UTC), and at least 100 are needed" in alarm["sentence"]
        assert alarm["degradation"]["estimated_loss"]["low"] > 0
