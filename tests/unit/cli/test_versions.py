"""`driftbell models`: the registry of the configured model, next to a service or without one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import joblib
import pytest
from click.testing import CliRunner
from tests.init_tables import FRAME, churn

from driftbell.cli import cli
from driftbell.config.settings import Settings
from driftbell.errors import DriftbellError
from driftbell.wiring.store import open_store


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTBELL_MODEL__NAME", "churn")
    FRAME.to_csv("held_out.csv", index=False)
    joblib.dump(churn(), "churn.joblib")
    return tmp_path


def run(*args: str) -> str:
    done = CliRunner().invoke(cli, ["models", *args], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def refused(*args: str) -> str:
    with pytest.raises(DriftbellError) as caught:
        run(*args)
    return str(caught.value)


ADD = ("add", "churn.joblib", "--trust", "--reference", "held_out.csv", "--author", "ada")


def test_a_version_is_added_listed_and_shown(folder: Path) -> None:
    open_store(Settings(data_dir=folder / "driftbell-data")).close()
    assert run("list") == "no versions of churn: a service registers its model when it starts\n"
    lines = run(*ADD, "--note", "more trees").splitlines()
    version = re.fullmatch(r"churn ([0-9a-f]{12}) added", lines[0])[1]
    assert lines[1].startswith("Score      accuracy 0.7")
    assert lines[2] == "Golden     200 answers of the model's own library"
    first, second = run("list").splitlines()
    assert first.startswith(f"{version}  added 20")
    assert first.endswith(" by ada")
    assert second == "  classification, 4 features, churn.joblib (more trees)"
    shown = run("show", version[:4])
    assert "Features   tenure (numeric), plan (categorical), zip (categorical) and city" in shown
    assert "File       model: churn.joblib, " in shown
    view = json.loads(run("show", version, "--json"))
    (listed,) = json.loads(run("list", "--json"))["versions"]
    assert view == {**listed, "history": []}
    assert (view["version"], view["note"], view["aliases"]) == (version, "more trees", [])


def test_adding_again_changes_nothing() -> None:
    run(*ADD)
    assert "was registered before and stays as it is" in run(*ADD)
    facts = json.loads(run(*ADD, "--json"))
    assert (facts["is_new"], facts["golden_rows"], facts["champion"]) == (False, 200, None)


def test_what_cannot_be_added_is_refused_with_advice() -> None:
    assert "--reference is missing" in refused("add", "churn.joblib", "--trust")
    assert "--reference: none.csv is no file" in refused(*ADD[:-3], "none.csv")
    assert "can run any code" in refused(*ADD[:2], *ADD[3:])
    assert "cannot read the model" in refused("add", "none.skops", *ADD[3:])
    assert "has no column 'churn'" in refused(*ADD, "--target", "churn")


def test_an_unknown_version_is_refused(folder: Path) -> None:
    open_store(Settings(data_dir=folder / "driftbell-data")).close()
    assert refused("show", "abc") == "no version of 'churn' is named 'abc'; it has no versions yet"
    version = re.match(r"churn ([0-9a-f]{12}) added", run(*ADD))[1]
    text = f"; the versions, newest first: {version}"
    assert refused("show", "none") == f"no version of 'churn' is named 'none'{text}"
    assert "did you mean" in refused("challenge", version[:-1] + "-", "--shadow", "--reason", "x")
