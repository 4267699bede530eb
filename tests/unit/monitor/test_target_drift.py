"""The labels of the window in a check: numbers for information, never a column or a verdict."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.unit.monitor.test_check import NOON, checker, lease, log, predictions, reference

from driftbell.drift.number_target import compare_number_target
from driftbell.monitor.check import Checker
from driftbell.monitor.target_drift import target_drift
from driftbell.publish.degradation_block import target_rows
from driftbell.publish.json_views import check_view
from driftbell.records import Baseline, CheckKind, Column, Judgement, Label, Lease, Verdict
from driftbell.server.api.performance import performance_view
from driftbell.store.check_json import check_from_json, check_to_json

__all__ = ["checker", "lease", "log"]

SERVED = {"model": "m", "version": "v1"}


def truth(old: int) -> Column:
    return np.array(["old"] * old + ["young"] * (199 - old) + [None], dtype=object)


def send(checker: Checker, rows: int, old: int) -> None:
    """Label the last rows of 150; the window has the last 100."""
    checker.store.predictions.append(predictions(150))
    labels = [Label(f"id{150 - 1 - i:06}", "old" if i < old else "young", NOON) for i in range(rows)]
    checker.store.labels.add(labels)


def judged(checker: Checker, lease: Lease, labels: Column | None) -> Judgement:
    labelled = replace(checker, reference=replace(reference(), labels=labels))
    check = labelled(CheckKind.TRIGGERED, "", lease)
    assert check_from_json(json.loads(json.dumps(check_to_json(check)))) == check
    assert json.loads(json.dumps(check_view(check)))["target_drift"] == (
        None
        if check.judgement.target_drift is None
        else {
            name: getattr(check.judgement.target_drift, name)
            for name in ("distance", "low", "p_value", "reference", "window", "sentence", "ordered", "unseen")
        }
    )
    return check.judgement


def test_the_labels_of_the_window_are_compared_with_those_of_the_reference(
    checker: Checker, lease: Lease
) -> None:
    send(checker, rows=120, old=90)
    judgement = judged(checker, lease, truth(100))
    drift = judgement.target_drift
    assert drift is not None
    assert (drift.reference, drift.window) == ({"old": 100, "young": 99}, {"old": 90, "young": 10})
    assert drift.distance == pytest.approx(0.9 - 100 / 199)
    assert drift.p_value is not None
    assert drift.p_value < 1e-9
    assert drift.sentence == "old 50.3% → 90.0%"
    assert judgement.verdict is Verdict.OK
    assert "old" not in judgement.sentence
    assert {c.column for c in judgement.columns} == set(reference().columns)
    view = performance_view(checker.store, checker.model, window_rows=100, now=NOON)
    assert view["target_drift"]["distance"] == drift.distance


def test_without_labels_in_the_window_there_is_none(checker: Checker, lease: Lease) -> None:
    send(checker, rows=0, old=0)
    assert judged(checker, lease, truth(100)).target_drift is None


@pytest.mark.parametrize(
    ("rows", "labels", "reason"),
    [
        (50, None, "the reference has no labels"),
        (9, truth(100), "the window needs 10 labels, has 9"),
    ],
)
def test_it_says_that_it_cannot_tell(
    checker: Checker, lease: Lease, rows: int, labels: Column | None, reason: str
) -> None:
    send(checker, rows=rows, old=5)
    drift = judged(checker, lease, labels).target_drift
    assert drift is not None
    assert (drift.distance, drift.sentence) == (None, f"Cannot tell: {reason}.")


def test_a_correction_counts_once(checker: Checker, lease: Lease) -> None:
    send(checker, rows=50, old=50)
    checker.store.labels.add([Label("id000149", "young", NOON)])
    drift = judged(checker, lease, truth(100)).target_drift
    assert drift is not None
    assert drift.window == {"old": 49, "young": 1}


def test_the_labels_of_an_accepted_baseline_replace_those_of_the_reference(checker: Checker) -> None:
    send(checker, rows=120, old=90)
    window = checker.store.predictions.window(100, **SERVED)
    labelled = replace(reference(), labels=truth(100))
    for baseline, expected in (
        (Baseline("a", 31, 50), {"young": 20}),
        (Baseline("a", 1, 30), {}),
    ):
        drift = target_drift(
            checker.store.labels,
            window,
            labelled,
            baseline,
            classes=("young", "old"),
            minimum_rows=10,
            is_regression=False,
            **SERVED,
        )
        assert drift is not None
        assert drift.reference == expected
    assert drift.sentence == "Cannot tell: the accepted baseline has no labels."


def test_numbers_are_compared_as_a_numeric_column() -> None:
    rng = np.random.default_rng(0)
    before, now = rng.normal(100, 10, 500).tolist(), rng.normal(130, 10, 60).tolist()
    drift = compare_number_target(before, now)
    assert drift.ordered
    assert sum(drift.reference.values()) == 500
    assert sum(drift.window.values()) == 60
    assert drift.distance is not None
    assert drift.distance > 0.7
    assert drift.p_value is not None
    assert drift.p_value < 1e-9
    assert drift.sentence.startswith("median 99")
    rows = target_rows(drift)
    assert [name for name, *_ in rows] == list(drift.reference), "every bin, in its order"
    few = compare_number_target(before, now[:3])
    assert (few.distance, few.sentence) == (None, "Cannot tell: the window needs 10 labels, has 3.")


def test_the_labels_of_a_regression_are_numbers(checker: Checker) -> None:
    checker.store.predictions.append(predictions(150))
    checker.store.labels.add([Label(f"id{i:06}", repr(float(i)), NOON) for i in range(100)])
    window = checker.store.predictions.window(150, **SERVED)
    labels = np.empty(3, dtype=object)
    labels[:] = [1.5, None, 7.0]
    drift = target_drift(
        checker.store.labels,
        window,
        replace(reference(), labels=labels),
        None,
        classes=(),
        minimum_rows=2,
        is_regression=True,
        **SERVED,
    )
    assert drift is not None
    assert sum(drift.window.values()) == 100
    assert (sum(drift.reference.values()), drift.unseen) == (2, {})
