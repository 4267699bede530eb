"""Times and durations of logged predictions are bounded, and the answer names the field."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.external import external_model

from driftbell.errors import InputError
from driftbell.tabular.logged_rows import MAX_LATENCY_MS, LoggedRowReader

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ROW = {"features": {"income": 1.0}, "prediction": "yes"}


def read(**fields: Any) -> Any:
    model = external_model()
    return LoggedRowReader(model.schema, model.classes).read({**ROW, **fields}, NOW)


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        ("0001-01-01T00:00:00Z", "past"),
        ("0001-01-01T00:00:00+14:00", "type"),
        ("1969-12-31T23:59:59Z", "past"),
        ("9999-12-31T23:59:59Z", "future"),
        ("9999-12-31T23:59:59-14:00", "type"),
        ("2026-02-01T12:00:01Z", "future"),
        (1769860800, "type"),
        ("yesterday", "type"),
        ("", "type"),
    ],
)
def test_times_beyond_all_clocks_are_refused(time: Any, reason: str) -> None:
    with pytest.raises(InputError, match="'time'") as caught:
        read(time=time)
    assert [(p.field, p.reason) for p in caught.value.problems] == [("time", reason)]


def test_the_first_and_the_last_time_are_accepted() -> None:
    assert read(time="1970-01-01T00:00:00Z").time == datetime(1970, 1, 1, tzinfo=UTC)
    assert read(time="2026-02-01T12:00:00").time == datetime(2026, 2, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "latency", [1e99, -1, -1e-9, float("nan"), float("inf"), "5", True, [], MAX_LATENCY_MS + 1]
)
def test_durations_that_are_none_are_refused(latency: Any) -> None:
    with pytest.raises(InputError, match="milliseconds, 0 to 86,400,000") as caught:
        read(latency_ms=latency)
    assert [p.field for p in caught.value.problems] == ["latency_ms"]


@pytest.mark.parametrize("latency", [0, 0.25, MAX_LATENCY_MS])
def test_durations_are_kept(latency: float) -> None:
    assert read(latency_ms=latency).latency_ms == latency
