"""Binary tensors of the Open Inference Protocol: every type, both ways, and bodies that do not fit."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest

from driftbell.tabular.binary_tensors import (
    DTYPES,
    fill_tensors,
    json_length,
    pack_tensors,
    split_body,
    wants_binary,
)

VALUES: dict[str, list[Any]] = {
    **{name: [0, 1, 100] for name in DTYPES},
    **{name: [-1, 0, 100] for name in ("INT8", "INT16", "INT32", "INT64")},
    "INT64": [-(2**63), 0, 2**63 - 1],
    "UINT64": [0, 1, 2**64 - 1],
    "FP64": [0.1, -1e300, 5e-324],
    "FP32": [0.5, -1.5, 3.0],
    "BOOL": [True, False, True],
    "BYTES": ["", "Zürich", "a\n"],
}


@pytest.mark.parametrize("datatype", [*DTYPES, "BYTES"])
def test_tensors_of_every_type_come_back(datatype: str) -> None:
    tensor = {"name": "x", "datatype": datatype, "shape": [3, 1], "data": VALUES[datatype]}
    described, binary = pack_tensors([tensor, {**tensor, "name": "y"}])
    assert "data" not in described[0]
    filled = fill_tensors({"id": "1", "inputs": described}, binary, "inputs")
    assert [t["data"] for t in filled["inputs"]] == [VALUES[datatype]] * 2
    if datatype in DTYPES:
        assert binary[: len(binary) // 2] == np.array(VALUES[datatype], DTYPES[datatype]).tobytes()


def test_json_and_binary_tensors_may_be_mixed() -> None:
    plain = {"name": "a", "shape": [1], "datatype": "FP32", "data": [1.0]}
    (packed,), binary = pack_tensors([{"name": "b", "shape": [1], "datatype": "INT8", "data": [7]}])
    raw = json.dumps({"inputs": [plain, packed], "text": "ü"}, ensure_ascii=False).encode() + binary
    length = json_length(raw)
    head, rest = split_body(raw, str(length))
    assert [t["data"] for t in fill_tensors(json.loads(head), rest, "inputs")["inputs"]] == [[1.0], [7]]


def described(datatype: str, shape: Any, size: Any) -> dict[str, Any]:
    return {"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}}


@pytest.mark.parametrize(
    ("tensor", "binary", "message"),
    [
        (described("FP32", [2], 8), b"1234", "binary_data_size 8, which is not in the body"),
        (described("FP32", [2], -1), b"", "binary_data_size -1"),
        (described("FP32", [2], True), b"1", "binary_data_size True"),
        (described("FP32", [2], 4), b"1234", "has 1 values for the shape"),
        (described("FP32", [1], 3), b"123", "3 bytes, which is no number of FP32"),
        (described("FP32", "1", 4), b"1234", "must have a shape"),
        (described("FP128", [1], 4), b"1234", "datatype FP128, which is none of"),
        (described("BYTES", [1], 2), b"12", "ends within a text"),
        (described("BYTES", [1], 6), struct.pack("<I", 9) + b"ab", "ends within a text"),
        (described("BYTES", [1], 5), struct.pack("<I", 1) + b"\xff", "not UTF-8"),
        (described("INT8", [1], 1), b"12", "1 bytes after the JSON belong to no tensor"),
    ],
)
def test_data_that_does_not_fit_is_named(tensor: Any, binary: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fill_tensors({"inputs": [tensor]}, binary, "inputs")


@pytest.mark.parametrize("length", ["-1", "4", "x", "", "²"])
def test_a_length_beyond_the_body_is_refused(length: str) -> None:
    with pytest.raises(ValueError, match="must be a length up to the 3 bytes"):
        split_body(b"{} ", length)


def test_outputs_are_wanted_as_binary_one_by_one_or_all() -> None:
    def output(name: str, **parameters: Any) -> dict[str, Any]:
        return {"name": name, "parameters": parameters}

    body: dict[str, Any] = {
        "outputs": [output("a", binary_data=True), output("b", binary_data=False), {"name": "c"}]
    }
    assert [wants_binary(body, name) for name in "abcd"] == [True, False, False, False]
    body = {**body, "parameters": {"binary_data_output": True}}
    assert [wants_binary(body, name) for name in "abcd"] == [True, False, True, True]
    assert not wants_binary([], "a")
