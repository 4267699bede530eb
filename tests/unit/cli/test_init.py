"""`driftbell init` prints what a newcomer must know, and writes nothing if it fails."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from tests.command_line import driftbell

ROWS = 200
RNG = np.random.default_rng(0)
TABLE = pd.DataFrame({"age": RNG.integers(18, 80, ROWS), "income": RNG.normal(40, 9, ROWS).round(1)})
LABEL = np.where(TABLE.age + RNG.normal(0, 9, ROWS) > 50, "yes", "no")
KEYS = [f"k{i * 7919 % 1009}" for i in range(ROWS)]
INIT = ("init", "m.joblib", "--reference", "past.csv")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    joblib.dump(LogisticRegression(max_iter=1000).fit(TABLE[:100], LABEL[:100]), tmp_path / "m.joblib")
    TABLE.assign(key=KEYS, answer=LABEL).to_csv(tmp_path / "past.csv", index=False)
    return tmp_path


def test_a_newcomer_reads_the_features_the_score_and_the_next_command(folder: Path) -> None:
    done = driftbell(*INIT, "--trust", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    version = json.loads((folder / "golden.json").read_text())["version"]
    assert lines[:2] == [
        f"Model      m, version {version}: classification into no and yes, m.joblib (LogisticRegression)",
        "Reference  past.csv, 200 rows",
    ]
    table = [line.split() for line in lines[3:6]]
    assert table[0] == ["feature", "kind", "type", "null", "values", "example"]
    assert table[1][:4] == ["age", "numeric", "int64", "no"]
    assert lines[lines.index("Not features:") + 1 :][:2] == [
        "  answer  the label: the only further column with the classes of the model; --target names another "
        "one",
        "  key     identifier: texts that are all different",
    ]
    score = next(line for line in lines if line.startswith("Score"))
    assert "accuracy 0." in score
    assert "balanced accuracy 0." in score
    assert "200 labelled rows (always 'yes' would have " in score or "(always 'no' would have " in score
    assert (
        "Golden     200 rows of the reference are answered as by the model's own library (golden.json)"
        in lines
    )
    assert "  driftbell up" in lines
    curl = done.stdout[done.stdout.index("curl ") :]
    row = json.loads(curl[curl.index("-d '") + 4 : curl.rindex("'")])
    assert row == {"age": int(TABLE.age[0]), "income": TABLE.income[0]}
    assert (folder / "driftbell.toml").read_text().startswith("# Written by: driftbell init m.joblib --ref")


def test_a_threshold_is_printed_with_the_score_that_it_has(folder: Path) -> None:
    done = driftbell(*INIT, "--trust", "--threshold", "yes=0.8", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Model      m, version ")
    assert "-yes-0.8: classification" in lines[0]
    assert lines[1] == "Threshold  yes is predicted from a probability of 0.8 on"
    shares = joblib.load(folder / "m.joblib").predict_proba(TABLE)[:, 1]
    accuracy = (np.where(shares >= 0.8, "yes", "no") == LABEL).mean()
    assert any(line.startswith(f"Score      accuracy {accuracy:.3f} and ") for line in lines)
    text = (folder / "driftbell.toml").read_text()
    assert "# Predicted only from this probability on; below it, the most probable other class is." in text
    assert "threshold = { yes = 0.8 }" in text
    shown = driftbell("config", cwd=folder)
    assert any(
        line.split()[:3] == ["model.threshold", "yes=0.8", "driftbell.toml"]
        for line in shown.stdout.splitlines()
    )
    again = (*INIT, "--trust", "--json", "--force", "--threshold", "yes=0.8")
    assert json.loads(driftbell(*again, cwd=folder).stdout)["threshold"] == {"yes": 0.8}


def test_json_has_the_same_facts(folder: Path) -> None:
    options = ("--trust", "--json", "-o", "my.toml", "--name", "loans", "--target", "answer")
    done = driftbell(*INIT, *options, cwd=folder)
    assert done.returncode == 0
    facts = json.loads(done.stdout)
    assert facts["next"] == "driftbell up --config my.toml"
    assert (facts["name"], facts["output"], facts["golden"]) == ("loans", "my.toml", "my.golden.json")
    assert (facts["target"], facts["why_target"]) == ("answer", "")
    assert [f["name"] for f in facts["features"]] == ["age", "income"]
    assert [m["name"] for m in facts["score"]["metrics"]] == ["accuracy", "balanced_accuracy"]
    assert facts["left_out"] == {"key": "identifier: texts that are all different"}


def test_a_pickle_is_loaded_only_with_consent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(folder.iterdir())
    refused = driftbell(*INIT, cwd=folder)
    assert refused.returncode == 2
    assert "m.joblib is a pickle, which can run any code" in refused.stderr
    assert "pass --trust" in refused.stderr

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    declined = driftbell(*INIT, cwd=folder)
    assert declined.returncode == 2
    assert "Its SHA-256 is" in declined.stderr
    assert sorted(folder.iterdir()) == before
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    accepted = driftbell(*INIT, cwd=folder)
    assert accepted.returncode == 0
    assert 'sha256 = "' in (folder / "driftbell.toml").read_text()


def test_a_regression_is_scored_by_its_error(folder: Path) -> None:
    price = TABLE.age * 1000 + RNG.normal(0, 900, ROWS)
    joblib.dump(LinearRegression().fit(TABLE, price), folder / "price.joblib")
    TABLE.assign(price=price).to_csv(folder / "sales.csv", index=False)
    done = driftbell("init", "price.joblib", "--reference", "sales.csv", "--trust", cwd=folder)
    assert done.returncode == 0
    assert ": regression, price.joblib (LinearRegression)" in done.stdout
    score = next(line for line in done.stdout.splitlines() if line.startswith("Score"))
    assert "mean absolute error 6" in score
    assert " and R² 0.99" in score


def test_many_features_and_long_rows_are_cut(folder: Path) -> None:
    wide = pd.DataFrame(RNG.normal(size=(ROWS, 300)), columns=[f"sensor {i}" for i in range(300)])
    joblib.dump(LogisticRegression().fit(wide, LABEL), folder / "wide.joblib")
    wide.to_csv(folder / "wide.csv", index=False)
    done = driftbell("init", "wide.joblib", "--reference", "wide.csv", "--trust", cwd=folder)
    assert done.returncode == 0
    assert "  and 260 more features; --json prints all" in done.stdout
    lines = done.stdout.splitlines()
    assert (
        "driftbell.toml, golden.json and example_row.json are written. Serve and monitor the model:" in lines
    )
    assert lines[-2:] == [
        "  curl http://127.0.0.1:8000/predict -H 'Content-Type: application/json' \\",
        "    -d @example_row.json",
    ]
    row = json.loads((folder / "example_row.json").read_text())
    assert row == dict(wide.iloc[0])
    again = driftbell("init", "wide.joblib", "--reference", "wide.csv", "--trust", cwd=folder)
    assert "driftbell.toml, golden.json and example_row.json exist: pass --force" in again.stderr
    assert "Score      unknown: the reference has no labels" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("init", "m.joblib"), "Missing option '--reference'"),
        (("init", "m.joblib", "--reference", ""), "must not be empty"),
        ((*INIT, "--trust", "--column", "age"), "--column must be such as 'zip=categorical', got 'age'"),
        ((*INIT, "--trust", "--column", "age=zip"), "--column: column 'age' has the unknown kind 'zip'"),
        ((*INIT, "--trust", "--dtype", "age=zip"), "--dtype: column 'age' has the unknown type 'zip'"),
        (
            (*INIT, "--trust", "--dtype", "age=datetime"),
            "set its kind: age=datetime (--column, columns.kinds)",
        ),
        ((*INIT, "--trust", "--dtype", "agee=str"), "the table has no column 'agee': did you mean 'age'?"),
        ((*INIT, "--trust", "--exclude", "agee"), "the table has no column 'agee': did you mean 'age'?"),
        ((*INIT, "--trust", "--query", "SELECT 1"), "--query needs a database"),
    ],
)
def test_wrong_arguments_are_named(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    done = driftbell(*arguments, cwd=folder)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (folder / "driftbell.toml").exists()
