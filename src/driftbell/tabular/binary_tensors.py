"""Binary tensors of the Open Inference Protocol V2: the extension that Triton's clients use by default.

A body is JSON of the length that a header names, followed by the data of the tensors that have the parameter
`binary_data_size`, in their order. Numbers are little-endian; a text has its length in four bytes before it.
Source: Triton Inference Server, `docs/protocol/extension_binary_data.md`.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LENGTH_HEADER = "inference-header-content-length"
"""Header with the length of the JSON at the beginning of a body."""

DTYPES = {
    "BOOL": "?",
    **{f"INT{8 * n}": f"<i{n}" for n in (1, 2, 4, 8)},
    **{f"UINT{8 * n}": f"<u{n}" for n in (1, 2, 4, 8)},
    **{f"FP{8 * n}": f"<f{n}" for n in (2, 4, 8)},
}
"""NumPy's type by type of the protocol; `BYTES` are texts."""

_LENGTH = struct.Struct("<I")


def split_body(raw: bytes, length: str) -> tuple[bytes, bytes]:
    """Return the JSON of a body, and the binary data after it.

    Args:
        raw: the body.
        length: the value of `LENGTH_HEADER`.

    Raises:
        ValueError: it is no length, or the body is shorter.
    """
    count = int(length) if length.isascii() and length.isdigit() else -1
    if not 0 <= count <= len(raw):
        size = len(raw)
        raise ValueError(f"the header '{LENGTH_HEADER}' must be a length up to the {size} bytes of the body")
    return raw[:count], raw[count:]


def json_length(raw: bytes) -> int:
    """Return the length of the JSON at the beginning of a body, for one without the header.

    Raises:
        ValueError: it does not begin with JSON.
    """
    text = raw.decode("utf-8", "surrogateescape")
    _, end = json.JSONDecoder().raw_decode(text)
    return len(text[:end].encode("utf-8", "surrogateescape"))


def fill_tensors(body: Any, binary: bytes, key: str) -> Any:
    """Return a body with the binary data of its tensors as lists.

    Args:
        body: a JSON value.
        binary: the data after it.
        key: `inputs` or `outputs`.

    Raises:
        ValueError: a tensor has an unknown type, or data of another size than its shape.

    >>> tensor = {"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    >>> fill_tensors({"inputs": [tensor]}, struct.pack("<ff", 1.5, 2), "inputs")["inputs"][0]["data"]
    [1.5, 2.0]
    """
    tensors = body.get(key) if isinstance(body, dict) else None
    if not isinstance(tensors, list):
        raise ValueError(f"send a JSON object with '{key}', a list of tensors with name, shape and data")
    start, filled = 0, []
    for tensor in tensors:
        parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is None:
            filled.append(tensor)
            continue
        name = str(tensor.get("name"))[:80]
        if type(size) is not int or not 0 <= size <= len(binary) - start:
            raise ValueError(f"the tensor '{name}' has the binary_data_size {size}, which is not in the body")
        data = _decoded(tensor, name, binary[start : start + size])
        start += size
        filled.append({**tensor, "data": data})
    if start != len(binary):
        raise ValueError(f"{len(binary) - start} bytes after the JSON belong to no tensor")
    return {**body, key: filled}


def pack_tensors(tensors: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], bytes]:
    """Return tensors without their data, and the data as binary.

    Args:
        tensors: name, datatype, shape and data, a flat list.
    """
    described, parts = [], []
    for tensor in tensors:
        part = _encoded(str(tensor["datatype"]), tensor["data"])
        parts.append(part)
        without = {name: value for name, value in tensor.items() if name != "data"}
        described.append({**without, "parameters": {"binary_data_size": len(part)}})
    return described, b"".join(parts)


def wants_binary(body: Any, name: str) -> bool:
    """Return whether a request asks for an output as binary data.

    Args:
        body: the JSON of a valid request.
        name: name of the output.
    """
    if not isinstance(body, dict):
        return False
    for output in body.get("outputs") or ():
        if isinstance(output, dict) and output.get("name") == name:
            parameters = output.get("parameters")
            if isinstance(parameters, dict) and "binary_data" in parameters:
                return parameters["binary_data"] is True
    parameters = body.get("parameters")
    return isinstance(parameters, dict) and parameters.get("binary_data_output") is True


def _decoded(tensor: Mapping[str, Any], name: str, data: bytes) -> list[Any]:
    datatype, shape = str(tensor.get("datatype")), tensor.get("shape")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"the tensor '{name}' must have a shape such as [2, 4]")
    if datatype == "BYTES":
        cells: list[Any] = _texts(name, data)
    elif datatype in DTYPES:
        dtype = np.dtype(DTYPES[datatype])
        if len(data) % dtype.itemsize:
            raise ValueError(f"the tensor '{name}' has {len(data)} bytes, which is no number of {datatype}")
        cells = np.frombuffer(data, dtype).tolist()
    else:
        known = ", ".join((*DTYPES, "BYTES"))
        raise ValueError(f"the tensor '{name}' has the datatype {datatype[:20]}, which is none of {known}")
    if len(cells) != math.prod(shape):
        raise ValueError(f"the tensor '{name}' has {len(cells)} values for the shape {shape[:8]}")
    return cells


def _texts(name: str, data: bytes) -> list[str]:
    texts, start = [], 0
    while start < len(data):
        end = start + _LENGTH.size
        length = _LENGTH.unpack(data[start:end])[0] if end <= len(data) else len(data)
        if end + length > len(data):
            raise ValueError(f"the tensor '{name}' ends within a text")
        try:
            texts.append(data[end : end + length].decode())
        except UnicodeDecodeError as error:
            raise ValueError(f"the tensor '{name}' has a text that is not UTF-8") from error
        start = end + length
    return texts


def _encoded(datatype: str, data: Sequence[Any]) -> bytes:
    if datatype in DTYPES:
        return np.asarray(data, dtype=DTYPES[datatype]).tobytes()
    texts = [str(text).encode("utf-8", "replace") for text in data]
    return b"".join(_LENGTH.pack(len(text)) + text for text in texts)
