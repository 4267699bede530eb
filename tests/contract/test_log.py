"""Every promise of `driftbell.ports.Log`, run on every implementation."""

import json
import multiprocessing
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

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
from driftbell.errors import LeaseLostError, LogError
from driftbell.journal.line import LineEncoder, line_of, time_text
from driftbell.records import (
    Alarm,
    Check,
    CheckKind,
    CheckTotals,
    Delivery,
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
from driftbell.store import sqlite_log
from driftbell.store.check_json import check_to_json
from driftbell.store.postgres import postgres_log
from driftbell.store.tables import HEAD, VERSION_TABLE, metadata

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
IRIS = {"model": "iris", "version": "v1"}
ANY = st.characters()
"""Every character, half a surrogate pair and NUL among them: callers send what they like."""
TEXT = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


def open_sqlite(place):
    return sqlite_log(place / "log.sqlite")


def open_postgres(place):
    return postgres_log(parse_database((place / "url").read_text()))


OPENERS = {"SQLite": open_sqlite, "PostgreSQL": open_postgres}
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
    return log.take_lease("a", now=NOW, seconds=30, next_run=None)


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
    log.append(sent)
    assert log.window(10, **IRIS).predictions == tuple(sent)


def test_times_come_back_in_utc_whatever_zone_they_were_written_in(log):
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    log.append([prediction(1, time=there)])
    (found,) = log.window(1, **IRIS).predictions
    assert found.time == NOW
    assert found.time.utcoffset() == timedelta(0)


def test_nothing_can_be_appended(log):
    log.append([])
    assert log.count(**IRIS) == 0


def test_a_known_id_is_skipped_and_the_rest_is_written(log):
    log.append([prediction(1), prediction(2)])
    log.append([prediction(2, output="virginica"), prediction(3)])
    found = log.window(10, **IRIS).predictions
    assert [p.id for p in found] == ["id-1", "id-2", "id-3"]
    assert found[1].output == "setosa"


def test_an_id_twice_in_one_batch_is_written_once(log):
    log.append([prediction(1), prediction(1)])
    assert log.count(**IRIS) == 1


@pytest.mark.parametrize("bad", [{"features": {"x": object()}}, {"output": None}], ids=["features", "output"])
def test_a_batch_with_one_bad_row_is_not_written_at_all(log, bad):
    try:
        log.append([prediction(1), prediction(2, **bad), prediction(3)])
    except LogError:
        assert log.count(**IRIS) == 0
    else:
        pytest.fail("a row that cannot be written was taken")


def test_lines_are_written_in_their_order_and_known_ids_skipped(log):
    log.append([prediction(2)])
    encoder = LineEncoder("iris", "v1", ["x"], ["setosa", "virginica"])
    lines = [
        encoder.line(f"id-{i}", time_text(NOW), [float(i)], "setosa", [0.5, 0.5], 2.5) for i in (3, 1, 2)
    ]
    log.ingest(lines)
    log.ingest(lines[:1])
    log.ingest([])
    found = log.window(10, **IRIS).predictions
    assert [p.id for p in found] == ["id-2", "id-3", "id-1"]
    assert found[0] == prediction(2)
    sent = {"features": {"x": 3.0}, "probabilities": {"setosa": 0.5, "virginica": 0.5}, "latency_ms": 2.5}
    assert found[1] == prediction(3, time=NOW, **sent)


NO_LINES = [b"", b"{", line_of(prediction(2))[:-40], b"[1]", b"{}", b'{"id":"\xff"}', b"null", b"1],[2"]


@pytest.mark.parametrize("bad", NO_LINES)
def test_lines_with_one_that_is_none_are_not_written_at_all(log, bad):
    with pytest.raises(LogError):
        log.ingest([line_of(prediction(1)), bad, line_of(prediction(3))])
    assert log.count(**IRIS) == 0
    log.ingest([line_of(prediction(1))])
    assert log.count(**IRIS) == 1


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
    log.append([new])
    assert repr(log.prediction(new.id)) == repr(new)  # -0.0 is not 0.0, nor is 1.0 True


def test_what_json_cannot_hold_is_null(log):
    log.append([prediction(1, features={"x": np.float64("nan"), "y": float("inf"), "z": np.int64(3)})])
    assert log.window(1, **IRIS).predictions[0].features == {"x": None, "y": None, "z": 3}


def test_a_window_is_the_last_rows_oldest_first(log):
    log.append([prediction(i) for i in range(10)])
    found = log.window(3, **IRIS)
    assert [p.id for p in found.predictions] == ["id-7", "id-8", "id-9"]
    assert found.last - found.first == 2


def test_a_window_goes_by_the_order_of_writing_and_not_by_time(log):
    log.append([prediction(9)])
    log.append([prediction(1)])
    assert [p.id for p in log.window(1, **IRIS).predictions] == ["id-1"]


def test_sequence_numbers_grow(log):
    log.append([prediction(1)])
    before = log.window(10, **IRIS)
    log.append([prediction(2)])
    after = log.window(1, **IRIS)
    assert before.first == before.last < after.first == after.last


def test_other_models_and_versions_are_left_out(log):
    log.append([prediction(1), prediction(2, version="v2"), prediction(3, model="other"), prediction(4)])
    assert [p.id for p in log.window(10, **IRIS).predictions] == ["id-1", "id-4"]
    assert log.count(**IRIS) == 2
    assert log.count(model="iris", version="v2") == 1


def test_a_window_on_nothing_is_empty(log):
    assert log.window(10, **IRIS) == Window()


def test_counting_stops_at_the_limit(log):
    log.append([prediction(i) for i in range(10)])
    assert [log.count(**IRIS, limit=limit) for limit in (None, 4, 100)] == [10, 4, 10]


def test_predictions_survive_reopening(log, opener):
    log.append([prediction(1)])
    log.close()
    again = opener()
    assert again.window(10, **IRIS).predictions == (prediction(1),)
    again.close()


def test_what_one_reader_wrote_another_sees_at_once(log, opener):
    other = opener()
    log.append([prediction(1)])
    assert other.count(**IRIS) == 1
    other.close()


def append_many(open_log, place, name, rows):
    log = open_log(place)
    for number in range(rows):
        log.append([prediction(number, id=f"id-{name}-{number}")])
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
    assert log.count(**IRIS) == 1000
    found = [p.id for p in log.window(1000, **IRIS).predictions]
    assert [i for i in found if i.startswith("id-a")] == [f"id-a-{n}" for n in range(500)]
    log.close()


def test_one_prediction_is_read_by_its_id(log):
    log.append([prediction(1), prediction(2)])
    assert log.prediction("id-2") == prediction(2)
    assert log.prediction("nothing") is None


def test_of_the_predictions_after_a_number_the_newest_are_read(log):
    log.append([prediction(i) for i in range(10)])
    log.append([prediction(99, version="v2")])
    start = log.window(7, **IRIS).first - 1
    assert log.predictions_after(0, 100, **IRIS) == log.window(10, **IRIS)
    found = log.predictions_after(start, 100, **IRIS)
    assert [p.id for p in found.predictions] == [f"id-{i}" for i in range(3, 10)]
    assert (found.first, found.last) == (start + 1, start + 7)
    assert [p.id for p in log.predictions_after(start, 2, **IRIS).predictions] == ["id-8", "id-9"]
    assert log.predictions_after(found.last, 100, **IRIS) == Window()


# labels


def label(number, value="setosa", minutes=60):
    return Label(f"id-{number}", value, NOW + timedelta(minutes=minutes))


def seen(found):
    return [(f.prediction.id, f.label, f.before) for f in found]


def test_a_label_comes_back_with_its_prediction(log):
    log.append([prediction(1), prediction(2)])
    assert log.add_labels([label(2, "virginica")]) == LabelReceipt(accepted=1)
    (found,) = log.labelled(10, **IRIS)
    assert found == Labelled(prediction(2), "virginica", NOW + timedelta(hours=1), found.seq, None)
    assert log.labelled_after(0, 10, **IRIS) == [found]
    assert log.labelled_after(found.seq, 10, **IRIS) == []


def test_no_labels_are_no_labels(log):
    log.append([prediction(1)])
    assert log.add_labels([]) == LabelReceipt()
    assert log.labelled(10, **IRIS) == log.labelled_after(0, 10, **IRIS) == []
    assert log.label_totals(**IRIS) == LabelTotals()
    assert log.realized(10, **IRIS) == Share(0, 0)
    assert log.label_share(10, **IRIS) == Share(0, 1)
    assert log.label_share(10, model="other", version="v1") == Share(0, 0)


def test_a_correction_is_one_more_label_and_a_repetition_is_none(log):
    log.append([prediction(1), prediction(2)])
    log.add_labels([label(1), label(2)])
    assert log.add_labels([label(1, "virginica", 70), label(2, minutes=80)]) == LabelReceipt(
        corrected=1, duplicates=1
    )
    assert log.add_labels([label(1, "setosa", 90)]) == LabelReceipt(corrected=1)
    assert seen(log.labelled(10, **IRIS)) == [("id-1", "setosa", "virginica"), ("id-2", "setosa", None)]
    assert seen(log.labelled_after(0, 10, **IRIS)) == [
        ("id-1", "setosa", None),
        ("id-2", "setosa", None),
        ("id-1", "virginica", "setosa"),
        ("id-1", "setosa", "virginica"),
    ]


def test_of_an_id_twice_in_one_call_the_last_one_wins(log):
    log.append([prediction(1), prediction(2)])
    sent = [label(1), label(2), label(1, "virginica"), label(2)]
    assert log.add_labels(sent) == LabelReceipt(accepted=2, corrected=1, duplicates=1)
    assert seen(log.labelled(10, **IRIS)) == [("id-1", "virginica", "setosa"), ("id-2", "setosa", None)]


def test_labels_of_no_prediction_are_told_and_not_written(log):
    log.append([prediction(1)])
    found = log.add_labels([label(8), label(1), label(7), label(8)])
    assert found == LabelReceipt(accepted=1, unknown=("id-8", "id-7"))
    assert seen(log.labelled_after(0, 10, **IRIS)) == [("id-1", "setosa", None)]


def test_labels_are_read_in_the_order_in_which_they_came_and_predictions_in_their_own(log):
    log.append([prediction(i) for i in range(5)])
    log.add_labels([label(3)])
    log.add_labels([label(1), label(4)])
    arrived = log.labelled_after(0, 10, **IRIS)
    assert [f.prediction.id for f in arrived] == ["id-3", "id-1", "id-4"]
    assert [f.seq for f in arrived] == sorted(f.seq for f in arrived)
    assert log.labelled_after(0, 2, **IRIS) == arrived[:2]
    assert log.labelled_after(arrived[0].seq, 10, **IRIS) == arrived[1:]
    assert [f.prediction.id for f in log.labelled(2, **IRIS)] == ["id-3", "id-4"]
    assert log.label_share(4, **IRIS) == Share(3, 4)


def test_labels_that_had_arrived_by_a_time_are_read_as_they_were_then(log):
    log.append([prediction(i) for i in range(3)])
    log.add_labels([label(0, minutes=1), label(1, "virginica", minutes=2)])
    log.add_labels([label(0, "virginica", minutes=3), label(2, minutes=4)])

    def then(minutes):
        return seen(log.labelled(10, **IRIS, as_of=NOW + timedelta(minutes=minutes)))

    def right(minutes):
        return log.realized(10, **IRIS, as_of=NOW + timedelta(minutes=minutes))

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
    assert log.realized(1, **IRIS) == Share(1, 1)


def test_labels_belong_to_the_version_that_predicted(log):
    log.append([prediction(1), prediction(2, version="v2"), prediction(3)])
    log.add_labels([label(1), label(2), label(3)])
    other = {"model": "iris", "version": "v2"}
    assert [f.prediction.id for f in log.labelled(10, **IRIS)] == ["id-1", "id-3"]
    assert [f.prediction.id for f in log.labelled_after(0, 10, **other)] == ["id-2"]
    assert [log.label_totals(**whose).labelled for whose in (IRIS, other)] == [2, 1]


def test_label_totals_count_predictions_corrections_and_times(log):
    log.append([prediction(i) for i in range(5)])
    log.add_labels([label(3, minutes=1)])
    log.add_labels([label(1, minutes=2), label(1, "virginica", 2), label(1, "virginica", 3)])
    assert log.label_totals(**IRIS) == LabelTotals(2, 1, NOW + timedelta(minutes=2), prediction(3).time)


def test_labels_survive_reopening(log, opener):
    log.append([prediction(1)])
    log.add_labels([label(1)])
    log.close()
    again = opener()
    assert again.add_labels([label(1), label(1, "virginica")]) == LabelReceipt(corrected=1, duplicates=1)
    assert seen(again.labelled(10, **IRIS)) == [("id-1", "virginica", "setosa")]
    again.close()


def test_ten_thousand_labels_are_taken_in_one_call(log):
    log.append([prediction(i) for i in range(10_000)])
    found = log.add_labels([label(i, "virginica" if i % 4 else "setosa") for i in range(10_001)])
    assert found == LabelReceipt(accepted=10_000, unknown=("id-10000",))
    assert log.realized(8_000, **IRIS) == Share(2_000, 8_000)
    assert log.label_totals(**IRIS).labelled == 10_000


def test_labels_of_which_one_cannot_be_written_are_not_written_at_all(log):
    log.append([prediction(1), prediction(2)])
    with pytest.raises(LogError):
        log.add_labels([label(1), Label("id-2", "setosa", None)])
    assert log.labelled(10, **IRIS) == []
    assert log.add_labels([label(1)]) == LabelReceipt(accepted=1)


def label_many(open_log, place, values):
    log = open_log(place)
    for round_ in range(20):
        log.add_labels([label(i, values[round_ % 2]) for i in range(50)])
    log.close()


def test_two_processes_that_label_at_once_write_one_history(open_log, tmp_path):
    log = open_log(tmp_path)
    log.append([prediction(i) for i in range(50)])
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
    arrived = log.labelled_after(0, 10_000, **IRIS)
    for found in arrived:
        assert found.before == value.get(found.prediction.id) != found.label
        value[found.prediction.id] = found.label
    totals = log.label_totals(**IRIS)
    assert (totals.labelled, totals.corrections) == (50, len(arrived) - 50)
    log.close()


# traffic


def test_traffic_is_counted_by_bucket_and_empty_buckets_are_left_out(log):
    start = datetime(2026, 1, 31, 12, tzinfo=UTC)
    seconds = [(0, 1.0), (59.9, 3.0), (60, 5.0), (300, 7.0)]
    log.append(
        [prediction(i, time=start + timedelta(seconds=s), latency_ms=ms) for i, (s, ms) in enumerate(seconds)]
    )
    found = [(b.start, b.count, b.mean_latency_ms, b.max_latency_ms) for b in log.traffic(start, 60)]
    assert found == [
        (start, 2, 2.0, 3.0),
        (start + timedelta(minutes=1), 1, 5.0, 5.0),
        (start + timedelta(minutes=5), 1, 7.0, 7.0),
    ]


def test_traffic_begins_at_the_given_time(log):
    log.append([prediction(i) for i in range(4)])
    counts = [b.count for b in log.traffic(NOW + timedelta(seconds=2), 3600)]
    assert counts == [2]
    assert log.traffic(NOW + timedelta(days=1), 60) == []


def test_traffic_counts_every_model(log):
    log.append([prediction(1), prediction(2, model="other")])
    assert sum(b.count for b in log.traffic(NOW, 3600)) == 2


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
    log.save_check(saved, lease)
    assert log.check(saved.id) == saved
    assert log.checks(1) == [saved]


@pytest.mark.parametrize("asked", ["nothing", "no\0thing"])
def test_what_nobody_knows_is_none(log, asked):
    assert (log.check(asked), log.alarm(asked), log.request(asked), log.prediction(asked)) == (None,) * 4
    assert log.add_labels([Label(asked, "setosa", NOW)]).unknown == (asked,)
    assert log.checks(5) == []


def test_a_text_that_is_no_utf8_fails_alone_and_what_comes_next_is_right(log):
    log.append([prediction(1)])
    for number in range(2, 6):
        with pytest.raises(LogError, match="not UTF-8"):
            log.window(9, model="\ud800", version="v1")
        log.append([prediction(number)])
        assert log.count(**IRIS) == number


def test_saving_a_check_again_changes_nothing(log, lease):
    log.save_check(check(), lease)
    log.save_check(check(duration=99.0, verdict=Verdict.ALARM), lease)
    assert log.checks(5) == [check()]


def test_checks_come_newest_first(log, lease):
    for number in range(5):
        log.save_check(check(number), lease)
    assert [c.id for c in log.checks(3)] == ["check-4", "check-3", "check-2"]


def test_checks_survive_reopening(log, lease, opener):
    log.save_check(check(), lease)
    log.close()
    again = opener()
    assert again.checks(5) == [check()]
    again.close()


def test_check_totals_count_every_check(log, lease):
    assert log.check_totals() == CheckTotals()
    for number, verdict in enumerate([Verdict.OK, Verdict.OK, Verdict.ALARM]):
        log.save_check(check(number, verdict), lease)
    log.save_check(check(9, Verdict.UNKNOWN, error="the model failed"), lease)
    assert log.check_totals() == CheckTotals({"ok": 2, "alarm": 1, "unknown": 1}, failed=1, duration_sum=1.0)


def test_a_check_under_an_old_token_is_refused_and_not_saved(log, lease):
    log.take_lease("b", now=lease.expires, seconds=30, next_run=None)
    with pytest.raises(LeaseLostError):
        log.save_check(check(), lease)
    assert log.checks(5) == []


def test_a_check_without_any_lease_is_refused(log):
    with pytest.raises(LeaseLostError):
        log.save_check(check(), Lease("a", 1, NOW))


def test_a_check_under_an_expired_lease_that_nobody_took_is_saved(log, lease):
    assert log.take_lease("a", now=lease.expires + timedelta(days=1), seconds=1, next_run=None).token == 1
    log.save_check(check(), lease)
    assert log.checks(5) == [check()]


# notifications


def test_an_alert_is_saved_with_its_check_and_waits(log, lease):
    log.save_check(check(), lease, notification())
    assert log.checks(5) == [check()]
    assert log.last_notification(**IRIS) == notification()
    assert log.pending_notifications() == [Delivery(notification(), NOW)]
    assert log.notification_totals() == {"pending": 1}


def test_without_an_alert_there_is_none(log, lease):
    log.save_check(check(), lease)
    assert log.last_notification(**IRIS) is None
    assert log.pending_notifications() == []
    assert log.notification_totals() == {}


def test_a_check_that_is_saved_twice_gives_one_alert(log, lease):
    log.save_check(check(), lease, notification())
    log.save_check(check(), lease, notification(sentence="Another."))
    assert [d.notification for d in log.pending_notifications()] == [notification()]


def test_an_alert_under_an_old_token_is_refused_with_its_check(log, lease):
    log.take_lease("b", now=lease.expires, seconds=30, next_run=None)
    with pytest.raises(LeaseLostError):
        log.save_check(check(), lease, notification())
    assert log.checks(5) == []
    assert log.pending_notifications() == []


def test_an_alert_that_cannot_be_written_takes_its_check_with_it(log, lease):
    with pytest.raises(LogError):
        log.save_check(check(), lease, notification(sentence=None))
    assert log.checks(5) == []


def test_the_last_alert_is_the_newest_of_its_model_and_version(log, lease):
    log.save_check(check(1), lease, notification(1))
    log.save_check(check(2), lease, notification(2, Verdict.OK, before=Verdict.ALARM, columns=(), report=""))
    log.save_check(check(3, version="v2"), lease, notification(3, version="v2"))
    assert log.last_notification(**IRIS).check_id == "check-2"
    assert log.last_notification(**IRIS).before is Verdict.ALARM
    assert log.last_notification(model="other", version="v1") is None


def test_alerts_wait_oldest_first_with_how_far_they_are(log, lease):
    for number in range(3):
        log.save_check(check(number), lease, notification(number))
    later = NOW + timedelta(seconds=10)
    tried = Delivery(notification(0), later, "pending", frozenset({"k1", "k2"}), 3, "no answer")
    log.save_delivery(tried, lease)
    log.save_delivery(Delivery(notification(1), NOW, "sent", frozenset({"k1"})), lease)
    assert log.pending_notifications() == [tried, Delivery(notification(2), NOW)]
    log.save_delivery(Delivery(notification(2), NOW, "failed", attempts=9), lease)
    assert log.notification_totals() == {"pending": 1, "sent": 1, "failed": 1}


def test_a_delivery_under_an_old_token_is_refused(log, lease):
    log.save_check(check(), lease, notification())
    log.take_lease("b", now=lease.expires, seconds=30, next_run=None)
    with pytest.raises(LeaseLostError):
        log.save_delivery(Delivery(notification(), NOW, "sent"), lease)
    assert log.notification_totals() == {"pending": 1}


def test_alerts_survive_reopening(log, lease, opener):
    log.save_check(check(), lease, notification())
    log.close()
    again = opener()
    assert again.pending_notifications() == [Delivery(notification(), NOW)]
    again.close()


def test_a_state_is_as_old_as_the_first_check_that_had_it_without_a_break(log, lease):
    verdicts = [Verdict.OK, Verdict.ALARM, Verdict.OK, Verdict.WARNING, Verdict.OK]
    calm = {Verdict.OK, Verdict.WARNING}
    assert log.state_since(calm, **IRIS) is None
    for number, verdict in enumerate(verdicts):
        log.save_check(check(number, verdict, time=NOW + timedelta(minutes=number)), lease)
    log.save_check(check(9, Verdict.ALARM, version="v2"), lease)
    assert log.state_since(calm, **IRIS) == NOW + timedelta(minutes=2)
    assert log.state_since({Verdict.OK}, **IRIS) == NOW + timedelta(minutes=4)
    assert log.state_since({Verdict.ALARM}, **IRIS) is None
    assert log.state_since({Verdict.ALARM}, model="iris", version="v2") == NOW


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
        log.save_check(check(number), lease, alarm=alarm(number, **changes))


def test_an_alarm_is_saved_with_its_check_and_is_open(log, lease, opener):
    log.save_check(check(), lease, notification(), alarm())
    log.save_check(check(1), lease)
    assert log.alarm("check0") == log.open_alarm(**IRIS) == alarm()
    assert log.alarms(5) == [alarm()]
    log.close()
    again = opener()
    assert again.alarms(5) == [alarm()]
    again.close()


def test_where_there_is_no_alarm_there_is_none(log):
    assert log.open_alarm(**IRIS) is None
    assert log.alarm("check0") is None
    assert log.annotate_alarm("check0", annotate("false")) is None
    assert log.alarms(5) == log.decided_alarms(None, **IRIS) == []
    assert log.silent_until(**IRIS) is None
    assert log.alarm_totals(**IRIS) == {}


def test_an_alarm_under_an_old_token_is_refused_with_its_check(log, lease):
    log.take_lease("b", now=lease.expires, seconds=30, next_run=None)
    with pytest.raises(LeaseLostError):
        log.save_check(check(), lease, alarm=alarm())
    assert (log.checks(5), log.alarms(5)) == ([], [])


def test_an_alarm_that_cannot_be_written_takes_its_check_with_it(log, lease):
    with pytest.raises(LogError):
        log.save_check(check(), lease, alarm=alarm(sentence=None))
    assert (log.checks(5), log.alarms(5)) == ([], [])


def test_an_open_alarm_says_what_the_newest_check_says_until_it_is_closed(log, lease):
    ring(log, lease, 0)
    newer = alarm(sentence="Worse since 11:20.", columns=("age",), first=5, last=120)
    log.save_check(check(1), lease, alarm=newer)
    assert log.open_alarm(**IRIS) == newer
    over = replace(newer, closed=NOW + timedelta(hours=2))
    log.save_check(check(2), lease, alarm=over)
    assert log.open_alarm(**IRIS) is None
    log.save_check(check(3), lease, alarm=replace(over, sentence="No.", closed=NOW + timedelta(hours=3)))
    assert log.alarms(5) == [over]


def test_a_check_that_is_saved_twice_changes_no_alarm(log, lease):
    ring(log, lease, 0)
    log.save_check(check(0), lease, alarm=alarm(sentence="Another."))
    assert log.alarms(5) == [alarm()]


def test_alarms_come_newest_first_and_belong_to_their_version(log, lease):
    ring(log, lease, 0, 1)
    ring(log, lease, 2, version="v2")
    assert [a.id for a in log.alarms(5)] == ["check2", "check1", "check0"]
    assert [a.id for a in log.alarms(1)] == ["check2"]
    assert [a.id for a in log.alarms(5, version="v1")] == ["check1", "check0"]
    assert log.open_alarm(**IRIS).id == "check1"
    assert log.open_alarm(model="iris", version="v2").id == "check2"
    assert log.open_alarm(model="other", version="v2") is None


def test_an_alarm_ends_with_its_version(log, lease):
    ring(log, lease, 0)
    log.save_check(check(1, model="another", version="v2"), lease)
    assert log.open_alarm(**IRIS) is not None
    later = check(2, version="v2")
    log.save_check(later, lease)
    assert log.open_alarm(**IRIS) is None
    assert log.alarms(5) == [alarm(closed=later.time)]


@pytest.mark.parametrize("word", ["expected", "false"])
def test_a_decided_alarm_is_over_and_no_check_changes_it(log, lease, word):
    ring(log, lease, 0)
    found = log.annotate_alarm("check0", annotate(word, minutes=3))
    time = NOW + timedelta(minutes=3)
    assert found == alarm(closed=time, annotation=word, author="ada", reason="a new sensor", annotated=time)
    log.save_check(check(1), lease, alarm=alarm(sentence="A check that ran meanwhile."))
    assert log.alarms(5) == [found]
    assert log.decided_alarms(None, **IRIS) == [found]
    assert log.decided_alarms(time, **IRIS) == []
    assert log.alarm_totals(**IRIS) == {word: 1}


def test_the_newest_mark_counts_and_an_end_stays_what_it_was(log, lease):
    ring(log, lease, 0)
    first = log.annotate_alarm("check0", annotate("expected", minutes=1))
    second = log.annotate_alarm("check0", annotate("false", minutes=2))
    assert (second.annotation, second.closed) == ("false", first.closed)
    assert log.decided_alarms(first.annotated, **IRIS) == [second]


def test_marks_are_told_in_their_order_even_where_the_clock_was_set_back(log, lease):
    ring(log, lease, 0, 1, 2)
    log.annotate_alarm("check1", annotate("false", minutes=5))
    seen = log.decided_alarms(None, **IRIS)[-1].annotated
    log.annotate_alarm("check0", annotate("expected", minutes=-60))
    log.annotate_alarm("check2", annotate("silenced", until=NOW + timedelta(days=1)))
    assert [a.id for a in log.decided_alarms(seen, **IRIS)] == ["check0"]
    assert [a.id for a in log.decided_alarms(None, **IRIS)] == ["check1", "check0"]
    assert log.alarm_totals(**IRIS) == {"false": 1, "expected": 1, "silenced": 1}


def test_a_silenced_alarm_stays_open(log, lease):
    ring(log, lease, 0, 1)
    for number, hours in enumerate([5, 3]):
        log.annotate_alarm(f"check{number}", annotate("silenced", until=NOW + timedelta(hours=hours)))
    assert log.silent_until(**IRIS) == NOW + timedelta(hours=5)
    assert log.open_alarm(**IRIS).until == NOW + timedelta(hours=3)
    assert log.silent_until(model="iris", version="v2") is None
    assert log.decided_alarms(None, **IRIS) == []


def test_the_first_prediction_after_a_time_is_found(log):
    log.append([prediction(i, time=NOW + timedelta(minutes=i)) for i in range(5)])
    log.append([prediction(9, time=NOW + timedelta(minutes=2), version="v2")])
    assert log.seq_at(NOW - timedelta(days=1), **IRIS) == 1
    assert log.seq_at(NOW + timedelta(minutes=2), **IRIS) == 3
    assert log.seq_at(NOW + timedelta(minutes=2, seconds=1), **IRIS) == 4
    assert log.seq_at(NOW + timedelta(minutes=9), **IRIS) is None


def test_predictions_are_read_up_to_a_number(log):
    log.append([prediction(i) for i in range(10)])
    found = log.predictions_after(2, 3, **IRIS, last=7)
    assert [p.id for p in found.predictions] == [prediction(i).id for i in (4, 5, 6)]
    assert (found.first, found.last) == (5, 7)


# requests for checks


def test_a_request_waits_until_it_is_done(log):
    asked = log.request_check(CheckKind.TRIGGERED, NOW)
    assert (asked.kind, asked.time, asked.state, asked.check_id) == (
        CheckKind.TRIGGERED,
        NOW,
        "pending",
        None,
    )
    assert log.request(asked.id) == log.pending_request() == asked
    log.answer_request(asked.id, check_id="check-1")
    assert log.request(asked.id) == replace(asked, state="done", check_id="check-1")
    assert log.pending_request() is None


def test_a_request_can_fail(log):
    asked = log.request_check(CheckKind.MANUAL, NOW)
    log.answer_request(asked.id, check_id=None, error="the model failed")
    assert log.request(asked.id) == replace(asked, state="failed", error="the model failed")
    assert log.pending_request() is None


def test_the_first_answer_to_a_request_stays(log):
    asked = log.request_check(CheckKind.MANUAL, NOW)
    log.answer_request(asked.id, check_id="check-1")
    log.answer_request(asked.id, check_id=None, error="a paused monitor woke")
    assert log.request(asked.id) == replace(asked, state="done", check_id="check-1")


def test_requests_are_answered_oldest_first(log):
    first, second = (log.request_check(CheckKind.MANUAL, NOW) for _ in range(2))
    assert first.id != second.id
    assert log.pending_request() == first
    log.answer_request(first.id, check_id="c")
    assert log.pending_request() == second


def test_an_unknown_request_is_none(log):
    assert log.request("nothing") is None
    assert log.pending_request() is None


def test_requests_survive_reopening(log, opener):
    asked = log.request_check(CheckKind.MANUAL, NOW)
    log.close()
    again = opener()
    assert again.pending_request() == asked
    again.close()


# the lease


def test_nobody_holds_the_lease_at_first(log):
    assert log.lease() is None


def test_a_lease_is_taken_and_read(log):
    taken = log.take_lease("a", now=NOW, seconds=30, next_run=NOW + timedelta(minutes=5))
    assert taken == Lease("a", 1, NOW + timedelta(seconds=30), NOW + timedelta(minutes=5))
    assert log.lease() == taken


def test_another_holder_waits_until_the_lease_expires(log, lease):
    just_before = lease.expires - timedelta(microseconds=1)
    assert log.take_lease("b", now=just_before, seconds=30, next_run=None) is None
    assert log.lease() == lease
    assert log.take_lease("b", now=lease.expires, seconds=30, next_run=None).token == lease.token + 1
    assert log.take_lease("a", now=lease.expires, seconds=30, next_run=None) is None


def test_renewing_keeps_the_token_and_moves_the_end(log, lease):
    later = NOW + timedelta(seconds=20)
    renewed = log.take_lease("a", now=later, seconds=30, next_run=later)
    assert renewed == Lease("a", lease.token, later + timedelta(seconds=30), later)
    assert log.take_lease("b", now=lease.expires, seconds=30, next_run=None) is None


def test_an_expired_lease_can_still_be_read(log, lease):
    assert log.lease() == lease


def test_a_lease_that_was_given_back_is_free_at_once(log, lease):
    log.release_lease("a")
    assert log.lease().next_run is None
    assert log.take_lease("b", now=NOW, seconds=30, next_run=None).token == lease.token + 1


def test_only_the_holder_can_give_the_lease_back(log, lease):
    log.release_lease("b")
    assert log.lease() == lease


# faults


def test_ping_proves_a_log_that_can_be_written(log):
    assert log.ping() is None


def test_ping_fails_while_somebody_else_never_stops_writing(tmp_path, monkeypatch):
    monkeypatch.setattr("driftbell.store.sqlite.BUSY_SECONDS", 0)
    log = open_sqlite(tmp_path)
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'log.sqlite'}", isolation_level="AUTOCOMMIT")
    with engine.connect() as blocker:
        blocker.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(LogError, match="locked"):
            log.ping()
        assert log.count(**IRIS) == 0, "readers do not wait"
        blocker.exec_driver_sql("ROLLBACK")
    log.ping()
    log.close()
    engine.dispose()


CALLS = {
    "append": lambda log: log.append([prediction(1)]),
    "ingest": lambda log: log.ingest([line_of(prediction(1))]),
    "window": lambda log: log.window(1, **IRIS),
    "count": lambda log: log.count(**IRIS),
    "traffic": lambda log: log.traffic(NOW, 60),
    "prediction": lambda log: log.prediction("x"),
    "predictions_after": lambda log: log.predictions_after(0, 1, **IRIS),
    "add_labels": lambda log: log.add_labels([label(1)]),
    "labelled": lambda log: log.labelled(1, **IRIS),
    "labelled_after": lambda log: log.labelled_after(0, 1, **IRIS),
    "realized": lambda log: log.realized(1, **IRIS),
    "label_share": lambda log: log.label_share(1, **IRIS),
    "label_totals": lambda log: log.label_totals(**IRIS),
    "save_check": lambda log: log.save_check(check(), Lease("a", 1, NOW)),
    "last_notification": lambda log: log.last_notification(**IRIS),
    "state_since": lambda log: log.state_since({Verdict.OK}, **IRIS),
    "open_alarm": lambda log: log.open_alarm(**IRIS),
    "alarm": lambda log: log.alarm("x"),
    "alarms": lambda log: log.alarms(1),
    "decided_alarms": lambda log: log.decided_alarms(None, **IRIS),
    "silent_until": lambda log: log.silent_until(**IRIS),
    "annotate_alarm": lambda log: log.annotate_alarm("x", annotate("false")),
    "alarm_totals": lambda log: log.alarm_totals(**IRIS),
    "seq_at": lambda log: log.seq_at(NOW, **IRIS),
    "pending_notifications": lambda log: log.pending_notifications(),
    "save_delivery": lambda log: log.save_delivery(Delivery(notification(), NOW), Lease("a", 1, NOW)),
    "notification_totals": lambda log: log.notification_totals(),
    "check": lambda log: log.check("x"),
    "checks": lambda log: log.checks(1),
    "check_totals": lambda log: log.check_totals(),
    "request_check": lambda log: log.request_check(CheckKind.MANUAL, NOW),
    "pending_request": lambda log: log.pending_request(),
    "answer_request": lambda log: log.answer_request("x", check_id=None),
    "request": lambda log: log.request("x"),
    "take_lease": lambda log: log.take_lease("a", now=NOW, seconds=1, next_run=None),
    "release_lease": lambda log: log.release_lease("a"),
    "lease": lambda log: log.lease(),
    "ping": lambda log: log.ping(),
}


@pytest.mark.parametrize("call", CALLS)
def test_every_call_on_a_log_that_is_gone_is_a_log_error(call, tmp_path):
    log = open_sqlite(tmp_path)
    log.close()
    for file in tmp_path.iterdir():
        file.unlink()
    (tmp_path / "log.sqlite").mkdir()
    with pytest.raises(LogError, match=r"cannot be used|was removed"):
        CALLS[call](log)


def test_a_folder_in_place_of_the_file_is_a_log_error(tmp_path):
    (tmp_path / "log.sqlite").mkdir()
    with pytest.raises(LogError):
        open_sqlite(tmp_path)


def test_a_folder_that_is_not_there_is_a_log_error(tmp_path):
    with pytest.raises(LogError):
        open_sqlite(tmp_path / "nowhere")


def test_a_file_that_is_no_database_is_a_log_error_and_left_alone(tmp_path):
    path = tmp_path / "log.sqlite"
    path.write_bytes(b"precious text, and no database " * 100)
    with pytest.raises(LogError, match="not a database"):
        sqlite_log(path)
    assert path.read_bytes().startswith(b"precious text")


def test_tables_of_a_newer_release_are_refused(tmp_path):
    open_sqlite(tmp_path).close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'log.sqlite'}")
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(LogError, match="newer driftbell"):
        open_sqlite(tmp_path)


def test_tables_of_the_first_release_are_migrated_with_what_is_in_them(tmp_path):
    path = tmp_path / "log.sqlite"
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "driftbell.store:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        assert not sa.inspect(connection).has_table("alerts")
    with engine.begin() as connection:
        row = {"id": "old", "time": "2026-01-31 12:00:00.000000", "body": json.dumps(check_to_json(check()))}
        connection.exec_driver_sql(
            "INSERT INTO predictions (id, time, model, version, features, output, probabilities, latency_ms) "
            "VALUES (:id, :time, 'iris', 'v1', '{}', 'setosa', '{}', 1)",
            row,
        )
        connection.exec_driver_sql(
            "INSERT INTO checks (id, time, kind, model, version, verdict, duration, error, body) "
            "VALUES ('check-0', :time, 'automatic', 'iris', 'v1', 'ok', 0.25, '', :body)",
            row,
        )
    engine.dispose()
    log = sqlite_log(path)
    assert [p.id for p in log.window(10, **IRIS).predictions] == ["old"]
    assert log.checks(5) == [check()]
    lease = log.take_lease("a", now=NOW, seconds=30, next_run=None)
    log.save_check(check(1, Verdict.ALARM), lease, notification(1))
    assert [d.notification for d in log.pending_notifications()] == [notification(1)]
    assert log.add_labels([Label("old", "setosa", NOW)]) == LabelReceipt(accepted=1)
    log.close()
    again = sqlite_log(path)
    assert [f.label for f in again.labelled(10, **IRIS)] == ["setosa"]
    assert again.last_notification(**IRIS) == notification(1)
    again.close()
    assert HEAD > "0001"


@pytest.mark.parametrize("name", ["a b.sqlite", "what?mode=ro.sqlite", "50%25.sqlite", "größe#1.sqlite"])
def test_any_file_name_is_taken_as_it_is(tmp_path, name):
    log = sqlite_log(tmp_path / name)
    log.append([prediction(1)])
    log.close()
    assert name in [path.name for path in tmp_path.iterdir()]


def test_the_migrations_make_the_tables_that_the_code_expects(tmp_path):
    open_sqlite(tmp_path).close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'log.sqlite'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_log_outlives_a_writer_that_dies_in_the_middle_of_a_batch(tmp_path):
    log = open_sqlite(tmp_path)
    log.append([prediction(1)])
    spawn = multiprocessing.get_context("spawn")
    worker = spawn.Process(target=write_and_die, args=(tmp_path,))
    worker.start()
    worker.join(60)
    assert worker.exitcode == 3
    log.append([prediction(2)])
    assert [p.id for p in log.window(10, **IRIS).predictions] == ["id-1", "id-2"]
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
    log = open_sqlite(tmp_path)
    log.append([prediction(1)])
    for file in tmp_path.glob("log.sqlite*"):
        file.unlink()
    with pytest.raises(LogError, match="was removed or replaced"):
        log.append([prediction(2)])
    with pytest.raises(LogError, match="was removed or replaced"):
        log.ping()
