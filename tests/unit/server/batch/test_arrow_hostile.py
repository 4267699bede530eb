"""Arrow IPC bodies that are too large, damaged or of another type are refused, and nothing else happens."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.server.batch.test_arrow import ROWS, SCHEMA, TEXTS, problems_of, read, table, written

from driftbell.errors import InputError
from driftbell.server.batch import arrow
from driftbell.server.batch.route import validated_rows
from driftbell.server.http.problems import Refused


def test_the_number_of_reported_problems_is_bounded() -> None:
    found = problems_of(pa.concat_tables([table(age=pa.array([math.nan] * 3))] * 1000))
    assert found == [("age", "not_finite", row) for row in range(1000)]


@pytest.mark.parametrize("media_type", arrow.NAMES)
def test_more_rows_than_json_could_hold_are_refused(media_type: str) -> None:
    many = table(pa.concat_tables([table()] * 40_000).to_pylist()[:1] * 110_000)
    with pytest.raises(Refused, match="110000 rows of 5 columns, and the limit is 100000 rows") as caught:
        read(many, media_type)
    assert caught.value.status == 413


LONG = "x" * 10_000


@pytest.mark.parametrize("media_type", arrow.NAMES)
@pytest.mark.parametrize("text", ["string", "dictionary", "string_view"])
def test_a_decompression_bomb_is_refused_before_it_is_decompressed(media_type: str, text: str) -> None:
    found = [LONG] * 1000
    column = pa.array(found, pa.string_view()) if text == "string_view" else pa.array(found)
    whole = table(ROWS[:1] * 1000, plan=column.dictionary_encode() if text == "dictionary" else column)
    body = written(whole, media_type, "zstd")
    assert len(body) < 100_000
    with pytest.raises(Refused, match="expands to more than 8000000 bytes") as caught:
        read(body, media_type)
    assert (caught.value.status, caught.value.reason) == (413, "too_large")


def test_each_view_of_a_shared_text_counts() -> None:
    views = b"".join((10_000).to_bytes(4, "little") + b"xxxx" + bytes(4) + bytes(4) for _ in range(1000))
    shared = pa.Array.from_buffers(
        pa.string_view(), 1000, [None, pa.py_buffer(views), pa.py_buffer(LONG.encode())]
    )
    body = written(table(ROWS[:1] * 1000, plan=shared), arrow.STREAM)
    with pytest.raises(Refused, match="expands"):
        read(body)


def test_a_truncated_file_is_refused() -> None:
    whole = pa.concat_tables([table()] * 10)
    body = written(whole, arrow.FILE)
    for length in (0, 1, 11, 12, 100, len(body) // 2, len(body) - 1):
        with pytest.raises(Refused) as caught:
            read(body[:length], arrow.FILE)
        assert caught.value.status == 400


def test_a_body_of_another_media_type_is_refused() -> None:
    for sent in arrow.NAMES:
        for declared in arrow.NAMES:
            if sent != declared:
                with pytest.raises(Refused, match="cannot be read as") as caught:
                    read(written(table(), sent), declared)
                assert (caught.value.status, caught.value.reason) == (400, "not_arrow")


def test_without_pyarrow_the_answer_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "can_read", lambda: False)
    with pytest.raises(Refused, match=r"pip install 'driftbell\[parquet\]'") as caught:
        read(table())
    assert caught.value.status == 415


WHOLE = {
    (media_type, compression, str(text.type)): written(
        pa.concat_tables([table(plan=text)] * 20), media_type, compression
    )
    for media_type in arrow.NAMES
    for compression in (None, "zstd")
    for text in (pa.array(["a", None, "b"]).dictionary_encode(), pa.array(TEXTS, pa.string_view()))
}


@given(
    which=st.sampled_from(list(WHOLE)),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=9)), max_size=6),
    cut=st.floats(0, 1) | st.none(),
)
@settings(max_examples=600)
def test_changed_bytes_are_read_or_refused(
    which: tuple[str, str | None, str], changes: list[tuple[float, bytes]], cut: float | None
) -> None:
    body = bytearray(WHOLE[which])
    for place, new in changes:
        at = int(place * len(body))
        body[at : at + len(new)] = new
    refused_or_rows(bytes(body if cut is None else body[: int(cut * len(body))]), which[0])


@given(body=st.binary(max_size=300), media_type=st.sampled_from(list(arrow.NAMES)))
@settings(max_examples=200)
def test_random_bytes_are_refused(body: bytes, media_type: str) -> None:
    refused_or_rows(body, media_type)
    refused_or_rows(b"ARROW1\0\0" + body + b"ARROW1", arrow.FILE)


def refused_or_rows(body: bytes, media_type: str) -> None:
    refusal: Refused | InputError | None = None
    rows: list[list[Any]] = []
    try:
        rows = read(body, media_type)
    except (InputError, Refused) as error:
        refusal = error
    if isinstance(refusal, Refused):
        assert refusal.status in (400, 413, 415, 422)
        assert len(refusal.detail) < 400
    elif refusal is None:
        assert validated_rows(SCHEMA, [dict(zip(SCHEMA.names, row, strict=True)) for row in rows]) == rows
