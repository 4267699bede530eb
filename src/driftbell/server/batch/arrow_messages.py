"""Decompression-bomb guard: read the uncompressed size of Arrow IPC bodies from their message metadata.

Arrow IPC encapsulates each record batch in a message. The message's metadata is a flatbuffer that lists the
buffers of the batch; a compressed buffer starts with its uncompressed length (8 bytes, little-endian). So the
size of the decompressed table is known before any buffer is decompressed.

Source: Apache Arrow, "Serialization and Interprocess Communication (IPC)"; field numbers are those of
`Message.fbs` and `File.fbs`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = b"ARROW1"
"""First and last bytes of an Arrow IPC file."""

SCHEMA, RECORD_BATCH = 1, 3
"""Values of `MessageHeader`; a dictionary batch, which holds a record batch, is 2."""

NOT_COMPRESSED = -1
"""Uncompressed length of a buffer that is stored as it is in a compressed batch."""


def file_messages(body: bytes) -> list[tuple[bytes, memoryview]]:
    """Return metadata and body of each message that the footer of an Arrow file lists.

    Raises:
        ValueError: the bytes are not an Arrow file.
    """
    if len(body) < 16 or not body.startswith(MAGIC) or not body.endswith(MAGIC):
        raise ValueError("it does not begin and end with ARROW1")
    view = memoryview(body)
    try:
        end = len(body) - 10
        footer = _Table.root(body[end - struct.unpack_from("<i", body, end)[0] : end])
        messages = []
        for start, length, _ in [*footer.blocks(2), *footer.blocks(3)]:
            has_marker = struct.unpack_from("<I", body, start)[0] == 0xFFFFFFFF  # since format 0.15
            metadata = body[start + (8 if has_marker else 4) : start + length]
            messages.append((metadata, view[start + length :]))
    except struct.error as error:
        raise ValueError("its footer is broken") from error
    return messages


def message_size(metadata: bytes, body: memoryview) -> tuple[int, int]:
    """Return the rows and the uncompressed size of one message.

    Args:
        metadata: the message's flatbuffer.
        body: the message's buffers.

    Returns:
        Rows (0 for a schema or a dictionary), and bytes after decompression.

    Raises:
        ValueError: the metadata contradicts the body.
    """
    try:
        message = _Table.root(metadata)
        kind = message.number(1, "<B")
        if kind == SCHEMA:
            return 0, 0
        header = message.table(2)
        batch = header if kind == RECORD_BATCH else header.table(1)
        rows = batch.number(0, "<q")
        is_compressed = batch.has(3)
        sizes = [_buffer_size(body, *buffer, is_compressed) for buffer in batch.pairs(2)]
    except struct.error as error:
        raise ValueError("a message ends too early") from error
    if rows < 0 or min(sizes, default=0) < 0:
        raise ValueError("a message has a negative size")
    return rows if kind == RECORD_BATCH else 0, sum(sizes)


def _buffer_size(body: memoryview, offset: int, length: int, is_compressed: bool) -> int:
    if not is_compressed or length == 0:
        return length
    size: int = struct.unpack_from("<q", body, offset)[0]
    return length if size == NOT_COMPRESSED else size


@dataclass(frozen=True, slots=True)
class _Table:
    """A flatbuffer table.

    Attributes:
        data: the whole flatbuffer.
        start: offset of the table in it.
    """

    data: bytes
    start: int

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def has(self, field: int) -> bool:
        return self._position(field) is not None

    def number(self, field: int, form: str) -> int:
        position = self._position(field)
        return 0 if position is None else int(struct.unpack_from(form, self.data, position)[0])

    def table(self, field: int) -> _Table:
        return _Table(self.data, self._target(field))

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """Read a vector of pairs of 64-bit integers."""
        if not self.has(field):
            return []
        position = self._target(field)
        count = struct.unpack_from("<I", self.data, position)[0]
        numbers = struct.unpack_from(f"<{2 * count}q", self.data, position + 4)
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def blocks(self, field: int) -> list[tuple[int, int, int]]:
        """Read a vector of blocks: offset of a message, length of its metadata, length of its body."""
        if not self.has(field):
            return []
        position = self._target(field)
        count = struct.unpack_from("<I", self.data, position)[0]
        if count * 24 > len(self.data):
            raise ValueError("a list is longer than the file")
        return [struct.unpack_from("<qi4xq", self.data, position + 4 + 24 * i) for i in range(count)]

    def _target(self, field: int) -> int:
        position = self._position(field)
        if position is None:
            raise ValueError("a message lacks a field")
        return position + int(struct.unpack_from("<I", self.data, position)[0])

    def _position(self, field: int) -> int | None:
        vtable = self.start - struct.unpack_from("<i", self.data, self.start)[0]
        if 4 + 2 * field >= struct.unpack_from("<H", self.data, vtable)[0]:
            return None
        offset = struct.unpack_from("<H", self.data, vtable + 4 + 2 * field)[0]
        return self.start + offset if offset else None
