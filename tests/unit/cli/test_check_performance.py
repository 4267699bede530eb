from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result

from driftbell.cli import cli

ROWS = 500
ROLES = ("--prediction", "answer", "--label", "y")


def write(path: Path, seed: int, *, wrong: float = 0.1, labels: int = ROWS) -> Path:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=ROWS)
    answer = x > 0
    truth = answer ^ (rng.random(ROWS) < wrong)
    lines = [
        f"{v:.4f},{int(a)},{1 / (1 + np.exp(-3 * v)):.4f},{int(t) if i < labels else ''}"
        for i, (v, a, t) in enumerate(zip(x, answer, truth, strict=True))
    ]
    path.write_text("\n".join(["x,answer,p=1,y", *lines]))
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    paths = {
        "reference": write(tmp_path / "reference.csv", 0),
        "same": write(tmp_path / "same.csv", 1),
        "worse": write(tmp_path / "worse.csv", 1, wrong=0.25),
        "few": write(tmp_path / "few.csv", 1, labels=5),
    }
    return {name: str(path) for name, path in paths.items()}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["check", *arguments])


@pytest.mark.parametrize(
    ("current", "fail_on", "code"),
    [
        ("same", "drift", 0),
        ("worse", "drift", 1),
        ("worse", "alarm", 1),
        ("worse", "never", 0),
        ("few", "alarm", 3),
        ("few", "never", 3),
    ],
)
def test_exit_codes(files: dict[str, str], current: str, fail_on: str, code: int) -> None:
    result = run(files["reference"], files[current], *ROLES, "--fail-on", fail_on)
    assert result.exit_code == code
    assert "balanced accuracy  " in result.output


def test_the_table_has_both_sides_and_the_change(files: dict[str, str]) -> None:
    result = run(files["reference"], files["worse"], *ROLES, "--probability", "1=p=1")
    lines = result.output.splitlines()
    assert lines[0].startswith("ALARM  The model performs worse: accuracy ")
    assert lines[1].split() == ["performance", "reference", "current", "change"]
    names = [line[2:21].strip() for line in lines[2:10]]
    assert names == [
        "accuracy",
        "balanced accuracy",
        "precision (macro)",
        "recall (macro)",
        "F1 (macro)",
        "log loss",
        "ROC AUC",
        "labels",
    ]
    assert lines[2].count(" to ") == 3


def test_documents_have_the_performance(files: dict[str, str], tmp_path: Path) -> None:
    html, junit = tmp_path / "a.html", tmp_path / "a.xml"
    documents = ("--html", str(html), "--junit", str(junit), "--markdown", "-")
    result = run(files["reference"], files["worse"], *ROLES, *documents)
    assert "| balanced accuracy | " in result.output
    assert "Does the model perform worse?" in html.read_text()
    suite = ElementTree.parse(junit).getroot()
    case = suite.find(".//testcase[@name='performance']")
    assert case.find("failure").get("message").startswith("The model performs worse: ")
    assert suite.get("failures") == "1"
    assert suite.get("errors") == "0"


@pytest.mark.parametrize(
    ("current", "fail_on", "tag"),
    [("same", "drift", "system-out"), ("worse", "never", "system-out"), ("few", "never", "error")],
)
def test_the_test_case_of_the_performance(
    files: dict[str, str], tmp_path: Path, current: str, fail_on: str, tag: str
) -> None:
    junit = tmp_path / "a.xml"
    run(files["reference"], files[current], *ROLES, "--junit", str(junit), "--fail-on", fail_on)
    (case,) = ElementTree.parse(junit).getroot().findall(".//testcase[@name='performance']")
    assert [child.tag for child in case] == [tag]


def test_the_smallest_loss_and_the_budget_come_from_the_settings(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (files["reference"], files["worse"], *ROLES, "--json")
    default = json.loads(run(*arguments).stdout)["performance"]
    assert (default["smallest_loss"], default["threshold"]) == (0.02, 0.001)
    monkeypatch.setenv("DRIFTBELL_ALARMS__SMALLEST_LOSS", "0.6")
    monkeypatch.setenv("DRIFTBELL_ALARMS__BUDGET", "2 per 100 checks")
    configured = run(*arguments)
    assert configured.exit_code == 0
    performance = json.loads(configured.stdout)["performance"]
    assert (performance["smallest_loss"], performance["threshold"]) == (0.6, 0.02)
    assert run(*arguments, "--smallest-loss", "0.05").exit_code == 1
    for wrong in ("0", "5%%", "-1", "nan"):
        error = str(run(*arguments, "--smallest-loss", wrong).exception)
        assert error.startswith("--smallest-loss must be more than 0: such as 0.02, or of an error or a cost")
    error = str(run(*arguments, "--smallest-loss", "10%").exception)
    assert "is a share of an error, such as that of a regression, but the metric is accuracy" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--label", "y"), "pass --prediction COL as well"),
        (("--prediction", "answer", "--task", "regression"), "pass --label COL as well"),
        ((*ROLES, "--probability", "p"), "--probability must be CLASS=COL, got 'p'"),
        ((*ROLES, "--probability", "1=q"), "no column 'q'"),
    ],
)
def test_bad_options_are_named(files: dict[str, str], options: tuple[str, ...], message: str) -> None:
    result = run(files["reference"], files["same"], *options)
    assert result.exit_code != 0
    assert message in str(result.exception)


def test_a_model_needs_two_tables() -> None:
    result = run("--prediction", "answer")
    assert result.exit_code == 2
    assert "need two tables, REFERENCE and CURRENT" in result.output
