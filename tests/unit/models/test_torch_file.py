"""Files of PyTorch are refused without PyTorch and without consent, and nothing in them is run."""

from __future__ import annotations

import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftbell.errors import MissingExtraError, ModelError, UntrustedModelError
from driftbell.models.conversion_cache import file_sha256
from driftbell.models.load import load_model
from driftbell.models.torch_program import ProgramInput, TorchProgram
from driftbell.models.torch_scores import Scale, outputs_of


class Marker:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("graph", ["archive/models/model.json", "serialized_exported_program.json"])
def test_no_part_of_a_program_is_unpickled_without_its_hash(
    graph: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, marker = tmp_path / "m.pt2", tmp_path / "marker"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(graph, '{"torch_version": "2.13.0"}')
        archive.writestr("archive/data/sample_inputs/model.pt", pickle.dumps(Marker(marker)))
        archive.writestr("serialized_state_dict.pt", pickle.dumps(Marker(marker)))
    with pytest.raises(UntrustedModelError, match=file_sha256(path)):
        load_model(path, None)
    assert not marker.exists()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'driftbell\[torch\]'"):
        load_model(path, file_sha256(path))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".safetensors"])
def test_weights_are_refused_with_the_line_that_exports_the_model(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"weights")
    with pytest.raises(ModelError, match=rf"a {suffix} file has weights.*torch\.export\.save\(.*Dim\("):
        load_model(path, file_sha256(path))


def test_a_number_that_is_no_probability_is_an_error() -> None:
    within, beyond = np.array([[1 + 1e-7]]), np.array([[1.5]])
    assert outputs_of(within, Scale.PROBABILITIES, ("0", "1")).values.tolist() == [1]
    with pytest.raises(ValueError, match=r"answered 1\.5, which is no probability"):
        outputs_of(beyond, Scale.PROBABILITIES, ("0", "1"))
    with pytest.raises(ValueError, match="NaN"):
        outputs_of(np.array([[np.nan, 1.0]]), Scale.LOGITS, ("0", "1"))


def test_large_logits_do_not_overflow() -> None:
    outputs = outputs_of(np.array([[-900.0], [900.0]]), Scale.LOGITS, ("0", "1"))
    assert outputs.probabilities is not None
    assert outputs.probabilities.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("dtype", "value", "reason"),
    [
        ("int64", 1.5, "whole numbers without null"),
        ("int64", np.nan, "whole numbers without null"),
        ("int32", 3e9, "numbers from -2147483648 to 2147483647"),
        ("bool", 2, "numbers from 0 to 1"),
    ],
)
def test_values_beyond_the_type_of_an_input_are_errors(dtype: str, value: float, reason: str) -> None:
    program = TorchProgram(None, None, None, (ProgramInput("x", dtype, 2, 1),), (1, None), 1)
    with pytest.raises(ValueError, match=reason):
        program.scores(np.array([[value]]))
