"""Queries of a real PostgreSQL: every type has its kind, and only one SELECT statement runs."""

from __future__ import annotations

import numpy as np
import pytest
from tests import postgres

from driftbell.config.settings import Settings
from driftbell.errors import ConfigError
from driftbell.tabular.typed_column import read_columns
from driftbell.wiring.sql_tables import read_query
from driftbell.wiring.tables import TableOptions, judge_files

pytestmark = pytest.mark.postgres

TYPES = {
    "numeric": ("(i % 13 / 7.0)::numeric(20, 4)", "numeric", 0),
    "numeric with NaN": ("CASE WHEN i % 10 = 0 THEN 'NaN'::numeric ELSE i % 13 END", "numeric", 0),
    "numeric with Infinity": ("CASE WHEN i % 10 = 0 THEN 'Infinity'::numeric ELSE i % 13 END", "numeric", 0),
    "float with Infinity": ("CASE WHEN i % 10 = 0 THEN '-Infinity'::float8 ELSE i % 13 END", "numeric", 0),
    "money": ("(i % 13 * 1.5)::money", "numeric", 0),
    "interval": ("i % 13 * interval '1 hour'", "numeric", 0),
    "interval of months": ("i % 5 * interval '1 month'", "categorical", 0),
    "time": ("time '01:00' + i % 20 * interval '1 minute'", "numeric", 0),
    "boolean": ("i % 2 = 0", "boolean", 0),
    "date": ("date '2026-01-01' + i * 37 % 91", "datetime", 0),
    "timestamp": ("timestamp '2026-01-01' + i * 37 % 91 * interval '1 hour'", "datetime", 0),
    "timestamptz": ("timestamptz '2026-01-01 12:00+02' + i * 37 % 91 * interval '1 hour'", "datetime", 0),
    "timestamptz with infinity": (
        "CASE WHEN i % 20 = 0 THEN 'infinity' ELSE timestamptz '2026-01-01' + i % 91 * interval '1 h' END",
        "datetime",
        5,
    ),
    "enum": ("(ARRAY['sad', 'happy'])[1 + i % 2]::mood", "categorical", 0),
    "inet": ("inet '10.0.0.1' + i % 3", "categorical", 0),
    "uuid": ("gen_random_uuid()", "identifier", 0),
    "bigint keys": ("i::int8 * 4000000000", "identifier", 0),
    "json": ("json_build_object('a', i)", "nested", 0),
    "array": ("ARRAY[i, i + 1]", "nested", 0),
    "bytea": ("decode('ff00', 'hex')", "nested", 0),
    "null": ("NULL::int", "", 0),
}


@pytest.fixture(scope="module")
def url(postgres_server: postgres.Server) -> str:
    url = postgres_server.empty_database()
    name = url.partition("?")[0].rpartition("/")[2]
    postgres_server.run("CREATE TYPE mood AS ENUM ('sad', 'happy')", name)
    postgres_server.run("CREATE TABLE orders (amount int)", name)
    postgres_server.run("INSERT INTO orders SELECT i % 13 FROM generate_series(1, 300) AS i", name)
    return url


def test_every_type_has_its_kind(url: str) -> None:
    names = ", ".join(f'{sql} AS "{name}"' for name, (sql, _, _) in TYPES.items())
    columns = read_columns(read_query(url, f"SELECT {names} FROM generate_series(1, 100) AS i"))
    kinds = {name: (column.kind.value if column.kind else "") for name, column in columns.items()}
    assert kinds == {name: kind for name, (_, kind, _) in TYPES.items()}
    unreadable = {name: column.unreadable for name, column in columns.items()}
    assert unreadable == {name: count for name, (_, _, count) in TYPES.items()}
    np.testing.assert_array_equal(columns["money"].values[:2], [1.5, 3.0])
    assert np.isinf(columns["numeric with Infinity"].values).sum() == 10
    assert np.isnan(columns["numeric with NaN"].values).sum() == 10


def test_two_queries_are_compared(url: str) -> None:
    same, other = "SELECT amount FROM orders", "SELECT amount * 10 AS amount FROM orders WHERE '%s' LIKE '%'"
    assert not judge_files(url, url, Settings(), TableOptions(queries=(same,))).drifted_columns
    assert judge_files(url, url, Settings(), TableOptions(queries=(same, other))).drifted_columns == (
        "amount",
    )


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT 1; SELECT 2", "multiple commands"),
        ("COMMIT; DELETE FROM orders", "multiple commands"),
        ("DELETE FROM orders", "read-only transaction"),
        ("DELETE FROM orders RETURNING amount", "read-only transaction"),
        ("SELECT missing FROM orders", 'column "missing" does not exist'),
        ("SELECT 1 AS a, 2 AS a", "duplicate column name 'a'"),
        ("SELECT", "must be a SELECT statement"),
        ("COPY orders TO STDOUT", "--query"),
    ],
)
def test_another_statement_is_refused(url: str, query: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        read_query(url, query)
    assert "--query" in str(caught.value) or "duplicate" in str(caught.value)
    assert postgres.ENCODED not in str(caught.value)
    assert read_query(url, "SELECT amount FROM orders").rows == 300


def test_wrong_credentials_are_refused_without_a_password(url: str) -> None:
    for wrong in (url.replace(postgres.ENCODED, "guess"), url.replace(f"{postgres.USER}:", "nobody:")):
        with pytest.raises(ConfigError, match="password authentication failed") as caught:
            read_query(wrong, "SELECT 1")
        assert "guess" not in str(caught.value)
        assert postgres.ENCODED not in str(caught.value)
