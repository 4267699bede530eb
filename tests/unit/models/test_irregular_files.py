"""A model that is no regular file, or nested without end, is refused at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from driftbell.errors import ModelError
from driftbell.models.load import load_model, read_model

SUFFIXES = (".skops", ".joblib", ".txt", ".json", ".ubj", ".cbm", ".pt2")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_device_or_a_pipe_is_refused(suffix: str, tmp_path: Path) -> None:
    device, pipe = tmp_path / f"device{suffix}", tmp_path / f"pipe{suffix}"
    device.symlink_to("/dev/zero")
    os.mkfifo(pipe)
    for path in (device, pipe):
        with pytest.raises(ModelError, match=f"{path.name}: it is no regular file; copy the model into one"):
            load_model(path, None)


def test_an_onnx_file_is_read_alike(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="no regular file"):
        read_model(tmp_path / "m.onnx", None)


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    loop = tmp_path / "loop.joblib"
    loop.symlink_to(loop)
    with pytest.raises(ModelError, match=r"cannot read model\.path"):
        load_model(loop, None)


def _folder(path: Path, manifest: str = "flavors: {sklearn: {pickled_model: m.skops}}") -> Path:
    path.mkdir()
    (path / "MLmodel").write_text(manifest)
    return path


def test_a_pipe_or_a_loop_in_a_folder_is_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "pipe")
    os.mkfifo(folder / "extra")
    with pytest.raises(ModelError, match="extra: it is no regular file; remove it from the folder"):
        load_model(folder, None)
    folder = _folder(tmp_path / "loop")
    (folder / "extra").symlink_to(folder / "extra")
    with pytest.raises(ModelError, match="extra is a loop of links: remove it"):
        load_model(folder, None)


def test_a_deeply_nested_manifest_is_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "deep", "flavors: " + "[" * 20_000)
    with pytest.raises(ModelError, match="nested more than 100 levels deep"):
        load_model(folder, None)
    lines = "".join(f"{' ' * level}a:\n" for level in range(1200))
    with pytest.raises(ModelError, match="is not valid YAML"):
        load_model(_folder(tmp_path / "indented", lines), None)


def test_a_deeply_nested_model_of_xgboost_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("xgboost")
    path = tmp_path / "deep.json"
    path.write_text('{"a":' * 20_000 + "1" + "}" * 20_000)
    with pytest.raises(ModelError, match=r"deep\.json"):
        load_model(path, None)
    path.write_text('{"learner": "' + "[" * 200 + '"}')
    with pytest.raises(ModelError, match=r"deep\.json"):
        load_model(path, None)
