"""Files that are cut off, damaged, renamed or no models at all are refused by name, and nothing is run."""

from __future__ import annotations

import gzip
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from skops import io as skops_io

from driftbell.errors import ModelError, UntrustedModelError
from driftbell.models import sklearn as sklearn_model
from driftbell.models.load import load_model, read_model
from driftbell.models.onnx_features import onnx_features

TABLE = np.arange(60.0).reshape(20, 3)
LABELS = np.arange(20) // 10
SUFFIXES = (".skops", ".joblib", ".pkl", ".onnx", ".txt", ".json", ".ubj", ".cbm", ".pt2")


class Malicious:
    """Its pickle creates a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def load(path: Path, *, pinned: bool = False) -> Any:
    if path.suffix == ".onnx":
        return onnx_features(path)
    return load_model(path, read_model(path, None)[1] if pinned else None)


def written(path: Path) -> bytes:
    """Write a model in the format of the suffix, and return its bytes."""
    if path.suffix == ".onnx":
        skl2onnx = pytest.importorskip("skl2onnx")
        model = LogisticRegression().fit(TABLE, LABELS)
        path.write_bytes(skl2onnx.to_onnx(model, TABLE[:1].astype(np.float32)).SerializeToString())
    elif path.suffix == ".skops":
        skops_io.dump(LogisticRegression().fit(TABLE, LABELS), path)
    elif path.suffix in (".pkl", ".joblib"):
        joblib.dump(LogisticRegression().fit(TABLE, LABELS), path, compress=path.suffix == ".joblib")
    elif path.suffix == ".txt":
        lightgbm = pytest.importorskip("lightgbm")
        model = lightgbm.LGBMClassifier(n_estimators=9, min_child_samples=2, verbose=-1).fit(TABLE, LABELS)
        model.booster_.save_model(path)
    elif path.suffix in (".json", ".ubj"):
        pytest.importorskip("xgboost").XGBClassifier(n_estimators=9).fit(TABLE, LABELS).save_model(path)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", [".skops", ".joblib", ".pkl", ".onnx", ".txt", ".json", ".ubj"])
def test_a_file_that_is_cut_off_is_refused_as_such(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    content = written(path)
    assert load(path, pinned=suffix in (".joblib", ".pkl"))
    for size in (10, len(content) // 3, len(content) // 2, len(content) * 9 // 10):
        path.write_bytes(content[:size])
        with pytest.raises(ModelError, match=rf"{re.escape(str(path))}.* cut off or\s+damaged"):
            load(path, pinned=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", r"cannot load .*/m{} *: it is empty \(0 bytes\); copy it, or save the model, again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "a pointer of Git LFS"),
        (b"\n<!DOCTYPE html><html>Not found</html>", "it is a web page .*; download the model again"),
    ],
)
def test_content_that_is_no_model_is_named(suffix: str, content: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=problem.replace("{}", re.escape(suffix))) as caught:
        load(path)
    assert not isinstance(caught.value, UntrustedModelError)


@pytest.mark.parametrize("suffix", [".skops", ".onnx", ".txt", ".json", ".ubj", ".pt2"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_renamed_pickle_is_named_and_never_run(suffix: str, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(pickle.dumps(Malicious(tmp_path / "run"), protocol))
    for pinned in (False, True):
        with pytest.raises(ModelError, match=r"it seems to be a pickle: rename it to m\.pkl"):
            load(path, pinned=pinned)
    assert not (tmp_path / "run").exists()


def test_other_renamed_files_are_named(tmp_path: Path) -> None:
    cases = {
        "a.txt": (b"CBM1", "seems to be a model of CatBoost: rename it to a.cbm"),
        "b.json": (b"tree\nversion=v4", "seems to be a model of LightGBM: rename it to b.txt"),
        "c.txt": (gzip.compress(b"tree"), "seems to be compressed: decompress it first"),
        "d.json": (b"\x89HDF\r\n", "seems to be an HDF5 file, as Keras writes, which is not served"),
        "e.skops": (b"\x08\x0a\x12\x08skl2onnx", "seems to be an ONNX graph: rename it to e.onnx"),
    }
    for name, (content, problem) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=problem):
            load(tmp_path / name)


def test_an_archive_of_another_library_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.skops"
    for member, problem in {
        "m/models/model.json": r"no file of skops|a PyTorch program",
        "m/data.pkl": "no file of skops|weights or a module of PyTorch",
    }.items():
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, "{}")
        with pytest.raises(ModelError, match=problem):
            load(path)


@pytest.mark.parametrize("schema", [b"", b"hello", b"[]", b"[" * 100_000, b'{"a": "\xff"}'])
def test_an_archive_without_a_schema_of_skops_is_refused(schema: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", schema)
    with pytest.raises(ModelError, match=r"m\.skops: it has no valid schema\.json, .* save the model with"):
        load(path)


def test_a_large_schema_needs_the_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "m.skops")
    monkeypatch.setattr(sklearn_model, "MAX_SCHEMA_BYTES", 100)
    with pytest.raises(UntrustedModelError, match=r"has a schema\.json of 0 MiB, far more than models need"):
        load(tmp_path / "m.skops")
    assert load(tmp_path / "m.skops", pinned=True)


def test_trees_of_lightgbm_that_are_elsewhere_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.txt"
    content = written(path)
    for changed, problem in (
        (re.sub(rb"tree_sizes=\d+", b"tree_sizes=99999999", content), "cut off or damaged"),
        (content.replace(b"\n", b"\r\n"), "its line ends were changed to those of Windows"),
        (content.replace(b"end of trees", b"end"), "cut off or damaged"),
    ):
        path.write_bytes(changed)
        with pytest.raises(
            ModelError, match=rf"m\.txt: its trees or parameters are not as its header says; .*{problem}"
        ):
            load(path)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_path_that_cannot_be_looked_at_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read model\.path .*(name too long|null character)"):
        load_model(tmp_path / name, None)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("[m.pkl]", r"names no file of its flavor 'sklearn': '\['m.pkl'\]' is no file in the folder"),
        ("5", "names no file of its flavor 'sklearn': '5' is no file"),
        ("{a: b}", "names no file of its flavor 'sklearn'"),
        ("[../m.pkl]", "names '../m.pkl', which lies outside the model's folder"),
        ('"a\\0b"', "names 'a.x00b', which is no valid path"),
        (f'"{"x" * 300}"', "names no file of its flavor|no valid path"),
        ("m.pkl", "m.pkl: it is empty"),
    ],
)
def test_a_manifest_with_other_paths_is_refused(value: str, problem: str, tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "m.pkl").touch()
    (tmp_path / "m" / "MLmodel").write_text(f"flavors: {{sklearn: {{pickled_model: {value}}}}}")
    with pytest.raises(ModelError, match=problem):
        load_model(tmp_path / "m", None)


def test_a_model_of_another_version_that_fails_at_its_first_row_names_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sklearn

    from driftbell.config.settings import load as load_settings
    from driftbell.wiring.model import open_model

    model = LogisticRegression().fit(TABLE, LABELS)
    del model.coef_
    with monkeypatch.context() as patch:
        patch.setattr("sklearn.base.__version__", "1.1.3")
        (tmp_path / "m.pkl").write_bytes(pickle.dumps(model))
    pd.DataFrame(TABLE, columns=["a", "b", "c"]).to_csv(tmp_path / "past.csv", index=False)
    overrides = {
        "data_dir": tmp_path / "data",
        "model.path": tmp_path / "m.pkl",
        "model.sha256": read_model(tmp_path / "m.pkl", None)[1],
        "model.reference": tmp_path / "past.csv",
    }
    problem = (
        rf"cannot predict a row .* saved by scikit-learn 1\.1\.3, and this is {sklearn.__version__}: pip"
    )
    with pytest.raises(ModelError, match=problem):
        open_model(load_settings(environment={}, overrides=overrides).settings)
