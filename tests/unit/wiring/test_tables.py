"""Two tables of any source are judged with the options of the user."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.postgres import ENCODED, PASSWORD

from driftbell.config.settings import Settings
from driftbell.errors import ConfigError
from driftbell.records import Kind
from driftbell.tabular.column_options import ColumnOptions
from driftbell.wiring.sql_tables import read_query
from driftbell.wiring.tables import TableOptions, judge_files, read_pair

QUERY = "SELECT * FROM orders"


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE orders (amount REAL, city TEXT, note BLOB)")
        rows = [(100 + i % 7 + 0.5, ("Rome", None)[i % 2], b"x") for i in range(100)]
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
    return f"sqlite:///{path}"


def test_a_query_is_a_table(database: str) -> None:
    pair = read_pair(database, database, TableOptions(queries=(QUERY,)))
    assert [c.kind for c in pair.reference.values()] == [Kind.NUMERIC, Kind.CATEGORICAL, Kind.NESTED]
    assert pair.reference["city"].values.tolist()[:2] == ["Rome", None]
    assert pair.detected == {"reference": {"format": "query"}, "current": {"format": "query"}}


def test_each_table_has_its_query(database: str) -> None:
    queries = ("SELECT amount FROM orders", "SELECT amount + 900 AS amount FROM orders")
    pair = read_pair(database, database, TableOptions(queries=queries))
    np.testing.assert_allclose(pair.current["amount"].values - pair.reference["amount"].values, 900)
    assert judge_files(database, database, Settings(), TableOptions(queries=queries)).drifted_columns


@pytest.mark.parametrize(
    ("url", "query", "words"),
    [
        ("{database}", None, "pass --query"),
        ("{database}", "SELECT missing FROM orders", "no such column: missing: check --query"),
        ("{database}", "DELETE FROM orders", "readonly database"),
        ("{database}", "SELECT amount FROM orders; SELECT 1", "one statement"),
        ("{database}", "SELECT amount AS a, city AS a FROM orders", "duplicate column name 'a'"),
        ("sqlite:///nowhere.db", QUERY, "nowhere.db is not a file"),
        ("postgresql://me:secret@127.0.0.1:1/x", QUERY, "cannot connect"),
        ("postgresql://me:secret@127.0.0.1", QUERY, "the URL"),
    ],
)
def test_a_query_that_fails_names_the_database_and_no_password(
    database: str, url: str, query: str | None, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_query(url.format(database=database), query)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_other_urls_and_a_query_without_a_database_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(ConfigError, match=r"'s3' is not supported"):
        read_pair("s3://me:secret@bucket/x", "t.csv", TableOptions())
    path = str(tmp_path / "t.csv")
    with pytest.raises(ConfigError, match="--query needs a database"):
        read_pair(path, path, TableOptions(queries=(QUERY,)))
    with pytest.raises(ConfigError, match="one query for both tables, or one for each"):
        read_pair("sqlite:///x", path, TableOptions(queries=(QUERY, QUERY, QUERY)))


def test_a_query_in_postgresql_is_a_table(postgres_server: Any) -> None:
    url = postgres_server.empty_database()
    columns = read_query(url, "SELECT 1.5::numeric AS a, 'x'::text AS b, true AS c, now() AS d").columns
    assert [c.stored_as for c in columns.values()] == ["numbers", "text", "booleans", "dates"]
    with pytest.raises(ConfigError, match="check --query"):
        read_query(url, "SELECT missing")
    with pytest.raises(ConfigError, match="cannot") as caught:
        read_query(url.replace(ENCODED, "wrong"), "SELECT 1")
    assert "wrong" not in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_the_options_apply_to_both_tables(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,row_a,zip,n\n1,1,10115,-999\n2,2,80331,5\n")
    (tmp_path / "b.csv").write_text("id,row_a,zip,n\n3,1,10115,-999\n4,2,80331,5\n")
    columns = ColumnOptions({"zip": "categorical"}, exclude=("id", "row_*"), nulls=("-999",))
    pair = read_pair(str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), TableOptions(columns))
    for table in (pair.reference, pair.current):
        assert table["zip"].values.tolist() == ["10115", "80331"]
        np.testing.assert_array_equal(table["n"].values, [np.nan, 5])
        assert list(table) == ["zip", "n"]
    assert pair.detected["current"]["separator"] == "comma"
