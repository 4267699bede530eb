"""A PostgreSQL URL is parsed whole, and no message shows any part of it."""

from pathlib import Path

import pytest

from driftbell.config.postgres_url import parse_database
from driftbell.errors import ConfigError
from driftbell.records.database import Address, Database


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://me@db/log", Database((Address("db"),), "log", "me")),
        ("postgres://me:pw@10.0.0.1:6000/log\n", Database((Address("10.0.0.1", 6000),), "log", "me", "pw")),
        (
            "postgresql://m%40e:p%40s%2Fs%3A%23@db/my%20log",
            Database((Address("db"),), "my log", "m@e", "p@s/s:#"),
        ),
        ("postgresql://me:@[::1]:5433/log", Database((Address("::1", 5433),), "log", "me", "")),
        ("postgresql://me@db/log?sslmode=disable", Database((Address("db"),), "log", "me", None, "disable")),
        (
            "postgresql://me@db/log?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            Database((Address("db"),), "log", "me", None, "verify-full", Path("/etc/ca.pem")),
        ),
        (
            "postgresql://me@db/log?sslmode=verify-ca&connect_timeout=10&application_name=a%20b",
            Database((Address("db"),), "log", "me", None, "verify-ca", None, 10.0, "a b"),
        ),
        (
            "postgresql://me@db/log?sslmode=require&sslrootcert=/etc/ca.pem",  # verified, as by libpq
            Database((Address("db"),), "log", "me", None, "verify-ca", Path("/etc/ca.pem")),
        ),
        (
            "postgresql://me@db/log?sslmode=verify-full&sslrootcert=system&connect_timeout=0",
            Database((Address("db"),), "log", "me", None, "verify-full"),
        ),
        (
            "postgresql://me@a:1,B,[::1]:3/log?target_session_attrs=read-write&channel_binding=prefer",
            Database((Address("a", 1), Address("b"), Address("::1", 3)), "log", "me"),
        ),
        (
            "postgresql://me@/log?host=/var/run/postgresql&port=5433",
            Database((Address("/var/run/postgresql", 5433),), "log", "me"),
        ),
        (
            "postgresql://me:pw@%2Fvar%2Frun%2Fpg/log?sslmode=allow",
            Database((Address("/var/run/pg"),), "log", "me", "pw"),
        ),
        (
            "postgresql://me@/log?host=a,/run,fe80::1&port=1,2,3",
            Database((Address("a", 1), Address("/run", 2), Address("fe80::1", 3)), "log", "me"),
        ),
        ("postgresql://me@a,b/log?port=7", Database((Address("a", 7), Address("b", 7)), "log", "me")),
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
        "postgresql://me:hunter2@a,,b/log",
        "postgresql://me:hunter2@a:1:2/log",
        "postgresql://me@db/log?connect_timeout=hunter2",
        "postgresql://me@db/log?connect_timeout=-1",
        "postgresql://me@db/log?connect_timeout=99999",
        "postgresql://me@db/log?application_name=hunter2%00",
        "postgresql://me@db/log?application_name=h%C3%BCnter2",
        "postgresql://me@db/log?host=hunter2",
        "postgresql://me@/log?host=",
        "postgresql://me@/log?host=a,b&port=1,2,3",
        "postgresql://me@/log?host=a&port=hunter2",
        "postgresql://me@db/log?target_session_attrs=hunter2",
        "postgresql://me@db/log?channel_binding=require",
        "postgresql://me@db/log?options=hunter2",
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
