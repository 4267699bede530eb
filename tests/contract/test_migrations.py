"""Tables of older releases are migrated with their rows; newer ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from tests.contract.builders import (
    IRIS,
    NOW,
    check,
    notification,
    prediction,
)
from tests.contract.stores import DURABLE, new_sqlite

from driftbell.config.postgres_url import parse_database
from driftbell.errors import StoreError
from driftbell.records import (
    Baseline,
    Evidence,
    Interval,
    Label,
    LabelReceipt,
    Verdict,
)
from driftbell.store.postgres import open_postgres
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite
from driftbell.store.tables import VERSION_TABLE, metadata


def test_tables_of_a_newer_release_are_refused(tmp_path: Path) -> None:
    new_sqlite(tmp_path).close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'log.sqlite'}")
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match="newer driftbell"):
        new_sqlite(tmp_path)


STORED_CHECK = {
    "id": "check-0",
    "time": "2026-01-31T12:00:00+00:00",
    "kind": "automatic",
    "model": "iris",
    "version": "v1",
    "reference": "r1",
    "rows": 50,
    "first": 1,
    "last": 50,
    "judgement": {
        "verdict": "alarm",
        "sentence": "The model loses 4 points.",
        "columns": [
            {
                "comparison": {
                    "column": "x",
                    "role": "feature",
                    "kind": "numeric",
                    "p_value": 0.001,
                    "results": [
                        {
                            "statistic": "Kolmogorov–Smirnov",
                            "value": 0.4,
                            "kind": "distance",
                            "threshold": None,
                            "n_reference": 100,
                            "n_window": 50,
                        }
                    ],
                    "histogram": {"labels": ["< 1", "≥ 1"], "reference": [60, 40], "window": [10, 40]},
                    "note": "",
                },
                "verdict": "alarm",
                "adjusted_p_value": 0.001,
                "threshold": 0.05,
                "reason": "Drift.",
            }
        ],
        "harm": {
            "verdict": "alarm",
            "sentence": "The model loses 4 points.",
            "score": 1.4,
            "parts": [{"name": "broken data", "column": "x", "score": 1.4, "pages": True, "note": ""}],
            "rows": 50,
            "performance": {
                "metric": "accuracy",
                "reference": 0.9,
                "estimated": {"value": 0.86, "low": 0.8, "high": 0.9},
                "realised": None,
                "labelled": 0,
            },
            "loss": {"value": 0.04, "low": 0.01, "high": 0.07},
            "since": {
                "time": "2026-01-31T11:00:00+00:00",
                "low": "2026-01-31T10:00:00+00:00",
                "high": "2026-01-31T11:30:00+00:00",
            },
            "suspects": [{"column": "x", "share": 1.0, "words": "frozen at 5"}],
            "slice": "x > 1",
            "to_label": ["old"],
            "waiting": False,
        },
    },
    "duration": 0.25,
    "reports": ["drift_report_20260131_120000.html"],
    "error": "",
    "state": {
        "harm": {"seq": 50, "label_seq": 3, "sums": {"estimate": [1.0, 2.0]}, "blocks": {}},
        "reference": "r1",
        "marked": "2026-01-30T12:00:00+00:00",
        "base": {"alarm": "a", "first": 7, "last": 40},
        "drift": {"x": 0},
    },
}
"""A check as the version before the tables 0005 stored it."""


def tables_of(version: str, url: str | sa.URL) -> sa.Engine:
    """Create the tables of an older version, and return the engine."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "driftbell.store:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, version)
    return engine


PREDICTION = sa.text(
    "INSERT INTO predictions (id, time, model, version, features, output, probabilities, latency_ms) "
    "VALUES ('old', '2026-01-31 12:00:00.000000', 'iris', 'v1', '{}', 'setosa', '{}', 1)"
)


CHECK = sa.text(
    "INSERT INTO checks (id, time, kind, model, version, verdict, duration, error, body) "
    "VALUES ('check-0', '2026-01-31 12:00:00.000000', 'automatic', 'iris', 'v1', 'alarm', 0.25, '', :body)"
)


def test_tables_of_the_first_version_are_migrated_with_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    engine = tables_of("0001", f"sqlite:///{path}")
    body = {name: value for name, value in STORED_CHECK.items() if name != "state"}
    with engine.begin() as connection:
        assert not sa.inspect(connection).has_table("alerts")
        connection.execute(PREDICTION)
        connection.execute(CHECK, {"body": json.dumps(body)})
    engine.dispose()
    store = open_sqlite(path)
    assert [p.id for p in store.predictions.window(10, **IRIS).predictions] == ["old"]
    assert [c.judgement.drifted_columns for c in store.checks.newest(5)] == [("x",)]
    lease = store.coordination.take_lease("a", now=NOW, seconds=30, next_run=None)
    store.checks.save(check(1, Verdict.ALARM), lease, notification(1))
    assert [d.notification for d in store.notifications.pending()] == [notification(1)]
    assert store.labels.add([Label("old", "setosa", NOW)]) == LabelReceipt(accepted=1)
    store.close()
    again = open_sqlite(path)
    assert [f.label for f in again.labels.newest(10, **IRIS)] == ["setosa"]
    assert again.notifications.last(**IRIS) == notification(1)
    again.close()


EmptyDatabase: TypeAlias = tuple[str | sa.URL, Callable[[], SqlStore]]


@pytest.fixture(params=DURABLE)
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> EmptyDatabase:
    """Return the URL of a database without tables, and a function that opens the store in it."""
    if request.param == "SQLite":
        path = tmp_path / "log.sqlite"
        return f"sqlite:///{path}", lambda: open_sqlite(path)
    database = parse_database(request.getfixturevalue("postgres_server").empty_database())
    parts = (
        database.user,
        database.password,
        database.addresses[0].host,
        database.addresses[0].port,
        database.name,
    )
    return sa.URL.create("postgresql+pg8000", *parts), lambda: open_postgres(database)


def test_a_store_of_the_previous_version_is_migrated_and_its_evidence_restarts(
    empty_database: EmptyDatabase,
) -> None:
    url, open_migrated = empty_database
    engine = tables_of("0004", url)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL TIME ZONE 'UTC'")
        connection.execute(PREDICTION)
        connection.execute(CHECK, {"body": json.dumps(STORED_CHECK)})
        connection.exec_driver_sql(
            "INSERT INTO alarms (id, model, version, opened, sentence, columns, first, last, mark, author, "
            "reason, marked) VALUES ('a', 'iris', 'v1', '2026-01-30 12:00:00.000000', 's', '[]', 1, 2, "
            "'expected', 'ada', 'a new sensor', '2026-01-30 12:00:00.000000')"
        )
        connection.exec_driver_sql(
            "INSERT INTO alerts (check_id, time, model, version, verdict, since, sentence, columns, report, "
            "state, delivered, attempts, next_try, error) VALUES ('check-0', '2026-01-31 12:00:00.000000', "
            "'iris', 'v1', 'alarm', '2026-01-31 12:00:00.000000', 's', '[]', '', 'pending', '[]', 0, "
            "'2026-01-31 12:00:00.000000', '')"
        )
        connection.exec_driver_sql(
            "INSERT INTO pruned (kind, model, version, key, count, failed, duration) "
            "VALUES ('alert', 'iris', 'v1', 'sent', 3, 0, 0)"
        )
    engine.dispose()
    store = open_migrated()
    (stored,) = store.checks.newest(5)
    degradation = stored.judgement.degradation
    assert stored.judgement.drifted_columns == ("x",)
    assert stored.judgement.columns[0].verdict is Verdict.WARNING
    assert degradation.evidence == (Evidence("data quality", "x", 1.4),)
    assert degradation.estimated_loss == Interval(0.04, 0.01, 0.07)
    assert degradation.change_point.time == datetime(2026, 1, 31, 11, tzinfo=UTC)
    assert degradation.segment == "x > 1"
    assert degradation.performance.realized is None
    assert stored.baseline == Baseline("a", 7, 40)
    assert "sums" not in json.dumps(msgspec.to_builtins(stored.state))
    (alarm,) = store.alarms.annotated_after(None, **IRIS)
    assert (alarm.annotation, alarm.author) == ("expected", "ada")
    assert [d.notification.check_id for d in store.notifications.pending()] == ["check-0"]
    assert store.notifications.totals() == {"pending": 1, "sent": 3}
    store.close()


def test_predictions_of_the_version_before_metadata_have_none_and_longer_ids_fit(
    empty_database: EmptyDatabase,
) -> None:
    url, open_migrated = empty_database
    engine = tables_of("0011", url)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL TIME ZONE 'UTC'")
        connection.execute(PREDICTION)
    engine.dispose()
    store = open_migrated()
    store.predictions.append([prediction(1, id="x" * 128)])
    old, new = store.predictions.window(10, **IRIS).predictions
    assert (old.id, dict(old.metadata)) == ("old", {})
    assert new == prediction(1, id="x" * 128)
    assert store.labels.add([Label("x" * 128, "setosa", NOW)]) == LabelReceipt(accepted=1)
    store.close()


def test_the_migrations_create_the_tables_that_the_code_expects(tmp_path: Path) -> None:
    new_sqlite(tmp_path).close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'log.sqlite'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
    engine.dispose()
