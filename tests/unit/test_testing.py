"""The shipped fakes implement the ports and record their calls."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from tests import degradations

from driftbell.ports import DegradationDetector, Model, NotificationTarget, Sink, Store
from driftbell.records import EvidenceState, Verdict, Window
from driftbell.tabular.schema import infer_schema
from driftbell.testing import (
    FakeModel,
    FixedDetector,
    ManualClock,
    RecordingSink,
    RecordingTarget,
    memory_store,
)


def test_the_fakes_have_the_types_of_the_ports() -> None:
    schema = infer_schema({"x": np.arange(9.0)})
    model: Model = FakeModel(schema, ["a", "b"], lambda columns: columns["x"] > 4)
    detector: DegradationDetector = FixedDetector(degradations.ALARM)
    sink: Sink = RecordingSink()
    target: NotificationTarget = RecordingTarget()
    store: Store = memory_store()
    store.close()
    assert all((model, detector, sink, target, store))


def test_a_model_without_probabilities_returns_none() -> None:
    schema = infer_schema({"x": np.arange(9.0)})
    model = FakeModel(schema, ["a", "b"], lambda columns: columns["x"] > 4, probabilities=False)
    assert model.answer([[3.0], [5.0]]) == ([0, 1], None)


def test_a_detector_returns_the_same_result_for_every_window() -> None:
    detector = FixedDetector(degradations.ALARM)
    state = EvidenceState()
    for _ in range(2):
        assert detector.advance(state, Window(), ()) == (state, degradations.ALARM)
    assert detector.with_baseline(Window()) is detector
    assert len(detector.windows) == 2


def test_a_target_records_messages_unless_it_fails() -> None:
    target = RecordingTarget("mail")
    assert target.send("title", "body", Verdict.ALARM) == ""
    target.failure = "no answer"
    assert target.send("another", "body", Verdict.ALARM) == "no answer"
    assert (target.titles, target.attempts) == (["title"], 2)


def test_a_clock_returns_the_time_that_was_set() -> None:
    clock = ManualClock()
    clock.now = datetime(2026, 2, 1, tzinfo=UTC)
    assert clock() == datetime(2026, 2, 1, tzinfo=UTC)


def test_two_stores_in_memory_share_nothing() -> None:
    first, second = memory_store(), memory_store()
    first.coordination.take_lease("a", now=ManualClock()(), seconds=30, next_run=None)
    assert second.coordination.lease() is None
    first.close()
    second.close()
