from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from driftbell.server.http.body import read_json
from driftbell.server.http.problems import Refused

JSON = "application/json"
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


def read(*parts: bytes, limit: int = 10_000, content_type: str | None = JSON, **headers: str) -> Any:
    """Read a body that comes in parts; asking for more than there is would be an error."""
    given = {k.replace("_", "-"): v for k, v in headers.items()}
    if content_type is not None:
        given["content-type"] = content_type
    messages = [{"type": "http.request", "body": p, "more_body": True} for p in parts]
    messages[-1]["more_body"] = False
    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in given.items()],
    }

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    return asyncio.run(read_json(Request(scope, receive), limit, lambda body: body))


def refused(*parts: bytes, **how: Any) -> tuple[int, str]:
    with pytest.raises(Refused) as found:
        read(*parts, **how)
    assert found.value.detail
    return found.value.status, found.value.reason


@given(VALUES)
def test_every_json_value_comes_out_as_it_went_in(value: object) -> None:
    assert read(json.dumps(value).encode(), limit=10**6) == value
    assert read(json.dumps(value, ensure_ascii=False, indent=1).encode(), limit=10**6) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(body: bytes) -> None:
    try:
        read(body or b" ")
    except Refused as error:
        assert error.status == 400  # noqa: PT017


def test_parts_make_one_body() -> None:
    assert read(b'{"a"', b": [1,", b"", b"2]}") == {"a": [1, 2]}


def test_a_body_of_exactly_the_limit_is_taken_and_one_more_byte_is_not() -> None:
    assert read(b"1".ljust(64), limit=64) == 1
    assert refused(b"1".ljust(65), limit=64) == (413, "too_large")


def test_what_is_declared_too_large_is_not_read() -> None:
    assert refused(b"1", limit=64, content_length="65") == (413, "too_large")  # the body itself would be fine


def test_reading_stops_at_the_limit() -> None:
    taken = []

    async def receive() -> dict[str, object]:
        taken.append(1)
        return {"type": "http.request", "body": b" " * 10, "more_body": True}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", JSON.encode())]}
    with pytest.raises(Refused, match="larger than 64 bytes"):
        asyncio.run(read_json(Request(scope, receive), 64, lambda body: body))
    assert len(taken) == 7


def test_a_client_that_goes_away_is_told_apart() -> None:
    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", JSON.encode())]}
    with pytest.raises(Refused) as found:
        asyncio.run(read_json(Request(scope, receive), 64, lambda body: body))
    assert found.value.reason == "disconnected"


@pytest.mark.parametrize(
    "given", [JSON, "Application/JSON", f"{JSON}; charset=utf-8", f'{JSON};charset="UTF-8"']
)
def test_json_in_utf8_is_taken_however_it_is_called(given: str) -> None:
    assert read(b"1", content_type=given) == 1


@pytest.mark.parametrize(
    "given",
    [None, "", "text/plain", f"{JSON}; charset=latin-1", f"{JSON}; charset=\xff", "application/x-json"],
)
def test_another_content_type_is_refused(given: str | None) -> None:
    assert refused(b"1", content_type=given) == (415, "content_type")


@pytest.mark.parametrize("given", ["br", "compress", "gzip, gzip"])
def test_another_content_encoding_is_refused(given: str) -> None:
    assert refused(b"1", content_encoding=given) == (415, "content_encoding")
    assert read(b"1", content_encoding="identity") == 1


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e400", "9" * 5000, "-" + "9" * 5000])
def test_what_is_not_finite_comes_as_a_float_for_the_schema_to_refuse_by_name(token: str) -> None:
    found = read(b'{"a": ' + token.encode() + b"}")["a"]
    assert isinstance(found, float)
    assert not math.isfinite(found)


def test_whole_numbers_stay_exact() -> None:
    assert read(str(10**100).encode()) == 10**100


@pytest.mark.parametrize(
    "body", ['{"a": 1, "a": 1}', '[{"b": {"a": 1, "c": 2, "a": 3}}]', '{"\\u0061": 1, "a": 2}']
)
def test_a_field_that_is_there_twice_is_refused_by_name(body: str) -> None:
    with pytest.raises(Refused, match="'a' is there more than once") as found:
        read(body.encode())
    assert (found.value.status, found.value.reason) == (400, "duplicate")


def test_many_fields_twice_are_refused_quickly() -> None:
    fields = ",".join(f'"{i}": 1' for i in range(100_000))
    assert refused(f'{{{fields},"99999": 2}}'.encode(), limit=10**7) == (400, "duplicate")


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 10_000 + b"]" * 10_000])
def test_deep_nesting_is_refused(body: bytes) -> None:
    assert refused(body, limit=10**6) == (400, "not_json")
