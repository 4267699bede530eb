"""Code of the user that exits, hangs, or answers something else is refused by name, and ends nothing."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from driftbell.config.settings import load
from driftbell.errors import ModelError, PredictError
from driftbell.models import foreign_code
from driftbell.models.foreign_code import call_model
from driftbell.wiring.examined_model import InitOptions
from driftbell.wiring.init_model import init_model
from driftbell.wiring.model import open_model

CODE = """
import asyncio, sys, threading

released = threading.Event()
fine = lambda table: [0.5] * len(table)

def exits(table): sys.exit(0)
def stops(table): raise GeneratorExit
def cancels(table): raise asyncio.CancelledError
def long(table): raise ValueError("one\\ntwo\\x1b[31m" + "x" * 100_000)
def hangs(table): released.wait()
def short(table): return [0.5]
def nan(table): return [float("nan")] * len(table)
def some_nan(table): return [float("nan") if age == 3 else 0.5 for age in table["age"]]

class Exits:
    def __init__(self): sys.exit("bye")

class Property:
    @property
    def predict(self): raise RuntimeError("no predict today")

prop = Property()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("hostile_code", "exiting_code", "getattr_code"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "hostile_code.py").write_text(CODE)
    (tmp_path / "exiting_code.py").write_text("import sys; sys.exit(0)")
    (tmp_path / "getattr_code.py").write_text("def __getattr__(name): raise RuntimeError('no ' + name)")
    pd.DataFrame({"age": [*range(20)] * 2, "price": [1.5, 2.5] * 20}).to_csv("past.csv", index=False)
    return tmp_path


def opened(source: str, *classes: str) -> Any:
    overrides = {"model.path": source, "model.reference": "past.csv", "model.classes": classes}
    return open_model(load(environment={}, overrides={"data_dir": "data", **overrides}).settings).model


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("hostile_code:exits", "like the first one of its reference: SystemExit: 0$"),
        ("hostile_code:stops", "like the first one of its reference: GeneratorExit$"),
        ("hostile_code:cancels", "like the first one of its reference: CancelledError$"),
        ("hostile_code:long", r"reference: ValueError: one two\\x1b\[31mxxx.{0,300}…$"),
        ("hostile_code:Exits", "hostile_code:Exits: the class cannot be called: SystemExit: bye"),
        ("hostile_code:prop", "hostile_code:prop cannot be used: RuntimeError: no predict today"),
        ("exiting_code:predict", "exiting_code:predict: the module 'exiting_code' fails: SystemExit: 0"),
        ("getattr_code:predict", "getattr_code:predict cannot be used: RuntimeError: no predict"),
    ],
)
def test_code_that_exits_or_fails_is_named(source: str, problem: str, folder: Path) -> None:
    with pytest.raises(ModelError, match=problem):
        opened(source)


def test_a_call_that_does_not_end_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_code, "MAX_ROW_SECONDS", 0.2)
    with pytest.raises(ModelError, match=r"'hostile_code-hangs' has not answered one row .* within 0 s"):
        opened("hostile_code:hangs")
    sys.modules["hostile_code"].released.set()


def initialized(source: str, *classes: str) -> Any:
    options = InitOptions(model=source, reference="past.csv", classes=classes, target="price")
    return init_model(options, lambda _: False)


def test_an_answer_for_fewer_rows_is_refused_and_leaves_nothing(folder: Path) -> None:
    with pytest.raises(ModelError, match="answered 1 value for 40 rows: it must answer one for each row"):
        initialized("hostile_code:short")
    assert not (folder / "driftbell.toml").exists()
    assert not (folder / "golden.json").exists()


@pytest.mark.parametrize("name", ["nan", "some_nan"])
def test_nan_of_a_regression_is_refused_as_such(name: str, folder: Path) -> None:
    with pytest.raises(ModelError, match=r"predicted nan for row [03], but a prediction must be a number"):
        initialized(f"hostile_code:{name}")
    assert not (folder / "driftbell.toml").exists()


def test_an_interrupt_is_the_users_in_the_main_thread_alone() -> None:
    def interrupt(table: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call_model("m", interrupt, None)
    errors: list[BaseException] = []

    def call() -> None:
        try:
            call_model("m", interrupt, None)
        except PredictError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert str(errors[0]) == "model 'm' failed with KeyboardInterrupt"
