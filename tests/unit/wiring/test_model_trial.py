"""A model that ends, fills or blocks its process is refused at each start, and ends no service."""

from __future__ import annotations

import hashlib
import re
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression

from driftbell.config.settings import Settings
from driftbell.errors import ConfigError, ModelError
from driftbell.wiring.model import open_model, open_serving_model
from driftbell.wiring.model_trial import early_trial

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no limits of memory")

CODE = """
import os, signal, time

class Wild:
    def __init__(self, what): self.what = what
    def __reduce__(self): return what_to_do, (self.what,)

def what_to_do(what):
    if what == "crash": os.kill(os.getpid(), signal.SIGSEGV)
    if what == "exit": os._exit(0)
    if what == "sleep": time.sleep(600)
"""
FRAME = pd.DataFrame({"a": np.arange(200) % 41, "b": np.arange(200) % 7, "y": np.arange(200) % 41 > 20})


def settings(folder: Path, name: str, **more: Any) -> Settings:
    FRAME.to_csv(folder / "rows.csv", index=False)
    path = folder / name
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    model = {"path": path, "sha256": digest, "reference": folder / "rows.csv", "target": "y", **more}
    return Settings.model_validate({"data_dir": folder / "data", "model": model})


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        ("crash", "the library of the model {path} ended the process with SIGSEGV: the file is damaged"),
        ("exit", "the model {path} ended the process that loaded it with exit code 0: remove that call"),
        ("sleep", "the model {path} has not been loaded within 3 s: its code waits"),
    ],
)
def test_a_pickle_that_ends_or_blocks_the_process_is_refused(
    what: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wild_model.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[3] / 'src'}")
    wild_model = import_module("wild_model")
    joblib.dump(wild_model.Wild(what), tmp_path / "wild.joblib")
    chosen = settings(tmp_path, "wild.joblib", load_timeout="3s")
    for open_any in open_serving_model, open_model:
        with pytest.raises(ModelError) as error:
            open_any(chosen)
        assert str(error.value).startswith(problem.format(path=tmp_path / "wild.joblib"))


def test_an_unexpected_error_is_no_call_of_the_model_to_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = "import driftbell.wiring.model as m\n\ndef fail(settings): return {}['gone']\n\n"
    failing += "m.convert_model = fail\n"
    (tmp_path / "sitecustomize.py").write_text(failing)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[3] / 'src'}")
    path = tmp_path / "model.joblib"
    joblib.dump(LogisticRegression().fit(FRAME[["a", "b"]], FRAME["y"]), path)
    with pytest.raises(ModelError) as error:
        open_serving_model(settings(tmp_path, path.name))
    assert str(error.value) == f"the model {path} cannot be loaded: KeyError: 'gone'"


def test_trees_that_crash_the_library_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "trees.txt"
    model = LGBMClassifier(n_estimators=3, num_leaves=8, min_child_samples=5, verbose=-1)
    model.fit(FRAME[["a", "b"]], FRAME["y"]).booster_.save_model(path)
    text = path.read_text()
    damaged = re.sub(r"(?<=\nleft_child=)\S+", lambda m: "9" * (8 + len(m[0])), text, count=1)
    path.write_text(re.sub(r"(?<=\ntree_sizes=)\d+", lambda m: str(8 + int(m[0])), damaged))
    with pytest.raises(ModelError, match=r"trees\.txt ended the process with SIGSEGV"):
        open_serving_model(settings(tmp_path, path.name))


def test_a_graph_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    size = numpy_helper.from_array(np.array([1 << 38], dtype=np.int64), "size")
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["zero"], keepdims=1),
        helper.make_node("ReduceSum", ["x"], ["sum"], axes=[1], keepdims=1),
        helper.make_node("Add", ["sum", "zero"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])]
    graph = helper.make_graph(nodes, "large", inputs, outputs, [size])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.save(made, tmp_path / "large.onnx")
    with pytest.raises(ModelError, match=r"large"):
        open_serving_model(settings(tmp_path, "large.onnx"))


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import time; time.sleep(600)", "the model slow:predict has not been loaded within 1 s: its code"),
        ("import signal; signal.signal(signal.SIGUSR2, signal.SIG_DFL)", ""),
    ],
)
def test_a_module_has_limited_time_and_may_need_the_main_thread(
    code: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "slow" if problem else "handles"
    (tmp_path / f"{name}.py").write_text(f"{code}\ndef predict(table): return table['a'] * 1.0\n")
    FRAME.to_csv(tmp_path / "rows.csv", index=False)
    monkeypatch.syspath_prepend(tmp_path)
    model = {
        "path": f"{name}:predict",
        "reference": tmp_path / "rows.csv",
        "load_timeout": "1s" if problem else "5m",
    }
    chosen = Settings.model_validate({"data_dir": tmp_path / "data", "model": model})
    if not problem:
        assert open_serving_model(chosen).name == "handles-predict"
        return
    with pytest.raises(ModelError, match=problem):
        open_serving_model(chosen)


def children() -> list[int]:
    path = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    return [int(pid) for pid in path.read_text().split()]


def test_a_process_that_started_early_loads_the_model(tmp_path: Path) -> None:
    joblib.dump(LogisticRegression().fit(FRAME[["a", "b"]], FRAME["y"]), tmp_path / "mine.joblib")
    chosen, before = settings(tmp_path, "mine.joblib"), children()
    with early_trial(chosen) as trial:
        assert len(children()) == len(before) + 1
        assert open_serving_model(chosen, trial=trial).engine == "onnxruntime"
        assert children() == before
    with early_trial(chosen) as trial:  # the conversion is cached
        assert trial is None
        assert open_serving_model(chosen).engine == "onnxruntime"


def test_a_process_that_started_early_loads_nothing_if_the_start_is_refused(tmp_path: Path) -> None:
    joblib.dump(LogisticRegression().fit(FRAME[["a", "b"]], FRAME["y"]), tmp_path / "mine.joblib")
    chosen, before = settings(tmp_path, "mine.joblib"), children()
    with pytest.raises(ConfigError), early_trial(chosen):
        raise ConfigError("there is no API key")
    assert children() == before
    assert not (tmp_path / "data").exists()


def test_a_process_that_started_early_ends_if_another_one_has_tried_the_model(tmp_path: Path) -> None:
    joblib.dump(LogisticRegression().fit(FRAME[["a", "b"]], FRAME["y"]), tmp_path / "mine.joblib")
    chosen, before = settings(tmp_path, "mine.joblib"), children()
    with early_trial(chosen) as trial:
        open_serving_model(chosen)
        open_serving_model(chosen, trial=trial)
        assert children() == before


@pytest.mark.parametrize(
    "model", [{"path": "own.code:predict"}, {"engine": "native"}, {"path": "m.joblib", "prediction": "p"}]
)
def test_no_process_starts_early_for_a_model_that_is_not_tried(model: dict[str, str], tmp_path: Path) -> None:
    with early_trial(Settings.model_validate({"data_dir": tmp_path, "model": model})) as trial:
        assert trial is None
