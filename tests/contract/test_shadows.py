"""The contract of `driftbell.ports.ShadowStore`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.contract.builders import IRIS, NOW, prediction

from driftbell.records import Label, Lease, ShadowPrediction
from driftbell.records.comparison import ShadowPair
from driftbell.store.sql import SqlStore

BOTH: dict[str, Any] = {"model": "iris", "champion": "v1", "shadow": "v2"}


def shadow(number: int, output: str = "größe \"'", **changes: Any) -> ShadowPrediction:
    row = ShadowPrediction(
        f"id-{number}", NOW + timedelta(seconds=number), "iris", "v2", output, {output: 0.5}, 2.5
    )
    return replace(row, **changes)


def pair(number: int, seq: int, label: str | None = None, **changes: Any) -> ShadowPair:
    time = prediction(number).time
    return replace(ShadowPair(seq, time, "setosa", "größe \"'", label, 1.5, 2.5), **changes)


def test_outputs_of_shadows_are_paired_with_the_answered_predictions(store: SqlStore) -> None:
    assert store.shadows.pairs(9, **BOTH) == []
    assert store.shadows.append([]) == 0
    store.predictions.append([prediction(n) for n in range(4)])
    assert (
        store.shadows.append([shadow(0), shadow(1, latency_ms=None), shadow(9), shadow(2, version="v3")]) == 4
    )
    assert store.shadows.append([shadow(0, "another"), shadow(2)]) == 1
    written = store.shadows.pairs(9, **BOTH)
    seqs = [p.seq for p in written]
    assert seqs == sorted(seqs)
    expected = [pair(n, seq) for n, seq in enumerate(seqs)]
    expected[1] = replace(expected[1], shadow_latency_ms=None)
    assert written == expected
    assert store.shadows.pairs(1, **BOTH) == expected[-1:]
    assert store.shadows.pairs(9, **BOTH | {"champion": "v3"}) == []
    assert store.shadows.pairs(9, **BOTH | {"model": "other"}) == []
    assert store.shadows.versions("iris") == ["v2", "v3"]
    assert store.shadows.versions("other") == []


def test_a_label_of_the_answered_prediction_is_one_of_the_shadow(store: SqlStore) -> None:
    store.predictions.append([prediction(n) for n in range(4)])
    store.shadows.append([shadow(n) for n in (0, 1, 3)])
    store.labels.add([Label(f"id-{n}", "virginica", NOW) for n in (3, 2, 0)])
    store.labels.add([Label("id-3", "setosa", NOW)])
    expected = [pair(3, 1, "setosa"), pair(0, 3, "virginica")]
    assert store.shadows.labelled_pairs(9, **BOTH) == expected
    assert store.shadows.labelled_pairs(1, **BOTH) == expected[-1:]
    assert store.shadows.labelled_pairs(9, **BOTH | {"shadow": "v3"}) == []
    assert store.shadows.labelled_pairs(9, **BOTH, since=shadow(1).time) == expected[:1]
    assert store.shadows.labelled_pairs(1, **BOTH, since=NOW) == expected[:1]
    assert store.labels.totals(model="iris", version="v2").labelled == 0


def test_outputs_of_shadows_count_nowhere_else(store: SqlStore) -> None:
    store.predictions.append([prediction(0)])
    store.shadows.append([shadow(0)])
    assert store.predictions.count(model="iris", version="v2") == 0
    assert store.predictions.versions("iris") == ["v1"]
    assert sum(bucket.count for bucket in store.predictions.traffic(NOW, 60)) == 1
    assert store.predictions.window(9, **IRIS).predictions == (prediction(0),)


def test_expired_outputs_of_shadows_are_deleted(store: SqlStore, lease: Lease) -> None:
    store.predictions.append([prediction(0), prediction(1)])
    store.shadows.append([shadow(0), shadow(1)])
    assert store.retention.prune(NOW + timedelta(seconds=1), 100, lease) == 1
    assert [p.seq for p in store.shadows.pairs(9, **BOTH)] == [2]
