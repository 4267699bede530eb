"""Every promise of `driftbell.ports.Log`, run on every implementation."""

import json
import multiprocessing
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftbell.config.postgres_url import parse_database
from driftbell.drift.compare import compare
from driftbell.drift.judge import judge
from driftbell.errors import LeaseLostError, StoreError
from driftbell.journal.line import LineEncoder, line_of, time_text
from driftbell.records import (
    Alarm,
    Baseline,
    Check,
    CheckKind,
    CheckTotals,
    Delivery,
    Evidence,
    Interval,
    Judgement,
    Label,
    Labelled,
    LabelReceipt,
    LabelTotals,
    Lease,
    Notification,
    Prediction,
    Share,
    Verdict,
    Window,
)
from driftbell.records.alarms import Annotation
from driftbell.store.postgres import open_postgres
from driftbell.store.sqlite import open_sqlite
from driftbell.store.tables import VERSION_TABLE, metadata

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
IRIS = {"model": "iris", "version": "v1"}
ANY = st.characters()
"""Every character, half a surrogate pair and NUL among them: callers send what they like."""
TEXT = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


def new_sqlite(place):
    return open_sqlite(place / "log.sqlite")


def new_postgres(place):
    return open_postgres(parse_database((place / "url").read_text()))


OPENERS = {"SQLite": new_sqlite, "PostgreSQL": new_postgres}
"""Each opens the same log again when it is called again."""


@pytest.fixture(params=OPENERS)
def open_log(request, tmp_path):
    if request.param == "PostgreSQL":
        (tmp_path / "url").write_text(request.getfixturevalue("postgres_server").clean())
    return OPENERS[request.param]


@pytest.fixture
def opener(open_log, tmp_path):
    return lambda: open_log(tmp_path)


@pytest.fixture
def log(opener):
    log = opener()
    yield log
    log.close()


@pytest.fixture
def lease(log):
    return log.coordination.take_lease("a", now=NOW, seconds=30, next_run=None)


def prediction(number, **changes):
    made = Prediction(
        id=f"id-{number}",
        time=NOW + timedelta(seconds=number),
        model="iris",
        version="v1",
        features={"x": float(number), "größe": "ü\n\"'", "flag": True, "gone": None},
        output="setosa",
        probabilities={"setosa": 0.75, "virginica": 0.25},
        latency_ms=1.5,
    )
    return replace(made, **changes)


def check(number=0, verdict=Verdict.OK, **changes):
    made = Check(
        id=f"check-{number}",
        time=NOW,
        kind=CheckKind.AUTOMATIC,
        model="iris",
        version="v1",
        reference="5f5f5f5f5f5f",
        rows=500,
        first=1,
        last=500,
        judgement=Judgement(verdict, "A sentence."),
        duration=0.25,
    )
    return replace(made, **changes)


def notification(number=0, verdict=Verdict.ALARM, **changes):
    made = Notification(
        check_id=f"check-{number}",
        time=NOW,
        model="iris",
        version="v1",
        before=None,
        verdict=verdict,
        since=NOW - timedelta(minutes=5),
        sentence="A sentence.",
        columns=("a", "größe"),
        report="drift_report_20260131_120000.html",
    )
    return replace(made, **changes)


def full_judgement():
    rng = np.random.default_rng(0)
    reference = {"x": rng.normal(size=50), "t": ["a", "b"] * 25, "gone": [1.0] * 50, "u": [np.inf] * 50}
    window = {"x": rng.normal(3, 1, 40), "t": ["a", None] * 20, "u": [1.0] * 40, "extra": [1] * 40}
    return judge(compare(reference, window), rows=40)


# predictions


def test_what_was_appended_is_read_back_with_every_field(log):
    sent = [prediction(1), prediction(2, probabilities={}, features={})]
    log.predictions.append(sent)
    assert log.predictions.window(10, **IRIS).predictions == tuple(sent)


def test_times_come_back_in_utc_whatever_zone_they_were_written_in(log):
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    log.predictions.append([prediction(1, time=there)])
    (found,) = log.predictions.window(1, **IRIS).predictions
    assert found.time == NOW
    assert found.time.utcoffset() == timedelta(0)


def test_nothing_can_be_appended(log):
    log.predictions.append([])
    assert log.predictions.count(**IRIS) == 0


def test_a_known_id_is_skipped_and_the_rest_is_written(log):
    log.predictions.append([prediction(1), prediction(2)])
    log.predictions.append([prediction(2, output="virginica"), prediction(3)])
    found = log.predictions.window(10, **IRIS).predictions
    assert [p.id for p in found] == ["id-1", "id-2", "id-3"]
    assert found[1].output == "setosa"


def test_an_id_twice_in_one_batch_is_written_once(log):
    log.predictions.append([prediction(1), prediction(1)])
    assert log.predictions.count(**IRIS) == 1


@pytest.mark.parametrize("bad", [{"features": {"x": object()}}, {"output": None}], ids=["features", "output"])
def test_a_batch_with_one_bad_row_is_not_written_at_all(log, bad):
    try:
        log.predictions.append([prediction(1), prediction(2, **bad), prediction(3)])
    except StoreError:
        assert log.predictions.count(**IRIS) == 0
    else:
        pytest.fail("a row that cannot be written was taken")


def test_lines_are_written_in_their_order_and_known_ids_skipped(log):
    log.predictions.append([prediction(2)])
    encoder = LineEncoder("iris", "v1", ["x"], ["setosa", "virginica"])
    lines = [
        encoder.line(f"id-{i}", time_text(NOW), [float(i)], "setosa", [0.5, 0.5], 2.5) for i in (3, 1, 2)
    ]
    log.predictions.append_lines(lines)
    log.predictions.append_lines(lines[:1])
    log.predictions.append_lines([])
    found = log.predictions.window(10, **IRIS).predictions
    assert [p.id for p in found] == ["id-2", "id-3", "id-1"]
    assert found[0] == prediction(2)
    sent = {"features": {"x": 3.0}, "probabilities": {"setosa": 0.5, "virginica": 0.5}, "latency_ms": 2.5}
    assert found[1] == prediction(3, time=NOW, **sent)


NO_LINES = [b"", b"{", line_of(prediction(2))[:-40], b"[1]", b"{}", b'{"id":"\xff"}', b"null", b"1],[2"]


@pytest.mark.parametrize("bad", NO_LINES)
def test_lines_with_one_that_is_none_are_not_written_at_all(log, bad):
    with pytest.raises(StoreError):
        log.predictions.append_lines([line_of(prediction(1)), bad, line_of(prediction(3))])
    assert log.predictions.count(**IRIS) == 0
    log.predictions.append_lines([line_of(prediction(1))])
    assert log.predictions.count(**IRIS) == 1


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
def test_whatever_was_written_is_read_back_to_the_last_bit(log, features, shares, output, latency, time):
    new = prediction(0, id=secrets.token_hex(8), time=time, features=features)
    new = replace(new, probabilities=shares, output=output, latency_ms=latency)
    log.predictions.append([new])
    assert repr(log.predictions.get(new.id)) == repr(new)  # -0.0 is not 0.0, nor is 1.0 True


def test_what_json_cannot_hold_is_null(log):
    log.predictions.append(
        [prediction(1, features={"x": np.float64("nan"), "y": float("inf"), "z": np.int64(3)})]
    )
    assert log.predictions.window(1, **IRIS).predictions[0].features == {"x": None, "y": None, "z": 3}


def test_a_window_is_the_last_rows_oldest_first(log):
    log.predictions.append([prediction(i) for i in range(10)])
    found = log.predictions.window(3, **IRIS)
    assert [p.id for p in found.predictions] == ["id-7", "id-8", "id-9"]
    assert found.last - found.first == 2


def test_a_window_goes_by_the_order_of_writing_and_not_by_time(log):
    log.predictions.append([prediction(9)])
    log.predictions.append([prediction(1)])
    assert [p.id for p in log.predictions.window(1, **IRIS).predictions] == ["id-1"]


def test_sequence_numbers_grow(log):
    log.predictions.append([prediction(1)])
    before = log.predictions.window(10, **IRIS)
    log.predictions.append([prediction(2)])
    after = log.predictions.window(1, **IRIS)
    assert before.first == before.last < after.first == after.last


def test_other_models_and_versions_are_left_out(log):
    log.predictions.append(
        [prediction(1), prediction(2, version="v2"), prediction(3, model="other"), prediction(4)]
    )
    assert [p.id for p in log.predictions.window(10, **IRIS).predictions] == ["id-1", "id-4"]
    assert log.predictions.count(**IRIS) == 2
    assert log.predictions.count(model="iris", version="v2") == 1


def test_a_window_on_nothing_is_empty(log):
    assert log.predictions.window(10, **IRIS) == Window()


def test_counting_stops_at_the_limit(log):
    log.predictions.append([prediction(i) for i in range(10)])
    assert [log.predictions.count(**IRIS, limit=limit) for limit in (None, 4, 100)] == [10, 4, 10]


def test_predictions_survive_reopening(log, opener):
    log.predictions.append([prediction(1)])
    log.close()
    again = opener()
    assert again.predictions.window(10, **IRIS).predictions == (prediction(1),)
    again.close()


def test_what_one_reader_wrote_another_sees_at_once(log, opener):
    other = opener()
    log.predictions.append([prediction(1)])
    assert other.predictions.count(**IRIS) == 1
    other.close()


def append_many(open_log, place, name, rows):
    log = open_log(place)
    for number in range(rows):
        log.predictions.append([prediction(number, id=f"id-{name}-{number}")])
    log.close()


def test_two_processes_that_open_and_write_at_once_lose_nothing(open_log, tmp_path):
    spawn = multiprocessing.get_context("spawn")
    workers = [
        spawn.Process(target=append_many, args=(open_log, tmp_path, worker, 500)) for worker in ("a", "b")
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    log = open_log(tmp_path)
    assert log.predictions.count(**IRIS) == 1000
    found = [p.id for p in log.predictions.window(1000, **IRIS).predictions]
    assert [i for i in found if i.startswith("id-a")] == [f"id-a-{n}" for n in range(500)]
    log.close()


def test_one_prediction_is_read_by_its_id(log):
    log.predictions.append([prediction(1), prediction(2)])
    assert log.predictions.get("id-2") == prediction(2)
    assert log.predictions.get("nothing") is None


def test_of_the_predictions_after_a_number_the_newest_are_read(log):
    log.predictions.append([prediction(i) for i in range(10)])
    log.predictions.append([prediction(99, version="v2")])
    start = log.predictions.window(7, **IRIS).first - 1
    assert log.predictions.after(0, 100, **IRIS) == log.predictions.window(10, **IRIS)
    found = log.predictions.after(start, 100, **IRIS)
    assert [p.id for p in found.predictions] == [f"id-{i}" for i in range(3, 10)]
    assert (found.first, found.last) == (start + 1, start + 7)
    assert [p.id for p in log.predictions.after(start, 2, **IRIS).predictions] == ["id-8", "id-9"]
    assert log.predictions.after(found.last, 100, **IRIS) == Window()


# labels


def label(number, value="setosa", minutes=60):
    return Label(f"id-{number}", value, NOW + timedelta(minutes=minutes))


def seen(found):
    return [(f.prediction.id, f.label, f.before) for f in found]


def test_a_label_comes_back_with_its_prediction(log):
    log.predictions.append([prediction(1), prediction(2)])
    assert log.labels.add([label(2, "virginica")]) == LabelReceipt(accepted=1)
    (found,) = log.labels.newest(10, **IRIS)
    assert found == Labelled(prediction(2), "virginica", NOW + timedelta(hours=1), found.seq, None)
    assert log.labels.after(0, 10, **IRIS) == [found]
    assert log.labels.after(found.seq, 10, **IRIS) == []


def test_no_labels_are_no_labels(log):
    log.predictions.append([prediction(1)])
    assert log.labels.add([]) == LabelReceipt()
    assert log.labels.newest(10, **IRIS) == log.labels.after(0, 10, **IRIS) == []
    assert log.labels.totals(**IRIS) == LabelTotals()
    assert log.labels.realized(10, **IRIS) == Share(0, 0)
    assert log.labels.coverage(10, **IRIS) == Share(0, 1)
    assert log.labels.coverage(10, model="other", version="v1") == Share(0, 0)


def test_a_correction_is_one_more_label_and_a_repetition_is_none(log):
    log.predictions.append([prediction(1), prediction(2)])
    log.labels.add([label(1), label(2)])
    assert log.labels.add([label(1, "virginica", 70), label(2, minutes=80)]) == LabelReceipt(
        corrected=1, duplicates=1
    )
    assert log.labels.add([label(1, "setosa", 90)]) == LabelReceipt(corrected=1)
    assert seen(log.labels.newest(10, **IRIS)) == [("id-1", "setosa", "virginica"), ("id-2", "setosa", None)]
    assert seen(log.labels.after(0, 10, **IRIS)) == [
        ("id-1", "setosa", None),
        ("id-2", "setosa", None),
        ("id-1", "virginica", "setosa"),
        ("id-1", "setosa", "virginica"),
    ]


def test_of_an_id_twice_in_one_call_the_last_one_wins(log):
    log.predictions.append([prediction(1), prediction(2)])
    sent = [label(1), label(2), label(1, "virginica"), label(2)]
    assert log.labels.add(sent) == LabelReceipt(accepted=2, corrected=1, duplicates=1)
    assert seen(log.labels.newest(10, **IRIS)) == [("id-1", "virginica", "setosa"), ("id-2", "setosa", None)]


def test_labels_of_no_prediction_are_told_and_not_written(log):
    log.predictions.append([prediction(1)])
    found = log.labels.add([label(8), label(1), label(7), label(8)])
    assert found == LabelReceipt(accepted=1, unknown=("id-8", "id-7"))
    assert seen(log.labels.after(0, 10, **IRIS)) == [("id-1", "setosa", None)]


def test_labels_are_read_in_the_order_in_which_they_came_and_predictions_in_their_own(log):
    log.predictions.append([prediction(i) for i in range(5)])
    log.labels.add([label(3)])
    log.labels.add([label(1), label(4)])
    arrived = log.labels.after(0, 10, **IRIS)
    assert [f.prediction.id for f in arrived] == ["id-3", "id-1", "id-4"]
    assert [f.seq for f in arrived] == sorted(f.seq for f in arrived)
    assert log.labels.after(0, 2, **IRIS) == arrived[:2]
    assert log.labels.after(arrived[0].seq, 10, **IRIS) == arrived[1:]
    assert [f.prediction.id for f in log.labels.newest(2, **IRIS)] == ["id-3", "id-4"]
    assert log.labels.coverage(4, **IRIS) == Share(3, 4)


def test_labels_that_had_arrived_by_a_time_are_read_as_they_were_then(log):
    log.predictions.append([prediction(i) for i in range(3)])
    log.labels.add([label(0, minutes=1), label(1, "virginica", minutes=2)])
    log.labels.add([label(0, "virginica", minutes=3), label(2, minutes=4)])

    def then(minutes):
        return seen(log.labels.newest(10, **IRIS, as_of=NOW + timedelta(minutes=minutes)))

    def right(minutes):
        return log.labels.realized(10, **IRIS, as_of=NOW + timedelta(minutes=minutes))

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
    assert log.labels.realized(1, **IRIS) == Share(1, 1)


def test_labels_belong_to_the_version_that_predicted(log):
    log.predictions.append([prediction(1), prediction(2, version="v2"), prediction(3)])
    log.labels.add([label(1), label(2), label(3)])
    other = {"model": "iris", "version": "v2"}
    assert [f.prediction.id for f in log.labels.newest(10, **IRIS)] == ["id-1", "id-3"]
    assert [f.prediction.id for f in log.labels.after(0, 10, **other)] == ["id-2"]
    assert [log.labels.totals(**whose).labelled for whose in (IRIS, other)] == [2, 1]


def test_label_totals_count_predictions_corrections_and_times(log):
    log.predictions.append([prediction(i) for i in range(5)])
    log.labels.add([label(3, minutes=1)])
    log.labels.add([label(1, minutes=2), label(1, "virginica", 2), label(1, "virginica", 3)])
    assert log.labels.totals(**IRIS) == LabelTotals(2, 1, NOW + timedelta(minutes=2), prediction(3).time)


def test_labels_survive_reopening(log, opener):
    log.predictions.append([prediction(1)])
    log.labels.add([label(1)])
    log.close()
    again = opener()
    assert again.labels.add([label(1), label(1, "virginica")]) == LabelReceipt(corrected=1, duplicates=1)
    assert seen(again.labels.newest(10, **IRIS)) == [("id-1", "virginica", "setosa")]
    again.close()


def test_ten_thousand_labels_are_taken_in_one_call(log):
    log.predictions.append([prediction(i) for i in range(10_000)])
    found = log.labels.add([label(i, "virginica" if i % 4 else "setosa") for i in range(10_001)])
    assert found == LabelReceipt(accepted=10_000, unknown=("id-10000",))
    assert log.labels.realized(8_000, **IRIS) == Share(2_000, 8_000)
    assert log.labels.totals(**IRIS).labelled == 10_000


def test_labels_of_which_one_cannot_be_written_are_not_written_at_all(log):
    log.predictions.append([prediction(1), prediction(2)])
    with pytest.raises(StoreError):
        log.labels.add([label(1), Label("id-2", "setosa", None)])
    assert log.labels.newest(10, **IRIS) == []
    assert log.labels.add([label(1)]) == LabelReceipt(accepted=1)


def label_many(open_log, place, values):
    log = open_log(place)
    for round_ in range(20):
        log.labels.add([label(i, values[round_ % 2]) for i in range(50)])
    log.close()


def test_two_processes_that_label_at_once_write_one_history(open_log, tmp_path):
    log = open_log(tmp_path)
    log.predictions.append([prediction(i) for i in range(50)])
    spawn = multiprocessing.get_context("spawn")
    workers = [
        spawn.Process(target=label_many, args=(open_log, tmp_path, values))
        for values in (("setosa", "virginica"), ("virginica", "setosa"))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    value = {}
    arrived = log.labels.after(0, 10_000, **IRIS)
    for found in arrived:
        assert found.before == value.get(found.prediction.id) != found.label
        value[found.prediction.id] = found.label
    totals = log.labels.totals(**IRIS)
    assert (totals.labelled, totals.corrections) == (50, len(arrived) - 50)
    log.close()


# traffic


def test_traffic_is_counted_by_bucket_and_empty_buckets_are_left_out(log):
    start = datetime(2026, 1, 31, 12, tzinfo=UTC)
    seconds = [(0, 1.0), (59.9, 3.0), (60, 5.0), (300, 7.0)]
    log.predictions.append(
        [prediction(i, time=start + timedelta(seconds=s), latency_ms=ms) for i, (s, ms) in enumerate(seconds)]
    )
    found = [
        (b.start, b.count, b.mean_latency_ms, b.max_latency_ms) for b in log.predictions.traffic(start, 60)
    ]
    assert found == [
        (start, 2, 2.0, 3.0),
        (start + timedelta(minutes=1), 1, 5.0, 5.0),
        (start + timedelta(minutes=5), 1, 7.0, 7.0),
    ]


def test_traffic_begins_at_the_given_time(log):
    log.predictions.append([prediction(i) for i in range(4)])
    counts = [b.count for b in log.predictions.traffic(NOW + timedelta(seconds=2), 3600)]
    assert counts == [2]
    assert log.predictions.traffic(NOW + timedelta(days=1), 60) == []


def test_traffic_counts_every_model(log):
    log.predictions.append([prediction(1), prediction(2, model="other")])
    assert sum(b.count for b in log.predictions.traffic(NOW, 3600)) == 2


# checks


def test_a_check_comes_back_with_every_field(log, lease):
    saved = check(
        kind=CheckKind.TRIGGERED,
        judgement=full_judgement(),
        reports=("report-1.html", "evidently-1.html"),
        error="a report could not be written",
        time=NOW,
    )
    columns = saved.judgement.columns
    assert {c.verdict for c in columns} >= {Verdict.UNKNOWN, Verdict.WARNING}
    assert {c.drifted for c in columns} == {True, False}
    assert any(r.noise for c in columns for r in c.comparison.results)
    assert None in [c.adjusted_p_value for c in columns]
    assert None in [c.comparison.histogram for c in columns]
    assert None in [r.value for c in columns for r in c.comparison.results]
    log.checks.save(saved, lease)
    assert log.checks.get(saved.id) == saved
    assert log.checks.newest(1) == [saved]


@pytest.mark.parametrize("asked", ["nothing", "no\0thing"])
def test_what_nobody_knows_is_none(log, asked):
    assert (
        log.checks.get(asked),
        log.alarms.get(asked),
        log.coordination.get_request(asked),
        log.predictions.get(asked),
    ) == (None,) * 4
    assert log.labels.add([Label(asked, "setosa", NOW)]).unknown == (asked,)
    assert log.checks.newest(5) == []


def test_a_text_that_is_no_utf8_fails_alone_and_what_comes_next_is_right(log):
    log.predictions.append([prediction(1)])
    for number in range(2, 6):
        with pytest.raises(StoreError, match="not UTF-8"):
            log.predictions.window(9, model="\ud800", version="v1")
        log.predictions.append([prediction(number)])
        assert log.predictions.count(**IRIS) == number


def test_saving_a_check_again_changes_nothing(log, lease):
    log.checks.save(check(), lease)
    log.checks.save(check(duration=99.0, verdict=Verdict.ALARM), lease)
    assert log.checks.newest(5) == [check()]


def test_checks_come_newest_first(log, lease):
    for number in range(5):
        log.checks.save(check(number), lease)
    assert [c.id for c in log.checks.newest(3)] == ["check-4", "check-3", "check-2"]


def test_checks_survive_reopening(log, lease, opener):
    log.checks.save(check(), lease)
    log.close()
    again = opener()
    assert again.checks.newest(5) == [check()]
    again.close()


def test_check_totals_count_every_check(log, lease):
    assert log.checks.totals() == CheckTotals()
    for number, verdict in enumerate([Verdict.OK, Verdict.OK, Verdict.ALARM]):
        log.checks.save(check(number, verdict), lease)
    log.checks.save(check(9, Verdict.UNKNOWN, error="the model failed"), lease)
    assert log.checks.totals() == CheckTotals({"ok": 2, "alarm": 1, "unknown": 1}, failed=1, duration_sum=1.0)


def test_a_check_under_an_old_token_is_refused_and_not_saved(log, lease):
    log.coordination.take_lease("b", now=lease.expires, seconds=30, next_run=None)
    with pytest.raises(LeaseLostError):
        log.checks.save(check(), lease)
    assert log.checks.newest(5) == []


def test_a_check_without_any_lease_is_refused(log):
    with pytest.raises(LeaseLostError):
        log.checks.save(check(), Lease("a", 1, NOW))


def test_a_check_under_an_expired_lease_that_nobody_took_is_saved(log, lease):
    assert (
        log.coordination.take_lease(
            "a", now=lease.expires + timedelta(days=1), seconds=1, next_run=None
        ).token
        == 1
    )
    log.checks.save(check(), lease)
    assert log.checks.newest(5) == [check()]


# notifications


def test_an_alert_is_saved_with_its_check_and_waits(log, lease):
    log.checks.save(check(), lease, notification())
    assert log.checks.newest(5) == [check()]
    assert log.notifications.last(**IRIS) == notification()
    assert log.notifications.pending() == [Delivery(notification(), NOW)]
    assert log.notifications.totals() == {"pending": 1}


def test_without_an_alert_there_is_none(log, lease):
    log.checks.save(check(), lease)
    assert log.notifications.last(**IRIS) is None
    assert log.notifications.pending() == []
    assert log.notifications.totals() == {}


def test_a_check_that_is_saved_twice_gives_one_alert(log, lease):
    log.checks.save(check(), lease, notification())
    log.checks.save(check(), lease, notification(sentence="Another."))
    assert [d.notification for d in log.notifications.pending()] == [notification()]


def test_an_alert_under_an_old_token_is_refused_with_its_check(log, lease):
    log.coordination.take_lease("b", now=lease.expires, seconds=30, next_run=None)
    with pytest.raises(LeaseLostError):
        log.checks.save(check(), lease, notification())
    assert log.checks.newest(5) == []
    assert log.notifications.pending() == []


def test_an_alert_that_cannot_be_written_takes_its_check_with_it(log, lease):
    with pytest.raises(StoreError):
        log.checks.save(check(), lease, notification(sentence=None))
    assert log.checks.newest(5) == []


def test_the_last_alert_is_the_newest_of_its_model_and_version(log, lease):
    log.checks.save(check(1), lease, notification(1))
    log.checks.save(check(2), lease, notification(2, Verdict.OK, before=Verdict.ALARM, columns=(), report=""))
    log.checks.save(check(3, version="v2"), lease, notification(3, version="v2"))
    assert log.notifications.last(**IRIS).check_id == "check-2"
    assert log.notifications.last(**IRIS).before is Verdict.ALARM
    assert log.notifications.last(model="other", version="v1") is None


def test_alerts_wait_oldest_first_with_how_far_they_are(log, lease):
    for number in range(3):
        log.checks.save(check(number), lease, notification(number))
    later = NOW + timedelta(seconds=10)
    tried = Delivery(notification(0), later, "pending", frozenset({"k1", "k2"}), 3, "no answer")
    log.notifications.save_delivery(tried, lease)
    log.notifications.save_delivery(Delivery(notification(1), NOW, "sent", frozenset({"k1"})), lease)
    assert log.notifications.pending() == [tried, Delivery(notification(2), NOW)]
    log.notifications.save_delivery(Delivery(notification(2), NOW, "failed", attempts=9), lease)
    assert log.notifications.totals() == {"pending": 1, "sent": 1, "failed": 1}


def test_a_delivery_under_an_old_token_is_refused(log, lease):
    log.checks.save(check(), lease, notification())
    log.coordination.take_lease("b", now=lease.expires, seconds=30, next_run=None)
    with pytest.raises(LeaseLostError):
        log.notifications.save_delivery(Delivery(notification(), NOW, "sent"), lease)
    assert log.notifications.totals() == {"pending": 1}


def test_alerts_survive_reopening(log, lease, opener):
    log.checks.save(check(), lease, notification())
    log.close()
    again = opener()
    assert again.notifications.pending() == [Delivery(notification(), NOW)]
    again.close()


def test_a_state_is_as_old_as_the_first_check_that_had_it_without_a_break(log, lease):
    verdicts = [Verdict.OK, Verdict.ALARM, Verdict.OK, Verdict.WARNING, Verdict.OK]
    calm = {Verdict.OK, Verdict.WARNING}
    assert log.checks.state_since(calm, **IRIS) is None
    for number, verdict in enumerate(verdicts):
        log.checks.save(check(number, verdict, time=NOW + timedelta(minutes=number)), lease)
    log.checks.save(check(9, Verdict.ALARM, version="v2"), lease)
    assert log.checks.state_since(calm, **IRIS) == NOW + timedelta(minutes=2)
    assert log.checks.state_since({Verdict.OK}, **IRIS) == NOW + timedelta(minutes=4)
    assert log.checks.state_since({Verdict.ALARM}, **IRIS) is None
    assert log.checks.state_since({Verdict.ALARM}, model="iris", version="v2") == NOW


# alarms


def alarm(number=0, **changes):
    values = {
        "id": f"check{number}",
        **IRIS,
        "opened": NOW + timedelta(hours=number),
        "closed": None,
        "sentence": "Worse since 11:30.",
        "columns": ("age", "city"),
        "first": 7,
        "last": 90,
    }
    return Alarm(**{**values, **changes})


def annotate(word, minutes=0, until=None):
    return Annotation(word, "ada", "a new sensor", NOW + timedelta(minutes=minutes), until)


def ring(log, lease, *numbers, **changes):
    for number in numbers:
        log.checks.save(check(number), lease, alarm=alarm(number, **changes))


def test_an_alarm_is_saved_with_its_check_and_is_open(log, lease, opener):
    log.checks.save(check(), lease, notification(), alarm())
    log.checks.save(check(1), lease)
    assert log.alarms.get("check0") == log.alarms.current(**IRIS) == alarm()
    assert log.alarms.newest(5) == [alarm()]
    log.close()
    again = opener()
    assert again.alarms.newest(5) == [alarm()]
    again.close()


def test_where_there_is_no_alarm_there_is_none(log):
    assert log.alarms.current(**IRIS) is None
    assert log.alarms.get("check0") is None
    assert log.alarms.annotate("check0", annotate("false")) is None
    assert log.alarms.newest(5) == log.alarms.decided(None, **IRIS) == []
    assert log.alarms.silent_until(**IRIS) is None
    assert log.alarms.totals(**IRIS) == {}


def test_an_alarm_under_an_old_token_is_refused_with_its_check(log, lease):
    log.coordination.take_lease("b", now=lease.expires, seconds=30, next_run=None)
    with pytest.raises(LeaseLostError):
        log.checks.save(check(), lease, alarm=alarm())
    assert (log.checks.newest(5), log.alarms.newest(5)) == ([], [])


def test_an_alarm_that_cannot_be_written_takes_its_check_with_it(log, lease):
    with pytest.raises(StoreError):
        log.checks.save(check(), lease, alarm=alarm(sentence=None))
    assert (log.checks.newest(5), log.alarms.newest(5)) == ([], [])


def test_an_open_alarm_says_what_the_newest_check_says_until_it_is_closed(log, lease):
    ring(log, lease, 0)
    newer = alarm(sentence="Worse since 11:20.", columns=("age",), first=5, last=120)
    log.checks.save(check(1), lease, alarm=newer)
    assert log.alarms.current(**IRIS) == newer
    over = replace(newer, closed=NOW + timedelta(hours=2))
    log.checks.save(check(2), lease, alarm=over)
    assert log.alarms.current(**IRIS) is None
    log.checks.save(check(3), lease, alarm=replace(over, sentence="No.", closed=NOW + timedelta(hours=3)))
    assert log.alarms.newest(5) == [over]


def test_a_check_that_is_saved_twice_changes_no_alarm(log, lease):
    ring(log, lease, 0)
    log.checks.save(check(0), lease, alarm=alarm(sentence="Another."))
    assert log.alarms.newest(5) == [alarm()]


def test_alarms_come_newest_first_and_belong_to_their_version(log, lease):
    ring(log, lease, 0, 1)
    ring(log, lease, 2, version="v2")
    assert [a.id for a in log.alarms.newest(5)] == ["check2", "check1", "check0"]
    assert [a.id for a in log.alarms.newest(1)] == ["check2"]
    assert [a.id for a in log.alarms.newest(5, version="v1")] == ["check1", "check0"]
    assert log.alarms.current(**IRIS).id == "check1"
    assert log.alarms.current(model="iris", version="v2").id == "check2"
    assert log.alarms.current(model="other", version="v2") is None


def test_an_alarm_ends_with_its_version(log, lease):
    ring(log, lease, 0)
    log.checks.save(check(1, model="another", version="v2"), lease)
    assert log.alarms.current(**IRIS) is not None
    later = check(2, version="v2")
    log.checks.save(later, lease)
    assert log.alarms.current(**IRIS) is None
    assert log.alarms.newest(5) == [alarm(closed=later.time)]


@pytest.mark.parametrize("word", ["expected", "false"])
def test_a_decided_alarm_is_over_and_no_check_changes_it(log, lease, word):
    ring(log, lease, 0)
    found = log.alarms.annotate("check0", annotate(word, minutes=3))
    time = NOW + timedelta(minutes=3)
    assert found == alarm(closed=time, annotation=word, author="ada", reason="a new sensor", annotated=time)
    log.checks.save(check(1), lease, alarm=alarm(sentence="A check that ran meanwhile."))
    assert log.alarms.newest(5) == [found]
    assert log.alarms.decided(None, **IRIS) == [found]
    assert log.alarms.decided(time, **IRIS) == []
    assert log.alarms.totals(**IRIS) == {word: 1}


def test_the_newest_mark_counts_and_an_end_stays_what_it_was(log, lease):
    ring(log, lease, 0)
    first = log.alarms.annotate("check0", annotate("expected", minutes=1))
    second = log.alarms.annotate("check0", annotate("false", minutes=2))
    assert (second.annotation, second.closed) == ("false", first.closed)
    assert log.alarms.decided(first.annotated, **IRIS) == [second]


def test_marks_are_told_in_their_order_even_where_the_clock_was_set_back(log, lease):
    ring(log, lease, 0, 1, 2)
    log.alarms.annotate("check1", annotate("false", minutes=5))
    seen = log.alarms.decided(None, **IRIS)[-1].annotated
    log.alarms.annotate("check0", annotate("expected", minutes=-60))
    log.alarms.annotate("check2", annotate("silenced", until=NOW + timedelta(days=1)))
    assert [a.id for a in log.alarms.decided(seen, **IRIS)] == ["check0"]
    assert [a.id for a in log.alarms.decided(None, **IRIS)] == ["check1", "check0"]
    assert log.alarms.totals(**IRIS) == {"false": 1, "expected": 1, "silenced": 1}


def test_a_silenced_alarm_stays_open(log, lease):
    ring(log, lease, 0, 1)
    for number, hours in enumerate([5, 3]):
        log.alarms.annotate(f"check{number}", annotate("silenced", until=NOW + timedelta(hours=hours)))
    assert log.alarms.silent_until(**IRIS) == NOW + timedelta(hours=5)
    assert log.alarms.current(**IRIS).until == NOW + timedelta(hours=3)
    assert log.alarms.silent_until(model="iris", version="v2") is None
    assert log.alarms.decided(None, **IRIS) == []


def test_the_first_prediction_after_a_time_is_found(log):
    log.predictions.append([prediction(i, time=NOW + timedelta(minutes=i)) for i in range(5)])
    log.predictions.append([prediction(9, time=NOW + timedelta(minutes=2), version="v2")])
    assert log.predictions.first_since(NOW - timedelta(days=1), **IRIS) == 1
    assert log.predictions.first_since(NOW + timedelta(minutes=2), **IRIS) == 3
    assert log.predictions.first_since(NOW + timedelta(minutes=2, seconds=1), **IRIS) == 4
    assert log.predictions.first_since(NOW + timedelta(minutes=9), **IRIS) is None


def test_predictions_are_read_up_to_a_number(log):
    log.predictions.append([prediction(i) for i in range(10)])
    found = log.predictions.after(2, 3, **IRIS, last=7)
    assert [p.id for p in found.predictions] == [prediction(i).id for i in (4, 5, 6)]
    assert (found.first, found.last) == (5, 7)


# requests for checks


def test_a_request_waits_until_it_is_done(log):
    asked = log.coordination.request_check(CheckKind.TRIGGERED, NOW)
    assert (asked.kind, asked.time, asked.state, asked.check_id) == (
        CheckKind.TRIGGERED,
        NOW,
        "pending",
        None,
    )
    assert log.coordination.get_request(asked.id) == log.coordination.pending_request() == asked
    log.coordination.answer_request(asked.id, check_id="check-1")
    assert log.coordination.get_request(asked.id) == replace(asked, state="done", check_id="check-1")
    assert log.coordination.pending_request() is None


def test_a_request_can_fail(log):
    asked = log.coordination.request_check(CheckKind.MANUAL, NOW)
    log.coordination.answer_request(asked.id, check_id=None, error="the model failed")
    assert log.coordination.get_request(asked.id) == replace(asked, state="failed", error="the model failed")
    assert log.coordination.pending_request() is None


def test_the_first_answer_to_a_request_stays(log):
    asked = log.coordination.request_check(CheckKind.MANUAL, NOW)
    log.coordination.answer_request(asked.id, check_id="check-1")
    log.coordination.answer_request(asked.id, check_id=None, error="a paused monitor woke")
    assert log.coordination.get_request(asked.id) == replace(asked, state="done", check_id="check-1")


def test_requests_are_answered_oldest_first(log):
    first, second = (log.coordination.request_check(CheckKind.MANUAL, NOW) for _ in range(2))
    assert first.id != second.id
    assert log.coordination.pending_request() == first
    log.coordination.answer_request(first.id, check_id="c")
    assert log.coordination.pending_request() == second


def test_an_unknown_request_is_none(log):
    assert log.coordination.get_request("nothing") is None
    assert log.coordination.pending_request() is None


def test_requests_survive_reopening(log, opener):
    asked = log.coordination.request_check(CheckKind.MANUAL, NOW)
    log.close()
    again = opener()
    assert again.coordination.pending_request() == asked
    again.close()


# the lease


def test_nobody_holds_the_lease_at_first(log):
    assert log.coordination.lease() is None


def test_a_lease_is_taken_and_read(log):
    taken = log.coordination.take_lease("a", now=NOW, seconds=30, next_run=NOW + timedelta(minutes=5))
    assert taken == Lease("a", 1, NOW + timedelta(seconds=30), NOW + timedelta(minutes=5))
    assert log.coordination.lease() == taken


def test_another_holder_waits_until_the_lease_expires(log, lease):
    just_before = lease.expires - timedelta(microseconds=1)
    assert log.coordination.take_lease("b", now=just_before, seconds=30, next_run=None) is None
    assert log.coordination.lease() == lease
    assert (
        log.coordination.take_lease("b", now=lease.expires, seconds=30, next_run=None).token
        == lease.token + 1
    )
    assert log.coordination.take_lease("a", now=lease.expires, seconds=30, next_run=None) is None


def test_renewing_keeps_the_token_and_moves_the_end(log, lease):
    later = NOW + timedelta(seconds=20)
    renewed = log.coordination.take_lease("a", now=later, seconds=30, next_run=later)
    assert renewed == Lease("a", lease.token, later + timedelta(seconds=30), later)
    assert log.coordination.take_lease("b", now=lease.expires, seconds=30, next_run=None) is None


def test_an_expired_lease_can_still_be_read(log, lease):
    assert log.coordination.lease() == lease


def test_a_lease_that_was_given_back_is_free_at_once(log, lease):
    log.coordination.release_lease("a")
    assert log.coordination.lease().next_run is None
    assert log.coordination.take_lease("b", now=NOW, seconds=30, next_run=None).token == lease.token + 1


def test_only_the_holder_can_give_the_lease_back(log, lease):
    log.coordination.release_lease("b")
    assert log.coordination.lease() == lease


# faults


def test_ping_proves_a_log_that_can_be_written(log):
    assert log.ping() is None


def test_ping_fails_while_somebody_else_never_stops_writing(tmp_path, monkeypatch):
    monkeypatch.setattr("driftbell.store.sqlite.BUSY_SECONDS", 0)
    log = new_sqlite(tmp_path)
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'log.sqlite'}", isolation_level="AUTOCOMMIT")
    with engine.connect() as blocker:
        blocker.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            log.ping()
        assert log.predictions.count(**IRIS) == 0, "readers do not wait"
        blocker.exec_driver_sql("ROLLBACK")
    log.ping()
    log.close()
    engine.dispose()


CALLS = {
    "append": lambda log: log.predictions.append([prediction(1)]),
    "ingest": lambda log: log.predictions.append_lines([line_of(prediction(1))]),
    "window": lambda log: log.predictions.window(1, **IRIS),
    "count": lambda log: log.predictions.count(**IRIS),
    "traffic": lambda log: log.predictions.traffic(NOW, 60),
    "prediction": lambda log: log.predictions.get("x"),
    "predictions_after": lambda log: log.predictions.after(0, 1, **IRIS),
    "add_labels": lambda log: log.labels.add([label(1)]),
    "labelled": lambda log: log.labels.newest(1, **IRIS),
    "labelled_after": lambda log: log.labels.after(0, 1, **IRIS),
    "realized": lambda log: log.labels.realized(1, **IRIS),
    "label_share": lambda log: log.labels.coverage(1, **IRIS),
    "label_totals": lambda log: log.labels.totals(**IRIS),
    "save_check": lambda log: log.checks.save(check(), Lease("a", 1, NOW)),
    "last_notification": lambda log: log.notifications.last(**IRIS),
    "state_since": lambda log: log.checks.state_since({Verdict.OK}, **IRIS),
    "open_alarm": lambda log: log.alarms.current(**IRIS),
    "alarm": lambda log: log.alarms.get("x"),
    "alarms": lambda log: log.alarms.newest(1),
    "decided_alarms": lambda log: log.alarms.decided(None, **IRIS),
    "silent_until": lambda log: log.alarms.silent_until(**IRIS),
    "annotate_alarm": lambda log: log.alarms.annotate("x", annotate("false")),
    "alarm_totals": lambda log: log.alarms.totals(**IRIS),
    "seq_at": lambda log: log.predictions.first_since(NOW, **IRIS),
    "pending_notifications": lambda log: log.notifications.pending(),
    "save_delivery": lambda log: log.notifications.save_delivery(
        Delivery(notification(), NOW), Lease("a", 1, NOW)
    ),
    "notification_totals": lambda log: log.notifications.totals(),
    "check": lambda log: log.checks.get("x"),
    "checks": lambda log: log.checks.newest(1),
    "check_totals": lambda log: log.checks.totals(),
    "request_check": lambda log: log.coordination.request_check(CheckKind.MANUAL, NOW),
    "pending_request": lambda log: log.coordination.pending_request(),
    "answer_request": lambda log: log.coordination.answer_request("x", check_id=None),
    "request": lambda log: log.coordination.get_request("x"),
    "take_lease": lambda log: log.coordination.take_lease("a", now=NOW, seconds=1, next_run=None),
    "release_lease": lambda log: log.coordination.release_lease("a"),
    "lease": lambda log: log.coordination.lease(),
    "ping": lambda log: log.ping(),
}


@pytest.mark.parametrize("call", CALLS)
def test_every_call_on_a_log_that_is_gone_is_a_log_error(call, tmp_path):
    log = new_sqlite(tmp_path)
    log.close()
    for file in tmp_path.iterdir():
        file.unlink()
    (tmp_path / "log.sqlite").mkdir()
    with pytest.raises(StoreError, match=r"cannot be used|was removed"):
        CALLS[call](log)


def test_a_folder_in_place_of_the_file_is_a_log_error(tmp_path):
    (tmp_path / "log.sqlite").mkdir()
    with pytest.raises(StoreError):
        new_sqlite(tmp_path)


def test_a_folder_that_is_not_there_is_a_log_error(tmp_path):
    with pytest.raises(StoreError):
        new_sqlite(tmp_path / "nowhere")


def test_a_file_that_is_no_database_is_a_log_error_and_left_alone(tmp_path):
    path = tmp_path / "log.sqlite"
    path.write_bytes(b"precious text, and no database " * 100)
    with pytest.raises(StoreError, match="not a database"):
        open_sqlite(path)
    assert path.read_bytes().startswith(b"precious text")


def test_tables_of_a_newer_release_are_refused(tmp_path):
    new_sqlite(tmp_path).close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'log.sqlite'}")
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match="newer driftbell"):
        new_sqlite(tmp_path)


OLD_CHECK = {
    "id": "check-0",
    "time": "2026-01-31T12:00:00+00:00",
    "kind": "automatic",
    "model": "iris",
    "version": "v1",
    "reference": "r1",
    "rows": 50,
    "first": 1,
    "last": 50,
    "judgement": {
        "verdict": "alarm",
        "sentence": "The model loses 4 points.",
        "columns": [
            {
                "comparison": {
                    "column": "x",
                    "role": "feature",
                    "kind": "numeric",
                    "p_value": 0.001,
                    "results": [
                        {
                            "statistic": "Kolmogorov–Smirnov",
                            "value": 0.4,
                            "kind": "distance",
                            "threshold": None,
                            "n_reference": 100,
                            "n_window": 50,
                        }
                    ],
                    "histogram": {"labels": ["< 1", "≥ 1"], "reference": [60, 40], "window": [10, 40]},
                    "note": "",
                },
                "verdict": "alarm",
                "adjusted_p_value": 0.001,
                "threshold": 0.05,
                "reason": "Drift.",
            }
        ],
        "harm": {
            "verdict": "alarm",
            "sentence": "The model loses 4 points.",
            "score": 1.4,
            "parts": [{"name": "broken data", "column": "x", "score": 1.4, "pages": True, "note": ""}],
            "rows": 50,
            "performance": {
                "metric": "accuracy",
                "reference": 0.9,
                "estimated": {"value": 0.86, "low": 0.8, "high": 0.9},
                "realised": None,
                "labelled": 0,
            },
            "loss": {"value": 0.04, "low": 0.01, "high": 0.07},
            "since": {
                "time": "2026-01-31T11:00:00+00:00",
                "low": "2026-01-31T10:00:00+00:00",
                "high": "2026-01-31T11:30:00+00:00",
            },
            "suspects": [{"column": "x", "share": 1.0, "words": "frozen at 5"}],
            "slice": "x > 1",
            "to_label": ["old"],
            "waiting": False,
        },
    },
    "duration": 0.25,
    "reports": ["drift_report_20260131_120000.html"],
    "error": "",
    "state": {
        "harm": {"seq": 50, "label_seq": 3, "sums": {"estimate": [1.0, 2.0]}, "blocks": {}},
        "reference": "r1",
        "marked": "2026-01-30T12:00:00+00:00",
        "base": {"alarm": "a", "first": 7, "last": 40},
        "drift": {"x": 0},
    },
}
"""A check as the version before the tables 0005 stored it."""


def tables_of(version, path):
    """Create the tables of an older version, and return the engine."""
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "driftbell.store:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, version)
    return engine


PREDICTION = (
    "INSERT INTO predictions (id, time, model, version, features, output, probabilities, latency_ms) "
    "VALUES ('old', '2026-01-31 12:00:00.000000', 'iris', 'v1', '{}', 'setosa', '{}', 1)"
)
CHECK = (
    "INSERT INTO checks (id, time, kind, model, version, verdict, duration, error, body) "
    "VALUES ('check-0', '2026-01-31 12:00:00.000000', 'automatic', 'iris', 'v1', 'alarm', 0.25, '', :body)"
)


def test_tables_of_the_first_version_are_migrated_with_their_rows(tmp_path):
    path = tmp_path / "log.sqlite"
    engine = tables_of("0001", path)
    body = {name: value for name, value in OLD_CHECK.items() if name != "state"}
    with engine.begin() as connection:
        assert not sa.inspect(connection).has_table("alerts")
        connection.exec_driver_sql(PREDICTION)
        connection.exec_driver_sql(CHECK, {"body": json.dumps(body)})
    engine.dispose()
    log = open_sqlite(path)
    assert [p.id for p in log.predictions.window(10, **IRIS).predictions] == ["old"]
    assert [c.judgement.drifted_columns for c in log.checks.newest(5)] == [("x",)]
    lease = log.coordination.take_lease("a", now=NOW, seconds=30, next_run=None)
    log.checks.save(check(1, Verdict.ALARM), lease, notification(1))
    assert [d.notification for d in log.notifications.pending()] == [notification(1)]
    assert log.labels.add([Label("old", "setosa", NOW)]) == LabelReceipt(accepted=1)
    log.close()
    again = open_sqlite(path)
    assert [f.label for f in again.labels.newest(10, **IRIS)] == ["setosa"]
    assert again.notifications.last(**IRIS) == notification(1)
    again.close()


def test_a_folder_of_the_version_before_is_migrated_and_its_evidence_starts_anew(tmp_path):
    path = tmp_path / "log.sqlite"
    engine = tables_of("0004", path)
    with engine.begin() as connection:
        connection.exec_driver_sql(PREDICTION)
        connection.exec_driver_sql(CHECK, {"body": json.dumps(OLD_CHECK)})
        connection.exec_driver_sql(
            "INSERT INTO alarms (id, model, version, opened, sentence, columns, first, last, mark, author, "
            "reason, marked) VALUES ('a', 'iris', 'v1', '2026-01-30 12:00:00.000000', 's', '[]', 1, 2, "
            "'expected', 'ada', 'a new sensor', '2026-01-30 12:00:00.000000')"
        )
        connection.exec_driver_sql(
            "INSERT INTO alerts (check_id, time, model, version, verdict, since, sentence, columns, report, "
            "state, delivered, attempts, next_try, error) VALUES ('check-0', '2026-01-31 12:00:00.000000', "
            "'iris', 'v1', 'alarm', '2026-01-31 12:00:00.000000', 's', '[]', '', 'pending', '[]', 0, "
            "'2026-01-31 12:00:00.000000', '')"
        )
        connection.exec_driver_sql(
            "INSERT INTO pruned (kind, model, version, key, count, failed, duration) "
            "VALUES ('alert', 'iris', 'v1', 'sent', 3, 0, 0)"
        )
    engine.dispose()
    log = open_sqlite(path)
    (found,) = log.checks.newest(5)
    degradation = found.judgement.degradation
    assert found.judgement.drifted_columns == ("x",)
    assert found.judgement.columns[0].verdict is Verdict.WARNING
    assert degradation.evidence == (Evidence("data quality", "x", 1.4),)
    assert degradation.estimated_loss == Interval(0.04, 0.01, 0.07)
    assert degradation.change_point.time == datetime(2026, 1, 31, 11, tzinfo=UTC)
    assert degradation.segment == "x > 1"
    assert degradation.performance.realized is None
    assert found.baseline == Baseline("a", 7, 40)
    assert "sums" not in json.dumps(msgspec.to_builtins(found.state))
    (alarm,) = log.alarms.decided(None, **IRIS)
    assert (alarm.annotation, alarm.author) == ("expected", "ada")
    assert [d.notification.check_id for d in log.notifications.pending()] == ["check-0"]
    assert log.notifications.totals() == {"pending": 1, "sent": 3}
    log.close()


@pytest.mark.parametrize("name", ["a b.sqlite", "what?mode=ro.sqlite", "50%25.sqlite", "größe#1.sqlite"])
def test_any_file_name_is_taken_as_it_is(tmp_path, name):
    log = open_sqlite(tmp_path / name)
    log.predictions.append([prediction(1)])
    log.close()
    assert name in [path.name for path in tmp_path.iterdir()]


def test_the_migrations_make_the_tables_that_the_code_expects(tmp_path):
    new_sqlite(tmp_path).close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'log.sqlite'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_log_outlives_a_writer_that_dies_in_the_middle_of_a_batch(tmp_path):
    log = new_sqlite(tmp_path)
    log.predictions.append([prediction(1)])
    spawn = multiprocessing.get_context("spawn")
    worker = spawn.Process(target=write_and_die, args=(tmp_path,))
    worker.start()
    worker.join(60)
    assert worker.exitcode == 3
    log.predictions.append([prediction(2)])
    assert [p.id for p in log.predictions.window(10, **IRIS).predictions] == ["id-1", "id-2"]
    log.close()


def write_and_die(place):
    import os

    engine = sa.create_engine(f"sqlite:///{place / 'log.sqlite'}", isolation_level="AUTOCOMMIT")
    connection = engine.connect()
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    connection.exec_driver_sql(
        "INSERT INTO predictions (id, time, model, version, features, output, probabilities, latency_ms) "
        "VALUES ('lost', '2026-01-31 12:00:00.000000', 'iris', 'v1', '{}', 'x', '{}', 1)"
    )
    os._exit(3)


def test_a_log_whose_file_was_removed_takes_no_more_predictions(tmp_path):
    log = new_sqlite(tmp_path)
    log.predictions.append([prediction(1)])
    for file in tmp_path.glob("log.sqlite*"):
        file.unlink()
    with pytest.raises(StoreError, match="was removed or replaced"):
        log.predictions.append([prediction(2)])
    with pytest.raises(StoreError, match="was removed or replaced"):
        log.ping()
