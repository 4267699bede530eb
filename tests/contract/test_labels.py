"""The contract of `driftbell.ports.LabelStore`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.contract.builders import IRIS, NOW, label, prediction, summaries

from driftbell.errors import StoreError
from driftbell.records import (
    ErrorTotals,
    Label,
    LabelledPrediction,
    LabelReceipt,
    LabelTotals,
    Share,
)
from driftbell.store.sql import SqlStore


def test_a_label_is_returned_with_its_prediction(store: SqlStore) -> None:
    store.predictions.append([prediction(1), prediction(2)])
    assert store.labels.add([label(2, "virginica")]) == LabelReceipt(accepted=1)
    (labelled,) = store.labels.newest(10, **IRIS)
    assert labelled == LabelledPrediction(
        prediction(2), "virginica", NOW + timedelta(hours=1), labelled.seq, None
    )
    assert store.labels.after(0, 10, **IRIS) == [labelled]
    assert store.labels.after(labelled.seq, 10, **IRIS) == []


def test_a_store_without_labels_returns_empty_results(store: SqlStore) -> None:
    store.predictions.append([prediction(1)])
    assert store.labels.add([]) == LabelReceipt()
    assert store.labels.newest(10, **IRIS) == store.labels.after(0, 10, **IRIS) == []
    assert store.labels.totals(**IRIS) == LabelTotals()
    assert store.labels.realized(10, **IRIS) == Share(0, 0)
    assert store.labels.coverage(10, **IRIS) == Share(0, 1)
    assert store.labels.coverage(10, model="other", version="v1") == Share(0, 0)


def test_predictions_with_a_label_are_known_by_their_ids(store: SqlStore) -> None:
    store.predictions.append([prediction(i) for i in range(1, 4)])
    store.labels.add([label(1), label(3), label(3, "virginica", 70)])
    ids = [prediction(i).id for i in range(1, 4)]
    assert store.labels.labelled([*ids, "unknown"]) == {ids[0], ids[2]}
    assert store.labels.labelled([]) == frozenset()


def test_labels_are_counted_by_class_in_a_range_of_predictions(store: SqlStore) -> None:
    store.predictions.append([prediction(i) for i in range(1, 6)])
    store.labels.add([label(1), label(2), label(3, "virginica"), label(5)])
    store.labels.add([label(2, "virginica", 70)])
    seqs = store.predictions.window(9, **IRIS)
    assert store.labels.counts(seqs.first, seqs.last, **IRIS) == {"setosa": 2, "virginica": 2}
    assert store.labels.counts(seqs.first + 1, seqs.last - 1, **IRIS) == {"virginica": 2}
    assert store.labels.counts(0, 0, **IRIS) == {}
    assert store.labels.counts(seqs.first, seqs.last, model="other", version="v1") == {}


def test_a_correction_is_written_and_a_duplicate_is_not(store: SqlStore) -> None:
    store.predictions.append([prediction(1), prediction(2)])
    store.labels.add([label(1), label(2)])
    assert store.labels.add([label(1, "virginica", 70), label(2, minutes=80)]) == LabelReceipt(
        corrected=1, duplicates=1
    )
    assert store.labels.add([label(1, "setosa", 90)]) == LabelReceipt(corrected=1)
    assert summaries(store.labels.newest(10, **IRIS)) == [
        ("id-1", "setosa", "virginica"),
        ("id-2", "setosa", None),
    ]
    assert summaries(store.labels.after(0, 10, **IRIS)) == [
        ("id-1", "setosa", None),
        ("id-2", "setosa", None),
        ("id-1", "virginica", "setosa"),
        ("id-1", "setosa", "virginica"),
    ]


def test_the_last_of_two_labels_in_one_call_counts(store: SqlStore) -> None:
    store.predictions.append([prediction(1), prediction(2)])
    sent = [label(1), label(2), label(1, "virginica"), label(2)]
    assert store.labels.add(sent) == LabelReceipt(accepted=2, corrected=1, duplicates=1)
    assert summaries(store.labels.newest(10, **IRIS)) == [
        ("id-1", "virginica", "setosa"),
        ("id-2", "setosa", None),
    ]


def test_labels_without_a_prediction_are_reported_and_not_written(store: SqlStore) -> None:
    store.predictions.append([prediction(1)])
    receipt = store.labels.add([label(8), label(1), label(7), label(8)])
    assert receipt == LabelReceipt(accepted=1, unknown=("id-8", "id-7"))
    assert summaries(store.labels.after(0, 10, **IRIS)) == [("id-1", "setosa", None)]


def test_labels_are_ordered_by_arrival_and_labelled_predictions_by_number(store: SqlStore) -> None:
    store.predictions.append([prediction(i) for i in range(5)])
    store.labels.add([label(3)])
    store.labels.add([label(1), label(4)])
    arrived = store.labels.after(0, 10, **IRIS)
    assert [f.prediction.id for f in arrived] == ["id-3", "id-1", "id-4"]
    assert [f.seq for f in arrived] == sorted(f.seq for f in arrived)
    assert store.labels.after(0, 2, **IRIS) == arrived[:2]
    assert store.labels.after(arrived[0].seq, 10, **IRIS) == arrived[1:]
    assert [f.prediction.id for f in store.labels.newest(2, **IRIS)] == ["id-3", "id-4"]
    assert store.labels.coverage(4, **IRIS) == Share(3, 4)


def test_as_of_ignores_labels_that_arrived_later(store: SqlStore) -> None:
    store.predictions.append([prediction(i) for i in range(3)])
    store.labels.add([label(0, minutes=1), label(1, "virginica", minutes=2)])
    store.labels.add([label(0, "virginica", minutes=3), label(2, minutes=4)])

    def then(minutes: int) -> list[tuple[str, str, str | None]]:
        return summaries(store.labels.newest(10, **IRIS, as_of=NOW + timedelta(minutes=minutes)))

    def right(minutes: int) -> Share:
        return store.labels.realized(10, **IRIS, as_of=NOW + timedelta(minutes=minutes))

    assert then(0) == []
    assert then(2) == [("id-0", "setosa", None), ("id-1", "virginica", None)]
    assert then(3) == [("id-0", "virginica", "setosa"), ("id-1", "virginica", None)]
    assert [right(m) for m in (0, 1, 2, 3, 4)] == [
        Share(0, 0),
        Share(1, 1),
        Share(1, 2),
        Share(0, 2),
        Share(1, 3),
    ]
    assert store.labels.realized(1, **IRIS) == Share(1, 1)


def test_labels_belong_to_the_version_that_predicted(store: SqlStore) -> None:
    store.predictions.append([prediction(1), prediction(2, version="v2"), prediction(3)])
    store.labels.add([label(1), label(2), label(3)])
    other = {"model": "iris", "version": "v2"}
    assert [f.prediction.id for f in store.labels.newest(10, **IRIS)] == ["id-1", "id-3"]
    assert [f.prediction.id for f in store.labels.after(0, 10, **other)] == ["id-2"]
    assert [store.labels.totals(**served).labelled for served in (IRIS, other)] == [2, 1]


def test_label_totals_count_predictions_corrections_and_times(store: SqlStore) -> None:
    store.predictions.append([prediction(i) for i in range(5)])
    store.labels.add([label(3, minutes=1)])
    store.labels.add([label(1, minutes=2), label(1, "virginica", 2), label(1, "virginica", 3)])
    assert store.labels.totals(**IRIS) == LabelTotals(2, 1, NOW + timedelta(minutes=2), prediction(3).time)


@pytest.mark.slow
def test_ten_thousand_labels_are_accepted_in_one_call(store: SqlStore) -> None:
    store.predictions.append([prediction(i) for i in range(10_000)])
    receipt = store.labels.add([label(i, "virginica" if i % 4 else "setosa") for i in range(10_001)])
    assert receipt == LabelReceipt(accepted=10_000, unknown=("id-10000",))
    assert store.labels.realized(8_000, **IRIS) == Share(2_000, 8_000)
    assert store.labels.totals(**IRIS).labelled == 10_000


def test_labels_with_an_invalid_one_are_not_written_at_all(store: SqlStore) -> None:
    store.predictions.append([prediction(1), prediction(2)])
    with pytest.raises(StoreError):
        store.labels.add([label(1), Label("id-2", "setosa", None)])
    assert store.labels.newest(10, **IRIS) == []
    assert store.labels.add([label(1)]) == LabelReceipt(accepted=1)


def test_the_newest_labels_of_a_period_are_read_by_prediction(store: SqlStore) -> None:
    store.predictions.append([prediction(i) for i in range(5)])
    store.predictions.append([prediction(9, version="v2", time=NOW)])
    store.labels.add([label(0), label(1), label(2), label(4), label(9)])
    store.labels.add([label(1, "virginica", 70)])
    start, end = NOW + timedelta(seconds=1), NOW + timedelta(seconds=4)
    assert store.labels.between(start, end, **IRIS) == {"id-1": "virginica", "id-2": "setosa"}
    assert store.labels.between(end + timedelta(days=1), end + timedelta(days=2), **IRIS) == {}


def test_errors_of_a_regression_are_summed_over_the_newest_labels(store: SqlStore) -> None:
    outputs = (10.0, -2.5, 1e-05, 1e100)
    store.predictions.append([replace(prediction(i), output=repr(v)) for i, v in enumerate(outputs, 1)])
    assert store.labels.realized_errors(10, **IRIS) == ErrorTotals()
    store.labels.add([label(1, "12.5"), label(2, "-1.5"), label(3, "1.0")])
    store.labels.add([label(3, "3.0", 70)])
    assert store.labels.realized_errors(2, **IRIS) == ErrorTotals(2, 1 + 3.0 - 1e-05, 1 + (3.0 - 1e-05) ** 2)
    early = store.labels.realized_errors(9, **IRIS, as_of=NOW + timedelta(minutes=60))
    assert early.rows == 3
    assert early.absolute == pytest.approx(2.5 + 1 + 1 - 1e-05)
    store.labels.add([label(4, "-1e+100")])
    assert store.labels.realized_errors(9, **IRIS).squared == pytest.approx(4e200)


def test_outcomes_are_in_the_order_of_first_labels_and_have_the_newest_label(store: SqlStore) -> None:
    store.predictions.append([prediction(i) for i in range(1, 4)])
    store.predictions.append([prediction(4, version="v2", output="virginica")])
    store.labels.add([label(3), label(1), label(4)])
    store.labels.add([label(3, "virginica", 70)])
    outcomes = store.labels.outcomes(10, **IRIS)
    assert [(o.output, o.label, o.time) for o in outcomes] == [
        ("setosa", "virginica", prediction(3).time),
        ("setosa", "setosa", prediction(1).time),
    ]
    assert outcomes[0].seq < outcomes[1].seq
    assert [o.label for o in store.labels.outcomes(1, **IRIS)] == ["setosa"]
    assert [o.output for o in store.labels.outcomes(9, model="iris", version="v2")] == ["virginica"]
    assert store.labels.outcomes(9, model="other", version="v1") == []
    since = prediction(2).time
    assert [o.label for o in store.labels.outcomes(9, **IRIS, since=since)] == ["virginica"]
    assert [o.label for o in store.labels.outcomes(1, **IRIS, since=prediction(1).time)] == ["virginica"]
    assert store.labels.outcomes(9, **IRIS, since=prediction(9).time) == []
