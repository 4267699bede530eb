"""`driftbell check` writes HTML, Markdown and JUnit XML."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.command_line import driftbell

from driftbell import check
from driftbell.errors import ConfigError
from driftbell.tabular.raw_table import read_raw
from driftbell.wiring import tables as tables_module
from driftbell.wiring.tables import TableOptions, read_pair

EVIL = "a|<b>_@team_`"


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    for name, shift in (("before", 0), ("same", 0), ("older", 30)):
        rows = [f"{i % 50 + shift},{'ab'[i % 2]},u{i * 7919 % 1000}x,{i % 3 or ''}" for i in range(200)]
        (tmp_path / f"{name}.csv").write_text("\n".join([f"age,plan,id,{EVIL}", *rows]))
    (tmp_path / "lost.csv").write_text("age\n" + "\n".join(str(i % 50) for i in range(200)))
    (tmp_path / "few.csv").write_text("age\n1\n")
    return tmp_path


def cases(path: Path) -> dict[str, str]:
    """Return the outcome of each test case of a JUnit file."""
    root = ElementTree.parse(path).getroot()
    suite = root.find("testsuite")
    outcomes = {case.get("name"): "".join(c.tag for c in case) for case in suite}
    for tag, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        number = str(sum(outcome == tag for outcome in outcomes.values()))
        assert (root.get(count), suite.get(count)) == (number, number)
    assert suite.get("tests") == str(len(outcomes))
    return outcomes


@pytest.mark.parametrize(
    "option", ["--html", "--markdown", "--junit", "--prediction", "--label", "--exclude"]
)
def test_an_option_from_an_unset_variable_is_refused(tables: Path, option: str) -> None:
    done = driftbell("check", "before.csv", "same.csv", option, "", cwd=tables)
    assert done.returncode == 2
    assert f"'{option}': must not be empty" in done.stderr


def test_an_empty_name_is_not_the_current_folder(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = driftbell("check", "before.csv", "", cwd=tables)
    assert done.returncode == 2
    assert "must not be empty" in done.stderr
    monkeypatch.chdir(tables)
    for table in ("before.csv", ""):
        with pytest.raises(ConfigError, match="with an empty name"):
            check("", table)


def test_the_html_report_is_about_two_files(tables: Path) -> None:
    done = driftbell("check", "before.csv", "older.csv", "--html", "drift.html", cwd=tables)
    assert (done.returncode, done.stdout.split()[0]) == (1, "WARNING")
    page = (tables / "drift.html").read_text("utf-8")
    assert "<dt>Reference</dt><dd>before.csv, 200 rows</dd>" in page
    assert "<dt>Current</dt><dd>older.csv, 200 rows</dd>" in page
    assert "Drift in age" in page
    assert page.count("<svg") == 3
    for word in (
        "Model</dt>",
        "perform worse",
        "predictions",
        "sequence numbers",
        "<script",
        "second window",
    ):
        assert word not in page


def test_markdown_has_a_table_without_the_markup_of_the_data(tables: Path) -> None:
    done = driftbell("check", "before.csv", "older.csv", "--markdown", "-", cwd=tables)
    assert done.returncode == 1
    first, _, sentence, _, *table, _, last = done.stdout.splitlines()
    assert first == "### ! driftbell check: warning"
    assert sentence.startswith("Drift in age: 1 of 3 compared columns of the 200 rows of the file differ")
    assert table[2].startswith("| <code>age</code> | numeric | **warning** | ")
    assert all(row.count("|") == 7 for row in table)
    name = "a&#124;&#60;b&#62;&#95;@\u200bteam&#95;&#96;"
    assert f"| <code>{name}</code> | numeric | ok | 1 | 33.5% → 33.5% |" in done.stdout
    assert last == "Reference: <code>before.csv</code> (200 rows), current: <code>older.csv</code> (200 rows)"
    written = driftbell("check", "before.csv", "older.csv", "--markdown", "drift.md", cwd=tables)
    assert written.stdout.startswith("WARNING")
    assert (tables / "drift.md").read_text("utf-8") == done.stdout


def test_markdown_without_a_verdict(tables: Path) -> None:
    done = driftbell("check", "before.csv", "few.csv", "--markdown", "-", cwd=tables)
    assert done.returncode == 3
    assert done.stdout.startswith("### ? driftbell check: unknown\n\nCannot judge: needs 10, has 1 row")


@pytest.mark.parametrize(
    ("current", "fail_on", "outcomes"),
    [
        (
            "older.csv",
            "drift",
            {"age": "failure", "plan": "system-out", "id": "skipped", EVIL: "system-out"},
        ),
        (
            "older.csv",
            "never",
            {"age": "system-out", "plan": "system-out", "id": "skipped", EVIL: "system-out"},
        ),
        (
            "lost.csv",
            "never",
            {"age": "system-out", "plan": "error", "id": "error", EVIL: "error", "verdict": "error"},
        ),
        ("few.csv", "drift", {"verdict": "error"}),
    ],
)
def test_junit_has_a_test_case_for_each_column(
    tables: Path, current: str, fail_on: str, outcomes: dict[str, str]
) -> None:
    options = ("--junit", "drift.xml", "--fail-on", fail_on)
    done = driftbell("check", "before.csv", current, *options, cwd=tables)
    assert cases(tables / "drift.xml") == outcomes
    codes = {"failure": 1, "error": 3, "skipped": 0, "system-out": 0}
    assert done.returncode == max(codes[o] for o in outcomes.values())


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("before.csv", "same.csv", "--json", "--markdown", "-"), "--json and --markdown - both print"),
        (("--html", "drift.html"), "--html needs two tables"),
        (
            ("before.csv", "same.csv", "--html", "none/drift.html"),
            "--html: cannot write none/drift.html: there is no folder",
        ),
        (("before.csv", "same.csv", "--junit", "."), "--junit: cannot write .: Is a directory"),
    ],
)
def test_a_report_that_cannot_be_written_is_an_error(tables: Path, args: tuple[str, ...], words: str) -> None:
    done = driftbell("check", *args, cwd=tables)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""


def test_names_of_databases_have_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = read_raw({"age": [1, 2, 3]})
    monkeypatch.setattr(tables_module, "read_query", lambda url, query: rows)
    url = "postgresql://ann:hunter2@host/x"
    pair = read_pair(url, url, TableOptions(queries=("SELECT 1",)))
    assert pair.names == ("postgresql://***@host/x",) * 2
