"""Labels are read by the classes of the version that predicted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from tests.asgi import post
from tests.contract.builders import NOW, prediction

from driftbell.records import Task
from driftbell.records.versions import ModelVersion
from driftbell.server.api import label_readers
from driftbell.server.api.label_readers import LabelReaders
from driftbell.server.api.labels import Labeller, labels_router
from driftbell.server.http.errors import ErrorAnswers
from driftbell.server.http.metrics import Metrics
from driftbell.store.sql import SqlStore
from driftbell.tabular.schema import infer_schema
from driftbell.testing import FakeModel, memory_store

FLOWERS = ("setosa", "virginica")
ANSWERS = ("no", "yes")
FLOWER, ANSWER, NUMBER = "id-1", "id-2", "id-3"


class Service:
    """Labels of three versions: of flowers, of answers (it serves), and of a regression."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.classes = {"v1": FLOWERS, "v2": ANSWERS, "v3": ()}
        store.predictions.append(
            [
                prediction(1),
                prediction(2, version="v2", output="no"),
                prediction(3, version="v3", output="1.5"),
            ]
        )
        for version in self.classes:
            self.register(version)

    def register(self, version: str) -> None:
        classes = self.classes[version]
        task = (Task.CLASSIFICATION if classes else Task.REGRESSION).value
        self.store.versions.add(ModelVersion("iris", version, "", {}, (), (), classes, task, NOW, "ada"))

    def send(self, *labels: tuple[str, Any], served: str = "v2") -> httpx.Response:
        schema = infer_schema({"x": [1.0, 2.0]})
        model = FakeModel(schema, self.classes[served], lambda c: c["x"], name="iris", version=served)
        app = FastAPI()
        metrics = Metrics()
        ErrorAnswers(metrics).add_to(app)
        labeller = Labeller(self.store, metrics, queue_limit=100, clock=lambda: NOW)
        readers = LabelReaders(self.store, lambda: model, lambda: NOW)
        app.include_router(labels_router(labeller, readers, body_limit=100_000))
        rows = [{"prediction_id": name, "label": label} for name, label in labels]
        [answer] = post(app, ("/labels", rows if len(rows) != 1 else rows[0]))
        return answer

    def stored(self) -> dict[str, str]:
        labelled = (self.store.labels.newest(9, model="iris", version=v) for v in self.classes)
        return {row.prediction.id: row.label for rows in labelled for row in rows}


@pytest.fixture
def service() -> Iterator[Service]:
    store = memory_store()
    yield Service(store)
    store.close()


def test_each_label_is_stored_by_the_classes_of_its_version(service: Service) -> None:
    answer = service.send((FLOWER, " Virginica"), (ANSWER, "YES "), (NUMBER, "2.50"))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["accepted"], answer.json()["unseen"]) == (3, {})
    assert service.stored() == {FLOWER: "virginica", ANSWER: "yes", NUMBER: "2.5"}


@pytest.mark.parametrize("served", ["v1", "v2", "v3"])
def test_late_labels_alone_are_no_typo(service: Service, served: str) -> None:
    assert service.send((FLOWER, "setosa"), served=served).json()["unseen"] == {}
    answer = service.send((FLOWER, 1), (FLOWER, "virginica"), served=served)
    assert answer.json()["corrected"] == 1, answer.text
    assert service.stored() == {FLOWER: "virginica"}


def test_classes_of_another_version_are_unseen(service: Service) -> None:
    assert service.send((FLOWER, "setosa"), (ANSWER, "virginica")).json()["unseen"] == {"virginica": 1}
    refused = service.send((FLOWER, "yes"), (ANSWER, "setosa"))
    assert refused.status_code == 422
    assert "'setosa', 'virginica', 'no' and 'yes'" in refused.json()["detail"]


def test_a_wrong_label_of_another_version_is_named_with_its_row(service: Service) -> None:
    refused = service.send((ANSWER, "yes"), (NUMBER, "many"))
    assert refused.status_code == 422
    [error] = refused.json()["errors"]
    assert (error["field"], error["row"]) == ("label", 1)
    assert error["message"].startswith("'label' must be a number")


def test_unknown_predictions_and_invalid_ids_are_answered_as_before(service: Service) -> None:
    assert service.send(("none", "yes")).status_code == 404
    assert service.send(("none", "yes"), (ANSWER, "no")).json()["unknown"] == ["none"]
    assert service.send(("", "yes")).status_code == 422
    assert service.send(("nul\0", "yes"), (ANSWER, "no")).status_code == 422
    assert service.send().status_code == 422


def test_a_recent_prediction_of_the_version_before_is_waited_for(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{int((NOW - timedelta(seconds=1)).timestamp() * 1000):012x}7{uuid4().hex[13:]}"
    read, calls = service.store.predictions.versions_by_id, list[int]()

    def late(ids: Any, *, model: str) -> dict[str, str]:
        calls.append(len(ids))
        if len(calls) == 3:
            service.store.predictions.append([replace(prediction(0), id=name)])
        return read(ids, model=model)

    monkeypatch.setattr(label_readers, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(service.store.predictions, "versions_by_id", late)
    answer = service.send((name, 0), (ANSWER, "no"))
    assert answer.json()["accepted"] == 2
    assert calls == [2, 1, 1]
    assert service.stored()[name] == "setosa"


def test_versions_with_the_same_classes_are_not_looked_up(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.classes = {"v1": FLOWERS}
    service.store.close()
    service.store = store = memory_store()
    store.predictions.append([prediction(1)])
    service.register("v1")
    monkeypatch.setattr(store.predictions, "versions_by_id", None)
    assert service.send((FLOWER, "setosa"), served="v1").json()["accepted"] == 1
    assert service.stored() == {FLOWER: "setosa"}
