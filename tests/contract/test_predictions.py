"""The contract of `driftbell.ports.PredictionStore`."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.builders import ANY, IRIS, NOW, TEXT, prediction

from driftbell.errors import StoreError
from driftbell.journal.line import LineEncoder, encode_line, time_text
from driftbell.records import Label, LabelReceipt, Window
from driftbell.store.predictions import MAX_IDS
from driftbell.store.sql import SqlStore


def test_appended_predictions_are_read_with_every_field(store: SqlStore) -> None:
    sent = [prediction(1), prediction(2, probabilities={}, features={})]
    store.predictions.append(sent)
    assert store.predictions.window(10, **IRIS).predictions == tuple(sent)


def test_times_are_returned_in_utc_from_any_time_zone(store: SqlStore) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    store.predictions.append([prediction(1, time=there)])
    (row,) = store.predictions.window(1, **IRIS).predictions
    assert row.time == NOW
    assert row.time.utcoffset() == timedelta(0)


def test_versions_are_read_by_id(store: SqlStore) -> None:
    rows = [prediction(1), prediction(2, version="v2"), prediction(3, model="other")]
    store.predictions.append(rows)
    ids = [row.id for row in rows]
    read = partial(store.predictions.versions_by_id, model="iris")
    assert read([*ids, "x", "nul\0"]) == {"id-1": "v1", "id-2": "v2"}
    assert read([]) == {}
    assert read([*(f"none-{n}" for n in range(MAX_IDS)), ids[1]]) == {"id-2": "v2"}


def test_the_time_of_the_last_prediction_is_read(store: SqlStore) -> None:
    assert store.predictions.newest_time(**IRIS) is None
    rows = [prediction(1, time=NOW + timedelta(hours=1)), prediction(2), prediction(3, version="v2")]
    store.predictions.append(rows)
    assert store.predictions.newest_time(**IRIS) == rows[1].time


def test_the_last_predictions_are_counted_by_version(store: SqlStore) -> None:
    assert store.predictions.counts_by_version(5, model="iris") == {}
    rows = [prediction(1), prediction(2, version="v2"), prediction(3, model="other"), prediction(4)]
    store.predictions.append([*rows, prediction(5, version="v2"), prediction(6, version="v2")])
    assert store.predictions.counts_by_version(5, model="iris") == {"v1": 1, "v2": 3}
    assert store.predictions.counts_by_version(100, model="iris") == {"v1": 2, "v2": 3}


def test_an_empty_list_can_be_appended(store: SqlStore) -> None:
    store.predictions.append([])
    assert store.predictions.count(**IRIS) == 0


def test_a_known_id_is_skipped_and_the_rest_is_written(store: SqlStore) -> None:
    store.predictions.append([prediction(1), prediction(2)])
    store.predictions.append([prediction(2, output="virginica"), prediction(3)])
    rows = store.predictions.window(10, **IRIS).predictions
    assert [p.id for p in rows] == ["id-1", "id-2", "id-3"]
    assert rows[1].output == "setosa"


def test_an_id_twice_in_one_batch_is_written_once(store: SqlStore) -> None:
    store.predictions.append([prediction(1), prediction(1)])
    assert store.predictions.count(**IRIS) == 1


@pytest.mark.parametrize("bad", [{"features": {"x": object()}}, {"output": None}], ids=["features", "output"])
def test_a_batch_with_one_bad_row_is_not_written_at_all(
    store: SqlStore, bad: dict[str, dict[str, object] | None]
) -> None:
    try:
        store.predictions.append([prediction(1), prediction(2, **bad), prediction(3)])
    except StoreError:
        assert store.predictions.count(**IRIS) == 0
    else:
        pytest.fail("a row that cannot be written was taken")


def test_lines_are_written_in_their_order_and_known_ids_skipped(store: SqlStore) -> None:
    store.predictions.append([prediction(2)])
    encoder = LineEncoder("iris", "v1", ["x"], ["setosa", "virginica"])
    lines = [
        encoder.line(f"id-{i}", time_text(NOW), [float(i)], "setosa", [0.5, 0.5], 2.5, {"n": i})
        for i in (3, 1, 2)
    ]
    store.predictions.append_lines(lines)
    store.predictions.append_lines(lines[:1])
    store.predictions.append_lines([])
    rows = store.predictions.window(10, **IRIS).predictions
    assert [p.id for p in rows] == ["id-2", "id-3", "id-1"]
    assert rows[0] == prediction(2)
    sent = {"features": {"x": 3.0}, "probabilities": {"setosa": 0.5, "virginica": 0.5}, "latency_ms": 2.5}
    assert rows[1] == prediction(3, time=NOW, metadata={"n": 3}, **sent)


def test_a_line_without_metadata_lacks_the_member_and_has_none_in_the_store(store: SqlStore) -> None:
    plain = encode_line(prediction(1, metadata={}))
    assert b"metadata" not in plain
    assert b'"metadata":{"n":1}' in encode_line(prediction(2, metadata={"n": 1}))
    assert store.predictions.append_lines([plain]) == 1
    assert store.predictions.append_lines([plain, encode_line(prediction(2))]) == 1
    assert store.predictions.get("id-1") == prediction(1, metadata={})


def test_ids_of_clients_may_have_128_characters_and_be_labelled(store: SqlStore) -> None:
    long = "ü" * 128
    store.predictions.append([prediction(1, id=long)])
    assert store.labels.add([Label(long, "setosa", NOW)]) == LabelReceipt(accepted=1)
    assert [found.prediction for found in store.labels.newest(5, **IRIS)] == [prediction(1, id=long)]


NO_LINES = [b"", b"{", encode_line(prediction(2))[:-40], b"[1]", b"{}", b'{"id":"\xff"}', b"null", b"1],[2"]


@pytest.mark.parametrize("bad", NO_LINES)
def test_lines_with_an_invalid_one_are_not_written_at_all(store: SqlStore, bad: bytes) -> None:
    with pytest.raises(StoreError):
        store.predictions.append_lines([encode_line(prediction(1)), bad, encode_line(prediction(3))])
    assert store.predictions.count(**IRIS) == 0
    store.predictions.append_lines([encode_line(prediction(1))])
    assert store.predictions.count(**IRIS) == 1


CELLS = st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.text(ANY))


TIMES = st.datetimes().map(lambda time: time.replace(tzinfo=UTC, fold=0))


# as one measures; SQLite reads a double of 17 digits right, but does not promise to
MILLISECONDS = st.integers(0, 10**9).map(lambda microseconds: microseconds / 1000)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    features=st.dictionaries(st.text(ANY), CELLS),
    shares=st.dictionaries(st.text(ANY), st.floats(0, 1)),
    output=st.text(TEXT),
    latency=MILLISECONDS,
    time=TIMES,
)
def test_values_are_read_as_written_to_the_last_bit(
    store: SqlStore,
    features: dict[str, bool | float | str | None],
    shares: dict[str, float],
    output: str,
    latency: float,
    time: datetime,
) -> None:
    new = prediction(0, id=secrets.token_hex(8), time=time, features=features)
    new = replace(new, probabilities=shares, output=output, latency_ms=latency)
    store.predictions.append([new])
    assert repr(store.predictions.get(new.id)) == repr(new)  # -0.0 is not 0.0, nor is 1.0 True


def test_values_that_json_cannot_represent_become_null(store: SqlStore) -> None:
    store.predictions.append(
        [prediction(1, features={"x": np.float64("nan"), "y": float("inf"), "z": np.int64(3)})]
    )
    assert store.predictions.window(1, **IRIS).predictions[0].features == {"x": None, "y": None, "z": 3}


def test_a_window_contains_the_last_rows_oldest_first(store: SqlStore) -> None:
    store.predictions.append([prediction(i) for i in range(10)])
    window = store.predictions.window(3, **IRIS)
    assert [p.id for p in window.predictions] == ["id-7", "id-8", "id-9"]
    assert window.last - window.first == 2


def test_a_window_is_ordered_by_arrival_and_not_by_time(store: SqlStore) -> None:
    store.predictions.append([prediction(9)])
    store.predictions.append([prediction(1)])
    assert [p.id for p in store.predictions.window(1, **IRIS).predictions] == ["id-1"]


def test_sequence_numbers_grow(store: SqlStore) -> None:
    store.predictions.append([prediction(1)])
    before = store.predictions.window(10, **IRIS)
    store.predictions.append([prediction(2)])
    after = store.predictions.window(1, **IRIS)
    assert before.first == before.last < after.first == after.last


def test_other_models_and_versions_are_excluded(store: SqlStore) -> None:
    store.predictions.append(
        [prediction(1), prediction(2, version="v2"), prediction(3, model="other"), prediction(4)]
    )
    assert [p.id for p in store.predictions.window(10, **IRIS).predictions] == ["id-1", "id-4"]
    assert store.predictions.count(**IRIS) == 2
    assert store.predictions.count(model="iris", version="v2") == 1


def test_a_window_of_an_empty_store_is_empty(store: SqlStore) -> None:
    assert store.predictions.window(10, **IRIS) == Window()


def test_counting_stops_at_the_limit(store: SqlStore) -> None:
    store.predictions.append([prediction(i) for i in range(10)])
    assert [store.predictions.count(**IRIS, limit=limit) for limit in (None, 4, 100)] == [10, 4, 10]


def test_one_prediction_is_read_by_its_id(store: SqlStore) -> None:
    store.predictions.append([prediction(1), prediction(2)])
    assert store.predictions.get("id-2") == prediction(2)
    assert store.predictions.get("nothing") is None


def test_after_returns_the_newest_predictions_beyond_a_number(store: SqlStore) -> None:
    store.predictions.append([prediction(i) for i in range(10)])
    store.predictions.append([prediction(99, version="v2")])
    start = store.predictions.window(7, **IRIS).first - 1
    assert store.predictions.after(0, 100, **IRIS) == store.predictions.window(10, **IRIS)
    window = store.predictions.after(start, 100, **IRIS)
    assert [p.id for p in window.predictions] == [f"id-{i}" for i in range(3, 10)]
    assert (window.first, window.last) == (start + 1, start + 7)
    assert [p.id for p in store.predictions.after(start, 2, **IRIS).predictions] == ["id-8", "id-9"]
    assert store.predictions.after(window.last, 100, **IRIS) == Window()


def test_traffic_is_counted_by_bucket_and_empty_buckets_are_left_out(store: SqlStore) -> None:
    start = datetime(2026, 1, 31, 12, tzinfo=UTC)
    seconds = [(0, 1.0), (59.9, 3.0), (60, 5.0), (300, 7.0)]
    store.predictions.append(
        [prediction(i, time=start + timedelta(seconds=s), latency_ms=ms) for i, (s, ms) in enumerate(seconds)]
    )
    buckets = [
        (b.start, b.count, b.mean_latency_ms, b.max_latency_ms) for b in store.predictions.traffic(start, 60)
    ]
    assert buckets == [
        (start, 2, 2.0, 3.0),
        (start + timedelta(minutes=1), 1, 5.0, 5.0),
        (start + timedelta(minutes=5), 1, 7.0, 7.0),
    ]


def test_traffic_begins_at_the_given_time(store: SqlStore) -> None:
    store.predictions.append([prediction(i) for i in range(4)])
    counts = [b.count for b in store.predictions.traffic(NOW + timedelta(seconds=2), 3600)]
    assert counts == [2]
    assert store.predictions.traffic(NOW + timedelta(days=1), 60) == []


def test_traffic_counts_every_model(store: SqlStore) -> None:
    store.predictions.append([prediction(1), prediction(2, model="other")])
    assert sum(b.count for b in store.predictions.traffic(NOW, 3600)) == 2


def test_traffic_between_counts_rows_by_their_numbers(store: SqlStore) -> None:
    start = datetime(2026, 1, 31, 12, tzinfo=UTC)
    store.predictions.append(
        [prediction(i, time=start + timedelta(minutes=i), latency_ms=float(i)) for i in (3, 0, 1, 2)]
    )
    first, last = store.predictions.numbers_since(start)
    assert (first, last) == (2, 4)
    buckets = store.predictions.traffic_between(1, 3, 60)
    assert [(b.start, b.count, b.max_latency_ms) for b in buckets] == [
        (start, 1, 0.0),
        (start + timedelta(minutes=1), 1, 1.0),
    ]
    assert store.predictions.traffic_between(4, 9, 60) == []


def test_numbers_since_without_rows(store: SqlStore) -> None:
    assert store.predictions.numbers_since(NOW) == (None, 0)
    store.predictions.append([prediction(1, time=NOW - timedelta(days=1))])
    assert store.predictions.numbers_since(NOW) == (None, 1)


def test_first_since_returns_the_first_number_from_a_time_on(store: SqlStore) -> None:
    store.predictions.append([prediction(i, time=NOW + timedelta(minutes=i)) for i in range(5)])
    store.predictions.append([prediction(9, time=NOW + timedelta(minutes=2), version="v2")])
    assert store.predictions.first_since(NOW - timedelta(days=1), **IRIS) == 1
    assert store.predictions.first_since(NOW + timedelta(minutes=2), **IRIS) == 3
    assert store.predictions.first_since(NOW + timedelta(minutes=2, seconds=1), **IRIS) == 4
    assert store.predictions.first_since(NOW + timedelta(minutes=9), **IRIS) is None


def test_after_stops_at_the_last_number(store: SqlStore) -> None:
    store.predictions.append([prediction(i) for i in range(10)])
    window = store.predictions.after(2, 3, **IRIS, last=7)
    assert [p.id for p in window.predictions] == [prediction(i).id for i in (4, 5, 6)]
    assert (window.first, window.last) == (5, 7)


def test_a_period_is_counted_and_read_without_its_end(store: SqlStore) -> None:
    store.predictions.append([prediction(i) for i in (3, 1, 2, 4)])
    store.predictions.append([prediction(5, version="v2"), prediction(6, time=NOW + timedelta(seconds=2))])
    start, end = NOW + timedelta(seconds=1), NOW + timedelta(seconds=4)
    count, window = store.predictions.between(start, end, 100, **IRIS)
    assert count == 4
    assert [p.id for p in window.predictions] == ["id-3", "id-1", "id-2", "id-6"]  # in the order of arrival
    assert (window.first, window.last) == (1, 6)
    assert store.predictions.between(end, end + timedelta(hours=1), 100, **IRIS)[0] == 1
    assert store.predictions.between(start - timedelta(days=1), start, 100, **IRIS) == (0, Window())
    assert store.predictions.oldest(**IRIS) == start
    assert store.predictions.oldest(model="iris", version="v3") is None


def test_of_a_long_period_every_nth_prediction_is_read(store: SqlStore) -> None:
    store.predictions.append([prediction(i) for i in range(100)])
    count, window = store.predictions.between(NOW, NOW + timedelta(hours=1), 30, **IRIS)
    assert count == 100
    assert [p.id for p in window.predictions] == [f"id-{i}" for i in range(3, 100, 4)]


def test_new_predictions_are_counted(store: SqlStore) -> None:
    assert store.predictions.append([]) == 0
    assert store.predictions.append([prediction(1), prediction(2)]) == 2
    assert store.predictions.append([prediction(2), prediction(3), prediction(3)]) == 1
    odd = [prediction(4, features={"x": "\0"}), prediction(1, features={"x": "\0"})]
    assert store.predictions.append(odd) == 1


def test_versions_are_in_the_order_of_their_newest_predictions(store: SqlStore) -> None:
    assert store.predictions.versions("iris") == []
    store.predictions.append([prediction(1, version="b"), prediction(2, version="a")])
    store.predictions.append([prediction(3, version="c"), prediction(4, version="b")])
    store.predictions.append([prediction(5, model="other", version="d")])
    assert store.predictions.versions("iris") == ["a", "c", "b"]
