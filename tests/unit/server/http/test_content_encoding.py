"""Decompression of request bodies: exact at the limit, bounded beyond it."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from tests.service.bad_requests import zstd

from driftbell.server.http import content_encoding
from driftbell.server.http.content_encoding import content_coding, decompress, inflate, unpack_zstd
from driftbell.server.http.problems import Refused

CODECS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("zstd", zstd),
]


def request(*codings: str) -> Request:
    headers = [(b"content-encoding", coding.encode()) for coding in codings]
    return Request({"type": "http", "method": "POST", "headers": headers})


def unpacked(body: bytes, coding: str, limit: int) -> bytes:
    return asyncio.run(decompress(request(coding), body, coding, limit, 16 * limit))


@pytest.mark.parametrize(("coding", "compress"), CODECS)
@given(data=st.binary(max_size=2000), times=st.integers(1, 300))
def test_the_result_is_what_was_compressed(
    coding: str, compress: Callable[[bytes], bytes], data: bytes, times: int
) -> None:
    data = (b"x" + data) * times
    unpack = unpack_zstd if coding == "zstd" else inflate
    assert unpack(compress(data), coding, len(data)) == data


@pytest.mark.parametrize(("coding", "compress"), CODECS)
@pytest.mark.parametrize("size", [1000, 300_000, 2_000_000])
def test_a_result_of_the_limit_is_accepted_and_one_byte_more_is_not(
    coding: str, compress: Callable[[bytes], bytes], size: int
) -> None:
    body = compress(b"1" * size)
    assert unpacked(body, coding, size) == b"1" * size
    with pytest.raises(Refused) as refusal:
        unpacked(body, coding, size - 1)
    assert refusal.value.status == 413
    assert f"more than {size - 1} bytes" in refusal.value.detail
    assert "server.body_limit" in refusal.value.detail


def test_streams_after_each_other_count_together() -> None:
    body = gzip.compress(b"1" * 600) + gzip.compress(b"2" * 600)
    assert inflate(body, "gzip", 1200) == b"1" * 600 + b"2" * 600
    with pytest.raises(Refused, match="more than 1199"):
        unpacked(body, "gzip", 1199)


@pytest.mark.parametrize(("coding", "compress"), CODECS[:2])
def test_a_bomb_takes_no_more_memory_than_the_limit(coding: str, compress: Callable[[bytes], bytes]) -> None:
    bomb = compress(b"\0" * 100_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match="1000000 bytes"):
            unpacked(bomb, coding, 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("codings", "expected"),
    [
        ((), None),
        (("identity",), None),
        (("",), None),
        (("GZIP",), "gzip"),
        (("x-gzip",), "gzip"),
        (("zstd",), "zstd"),
    ],
)
def test_names_of_codings(codings: tuple[str, ...], expected: str | None) -> None:
    assert content_coding(request(*codings)) == expected


@pytest.mark.parametrize("codings", [("br",), ("gzip", "gzip"), ("gzip, deflate",), ("compress",)])
def test_another_coding_is_refused_with_those_that_work(codings: tuple[str, ...]) -> None:
    with pytest.raises(Refused) as refusal:
        content_coding(request(*codings))
    assert refusal.value.status == 415
    assert "gzip, deflate, zstd or no Content-Encoding" in refusal.value.detail
    assert refusal.value.headers == {"Accept-Encoding": "gzip, deflate, zstd"}


def test_without_pyarrow_zstd_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_encoding, "_has_zstd", lambda: False)
    with pytest.raises(Refused, match="needs pyarrow") as refusal:
        content_coding(request("zstd"))
    assert refusal.value.detail.endswith("send the body with gzip, deflate or no Content-Encoding")
    assert refusal.value.headers == {"Accept-Encoding": "gzip, deflate"}
