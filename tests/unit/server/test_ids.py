"""Ids of predictions and requests."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from driftbell.server.ids import is_recent, new_prediction_id, new_request_id


def test_a_prediction_id_is_a_uuid_of_version_7() -> None:
    parsed = uuid.UUID(hex=new_prediction_id())
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


def test_prediction_ids_are_unique_and_sort_by_creation() -> None:
    ids = [new_prediction_id() for _ in range(10_000)]
    assert ids == sorted(set(ids))


def test_request_ids_are_16_hexadecimal_digits_and_differ() -> None:
    ids = {new_request_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[0-9a-f]{16}", request_id) for request_id in ids)


@pytest.mark.parametrize(
    ("age", "recent"), [(0, True), (1.5, True), (2.5, False), (-1.5, True), (-2.5, False)]
)
def test_an_id_is_recent_within_the_limit_on_both_sides(age: float, recent: bool) -> None:
    created = datetime(2026, 1, 31, 12, tzinfo=UTC)
    prediction_id = f"{int(created.timestamp() * 1000):012x}7{'0' * 3}8{'0' * 15}"
    assert is_recent(prediction_id, created + timedelta(seconds=age), 2.0) is recent


@pytest.mark.parametrize("text", ["", "x", "0" * 32, "f" * 31 + "g"])
def test_text_that_is_no_prediction_id_is_never_recent(text: str) -> None:
    assert not is_recent(text, datetime.fromtimestamp(0, UTC), 2.0)
