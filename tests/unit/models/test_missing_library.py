"""A module that a model needs and that is not installed is named, with the command that installs it."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops import io as skops_io
from tests.unit.models.test_load_advice import load, saved

from driftbell.config.settings import Settings
from driftbell.errors import MissingModuleError
from driftbell.models.load import load_model
from driftbell.models.missing_library import import_library, missing_module
from driftbell.wiring.model import open_model

FRAME = pd.DataFrame({"age": range(40), "income": [3.0, 1.0] * 20})
LABELS = ["no", "yes"] * 20
PANDAS = "needs pandas, which is not installed: pip install pandas"
BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture
def no_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter without pandas."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "pandas"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    exec(BLOCKED, {})


def configuration(folder: Path, path: Path | str, reference: pd.DataFrame = FRAME) -> dict[str, str]:
    reference.assign(label=LABELS).to_csv(folder / "past.csv", index=False)
    options = {"path": str(path), "reference": str(folder / "past.csv"), "target": "label"}
    if isinstance(path, Path):
        options["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return options


@pytest.mark.parametrize("suffix", ["pkl", "joblib", "skops"])
def test_a_model_of_a_table_needs_pandas(suffix: str, tmp_path: Path, no_pandas: None) -> None:
    path = tmp_path / f"model.{suffix}"
    model = LogisticRegression().fit(FRAME.to_numpy(), LABELS)
    model.feature_names_in_ = ["age", "income"]
    {"pkl": lambda m, p: p.write_bytes(pickle.dumps(m)), "joblib": joblib.dump, "skops": skops_io.dump}[
        suffix
    ](model, path)
    with pytest.raises(MissingModuleError) as error:
        load(path)
    assert str(error.value) == f"the model {path} {PANDAS}"


def test_a_model_of_an_array_needs_no_pandas(tmp_path: Path, no_pandas: None) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(LogisticRegression().fit(FRAME.to_numpy(), LABELS)))
    assert load(path).classes == ("no", "yes")


def test_a_server_is_called_with_tables_and_its_password_is_not_printed(no_pandas: None) -> None:
    with pytest.raises(MissingModuleError) as error:
        load_model("http://me:secret@127.0.0.1:1/predict", None)
    assert str(error.value) == f"the model http://127.0.0.1:1/predict {PANDAS}"


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("xgboost", "needs xgboost, which is not installed: pip install 'driftbell[xgboost]'"),
        ("statsmodels", "needs statsmodels, which is not installed: pip install statsmodels"),
        (
            "no_such",
            "needs the module 'no_such', which is not installed: pip install no-such; or, if it is a module "
            "of your own, put no_such.py beside the model or into the folder in which driftbell is started",
        ),
    ],
)
def test_a_module_of_a_pickle_is_named(
    module: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, module)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingModuleError) as error:
        load(path)
    assert str(error.value) == f"cannot load {path}: it {reason}"


def test_a_missing_part_of_an_installed_module_is_another_version(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"the json that is imported has no 'json\.no_such': use the version"):
        load(saved(tmp_path, "json.no_such"))


def test_a_step_that_needs_pandas_is_named_when_the_model_predicts(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pkl"
    scaler = StandardScaler().set_output(transform="pandas")
    path.write_bytes(pickle.dumps(make_pipeline(scaler, LogisticRegression()).fit(FRAME.to_numpy(), LABELS)))
    options = configuration(tmp_path, path)
    monkeypatch.setattr("driftbell.wiring.model.try_model", lambda settings: None)  # with pandas, in a child
    request.getfixturevalue("no_pandas")
    with pytest.raises(Exception, match=rf"like the first one of its reference: it {PANDAS}$"):
        open_model(Settings.model_validate({"data_dir": tmp_path / "data", "model": options}))


def test_a_library_that_misses_another_one_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_pandas: None
) -> None:
    (tmp_path / "booster_of_test.py").write_text("import pandas\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingModuleError, match=f"the model trees.txt {PANDAS}"):
        import_library("booster_of_test", needed_by="trees.txt")


def test_the_cause_of_another_error_is_no_missing_module() -> None:
    error = ValueError("bad")
    error.__cause__ = ModuleNotFoundError("No module named 'no_such'", name="no_such")
    assert missing_module(error) == ""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["init", "gate", "rehearse", "serve", "monitor"])
def test_a_command_without_pandas_ends_with_one_line(command: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(LogisticRegression().fit(FRAME, LABELS)))
    options = configuration(tmp_path, path)
    text = "".join(f'{name} = "{value}"\n' for name, value in options.items())
    (tmp_path / "driftbell.toml").write_text(f"[model]\n{text}")
    arguments = [command]
    if command == "init":
        arguments += [str(path), "--reference", options["reference"], "--trust", "-o", "new.toml"]
    (tmp_path / "sitecustomize.py").write_text(BLOCKED)  # also of the child process that tries a model
    done = subprocess.run(
        [sys.executable, "-m", "driftbell", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (2, f"driftbell: the model {path} {PANDAS}\n")
