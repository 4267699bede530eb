"""Functions, classes and objects of the user's modules are models."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftbell.config.settings import Settings, load
from driftbell.errors import ModelError
from driftbell.models.answers import read_answers
from driftbell.records import Task
from driftbell.wiring.model import open_model

ROWS = 60
FRAME = pd.DataFrame({"age": np.arange(ROWS), "plan": ["basic", "größer"] * (ROWS // 2)})
CODE = """
import numpy as np
from own_features import young


def labels(table):
    return np.where(young(table), "no", "yes")


def ids(table):
    return (~young(table)).astype(int)


def booleans(table):
    return ~young(table)


def shares(table):
    return np.where(young(table), 0.25, 0.75)


def both(table):
    return np.column_stack([1 - shares(table), shares(table)])


def numbers(table):
    assert table["plan"].iloc[0] in ("basic", "größer")
    return table["age"] * 1.5


class Careful:
    classes_ = ["no", "yes"]

    def predict(self, table):
        return np.full(len(table), "no")

    def predict_proba(self, table):
        return both(table)


careful = Careful()
SETTING = 3
"""
YOUNG = "def young(table):\n    return table['age'].to_numpy() < 30\n"
EXPECTED = ["no"] * 30 + ["yes"] * 30


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a configuration and two modules beside it; the working folder is another one."""
    (tmp_path / "own_model.py").write_text(CODE, "utf-8")
    (tmp_path / "own_features.py").write_text(YOUNG, "utf-8")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "needy.py").write_text("import no_such_package\n")
    FRAME.to_csv(tmp_path / "past.csv", index=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("DRIFTBELL_CONFIG", str(tmp_path / "driftbell.toml"))
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before
    for name in ("own_model", "own_features", "broken", "needy"):
        sys.modules.pop(name, None)


def settings(folder: Path, source: str, *classes: str) -> Settings:
    text = f'[model]\npath = "{source}"\nreference = "{folder / "past.csv"}"\n'
    (folder / "driftbell.toml").write_text(f"{text}classes = {list(classes)}\n" if classes else text)
    return load(overrides={"data_dir": folder / "data"}).settings


@pytest.mark.parametrize("name", ["labels", "ids", "booleans", "shares", "both"])
def test_a_function_answers_labels_ids_or_probabilities(name: str, folder: Path) -> None:
    model = open_model(settings(folder, f"own_model:{name}", "no", "yes")).model
    values, probabilities = model.answer([model.schema.validate(r) for r in FRAME.to_dict("records")])
    assert [model.classes[v] for v in values] == EXPECTED
    if name in ("shares", "both"):
        assert probabilities == [[0.75, 0.25]] * 30 + [[0.25, 0.75]] * 30
    else:
        assert probabilities is None
    assert (model.name, model.engine, len(model.version)) == (f"own_model-{name}", "native", 12)


def test_a_function_without_classes_is_a_regression(folder: Path) -> None:
    model = open_model(settings(folder, "own_model:numbers")).model
    assert model.task is Task.REGRESSION
    row = model.schema.validate({"age": 20, "plan": "größer"})
    assert model.answer([row]) == ([30.0], None)


@pytest.mark.parametrize("name", ["Careful", "careful"])
def test_the_class_of_an_object_is_that_of_its_predict(name: str, folder: Path) -> None:
    model = open_model(settings(folder, f"own_model:{name}")).model
    row = model.schema.validate({"age": 50, "plan": "basic"})
    assert model.classes == ("no", "yes")
    assert model.answer([row]) == ([0], [[0.25, 0.75]])


def test_another_source_is_another_version(folder: Path) -> None:
    config = settings(folder, "own_model:numbers")
    first = open_model(config).model.version
    (folder / "own_model.py").write_text(CODE + "\n# changed\n", "utf-8")
    sys.modules.pop("own_model")
    assert open_model(config).model.version != first


def test_another_process_finds_the_module_too(folder: Path) -> None:
    settings(folder, "own_model:labels", "no", "yes")
    code = (
        "from driftbell.config.settings import load; from driftbell.wiring.model import open_serving_model; "
        f"print(open_serving_model(load(overrides={{'data_dir': {str(folder / 'd')!r}}}).settings).classes)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.stdout.splitlines()[-1:] == ["('no', 'yes')"], result.stderr


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            "no_module:predict",
            "there is no module 'no_module', neither installed nor beside the configuration",
        ),
        ("own_model:predict", "the module 'own_model' has no 'predict'"),
        ("own_model:SETTING", "is neither a function nor an object with predict: it is int"),
        ("broken:predict", "the module 'broken' fails: ZeroDivisionError: division by zero"),
        (
            "needy:predict",
            "it needs the module 'no_such_package', which is not installed: pip install no-such-package",
        ),
        ("own_model:ids", "answered 0: if it is a class, set model.classes"),
        ("own_model:labels", "answered 'no': if it is a class, set model.classes"),
        ("own_model:both", r"shape \(1, 2\) instead of one number a row; if these are probabilities, set"),
    ],
)
def test_what_is_no_model_is_named(source: str, problem: str, folder: Path) -> None:
    with pytest.raises(ModelError, match=problem):
        open_model(settings(folder, source))


def test_a_hash_of_code_is_refused(folder: Path) -> None:
    config = settings(folder, "own_model:numbers")
    more = {"model.sha256": "0" * 64, "data_dir": config.data_dir}
    with pytest.raises(ModelError, match=r"own_model:numbers is no file: remove model\.sha256"):
        open_model(load(overrides=more).settings)


@pytest.mark.parametrize(
    ("answers", "classes", "problem"),
    [
        (["maybe"], ["no", "yes"], "answered 'maybe', which is none of its classes"),
        ([2], ["no", "yes"], "answered 2, which is none"),
        ([1.5], ["no", "yes"], r"answered 1\.5, which is no probability of 'yes'"),
        ([[0.2, 0.2]], ["no", "yes"], "are no probabilities"),
        ([[-0.5, 1.5]], ["no", "yes"], "are no probabilities"),
        ([[0.2, 0.8]], ["a", "b", "c"], "answered 2 probabilities a row for 3 classes"),
        ([[1.0, 2.0]], [], r"shape \(1, 2\)"),
        ([None], [], "answered None"),
        (None, [], r"answered nothing \(None\) instead of a list, array, Series or DataFrame"),
        ("no", ["no", "yes"], "answered a value of the type str instead of a list"),
        ((share for share in [0.5]), [], "answered a value of the type generator"),
        ({"answer": [1.5]}, [], "answered a value of the type dict"),
        (1.5, [], "answered a value of the type float"),
        ([[0.2, 0.8], [1.0]], ["no", "yes"], "answered rows of different lengths"),
    ],
)
def test_an_answer_that_fits_nothing_is_named(answers: Any, classes: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_answers(answers, classes)


def test_names_that_are_numbers_are_no_ids() -> None:
    assert read_answers([2, 1], ["1", "2"]).values.tolist() == [1, 0]
    assert read_answers(np.array([[1.5], [2.5]]), []).values.tolist() == [1.5, 2.5]
