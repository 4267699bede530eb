"""What `/monitor/performance` says, and how labels of many requests reach the log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from tests.model_keys import ModelKey

from driftbell.errors import StoreError
from driftbell.models.native import NativeModel
from driftbell.models.sklearn import loaded_estimator
from driftbell.ports import Store
from driftbell.records import (
    Check,
    CheckKind,
    Degradation,
    Interval,
    Judgement,
    Label,
    LabelReceipt,
    Performance,
    Prediction,
    Verdict,
)
from driftbell.server.api.labels import Labeller
from driftbell.server.api.performance import performance_view
from driftbell.server.http.metrics import Metrics
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite
from driftbell.tabular.schema import infer_schema

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MODEL_VERSION: ModelKey = {"model": "m", "version": "v"}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqlStore]:
    found = open_sqlite(tmp_path / "log.sqlite")
    yield found
    found.close()


@pytest.fixture(scope="module")
def model() -> NativeModel:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression().fit([[0.0], [1.0]], ["a", "b"])
    schema = infer_schema({"x": np.array([0.0])})
    return NativeModel(loaded_estimator(fitted), name="m", version="v", schema=schema)


def prediction(number: int, output: str = "a", probability: float | None = 0.75) -> Prediction:
    known = {} if probability is None else {output: probability}
    return Prediction(f"id-{number}", NOON, "m", "v", {}, output, known, 1.0)


def label(number: int, value: str, minutes: int = 1) -> Label:
    return Label(f"id-{number}", value, NOON + timedelta(minutes=minutes))


def save(
    log: SqlStore, number: int, minutes: int, degradation: Degradation | None, version: str = "v"
) -> None:
    lease = log.coordination.take_lease("a", now=NOON, seconds=60, next_run=None)
    assert lease
    judgement = Judgement(Verdict.OK, "All is well.", (), degradation)
    time = NOON + timedelta(minutes=minutes)
    log.checks.save(
        Check(str(number), time, CheckKind.MANUAL, "m", version, "r", 10, 1, 10, judgement), lease
    )


def shown(log: SqlStore, model: NativeModel, window_rows: int = 10) -> dict[str, Any]:
    return performance_view(log, model, window_rows=window_rows, now=NOON + timedelta(minutes=10))


def test_the_estimate_and_the_reference_are_the_last_checks(log: SqlStore, model: NativeModel) -> None:
    assert shown(log, model)["estimated"] is None
    told = Performance("accuracy", 0.97, Interval(0.9, 0.85, 0.95))
    save(log, 1, 1, Degradation(Verdict.OK, "", performance=told))
    save(log, 2, 2, Degradation(Verdict.OK, "", performance=replace(told, reference=0.5)), version="other")
    found = shown(log, model)
    assert (found["metric"], found["reference"]) == ("accuracy", 0.97)
    assert found["estimated"] == {"value": 0.9, "low": 0.85, "high": 0.95}
    save(log, 3, 3, None)
    found = shown(log, model)
    assert (found["metric"], found["reference"], found["estimated"]) == ("accuracy", None, None)


def test_each_check_tells_what_was_known_then(log: SqlStore, model: NativeModel) -> None:
    log.predictions.append([prediction(i) for i in range(4)])
    log.labels.add([label(0, "a", 1)])
    log.labels.add([label(1, "b", 3), label(0, "b", 3)])
    for minutes in (0, 2, 4):
        save(log, minutes, minutes, None)
    found = shown(log, model)
    then = found["realized_at_checks"]
    assert [(t["check"], t["value"], t["rows"]) for t in then] == [
        ("4", 0.0, 2),
        ("2", 1.0, 1),
        ("0", None, 0),
    ]
    assert found["realized"]["value"] == 0.0
    assert found["labels"] == {
        "labelled": 2,
        "corrections": 1,
        "share": 0.5,
        "window_rows": 4,
        "newest": (NOON + timedelta(minutes=3)).isoformat(),
        "age_seconds": 420.0,
    }


def test_a_window_has_its_rows_only(log: SqlStore, model: NativeModel) -> None:
    log.predictions.append([prediction(i) for i in range(6)])
    log.labels.add([label(i, "b" if i < 3 else "a") for i in range(6)])
    assert shown(log, model, 3)["realized"]["value"] == 1.0
    assert shown(log, model, 6)["realized"]["value"] == 0.5
    assert shown(log, model, 4)["labels"]["window_rows"] == 4


def test_a_class_that_the_model_does_not_know_is_counted_too(log: SqlStore, model: NativeModel) -> None:
    log.predictions.append([prediction(0), prediction(1, "b", None)])
    log.labels.add([label(0, "old"), label(1, "b")])
    found = shown(log, model)
    assert found["confusion"] == {
        "a": {"a": 0, "b": 0, "old": 0},
        "b": {"a": 0, "b": 1, "old": 0},
        "old": {"a": 1, "b": 0, "old": 0},
    }
    assert found["classes"]["old"] == {"rows": 1, "answered": 0, "recall": 0.0, "precision": None}
    assert [b["rows"] for b in found["calibration"]] == [0, 0, 0, 0, 0, 0, 0, 1, 0, 0], "0.75, and none for b"


class Failing:
    """A log that fails for one id; all else goes to a real one."""

    def __init__(self, log: SqlStore) -> None:
        self._log = log

    @property
    def labels(self) -> Failing:
        return self

    def add(self, new: Sequence[Label]) -> LabelReceipt:
        if new[0].prediction_id == "id-1":
            raise StoreError("the disk is full")
        return self._log.labels.add(new)


def test_a_request_that_fails_does_not_fail_its_neighbours(log: SqlStore) -> None:
    log.predictions.append([prediction(i) for i in range(4)])
    metrics = Metrics()

    async def all_at_once() -> list[LabelReceipt | BaseException]:
        labeller = Labeller(cast("Store", Failing(log)), metrics, queue_limit=5, clock=lambda: NOON)
        asked = [labeller.add([(f"id-{i}", "a"), (f"id-{i}", "a")]) for i in range(4)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        await labeller.close()
        return found

    found = asyncio.run(all_at_once())
    assert isinstance(found[1], StoreError)
    assert [f for i, f in enumerate(found) if i != 1] == [LabelReceipt(accepted=1, duplicates=1)] * 3
    assert [f.time for f in log.labels.newest(10, **MODEL_VERSION)] == [NOON] * 3
    text = bytes(metrics.exposition([]).body).decode()
    for result, count in (("accepted", 3), ("duplicate", 3), ("failed", 2), ("unknown", 0), ("corrected", 0)):
        assert f'driftbell_labels_total{{result="{result}"}} {count}.0' in text
