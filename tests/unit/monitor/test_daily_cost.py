"""What an alarm costs per day, from its loss and the predictions of the last 24 hours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests import degradations
from tests.life import NOON

from driftbell.monitor.daily_cost import with_daily_cost
from driftbell.publish.json_views import degradation_view
from driftbell.records import Degradation, Interval, Performance, Prediction
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_sqlite(tmp_path / "log.sqlite")
    yield store
    store.close()


def add(store: SqlStore, rows: int, hours_ago: float, version: str = "v1") -> None:
    time = NOON - timedelta(hours=hours_ago)
    store.predictions.append(
        [
            Prediction(
                id=f"{version}-{hours_ago}-{row}",
                time=time,
                model="m",
                version=version,
                features={},
                output="a",
                probabilities={},
                latency_ms=1.0,
            )
            for row in range(rows)
        ]
    )


def costs(store: SqlStore, degradation: Degradation) -> Degradation:
    return with_daily_cost(degradation, store, NOON, model="m", version="v1")


def test_a_loss_of_accuracy_costs_wrong_predictions(log: SqlStore) -> None:
    add(log, 300, hours_ago=2)
    add(log, 50, hours_ago=25)
    add(log, 70, hours_ago=1, version="v2")
    result = costs(log, degradations.ALARM)
    assert result.sentence == (
        f"{degradations.ALARM.sentence} That is about 13 more wrong predictions a day "
        "(90 % interval: 5.4 to 20), at the 300 predictions of the last 24 hours."
    )
    view = degradation_view(result)
    assert view
    assert view["daily_cost"] == pytest.approx(
        {
            "predictions": 300,
            "unit": "more wrong predictions",
            "value": 300 * 0.042,
            "low": 300 * 0.018,
            "high": 300 * 0.066,
        }
    )


@pytest.mark.parametrize(("currency", "words"), [("EUR", "110 EUR"), ("", "110 more cost")])
def test_a_loss_of_cost_is_in_its_currency(log: SqlStore, currency: str, words: str) -> None:
    add(log, 300, hours_ago=2)
    known = Performance("cost per prediction", 1.24, currency=currency)
    alarm = replace(
        degradations.ALARM, performance=known, estimated_loss=Interval(110 / 300, 48 / 300, 174 / 300)
    )
    assert (
        f"That costs about {words} a day (90 % interval: 48 to 174), at the 300" in costs(log, alarm).sentence
    )


@pytest.mark.parametrize(
    "degradation",
    [
        degradations.OK,
        degradations.WARNING,
        degradations.UNKNOWN,
        replace(degradations.ALARM, closing=True),
        replace(degradations.ALARM, estimated_loss=None),
        replace(degradations.ALARM, performance=Performance("ROC AUC", 0.9)),
        replace(degradations.ALARM, performance=Performance("mean absolute error", 0.9)),
    ],
)
def test_without_an_alarm_of_known_cost_nothing_is_said(log: SqlStore, degradation: Degradation) -> None:
    add(log, 300, hours_ago=2)
    assert costs(log, degradation) is degradation


def test_without_predictions_of_the_last_day_nothing_is_said(log: SqlStore) -> None:
    add(log, 300, hours_ago=30)
    assert costs(log, degradations.ALARM) is degradations.ALARM
