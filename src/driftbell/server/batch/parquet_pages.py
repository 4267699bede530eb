"""Decompression-bomb guard: read the uncompressed size of Arrow and Parquet bodies from their metadata."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from driftbell.server.batch.thrift import Reader
from driftbell.server.http.problems import Refused

MOST_PAGES = 10_000
"""Pages of a Parquet file; one of the largest body's size has some dozens."""

ARROW = b"ARROW1"
REPEATED = 2
BYTE_ARRAY, FIXED = 6, 7
WIDEST = 32
"""Bytes of the longest number, a decimal."""

DATA_PAGES = {0: 5, 3: 8}
"""Field of a page's header that describes a data page, by the page's kind."""

DELTAS = (5, 6, 7)
"""Encodings that can repeat what stands before without end."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How large a table may be.

    Attributes:
        cells: rows times columns.
        size: bytes, decompressed.
    """

    cells: int
    size: int

    def check(self, *, rows: int, columns: int, size: int) -> None:
        """Refuse a table that is larger.

        Raises:
            Refused: 413.
        """
        most = self.cells // max(columns, 1)
        if rows > most:
            detail = f"the body has {rows} rows; at most {most} of {columns} columns are taken at a time"
            raise Refused(413, "too_large", detail)
        if size > self.size:
            detail = (
                f"the body expands to more than {self.size} bytes: send fewer rows at a time, "
                "or raise server.body_limit"
            )
            raise Refused(413, "too_large", detail)


@dataclass(frozen=True, slots=True)
class ParquetOutline:
    """The columns of a Parquet file.

    Attributes:
        names: in order.
        nested: what a column is that has no single values, by name.
        texts: columns of bytes of any length.
    """

    names: tuple[str, ...]
    nested: Mapping[str, str]
    texts: tuple[str, ...]


def parquet_outline(body: bytes, limit: Limit) -> ParquetOutline:
    """Read what a Parquet file says of itself, and each page's own word on its size.

    Raises:
        Refused: 413, it is larger than the limit; 415, it is written in a way that is not read.
        ValueError: it is no Parquet file.
    """
    if len(body) < 12 or body[:4] != b"PAR1" or body[-4:] != b"PAR1":
        raise ValueError("it does not begin and end with PAR1")
    length = int.from_bytes(body[-8:-4], "little")
    if length > len(body) - 12:
        raise ValueError("its footer is longer than the body")
    try:
        return _checked(body, Reader(body[: len(body) - 8], len(body) - 8 - length).struct(), limit)
    except (LookupError, TypeError, AttributeError) as error:  # a part is missing, or is something else
        raise ValueError("its description of itself is broken") from error


def _checked(body: bytes, footer: Mapping[int, Any], limit: Limit) -> ParquetOutline:
    outline = _outline(footer[2])
    columns = len(outline.names)
    limit.check(rows=sum(group[3] for group in footer[4]), columns=columns, size=0)
    if not outline.nested:
        _check_pages(body, footer, limit, columns)
    return outline


def _outline(elements: list[dict[int, Any]]) -> ParquetOutline:
    names: list[str] = []
    nested: dict[str, str] = {}
    texts: list[str] = []
    at = 1
    while at < len(elements):
        element = elements[at]
        name = element[4].decode("utf-8")
        below = _below(elements, at)
        if below or element.get(3) == REPEATED:
            is_list = element.get(3) == REPEATED or element.get(6) == 3
            nested[name] = "an array" if is_list else "an object"
        elif element[1] == BYTE_ARRAY:
            texts.append(name)
        elif element[1] == FIXED and not 0 < element[2] <= WIDEST:
            nested[name] = "bytes"
        names.append(name)
        at += 1 + below
    if not elements or elements[0].get(5) != len(names):
        raise ValueError("its columns are not those that it says")
    return ParquetOutline(tuple(names), nested, tuple(texts))


def _below(elements: list[dict[int, Any]], at: int) -> int:
    """Count the elements inside one; they follow it."""
    open_ones = elements[at].get(5) or 0
    below = 0
    while open_ones > 0:
        below += 1
        open_ones += (elements[at + below].get(5) or 0) - 1
    return below


def _check_pages(body: bytes, footer: Mapping[int, Any], limit: Limit, columns: int) -> None:
    size = pages = 0
    for group in footer[4]:
        if len(group[1]) != columns:
            raise ValueError("a row group does not have every column")
        for chunk in group[1]:
            if 3 not in chunk or 1 in chunk or 8 in chunk:
                raise Refused(415, "content_type", "send a Parquet file that is whole and not encrypted")
            if chunk[3][5] != group[3]:
                raise ValueError("the columns of a row group differ in length")
            for page in _pages(body, chunk[3]):
                pages += 1
                size += page
                limit.check(rows=0, columns=columns, size=size)
                if pages > MOST_PAGES:
                    raise Refused(413, "too_large", f"the file has more than {MOST_PAGES} pages")


def _pages(body: bytes, column: Mapping[int, Any]) -> Iterable[int]:
    """Yield the decompressed size of each page of a column chunk that a reader would open."""
    at = min((found for found in (column[9], column.get(11, 0)) if found > 0), default=0)
    end = at + column[7]
    if end > len(body):
        raise ValueError("a column is longer than the file")
    missing = column[5]  # values that were not seen yet
    while missing > 0:
        if at >= end:
            raise ValueError("a column has fewer values than it says")
        reader = Reader(body, at)
        header = reader.struct()
        size, compressed = header[2], header[3]
        if size < 0 or compressed < 0:
            raise ValueError("a page has a negative size")
        if 7 in header and not 0 <= header[7][1] <= size:
            raise ValueError("a dictionary has more values than bytes")
        if (field := DATA_PAGES.get(header[1])) is not None:
            values, encoding = header[field][1], header[field][2 if field == 5 else 4]
            if not 0 <= values <= missing:
                raise ValueError("a page has other values than its column says")
            if encoding in DELTAS:
                detail = "send a Parquet file without delta encodings (its writer's defaults have none)"
                raise Refused(415, "content_type", detail)
            missing -= values
        yield size
        at = reader.at + compressed


def file_messages(body: bytes) -> list[tuple[bytes, memoryview]]:
    """Return the messages in the footer of an Arrow file, for `message_size`.

    Raises:
        ValueError: it is no Arrow file.
    """
    if len(body) < 16 or not body.startswith(ARROW) or not body.endswith(ARROW):
        raise ValueError("it does not begin and end with ARROW1")
    view = memoryview(body)
    try:
        end = len(body) - 10
        footer = _Table.root(body[end - struct.unpack_from("<i", body, end)[0] : end])
        found = []
        for start, length, _ in [*footer.blocks(2), *footer.blocks(3)]:
            marked = struct.unpack_from("<I", body, start)[0] == 0xFFFFFFFF  # since format 0.15
            metadata = body[start + (8 if marked else 4) : start + length]
            found.append((metadata, view[start + length :]))
    except struct.error as error:
        raise ValueError("its footer is broken") from error
    return found


def message_size(metadata: bytes, body: memoryview) -> tuple[int, int]:
    """Return the decompressed size of one message of an Arrow stream.

    Args:
        metadata: its flatbuffer, which pyarrow has verified.
        body: its buffers.

    Returns:
        Rows (0 where it is no record batch), and bytes once decompressed.

    Raises:
        ValueError: the message is not what it says.
    """
    try:
        found = _Table.root(metadata)
        kind = found.number(1, "<B")
        if kind == 1:  # the schema
            return 0, 0
        batch = found.table(2) if kind == 3 else found.table(2).table(1)  # else a dictionary has one
        rows = batch.number(0, "<q")
        sizes = [_buffer_size(body, *place, batch.has(3)) for place in batch.pairs(2)]
    except struct.error as error:
        raise ValueError("a message ends too early") from error
    if rows < 0 or min(sizes, default=0) < 0:
        raise ValueError("a message has a negative size")
    return rows if kind == 3 else 0, sum(sizes)


def _buffer_size(body: memoryview, offset: int, length: int, compressed: bool) -> int:
    if not compressed or length == 0:
        return length
    size: int = struct.unpack_from("<q", body, offset)[0]
    return length if size == -1 else size  # -1: stored as it is


@dataclass(frozen=True, slots=True)
class _Table:
    """A flatbuffer's table."""

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def has(self, field: int) -> bool:
        return self._place(field) is not None

    def number(self, field: int, form: str) -> int:
        place = self._place(field)
        return 0 if place is None else int(struct.unpack_from(form, self.data, place)[0])

    def table(self, field: int) -> _Table:
        return _Table(self.data, self._target(field))

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """Read a vector of two numbers each."""
        if not self.has(field):
            return []
        at = self._target(field)
        count = struct.unpack_from("<I", self.data, at)[0]
        numbers = struct.unpack_from(f"<{2 * count}q", self.data, at + 4)
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def blocks(self, field: int) -> list[tuple[int, int, int]]:
        """Read where messages begin, how long their metadata are and how long their bodies."""
        if not self.has(field):
            return []
        at = self._target(field)
        count = struct.unpack_from("<I", self.data, at)[0]
        if count * 24 > len(self.data):
            raise ValueError("a list is longer than the file")
        return [struct.unpack_from("<qi4xq", self.data, at + 4 + 24 * i) for i in range(count)]

    def _target(self, field: int) -> int:
        place = self._place(field)
        if place is None:
            raise ValueError("a message lacks a part")
        return place + int(struct.unpack_from("<I", self.data, place)[0])

    def _place(self, field: int) -> int | None:
        vtable = self.at - struct.unpack_from("<i", self.data, self.at)[0]
        if 4 + 2 * field >= struct.unpack_from("<H", self.data, vtable)[0]:
            return None
        offset = struct.unpack_from("<H", self.data, vtable + 4 + 2 * field)[0]
        return self.at + offset if offset else None
