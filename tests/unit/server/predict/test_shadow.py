"""Copies are predicted beside the answers, within a bound; nothing of it raises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from tests.conftest import wait_until
from tests.contract.builders import NOW

from driftbell.errors import PredictError, StoreError
from driftbell.records import ShadowPrediction
from driftbell.server.http.metrics import SHADOW_DROP_REASONS, Metrics
from driftbell.server.predict.answers import PredictedRow
from driftbell.server.predict.shadow import MAX_QUEUE, Shadow, ShadowWorker
from driftbell.tabular.schema import infer_schema
from driftbell.testing import FakeModel

NAMES = ("age", "city")
SCHEMA = infer_schema({"city": ["Bern", "Chur"], "age": [31.0, 52.0]})


class Rows:
    """A `ShadowStore` that keeps what is written."""

    def __init__(self) -> None:
        self.rows: list[ShadowPrediction] = []
        self.error: StoreError | None = None

    def append(self, predictions: Sequence[ShadowPrediction]) -> int:
        if self.error:
            raise self.error
        self.rows += predictions
        return len(predictions)


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def worker(rows: Any, metrics: Metrics) -> Iterator[ShadowWorker]:
    opened = ShadowWorker(rows, metrics, lambda: NOW)
    yield opened
    opened.close()


def model(
    rule: Callable[[Any], Any] = lambda table: table["age"] > 40, classes: Sequence[str] = ("no", "yes")
) -> FakeModel:
    return FakeModel(SCHEMA, classes, rule, name="iris", version="v2")


def offer(shadow: Shadow, count: int, first: int = 0) -> None:
    """Pass rows in the champion's order of features, with ages that are their numbers, on an event loop."""
    numbers = range(first, first + count)

    async def pass_on() -> None:
        answers = [PredictedRow(f"id-{n}", 0, []) for n in numbers]
        shadow.copy([[float(n), "Bern"] for n in numbers], answers)
        await asyncio.sleep(0.1)  # the timer that wakes the thread

    asyncio.run(pass_on())


def dropped(metrics: Metrics) -> dict[str, float]:
    counts = {reason: metrics.shadow_dropped.labels(reason)._value.get() for reason in SHADOW_DROP_REASONS}
    return {reason: count for reason, count in counts.items() if count}


def test_copies_are_predicted_in_the_order_of_the_shadows_features(
    worker: ShadowWorker, rows: Rows, metrics: Metrics
) -> None:
    offer(worker.shadow(model(), NAMES, 1.0), 100)
    wait_until(lambda: len(rows.rows) == 100, 20, "the outputs")
    assert [row.prediction_id for row in rows.rows] == [f"id-{n}" for n in range(100)]
    assert [row.output for row in rows.rows] == ["yes" if n > 40 else "no" for n in range(100)]
    assert rows.rows[0].probabilities == {"no": 1.0, "yes": 0.0}
    assert (rows.rows[0].time, rows.rows[0].version) == (NOW, "v2")
    measured = [row.latency_ms for row in rows.rows if row.latency_ms is not None]
    assert 0 < len(measured) < 100
    assert metrics.shadow_predictions.labels("iris", "v2")._value.get() == 100
    assert dropped(metrics) == {}


def test_numbers_of_a_regression_are_texts(worker: ShadowWorker, rows: Rows) -> None:
    offer(worker.shadow(model(lambda table: table["age"] / 4, ()), NAMES, 1.0), 3)
    wait_until(lambda: len(rows.rows) == 3, 20, "the outputs")
    assert [(row.output, row.probabilities) for row in rows.rows] == [("0.0", {}), ("0.25", {}), ("0.5", {})]


def test_a_share_of_the_rows_is_copied(worker: ShadowWorker, rows: Rows, metrics: Metrics) -> None:
    shadow = worker.shadow(model(), NAMES, 0.25)
    for _ in range(4):
        offer(shadow, 1000)
    wait_until(lambda: not worker._queue, 60, "the outputs")
    worker.close()
    assert 850 < len(rows.rows) < 1150
    assert dropped(metrics) == {}


def test_copies_beyond_the_queue_are_dropped_and_counted(
    worker: ShadowWorker, rows: Rows, metrics: Metrics
) -> None:
    offer(worker.shadow(model(), NAMES, 1.0), MAX_QUEUE + 7)
    assert dropped(metrics) == {"queue": 7}


def test_rows_that_the_model_fails_on_are_dropped_and_others_go_on(
    worker: ShadowWorker, rows: Rows, metrics: Metrics
) -> None:
    def rule(table: Any) -> Any:
        if 3 in table["age"]:
            raise PredictError("unknown age")
        return table["age"] > 40

    shadow = worker.shadow(model(rule), NAMES, 1.0)
    for number in range(6):
        offer(shadow, 1, number)
    wait_until(lambda: len(rows.rows) == 5, 20, "the outputs")
    assert dropped(metrics) == {"model": 1}


def test_outputs_that_cannot_be_stored_are_dropped(
    worker: ShadowWorker, rows: Rows, metrics: Metrics
) -> None:
    rows.error = StoreError("the disk is full")
    shadow = worker.shadow(model(), NAMES, 1.0)
    offer(shadow, 5)
    wait_until(lambda: dropped(metrics) == {"store": 5}, 20, "the failure")
    rows.error = None
    offer(shadow, 2)
    wait_until(lambda: len(rows.rows) == 2, 20, "the outputs")


def test_the_end_of_the_challenge_drops_waiting_copies(
    worker: ShadowWorker, rows: Rows, metrics: Metrics
) -> None:
    shadow = worker.shadow(model(), NAMES, 1.0)
    shadow.is_over = True
    offer(shadow, 5)
    wait_until(lambda: dropped(metrics) == {"ended": 5}, 20, "the end")
    assert rows.rows == []


def test_closing_writes_what_is_complete(rows: Any, metrics: Metrics) -> None:
    worker = ShadowWorker(rows, metrics, lambda: NOW)
    offer(worker.shadow(model(), NAMES, 1.0), 1)
    wait_until(lambda: not worker._queue, 20, "the output")
    worker.close()
    assert [row.prediction_id for row in rows.rows] == ["id-0"]
    ShadowWorker(rows, metrics, lambda: NOW).close()
