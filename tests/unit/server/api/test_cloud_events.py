"""Events of KServe's inference logger: joined, recorded once, and never lost silently."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.external import ExternalSite

from driftbell.server.api import cloud_events

TYPES = {
    "request": "org.kubeflow.serving.inference.request",
    "response": "org.kubeflow.serving.inference.response",
}
SENT: Any = {"instances": [[48.0, "north"], [52.0, None]]}
ANSWERED: Any = {"predictions": [[0.25, 0.75], [0.9, 0.1]]}
TIME = "2026-01-31T11:59:00.25Z"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ExternalSite]:
    opened = ExternalSite(tmp_path)
    yield opened
    opened.close()


def binary(site: ExternalSite, name: str, kind: str, data: Any, **headers: str) -> httpx.Response:
    """Send an event in binary mode, as KServe does."""
    head = {
        "ce-specversion": "1.0",
        "ce-id": name,
        "ce-source": "http://localhost:9081/",
        "ce-type": TYPES.get(kind, kind),
        "ce-time": TIME,
        "ce-inferenceservicename": "credit",
        "content-type": "application/json",
        **headers,
    }
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    return site.post("/cloudevents", content=content, headers=head)


def envelope(name: str, kind: str, **data: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": name, "source": "/", "type": TYPES[kind], "time": TIME, **data}


def structured(site: ExternalSite, *events: dict[str, Any]) -> httpx.Response:
    """Send one event in structured mode, or several as a batch."""
    kind = "cloudevents+json" if len(events) == 1 else "cloudevents-batch+json"
    body = events[0] if len(events) == 1 else events
    headers = {"content-type": f"application/{kind}; charset=utf-8"}
    return site.post("/cloudevents", content=json.dumps(body), headers=headers)


def test_a_request_and_its_answer_become_predictions_in_either_order(site: ExternalSite) -> None:
    for first, second, name in (("request", "response", "a"), ("response", "request", "b")):
        for kind in (first, second):
            answer = binary(site, name, kind, SENT if kind == "request" else ANSWERED)
            assert (answer.status_code, answer.content) == (204, b"")
    logged = site.logged()
    assert set(logged) == {"a-0", "a-1", "b-0", "b-1"}
    assert logged["a-0"].features == {"income": 48.0, "region": "north"}
    assert logged["a-0"].probabilities == {"no": 0.25, "yes": 0.75}
    assert [logged[f"a-{i}"].output for i in (0, 1)] == ["yes", "no"]
    assert logged["a-0"].time.isoformat() == "2026-01-31T11:59:00.250000+00:00"
    assert site.refusals == {}


def test_structured_and_batched_events_and_tensors_are_read(site: ExternalSite) -> None:
    tensors = {
        "inputs": [
            {"name": "income", "shape": [1], "datatype": "FP64", "data": [48.0]},
            {"name": "region", "shape": [1], "datatype": "BYTES", "data": ["north"]},
        ]
    }
    label = {"outputs": [{"name": "label", "shape": [1], "datatype": "BYTES", "data": ["no"]}]}
    packed = base64.b64encode(json.dumps(label).encode()).decode()
    assert structured(site, envelope("one", "request", data=tensors)).status_code == 204
    assert structured(site, envelope("one", "response", data_base64=packed)).status_code == 204
    batch = [
        envelope("two", "request", data=json.dumps(tensors)),
        envelope("bad", "request", data={}),
        envelope("bad", "response", data={}),
        envelope("two", "response", data=label),
    ]
    answer = structured(site, *batch)
    assert answer.status_code == 422, "one exchange of the batch cannot be read; the others are recorded"
    assert "cannot be read: send a JSON object with one of" in answer.json()["detail"]
    assert set(site.logged()) == {"one", "two"}
    assert site.refusals == {"unreadable": 1}


def test_events_that_are_sent_again_are_recorded_once(site: ExternalSite) -> None:
    for _ in range(2):
        for kind, data in (("request", SENT), ("response", ANSWERED), ("response", ANSWERED)):
            assert binary(site, "a", kind, data).status_code == 204
    site.clock.now += timedelta(minutes=5)
    site.post("/cloudevents", content=b"")
    assert len(site.logged()) == 2


def test_a_request_without_an_answer_is_counted_after_a_while(
    site: ExternalSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud_events, "SWEEP_EVENTS", 0)
    binary(site, "a", "request", SENT)
    binary(site, "b", "response", ANSWERED)
    assert site.refusals == {}
    site.clock.now += timedelta(minutes=3)
    binary(site, "c", "request", SENT)
    assert site.refusals == {"unjoined": 2}
    assert site.logged() == {}


def test_bodies_that_are_not_read_are_counted_with_their_reason(site: ExternalSite) -> None:
    answer = binary(site, "a", "request", b"\x89PNG")
    assert answer.status_code == 422
    assert "cannot be read: the body is not UTF-8" in answer.json()["detail"]
    assert binary(site, "a", "response", ANSWERED).status_code == 204, "it waits for nothing"
    assert binary(site, "a", "request", b"{").status_code == 422, "sent again, it is counted once"
    binary(site, "b", "request", SENT)
    assert "2 predictions" not in binary(site, "b", "response", {"error": "down"}).json()["detail"]
    binary(site, "c", "request", {"instances": [["high", "north"], [1.0, "north"]]})
    assert binary(site, "c", "response", {"predictions": ["yes", "maybe"]}).status_code == 422
    assert site.refusals == {"unreadable": 2, "type": 1, "unknown_class": 1}
    assert site.logged() == {}


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ({"ce-type": "other"}, 422, "the type of the CloudEvent is 'other'"),
        ({"ce-id": ""}, 422, "must have an 'id'"),
        ({"ce-inferenceservicename": "churn"}, 404, "the service 'churn', the model here is 'credit'"),
        ({"content-type": "application/cloudevents+json"}, 422, "must have an 'id'"),
        ({"content-type": "application/cloudevents-batch+json"}, 422, "JSON objects of CloudEvents"),
    ],
)
def test_other_events_are_refused(
    site: ExternalSite, headers: dict[str, str], status: int, text: str
) -> None:
    answer = binary(site, "a", "request", SENT, **headers)
    assert (answer.status_code, text in answer.json()["detail"]) == (status, True), answer.text
    assert site.refusals == {}


def test_a_body_without_an_event_is_refused(site: ExternalSite) -> None:
    answer = site.post("/cloudevents", json=SENT)
    assert answer.status_code == 415
    wrong = structured(site, envelope("a", "request", data_base64="?"))
    assert (wrong.status_code, "must be Base64" in wrong.json()["detail"]) == (422, True)
