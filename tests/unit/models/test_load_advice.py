"""Advice on pickled models that cannot be loaded."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sklearn
from sklearn.linear_model import LogisticRegression

from driftbell.errors import ModelError
from driftbell.models.load import load_model, read_model

MODULE = """
from sklearn.linear_model import LogisticRegression

class Own(LogisticRegression):
    pass
"""


def saved(folder: Path, module: str, *, content: str = MODULE) -> Path:
    """Write the pickle of a model whose class is in a module, which is then forgotten."""
    code = ModuleType(module)
    exec(content, code.__dict__)
    before = sys.modules.get(module)
    sys.modules[module] = code
    try:
        model = code.Own().fit([[0.0], [1.0]], ["a", "b"])
        path = folder / "own.pkl"
        path.write_bytes(pickle.dumps(model))
    finally:
        if before is None:
            del sys.modules[module]
        else:
            sys.modules[module] = before
    return path


def load(path: Path) -> Any:
    return load_model(path, read_model(path, None)[1])[0]


def test_a_class_of_a_script_is_to_be_moved_to_a_module(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'Own' was defined in the script that saved .*: move it"):
        load(saved(tmp_path, "__main__"))


def test_a_missing_module_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"needs the module 'no_such', which is not installed: pip install no-such"
    ):
        load(saved(tmp_path, "no_such"))


@pytest.mark.parametrize("beside", ["model", "start"])
def test_a_module_beside_the_model_or_in_the_working_folder_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: str
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "start").mkdir()
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path / "start")
    module = f"own_steps_of_{beside}"
    path = saved(tmp_path / "model", module)
    (tmp_path / beside / f"{module}.py").write_text(MODULE)
    assert load(path).classes == ("a", "b")
    del sys.modules[module]


def test_the_versions_of_scikit_learn_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old.pkl"
    with monkeypatch.context() as patch:
        patch.setattr("sklearn.base.__version__", "1.1.3")
        content = pickle.dumps(LogisticRegression().fit([[0.0], [1.0]], ["a", "b"]))
    path.write_bytes(content.replace(b"LogisticRegression", b"LogisticRegressioN"))
    expected = (
        rf"saved by scikit-learn 1\.1\.3, and this is {sklearn.__version__}: "
        r"pip install 'scikit-learn==1\.1\.3'"
    )
    with pytest.raises(ModelError, match=expected):
        load(path)


def test_another_version_is_suspected_where_a_name_of_scikit_learn_is_missing(tmp_path: Path) -> None:
    content = pickle.dumps(LogisticRegression())
    path = tmp_path / "new.pkl"
    path.write_bytes(content.replace(b"LogisticRegression", b"LogisticRegressioN"))
    with pytest.raises(ModelError, match="probably saved by another version of scikit-learn than"):
        load(path)


def test_a_damaged_file_gets_no_advice(tmp_path: Path) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(b"no pickle")
    with pytest.raises(ModelError) as error:
        load(path)
    assert "scikit-learn" not in str(error.value)
