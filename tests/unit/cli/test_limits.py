"""`driftbell check` with limits in the settings."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.command_line import driftbell


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    for name, nulls in (("before", 0), ("now", 3), ("empty", 200)):
        rows = [f"{'' if i < nulls else i % 20},{i % 7}" for i in range(200)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["passenger_count,fare", *rows]))
    (tmp_path / "driftbell.toml").write_text(
        '[limits]\n"passenger_count.null_share" = 0.01\n"passenger_count.max" = 50\nfare.max = 6\n'
    )
    return tmp_path


def test_an_exceeded_limit_is_in_every_output(tables: Path) -> None:
    documents = ("--html", "d.html", "--markdown", "d.md", "--junit", "d.xml")
    done = driftbell("check", "before.csv", "now.csv", *documents, cwd=tables)
    sentence = "Limit exceeded: passenger_count: 1.5 % nulls, limit 1 %."
    assert done.returncode == 1
    assert done.stdout.startswith(f"WARNING  {sentence} No drift: ")
    assert "  passenger_count.null_share  exceeded    1.5 % nulls, limit 1 %\n" in done.stdout
    page = (tables / "d.html").read_text("utf-8")
    assert "<h2>Your limits</h2>" in page
    assert "exceeded</b> 1.5 % nulls, limit 1 %</td>" in page
    text = (tables / "d.md").read_text("utf-8")
    assert (
        "| <code>passenger&#95;count.null&#95;share</code> | **exceeded** | 1.5 % nulls, limit 1 % |" in text
    )
    cases = {c.get("name"): [o.tag for o in c] for c in ElementTree.parse(tables / "d.xml").iter("testcase")}
    assert cases["limit passenger_count.null_share"] == ["failure"]
    assert cases["limit fare.max"] == ["system-out"]
    result = json.loads(driftbell("check", "before.csv", "now.csv", "--json", cwd=tables).stdout)
    assert [limit["exceeded"] for limit in result["limits"]] == [True, False, False]


@pytest.mark.parametrize(("fail_on", "code"), [("drift", 1), ("alarm", 0), ("never", 0)])
def test_fail_on_applies_to_limits(tables: Path, fail_on: str, code: int) -> None:
    assert driftbell("check", "before.csv", "now.csv", "--fail-on", fail_on, cwd=tables).returncode == code


def test_a_limit_that_cannot_be_judged_is_an_error_of_junit(tables: Path) -> None:
    driftbell("check", "before.csv", "empty.csv", "--junit", "d.xml", cwd=tables)
    cases = {c.get("name"): [o.tag for o in c] for c in ElementTree.parse(tables / "d.xml").iter("testcase")}
    assert cases["limit passenger_count.max"] == ["error"]
    assert cases["limit passenger_count.null_share"] == ["failure"]


def test_a_limit_of_an_unknown_column_is_a_usage_error(tables: Path) -> None:
    (tables / "driftbell.toml").write_text('[limits]\n"passengers_count.max" = 5\n')
    done = driftbell("check", "before.csv", "now.csv", cwd=tables)
    assert done.returncode == 2
    assert "limits: 'passengers_count.max': the reference has no column" in done.stderr
    assert "did you mean 'passenger_count'?" in done.stderr
