"""The contract of `driftbell.ports.KeyStore`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.builders import NOW, TEXT, api_key

from driftbell.store.sql import SqlStore

LATER = NOW + timedelta(minutes=1)


def test_keys_are_read_as_they_were_added(store: SqlStore) -> None:
    keys = [
        api_key(),
        replace(api_key("bob", "label", "read"), expires=NOW + timedelta(days=90, microseconds=7)),
    ]
    assert store.keys.all() == []
    assert [store.keys.add(key) for key in keys] == [True, True]
    assert store.keys.all() == keys


def test_a_name_is_free_again_when_its_key_is_revoked(store: SqlStore) -> None:
    first, second = api_key(), api_key()
    assert store.keys.add(first)
    assert not store.keys.add(second)
    assert store.keys.all() == [first]
    assert store.keys.revoke("ada", LATER) == [first]
    assert store.keys.add(second)
    assert store.keys.all() == [replace(first, revoked=LATER), second]


def test_an_expired_key_keeps_its_name_until_it_is_revoked(store: SqlStore) -> None:
    expired = replace(api_key(), expires=NOW - timedelta(days=1))
    store.keys.add(expired)
    assert not store.keys.add(api_key())
    assert store.keys.revoke(expired.id, NOW) == [expired]
    assert store.keys.add(api_key())


@pytest.mark.parametrize("unknown", ["bob", "", "no\0one", "ad%"])
def test_revoking_an_unknown_key_changes_nothing(store: SqlStore, unknown: str) -> None:
    key = api_key()
    store.keys.add(key)
    assert store.keys.revoke(unknown, LATER) == []
    assert store.keys.all() == [key]


def test_a_key_is_revoked_once(store: SqlStore) -> None:
    store.keys.add(api_key())
    store.keys.revoke("ada", NOW)
    assert store.keys.revoke("ada", LATER) == []
    assert [key.revoked for key in store.keys.all()] == [NOW]


def test_the_last_use_never_goes_back(store: SqlStore) -> None:
    ada, bob = api_key(), api_key("bob")
    store.keys.add(ada)
    store.keys.add(bob)
    store.keys.mark_used([ada.id, "unknown"], LATER)
    store.keys.mark_used([ada.id], NOW)
    store.keys.mark_used([], LATER)
    assert [key.last_used for key in store.keys.all()] == [LATER, None]


@given(st.text(TEXT, min_size=1, max_size=10))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_can_be_used(store: SqlStore, name: str) -> None:
    key = api_key(name)
    store.keys.revoke(name, NOW)
    assert store.keys.add(key)
    assert store.keys.all()[-1] == key
    assert not store.keys.add(api_key(name))


def test_ended_sessions_are_kept_until_they_would_have_ended(store: SqlStore) -> None:
    assert store.keys.ended_sessions(NOW) == frozenset()
    store.keys.end_sessions({"one": LATER, "two": NOW + timedelta(hours=1)}, NOW)
    store.keys.end_sessions({"two": NOW + timedelta(hours=1), "three": LATER}, NOW)
    assert store.keys.ended_sessions(NOW) == {"one", "two", "three"}
    assert store.keys.ended_sessions(LATER) == {"two"}
    store.keys.end_sessions({}, LATER)
    assert store.keys.ended_sessions(NOW) == {"two"}, "those that are over are deleted"
