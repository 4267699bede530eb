"""`driftbell profile` writes a reference that `driftbell check` accepts."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from tests.command_line import driftbell

from driftbell import TableProfile


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    for name, shift in (("before", 0), ("now", 30)):
        rows = [f"{i % 100 + shift},{['Rome', 'Oslo'][i % 2]},k{i * 7919 % 1009}" for i in range(500)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["size,city,key", *rows]))
    return tmp_path


def test_a_profile_is_written_and_checked(tables: Path) -> None:
    done = driftbell("profile", "before.csv", "-o", "ref.json", cwd=tables)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "ref.json: 500 rows of before.csv, columns: 1 numeric, 1 categorical, 1 identifier",
        "  key is not compared: identifier: texts that are all different",
    ]
    assert driftbell("check", "ref.json", "before.csv", cwd=tables).returncode == 0
    drift = driftbell("check", "ref.json", "now.csv", "--json", "--verbose", cwd=tables)
    assert drift.returncode == 1
    assert "reference: format profile, binned at 256" in drift.stderr
    assert json.loads(drift.stdout)["detected"]["reference"]["largest_interval"] == 0


def test_options_and_settings_apply_to_the_profile_and_the_current_table(tables: Path) -> None:
    (tables / "driftbell.toml").write_text('[columns]\nexclude = ["key"]\n')
    options = ("--column", "size=categorical", "--null", "99")
    assert driftbell("profile", "before.csv", "-o", "ref.json", *options, cwd=tables).returncode == 0
    kinds = TableProfile.load(tables / "ref.json").kinds
    assert kinds == {"size": "categorical", "city": "categorical"}
    (tables / "driftbell.toml").unlink()
    done = driftbell("check", "ref.json", "before.csv", cwd=tables)
    assert done.returncode == 0
    assert "key" not in done.stdout


def test_a_database_is_profiled_and_checked(tables: Path) -> None:
    with sqlite3.connect(tables / "shop.db") as connection:
        connection.execute("CREATE TABLE orders (size REAL)")
        connection.executemany("INSERT INTO orders VALUES (?)", [(float(i % 50),) for i in range(500)])
    connection.close()
    query = ("--query", "SELECT * FROM orders")
    assert driftbell("profile", "sqlite:///shop.db", "-o", "ref.json", *query, cwd=tables).returncode == 0
    assert driftbell("check", "ref.json", "sqlite:///shop.db", *query, cwd=tables).returncode == 0
    done = driftbell("check", "ref.json", "now.csv", *query, cwd=tables)
    assert done.returncode == 2
    assert "--query: with a profile, pass one query, for the database" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("profile", "before.csv"), "Missing option '-o'"),
        (("profile", "before.csv", "-o", "before.csv"), "before.csv is the table itself: name another file"),
        (("profile", "before.csv", "-o", "no/ref.json"), "--output: cannot write no/ref.json"),
        (("profile", "before.csv", "-o", "."), "--output: cannot write .: it is a folder: name a file"),
        (("profile", "missing.csv", "-o", "x.json"), "cannot read missing.csv"),
        (("check", "before.csv", "ref.json"), "cannot read ref.json: it is a profile, which has no rows"),
        (
            ("backtest", "--reference", "ref.json", "--stream", "now.csv", "--prediction", "city"),
            "--reference: cannot read ref.json: it is a profile, which has no rows",
        ),
        (
            ("check", "ref.json", "now.csv", "--prediction", "city", "--label", "city"),
            "a profile has no rows, so the performance on the reference cannot be measured",
        ),
        (("check", "cut.json", "now.csv"), "cannot read cut.json: it is no valid JSON, or is cut off"),
        (
            ("check", "ref.json", "now.csv", "--column", "size=text"),
            "column 'size' is numeric in the profile",
        ),
    ],
)
def test_errors_name_the_file_and_what_to_do(tables: Path, arguments: tuple[str, ...], message: str) -> None:
    driftbell("profile", "before.csv", "-o", "ref.json", cwd=tables)
    (tables / "cut.json").write_bytes((tables / "ref.json").read_bytes()[:400])
    before = (tables / "before.csv").read_bytes()
    done = driftbell(*arguments, cwd=tables)
    assert done.returncode == 2
    assert message in done.stderr
    assert (tables / "before.csv").read_bytes() == before
