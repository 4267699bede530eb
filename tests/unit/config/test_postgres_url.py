"""A PostgreSQL URL is parsed whole, and no message shows any part of it."""

from pathlib import Path

import pytest

from driftbell.config.postgres_url import parse_database
from driftbell.errors import ConfigError
from driftbell.records.database import Database


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://me@db/log", Database("db", 5432, "log", "me")),
        ("postgres://me:pw@10.0.0.1:6000/log\n", Database("10.0.0.1", 6000, "log", "me", "pw")),
        ("postgresql://m%40e:p%40s%2Fs%3A%23@db/my%20log", Database("db", 5432, "my log", "m@e", "p@s/s:#")),
        ("postgresql://me:@[::1]:5433/log", Database("::1", 5433, "log", "me", "")),
        ("postgresql://me@db/log?sslmode=disable", Database("db", 5432, "log", "me", None, "disable")),
        (
            "postgresql://me@db/log?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            Database("db", 5432, "log", "me", None, "verify-full", Path("/etc/ca.pem")),
        ),
    ],
)
def test_a_url_is_read(url: str, expected: Database) -> None:
    assert parse_database(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hunter2",
        "mysql://me:hunter2@db/log",
        "postgresql+psycopg://me:hunter2@db/log",
        "postgresql:me:hunter2@db/log",
        "postgresql://me:hunter2@/log",
        "postgresql://hunter2",
        "postgresql://hunter2@db",
        "postgresql://me:hunter2@db/",
        "postgresql://:hunter2@db/log",
        "postgresql://me:hunter2@a,b/log",
        "postgresql://me:hunter2@db:0/log",
        "postgresql://me:hunter2@db:70000/log",
        "postgresql://me:hunter2/x@db/log",
        "postgresql://me:hunter2#x@db/log",
        "postgresql://me:hunter2@db/log#x",
        "postgresql://me:hunter2@[::1/log",
        "postgresql://me@db/log?sslmode=hunter2",
        "postgresql://me@db/log?sslmode=disable&sslmode=require",
        "postgresql://me@db/log?password=hunter2",
        "postgresql://me@db/log?sslrootcert=hunter2",
    ],
)
def test_the_error_of_an_invalid_url_does_not_contain_it(url: str) -> None:
    with pytest.raises(ConfigError, match="must ") as caught:
        parse_database(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_password_is_not_printed() -> None:
    assert "hunter2" not in repr(parse_database("postgresql://me:hunter2@db/log"))
