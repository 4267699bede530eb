"""KServe's inference logger against a service with two workers, which share the waiting requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import Running, running, wait_until
from tests.external import applicants, settings

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("events")
    applicants(300, seed=0).to_parquet(folder / "reference.parquet")
    with running("serve", folder / "data", "--workers", "2", **settings(folder)) as found:
        yield found


def bodies(seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    row = applicants(1, seed).iloc[0]
    return {"instances": [[row.income, row.debt, row.region]]}, {"predictions": [row.predicted]}


def attributes(name: str, kind: str) -> dict[str, str]:
    return {
        "id": name,
        "source": "http://localhost:9081/",
        "type": f"org.kubeflow.serving.inference.{kind}",
        "time": "2026-03-01T08:00:00Z",
        "inferenceservicename": "credit",
        "component": "predictor",
    }


def test_events_that_reach_different_workers_are_joined(service: Running) -> None:
    names = [f"event-{i}" for i in range(60)]
    for i, name in enumerate(names):
        for kind, body in zip(("request", "response"), bodies(i), strict=True):
            head = {f"ce-{key}": value for key, value in attributes(name, kind).items()}
            headers = {**head, "ce-specversion": "1.0", "content-type": "application/json"}
            answer = httpx.post(f"{service.url}/cloudevents", content=json.dumps(body), headers=headers)
            assert answer.status_code == 204, answer.text  # each on a connection, so of any worker
    wait_until(lambda: set(service.logged_ids()) >= set(names), 30, "the predictions")
    label = {"prediction_id": names[7], "label": "yes"}
    assert httpx.post(f"{service.url}/labels", json=label).json()["accepted"] == 1


def test_the_clients_of_cloud_events_are_understood(service: Running) -> None:
    pytest.importorskip("cloudevents.core", reason="the library cloudevents (2 or newer) is not installed")
    from cloudevents.core.bindings.http import to_binary_event, to_structured_event
    from cloudevents.core.v1.event import CloudEvent

    for number, write in enumerate((to_binary_event, to_structured_event)):
        for kind, body in zip(("request", "response"), bodies(number), strict=True):
            own = attributes(f"library-{number}", kind)
            event = CloudEvent(
                attributes={
                    **own,
                    "specversion": "1.0",
                    "time": datetime.now(UTC),
                    "datacontenttype": "application/json",
                },
                data=body,
            )
            message = write(event)
            answer = httpx.post(
                f"{service.url}/cloudevents", content=message.body, headers=dict(message.headers)
            )
            assert answer.status_code == 204, answer.text
    wanted = {"library-0", "library-1"}
    wait_until(lambda: wanted <= set(service.logged_ids()), 30, "the predictions")


def test_a_served_model_takes_no_events(tmp_path: Path) -> None:
    with running("serve", tmp_path / "data") as served:
        answer = httpx.post(f"{served.url}/cloudevents", json={})
        assert answer.status_code == 404
        assert "POST /predict" in answer.json()["detail"]
