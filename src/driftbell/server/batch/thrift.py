"""Reader of Thrift's compact encoding, for the metadata of untrusted Parquet files."""

from __future__ import annotations

import struct
from typing import Any

DEEPEST = 16
"""Values in values; Parquet has six, and a file that was made to break a reader has thousands."""

TRUE, FALSE = 1, 2
"""Kinds of fields that have no bytes of their own."""


class Reader:
    """Reads one value after the other.

    Args:
        data: the bytes.
        at: where to begin.
    """

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Read one struct: its values by field number.

        Raises:
            ValueError: it is not one.
        """
        found: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            kind = head & 15
            number = number + (head >> 4) if head >> 4 else self._signed()
            found[number] = kind == TRUE if kind in (TRUE, FALSE) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        match kind:
            case 1 | 2:  # in a list each takes a byte
                return self._byte() == TRUE
            case 3:
                return self._byte()
            case 4 | 5 | 6:  # integers of three sizes
                return self._signed()
            case 7:
                return struct.unpack("<d", self._bytes(8))[0]
            case 8:
                return self._bytes(self._unsigned())
            case 9 | 10:  # a list, a set
                return self._list(depth)
            case 12:
                return self.struct(depth + 1)
        raise ValueError(f"no value of kind {kind}")  # Parquet has no maps

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        size = head >> 4
        if size == 15:
            size = self._unsigned()
        if size > len(self.data) - self.at:  # each takes a byte at least
            raise ValueError("a list is longer than the file")
        return [self._value(head & 15, depth + 1) for _ in range(size)]

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, count: int) -> bytes:
        found = self.data[self.at : self.at + count]
        if len(found) < count:
            raise ValueError("the file ends too early")
        self.at += count
        return found

    def _unsigned(self) -> int:
        found = shift = 0
        while True:
            byte = self._byte()
            found |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return found
            if shift > 63:
                raise ValueError("a number is too long")

    def _signed(self) -> int:
        found = self._unsigned()
        return (found >> 1) ^ -(found & 1)
