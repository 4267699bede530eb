"""Detection of ONNX files with weights in other files: those are not covered by the hash of the model file.

The file is a protobuf message, read here without the package onnx; field numbers are from
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from pathlib import Path

from driftbell.errors import ModelError
from driftbell.models.file_content import DAMAGED, content_advice

_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""Fields by number that hold a message in which a tensor may be."""

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}


def require_own_data(content: bytes, path: Path) -> None:
    """Require that a model has all its weights in its own file.

    Args:
        content: the file.
        path: its path, for messages.

    Raises:
        ModelError: a tensor is in another file, or the file is not a valid ONNX model.
    """
    try:
        _search(content, path)
    except ValueError as error:
        advice = content_advice(path, content) or DAMAGED
        raise ModelError(f"cannot load {path}: it is not a valid ONNX graph; {advice}") from error


def _search(content: bytes, path: Path) -> None:
    waiting = [("model", 0, len(content))]
    while waiting:
        message, position, end = waiting.pop()
        fields = _MESSAGES[message]
        while position < end:
            key, position = _varint(content, position, end)
            number, wire = key >> 3, key & 7
            value = size = 0
            if wire in (_VARINT, _BYTES):
                value, position = _varint(content, position, end)
            if message == "tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value)):
                raise ModelError(
                    f"{path} has weights in another file, which its hash does not cover: save it as one "
                    "file, such as with onnx.save(onnx.load('model.onnx'), 'one_file.onnx')"
                )
            if wire == _BYTES:
                size = value
                if number in fields:
                    waiting.append((fields[number], position, position + size))
            elif wire != _VARINT:
                size = _SIZES.get(wire, end + 1)
            position += size
            if position > end:
                raise ValueError


def _varint(content: bytes, position: int, end: int) -> tuple[int, int]:
    """Return a number and the position after it."""
    value = shift = 0
    while position < end and shift < 70:
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
    raise ValueError
