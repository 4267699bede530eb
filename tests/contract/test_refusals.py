"""The contract of `driftbell.ports.RefusalStore`."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.builders import IRIS, NOW, TEXT, prediction

from driftbell.records import Lease, Refusal, Value
from driftbell.store.refusals import MAX_CAUSES, MAX_VALUES
from driftbell.store.sql import SqlStore

DAY = NOW.date().isoformat()


def refused(value: str, rows: int = 1, refused: int = 1, field: str = "city") -> Refusal:
    return Refusal(field, "unknown_category", value, rows, refused)


def stored(store: SqlStore, day: str = DAY) -> list[Refusal]:
    return [entry.refusal for entry in store.refusals.since(day, **IRIS)]


def test_counts_of_a_cause_are_added_and_its_newest_example_is_kept(store: SqlStore) -> None:
    example: dict[str, Value] = {"city": "Wien", "größe": None, "age": 31.0}
    first = Refusal("city", "unknown_category", "Wien", 3, 2, {"city": "Wien"})
    store.refusals.add([first, refused("Paris")], NOW, **IRIS)
    store.refusals.add([refused("Wien", 2, 1)], NOW + timedelta(minutes=1), **IRIS)
    later = NOW + timedelta(minutes=2)
    store.refusals.add([Refusal("city", "unknown_category", "Wien", 1, 1, example)], later, **IRIS)
    entries = store.refusals.since(DAY, **IRIS)
    assert [(entry.day, entry.time, entry.refusal) for entry in entries] == [
        (DAY, later, Refusal("city", "unknown_category", "Wien", 6, 4, example)),
        (DAY, NOW, refused("Paris")),
    ]


def test_days_and_model_versions_are_counted_separately(store: SqlStore) -> None:
    tomorrow = NOW + timedelta(days=1)
    store.refusals.add([refused("Wien")], NOW, **IRIS)
    store.refusals.add([refused("Wien")], tomorrow, **IRIS)
    store.refusals.add([refused("Wien", 9)], NOW, model="iris", version="v2")
    assert stored(store) == [refused("Wien"), refused("Wien")]
    assert stored(store, tomorrow.date().isoformat()) == [refused("Wien")]


def test_a_flood_of_values_and_causes_is_counted_in_a_bounded_number_of_entries(store: SqlStore) -> None:
    for _ in range(2):
        store.refusals.add([refused(f"v{i}") for i in range(MAX_VALUES + 30)], NOW, **IRIS)
    values = {r.value: r.rows for r in stored(store)}
    assert len(values) == MAX_VALUES + 1
    assert (values["v0"], values[""]) == (2, 60)
    store.refusals.add([refused("x", field=f"f{i}") for i in range(2 * MAX_CAUSES)], NOW, **IRIS)
    entries = stored(store)
    assert len(entries) == MAX_CAUSES + 1
    assert sum(r.refused for r in entries) == 2 * (MAX_VALUES + 30) + 2 * MAX_CAUSES
    rest = next(r for r in entries if r.reason == "other")
    assert rest.rows == 2 * MAX_CAUSES - (MAX_CAUSES - MAX_VALUES - 1)


def test_old_days_are_deleted_when_a_new_one_begins(store: SqlStore) -> None:
    store.refusals.add([refused("Wien")], NOW - timedelta(days=100), **IRIS)
    store.refusals.add([refused("Wien")], NOW, **IRIS)
    assert stored(store, "2000-01-01") == [refused("Wien")]


def test_expired_days_are_pruned_with_the_other_rows(store: SqlStore, lease: Lease) -> None:
    store.refusals.add([refused("Wien")], NOW - timedelta(days=3), **IRIS)
    store.refusals.add([refused("Wien")], NOW, **IRIS)
    assert store.retention.prune(NOW - timedelta(days=1), 100, lease) == 1
    assert stored(store, "2000-01-01") == [refused("Wien")]


@given(st.text(TEXT, max_size=10), st.text(TEXT, max_size=10))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_field_and_value_can_be_counted(store: SqlStore, field: str, value: str) -> None:
    store.refusals.add([refused(value, field=field)], NOW, model="iris", version=repr((field, value))[:60])
    (entry,) = store.refusals.since(DAY, model="iris", version=repr((field, value))[:60])
    assert (entry.refusal.field, entry.refusal.value) == (field, value)


def test_predictions_after_a_number_are_counted(store: SqlStore) -> None:
    store.predictions.append([prediction(i) for i in range(5)])
    first = store.predictions.window(10, **IRIS).first
    assert store.predictions.count(**IRIS, after=first) == 4
    assert store.predictions.count(**IRIS, after=first, limit=2) == 2
