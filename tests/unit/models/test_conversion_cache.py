"""A cached conversion is served at the next start while it is undamaged and its key matches."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from skops import io as skops_io
from structlog.testing import capture_logs

from driftbell.config import settings as config
from driftbell.config.settings import Settings
from driftbell.data_folder import exclusive_setup
from driftbell.errors import ModelError
from driftbell.models.conversion_cache import file_sha256
from driftbell.models.native import NativeModel
from driftbell.models.onnx_model import OnnxModel
from driftbell.ports import Model
from driftbell.wiring import model as wiring_model
from driftbell.wiring import model_files, native_model
from driftbell.wiring.model import open_model, open_serving_model
from driftbell.wiring.model_trial import TRIAL, try_model

CONVERTING = "converting the model to ONNX"
DAMAGED = "cached model is damaged, converting it anew"
QUICK, NATIVE = "model runs in ONNX Runtime", "model runs natively"
X = np.random.default_rng(0).normal(size=(200, 2))
Y = (X[:, 0] > 0).astype(int)


def write(folder: Path, estimator: Any, **more: Any) -> Settings:
    """Save a model with its reference, as a user would."""
    skops_io.dump(estimator.fit(X, Y), folder / "mine.skops")
    rows = "\n".join(f"{a},{b},{y}" for (a, b), y in zip(X.tolist(), Y, strict=True))
    (folder / "rows.csv").write_text(f"a,b,y\n{rows}\n", "utf-8")
    return settings(folder, **more)


def settings(folder: Path, **more: Any) -> Settings:
    model = {"path": folder / "mine.skops", "reference": folder / "rows.csv", "target": "y", **more}
    return Settings.model_validate({"data_dir": folder / "data", "model": model})


def start(chosen: Settings) -> tuple[Model, list[str]]:
    with capture_logs() as events:
        model = open_serving_model(chosen)
    return model, [event["event"] for event in events]


def cache(folder: Path) -> Path:
    return folder / "data" / "models" / "onnx" / "mine"


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the child process, so that the conversion runs in this process and its log events are captured."""
    monkeypatch.setattr("driftbell.wiring.model.try_model", lambda *_: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, its reference, and its graph in `data`."""
    folder = tmp_path_factory.mktemp("made")
    chosen = write(folder, LogisticRegression())
    model_files.build_model(chosen)
    return folder


@pytest.fixture
def chosen(made: Path, tmp_path: Path) -> Settings:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return settings(tmp_path)


def test_the_second_start_converts_nothing(tmp_path: Path) -> None:
    chosen = write(tmp_path, LogisticRegression())
    first, events = start(chosen)
    assert events == [CONVERTING, QUICK]
    second, events = start(chosen)
    assert events == [QUICK]
    assert isinstance(second, OnnxModel)
    assert (second.name, second.version, second.classes) == (first.name, first.version, ("0", "1"))
    assert second.schema == first.schema
    assert second.answer(X[:5].tolist()) == first.answer(X[:5].tolist())


@pytest.fixture
def children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file to which each converting process writes one line."""
    lines = tmp_path / "children"
    code = f"open({str(lines)!r}, 'a').write('started\\n')\n{TRIAL}"
    monkeypatch.setattr("driftbell.wiring.model.try_model", try_model)
    monkeypatch.setattr("driftbell.wiring.model_trial.TRIAL", code)
    return lines


def test_the_second_start_runs_no_converting_process(tmp_path: Path, children: Path) -> None:
    chosen = write(tmp_path, LogisticRegression())
    for _ in range(2):
        open_serving_model(chosen)
        assert children.read_text() == "started\n"


@pytest.mark.parametrize("engine", ["auto", "native"])
def test_a_model_without_a_conversion_is_tried_once(tmp_path: Path, children: Path, engine: str) -> None:
    frame = pd.DataFrame({"a": np.arange(60.0), "b": np.arange(60.0) % 7, "y": [0, 1] * 30})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    path = tmp_path / "mine.txt"
    LGBMClassifier(verbose=-1).fit(frame[["a", "b"]], frame["y"]).booster_.save_model(path)
    chosen = settings(tmp_path, path=path, engine=engine)
    for open_any in open_serving_model, open_model, open_serving_model:
        open_any(chosen)
        assert children.read_text() == "started\n"


def test_the_version_is_that_of_the_native_model(chosen: Settings) -> None:
    native = open_serving_model(
        chosen.model_copy(update={"model": chosen.model.model_copy(update={"engine": "native"})})
    )
    assert isinstance(native, NativeModel)
    assert native.engine_reason == "model.engine is 'native'"
    assert native.version == open_serving_model(chosen).version


def test_the_monitor_loads_the_cached_model_and_not_the_model_file(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_model(chosen)
    monkeypatch.setattr(native_model, "load_model", None)
    second = open_model(chosen)
    assert second.model.version == first.model.version
    assert second.reference.version == first.reference.version
    assert second.reference.labels is not None
    assert first.reference.labels is not None
    assert second.reference.labels.tolist() == first.reference.labels.tolist()


def test_a_child_process_converts_the_model(chosen: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring_model, "build_model", None)  # this process would convert it otherwise
    assert open_serving_model(chosen).engine == "onnxruntime"


def test_the_monitor_has_the_same_model(chosen: Settings) -> None:
    opened = open_model(chosen)
    assert opened.model.engine == "onnxruntime"
    assert opened.reference.labels is not None
    assert len(opened.reference.columns["a"]) == len(X)
    assert start(chosen)[1] == [QUICK]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.onnx", b"no graph"),
        ("manifest.json", b"{"),
        ("manifest.json", b'{"hash": "0", "body": {}}'),
        ("manifest.json", b"[]"),
        ("manifest.json", b"\xff"),
    ],
)
def test_a_damaged_cache_is_rebuilt_with_a_warning(
    tmp_path: Path, chosen: Settings, name: str, content: bytes
) -> None:
    open_serving_model(chosen)
    (cache(tmp_path) / name).write_bytes(content)
    assert DAMAGED in start(chosen)[1]
    assert start(chosen)[1] == [QUICK]


def test_a_model_is_served_even_if_it_cannot_be_cached(tmp_path: Path, chosen: Settings) -> None:
    shutil.rmtree(cache(tmp_path).parent)
    cache(tmp_path).parent.touch()
    model, events = start(chosen)
    assert isinstance(model, OnnxModel)
    assert events[-2:] == ["converted model is not cached, the next start converts it again", QUICK]


def test_a_changed_schema_in_the_cache_counts_as_damage(tmp_path: Path, chosen: Settings) -> None:
    open_serving_model(chosen)
    manifest = cache(tmp_path) / "manifest.json"
    result = json.loads(manifest.read_text("utf-8"))
    result["body"]["classes"].reverse()
    manifest.write_text(json.dumps(result), "utf-8")
    model, events = start(chosen)
    assert DAMAGED in events
    assert model.classes == ("0", "1")


@pytest.mark.parametrize("file", ["mine.skops", "rows.csv"])
def test_another_model_or_reference_is_converted(tmp_path: Path, chosen: Settings, file: str) -> None:
    open_serving_model(chosen)
    if file == "mine.skops":
        skops_io.dump(LogisticRegression(C=0.01).fit(X, Y), tmp_path / file)
    else:
        with (tmp_path / file).open("a", encoding="utf-8") as rows:
            rows.write("0.5,,1\n")
    assert CONVERTING in start(chosen)[1]


def test_another_release_of_a_library_converts_again(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_serving_model(chosen)
    monkeypatch.setattr("driftbell.models.conversion_cache.version", lambda _: "99.0")
    assert CONVERTING in start(chosen)[1]


def test_a_pickle_must_be_pinned_at_every_start(tmp_path: Path, chosen: Settings) -> None:
    path = tmp_path / "mine.joblib"
    joblib.dump(LogisticRegression().fit(X, Y), path)
    assert open_serving_model(settings(tmp_path, path=path, sha256=file_sha256(path))).engine == "onnxruntime"
    with pytest.raises(ModelError, match="is a pickle"):
        open_serving_model(settings(tmp_path, path=path))


def test_a_failed_conversion_is_cached(tmp_path: Path) -> None:
    write(tmp_path, LogisticRegression())
    path = tmp_path / "mine.joblib"
    vote = VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft")
    joblib.dump(vote.fit(X, Y), path)
    chosen = settings(tmp_path, path=path, sha256=file_sha256(path))
    first, events = start(chosen)
    assert events == [CONVERTING, NATIVE]
    second, events = start(chosen)
    assert events == [NATIVE]
    assert first.engine == second.engine == "native"
    assert second.engine_reason == first.engine_reason != ""


def test_an_onnx_file_is_served_and_cached(tmp_path: Path, chosen: Settings) -> None:
    open_serving_model(chosen)
    graph = tmp_path / "graph.onnx"
    graph.write_bytes((cache(tmp_path) / "model.onnx").read_bytes())
    mine = settings(tmp_path, path=graph)
    model, events = start(mine)
    assert events == [QUICK]
    assert model.classes == ("0", "1")
    again, _ = start(mine)
    assert again.answer(X[:3].tolist()) == model.answer(X[:3].tolist())
    assert open_model(mine).model.version == model.version


START = """
import sys
from pathlib import Path
from driftbell import jsonlog
from driftbell.config import settings as config
from driftbell.wiring.model import open_serving_model
jsonlog.configure(sys.stderr)
model = open_serving_model(config.load(Path("driftbell.toml")).settings)
heavy = {"sklearn", "pandas", "skops", "joblib", "skl2onnx", "onnx", "onnxmltools", "scipy.special"}
print(model.engine, sorted(heavy & set(sys.modules)))
"""


def test_a_start_with_a_cached_model_imports_no_training_library(tmp_path: Path) -> None:
    (tmp_path / "driftbell.toml").write_text('data_dir = "data"\n', "utf-8")
    chosen = config.load(tmp_path / "driftbell.toml", environment={}).settings
    made = open_serving_model(chosen.model_copy(update={"data_dir": tmp_path / "data"}))
    assert (made.name, made.engine) == ("iris", "onnxruntime")
    done = subprocess.run(
        [sys.executable, "-c", START], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.stdout.strip() == "onnxruntime []", done.stderr


def test_a_server_that_starts_waits_for_nobody_who_is_at_work_in_the_folder(chosen: Settings) -> None:
    open_serving_model(chosen)
    with exclusive_setup(chosen.data_dir):
        assert start(chosen)[1] == [QUICK]
