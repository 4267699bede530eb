"""API, log, page, reports, notifications, metrics and dashboard say the same about the performance."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.samples import Sample
from tests.conftest import Running, monitored, predict, running, wait_until
from tests.receiver import Receiver, receiving

from driftbell.ops.grafana import dashboards
from driftbell.publish.wording import format_loss
from driftbell.records import Degradation, Interval, Performance, Value, Verdict
from driftbell.simulation.faults import CONTRACT_FAULTS, apply_faults
from driftbell.simulation.traffic import iris_rows

pytestmark = pytest.mark.service

Rows = list[dict[str, Value]]

VERDICTS = ("ok", "warning", "alarm", "unknown", "cannot tell")
"""Verdicts in the order of their numbers in the dashboard."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as result:
        yield result


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Running]:
    with running(
        "up",
        tmp_path_factory.mktemp("statement"),
        CHECK__EVERY="off",
        REPORTS__EVIDENTLY="on",
        NOTIFICATIONS__URLS=receiver.url(),
        NOTIFICATIONS__COOLDOWN="off",
        NOTIFICATIONS__NEEDS_LABELS="true",
        NOTIFICATIONS__LINK="http://ml.example.org",
    ) as result:
        monitored(result)
        yield result


def normal(rows: int, seed: int, *, share: float = 0.0, **cells: Value) -> Rows:
    """Return rows like the reference; a share of them, at random, has other cells."""
    rng = np.random.default_rng(seed)
    result: Rows = [dict(row) for row in iris_rows(rows, rng)]
    for place in rng.permutation(rows)[: round(share * rows)]:
        result[place].update({name.replace("_", " ") + " (cm)": value for name, value in cells.items()})
    return result


def faulty(rows: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    return [dict(row) for row in apply_faults(iris_rows(rows, rng), CONTRACT_FAULTS, rng)]


def label(service: Running, answers: Sequence[dict[str, Any]], *, wrong: float = 0.0) -> None:
    """Send a label for each answer, which is another class in a share of them."""
    body = []
    for number, answer in enumerate(answers):
        other = "virginica" if answer["class"] != "virginica" else "setosa"
        is_wrong = (number * wrong) % 1 + wrong > 1 - 1e-9
        body.append({"prediction_id": answer["id"], "label": other if is_wrong else answer["class"]})
    httpx.post(f"{service.url}/labels", json=body, timeout=30).raise_for_status()


def checked(service: Running) -> dict[str, Any]:
    answer = httpx.post(f"{service.url}/monitor/trigger_now", timeout=130).raise_for_status()
    result: dict[str, Any] = answer.json()
    return result


def degradation_of(check: dict[str, Any]) -> Degradation:
    """Return the part of the API's answer that the texts of a loss are made of."""
    view = check["degradation"]
    loss, known = view["estimated_loss"], view["performance"]
    return Degradation(
        Verdict(view["verdict"]),
        view["sentence"],
        performance=Performance(known["metric"], known["reference"], currency=known["currency"]),
        estimated_loss=Interval(**loss) if loss else None,
        closing=view["closing"],
    )


def dashboard_value(samples: Sequence[Sample], expression: str) -> float | None:
    """Evaluate an expression of sums of `max (metric{labels})`; None if a metric has no sample."""
    missing = []

    def value(match: re.Match[str]) -> str:
        matchers = dict(re.findall(r'(\w+)="([^"$]*)"', match[2]))
        values = [
            s.value
            for s in samples
            if s.name == match[1] and all(s.labels.get(k) == v for k, v in matchers.items())
        ]
        if not values:
            missing.append(match[1])
        return repr(max(values, default=0.0))

    numbers = re.sub(r"max ?(?:by \(\w+\) )?\((\w+)\{([^}]*)\}\)", value, expression)
    assert re.fullmatch(r"[\d.e+* -]+", numbers), expression
    total = sum(
        float(np.prod([float(factor) for factor in term.split(" * ")])) for term in numbers.split(" + ")
    )
    return None if missing else total


def expressions(title: str) -> list[str]:
    panels = [panel for dashboard in dashboards() for panel in dashboard["panels"]]
    (panel,) = [panel for panel in panels if panel.get("title") == title]
    return [target["expr"] for target in panel["targets"]]


def text_of(page: str) -> str:
    """Return a page with its entities and the escapes of its scripts resolved."""
    text = re.sub(r"\\u([0-9a-f]{4})", lambda match: chr(int(match[1], 16)), page)
    return html.unescape(text).replace('\\"', '"')


def same_everywhere(service: Running, receiver: Receiver, check: dict[str, Any], messages: int) -> None:
    """Assert that every surface has the verdict, the loss with its interval, and the sentence of the API."""
    view = check["degradation"]
    verdict, sentence, loss, cost = (
        view[key] for key in ("verdict", "sentence", "estimated_loss", "daily_cost")
    )
    status = service.status()["last_check"]["degradation"]
    assert {key: status[key] for key in ("verdict", "sentence", "estimated_loss", "change_point")} == {
        key: view[key] for key in ("verdict", "sentence", "estimated_loss", "change_point")
    }

    line = service.line("drift check", check_id=check["id"])
    assert (line["degradation"], line["needs_labels"]) == (verdict, view["needs_labels"])
    assert line["level"] in ("warning", "WARNING") or not view["needs_labels"]
    assert sentence in line["sentence"] or verdict == "ok"
    assert line["estimated_loss"] == (loss and round(loss["value"], 4))
    assert line["estimated_loss_interval"] == (loss and [round(loss["low"], 4), round(loss["high"], 4)])
    assert line["daily_cost"] == cost

    page = text_of(httpx.get(f"{service.url}/", timeout=30).text)
    block = page.split("Does the model perform worse?")[1].split("The last hour")[0]
    own, evidently = (
        text_of(httpx.get(f"{service.url}{path}", timeout=30).text)
        for path in sorted(check["reports"], key=lambda path: "evidently" in path)
    )
    loss_text = format_loss(degradation_of(check))
    answer = "cannot tell" if view["needs_labels"] else verdict
    for name, text in (("page", block), ("report", own)):
        assert sentence in text, name
        assert f"</span> {answer}</b>" in text, name
        assert f"<dt>Estimated loss</dt><dd>{loss_text}</dd>" in text, name
    assert sentence.replace(">", "›") in evidently or verdict == "ok"
    assert loss_text.partition(" (")[0] in evidently

    samples = service.samples()
    series = [dashboard_value(samples, e) for e in expressions("Loss of performance")[:3]]
    assert series == (
        pytest.approx([loss["value"], loss["low"], loss["high"]]) if loss else [None, None, None]
    )
    overall, of_model = (dashboard_value(samples, e) for e in expressions("Verdict over time"))
    assert overall is not None
    assert of_model is not None
    assert (VERDICTS[int(overall)], VERDICTS[int(of_model)]) == (check["verdict"], answer)
    (needs_labels,) = [s.value for s in samples if s.name == "driftbell_needs_labels"]
    assert needs_labels == view["needs_labels"]
    costs = [dashboard_value(samples, e) for e in expressions("Cost per day")]
    assert costs == (
        pytest.approx([cost["value"], cost["low"], cost["high"]]) if cost else [None, None, None]
    )

    wait_until(lambda: len(receiver.messages) >= messages, 60, "the notification")
    assert len(receiver.messages) == messages
    if verdict == "alarm":
        assert sentence in receiver.messages[-1]["message"] or view["closing"]


def assert_rows_are_named(service: Running, check: dict[str, Any]) -> None:
    """Assert that nobody takes the loss since a change and the realized performance for the same labels."""
    sentence = check["degradation"]["sentence"]
    assert re.search(
        r"This is the loss in the \d+ labels since then, averaged over the possible starts", sentence
    )
    page = text_of(httpx.get(f"{service.url}/", timeout=30).text)
    reports = [text_of(httpx.get(f"{service.url}{path}", timeout=30).text) for path in check["reports"]]
    for text in (page, *reports):
        assert re.search(
            r"(Realized \(newest \d+ labels|realized, newest labels), of rows until \d{4}-\d\d-\d\d", text
        )


def test_every_surface_says_the_same_in_each_state(service: Running, receiver: Receiver) -> None:
    def state(
        expected: str, starts: str | Callable[[str], bool], messages: int, overall: str = ""
    ) -> dict[str, Any]:
        check = checked(service)
        view = check["degradation"]
        assert view["verdict"] == expected, view["sentence"]
        fits = starts(view["sentence"]) if callable(starts) else view["sentence"].startswith(starts)
        assert fits, view["sentence"]
        assert check["verdict"] == (overall or expected)
        same_everywhere(service, receiver, check, messages)
        return check

    predict(service.url, normal(200, 1))
    state("ok", "The model performs as well as on its reference", 0)

    predict(service.url, normal(300, 2, share=0.2, sepal_length=14.0))
    state("ok", "The model performs as well as on its reference", 0, overall="warning")

    predict(service.url, normal(500, 3, share=0.074, petal_width=9.0))
    unknown = state("unknown", "Cannot tell whether the model performs worse", 1, overall="warning")
    need = receiver.messages[-1]
    assert need["title"] == "driftbell: iris needs labels"
    assert need["message"].startswith(unknown["degradation"]["sentence"])
    sheet = f"/monitor/checks/{unknown['id']}/label-sheet"
    rows = len(unknown["degradation"]["to_label"])
    assert f"label these {rows} predictions: http://ml.example.org{sheet}" in need["message"]
    table = httpx.get(f"{service.url}{sheet}", timeout=10).raise_for_status().text.splitlines()
    assert len(table) == rows + 1
    assert f'href="{sheet}"' in httpx.get(f"{service.url}/", timeout=30).text

    predict(service.url, normal(500, 13, share=0.074, petal_width=9.0))
    state("unknown", "Cannot tell whether the model performs worse", 1, overall="warning")

    usual = predict(service.url, normal(500, 4))
    state("ok", "The model performs as well as on its reference", 2)
    assert receiver.messages[-1]["title"] == "driftbell: iris needs no labels any more"

    changed = predict(service.url, faulty(500, 5))
    alarm = state("alarm", lambda text: ", estimated without labels, since" in text, 3)
    assert receiver.messages[-1]["title"] == "driftbell: iris ALARM"
    assert alarm["degradation"]["daily_cost"]["unit"] == "more wrong predictions"

    label(service, changed)
    state("warning", lambda text: "the labels show no loss" in text, 4)
    assert receiver.messages[-1]["title"] == "driftbell: iris resolved"
    for fact in ("Loss since: ", "Alarm open: ", "Largest loss: ", "Suspect columns then: "):
        assert f"\n{fact}" in receiver.messages[-1]["message"]

    predict(service.url, normal(500, 6))
    checked(service)
    label(service, usual[:400], wrong=0.5)
    by_labels = state("alarm", lambda text: ", by its labels, since" in text, 5)
    assert_rows_are_named(service, by_labels)

    label(service, usual[400:430])
    state("alarm", "The newest rows show no certain loss", 5)
