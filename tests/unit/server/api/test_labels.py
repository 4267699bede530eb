"""Labels of recent predictions that another replica has not stored yet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from tests.contract.builders import prediction

from driftbell.records import Label, LabelReceipt
from driftbell.server.api import labels
from driftbell.server.api.label_readers import RETRIES
from driftbell.server.api.labels import Labeller
from driftbell.server.http.metrics import Metrics
from driftbell.store.sql import SqlStore
from driftbell.testing import memory_store

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = memory_store()
    yield opened
    opened.close()


class LateStore:
    """A store that gets a prediction of another replica after some attempts to label it."""

    def __init__(self, store: SqlStore, prediction_id: str, attempts: int) -> None:
        self.labels = self
        self.attempts = 0
        self._store, self._id, self._stored_after = store, prediction_id, attempts

    def add(self, new: list[Label]) -> LabelReceipt:
        if self.attempts == self._stored_after:
            self._store.predictions.append([replace(prediction(0), id=self._id)])
        self.attempts += 1
        return self._store.labels.add(new)


def id_at(seconds: float) -> str:
    """Return a UUIDv7 of a clock that differs from NOW by some seconds."""
    random = uuid4().hex
    return f"{int((NOW + timedelta(seconds=seconds)).timestamp() * 1000):012x}7{random[13:]}"


def labelled(store: LateStore, *ids: str) -> LabelReceipt:
    async def story() -> LabelReceipt:
        labeller = Labeller(store, Metrics(), queue_limit=100, clock=lambda: NOW)  # type: ignore[arg-type]
        receipt = await labeller.add([(name, "setosa") for name in ids])
        await labeller.close()
        return receipt

    return asyncio.run(story())


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "RETRY_SECONDS", 0.001)


@pytest.mark.parametrize("difference", [-110.0, -4.0, -1.0, 0.0, 1.0, 4.0, 110.0])
def test_a_label_waits_for_a_replica_with_another_clock(store: SqlStore, difference: float) -> None:
    name = id_at(difference)
    late = LateStore(store, name, attempts=3)
    assert labelled(late, name).accepted == 1
    assert late.attempts == 4


def test_a_label_of_an_unknown_recent_prediction_is_retried_a_few_times(store: SqlStore) -> None:
    late = LateStore(store, "", attempts=-1)
    receipt = labelled(late, id_at(0), id_at(1))
    assert len(receipt.unknown) == 2
    assert late.attempts == 1 + RETRIES


@pytest.mark.parametrize(
    "name", [id_at(-130), id_at(130), "id-1", "x" * 64], ids=["old", "future", "no UUID", "long"]
)
def test_other_unknown_labels_are_not_retried(store: SqlStore, name: str) -> None:
    late = LateStore(store, "", attempts=-1)
    assert labelled(late, name).unknown == (name,)
    assert late.attempts == 1


def test_the_number_of_labels_that_wait_is_limited(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MAX_RETRIED", 3)
    monkeypatch.setattr(labels, "RETRY_SECONDS", 0.01)
    late = LateStore(store, "", attempts=-1)

    async def story() -> None:
        labeller = Labeller(late, Metrics(), queue_limit=100, clock=lambda: NOW)  # type: ignore[arg-type]
        pairs = [[(id_at(0), "setosa"), (id_at(0), "setosa")] for _ in range(3)]
        await asyncio.gather(*map(labeller.add, pairs))
        await labeller.close()

    asyncio.run(story())
    assert late.attempts == 3 + RETRIES, "only one of the three requests waited"
