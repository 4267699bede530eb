"""A model whose weights are in another file is refused, wherever the tensor is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from driftbell.errors import ModelError
from driftbell.models.onnx_external import require_own_data
from driftbell.models.onnx_file import load_onnx
from driftbell.tabular.schema import infer_schema

PATH = Path("m.onnx")


def weights(name: str, *, external: bool) -> TensorProto:
    tensor = numpy_helper.from_array(np.eye(2, dtype=np.float32), name)
    if external:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def graph(nodes: list[onnx.NodeProto], initializers: list[TensorProto]) -> onnx.GraphProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 2])
    return helper.make_graph(nodes, "g", [x], [scores], initializers)


def in_initializer(external: bool) -> onnx.ModelProto:
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    softmax = helper.make_node("Softmax", ["y"], ["scores"])
    return helper.make_model(graph([product, softmax], [weights("w", external=external)]))


def in_constant(external: bool) -> onnx.ModelProto:
    constant = helper.make_node("Constant", [], ["w"], value=weights("w", external=external))
    product = helper.make_node("MatMul", ["x", "w"], ["scores"])
    return helper.make_model(graph([constant, product], []))


def in_branch(external: bool) -> onnx.ModelProto:
    branch = graph([helper.make_node("Identity", ["w"], ["scores"])], [weights("w", external=external)])
    condition = helper.make_node("If", ["c"], ["scores"], then_branch=branch, else_branch=branch)
    return helper.make_model(graph([condition], []))


def in_sparse(external: bool) -> onnx.ModelProto:
    model = helper.make_model(graph([], []))
    model.graph.sparse_initializer.add().values.CopyFrom(weights("w", external=external))
    return model


def in_function(external: bool) -> onnx.ModelProto:
    model = helper.make_model(graph([], []))
    constant = helper.make_node("Constant", [], ["w"], value=weights("w", external=external))
    model.functions.append(helper.make_function("d", "f", [], ["w"], [constant], []))
    return model


def without_location(external: bool) -> onnx.ModelProto:
    model = in_initializer(external)
    if external:
        model.graph.initializer[0].data_location = TensorProto.DEFAULT
    return model


PLACES = [in_initializer, in_constant, in_branch, in_sparse, in_function, without_location]


@pytest.mark.parametrize("place", PLACES)
def test_weights_in_another_file_are_refused(place: Callable[[bool], onnx.ModelProto]) -> None:
    require_own_data(place(False).SerializeToString(), PATH)
    with pytest.raises(ModelError, match="weights in another file"):
        require_own_data(place(True).SerializeToString(), PATH)


@pytest.mark.parametrize("content", [b"\xff", b"\x0b", b"\x3a\x05ab", b"\xff" * 12, b"\x3a\x02\x2a\x7f"])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"m\.onnx: it is not a valid ONNX graph; "):
        require_own_data(content, PATH)


def test_a_model_is_loaded_only_as_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    columns = {"a": np.array([1.0, 2.0]), "b": np.array([2.0, 1.0])}
    model = in_initializer(external=False)
    model.opset_import[0].version, model.ir_version = 17, 8
    onnx.save(model, tmp_path / "one.onnx")
    options = {"name": "m", "schema": infer_schema(columns), "features": columns, "sha256": None}
    assert load_onnx(tmp_path / "one.onnx", **options).model  # type: ignore[arg-type]
    two = tmp_path / "two.onnx"
    onnx.save(model, two, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").exists()
    with pytest.raises(ModelError, match="weights in another file"):
        load_onnx(two, **options)  # type: ignore[arg-type]
