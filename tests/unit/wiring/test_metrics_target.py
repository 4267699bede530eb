"""The metrics table in files and databases: the same rows everywhere, replaced and never lost."""

from __future__ import annotations

import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.postgres import ENCODED, PASSWORD

from driftbell.errors import ConfigError, MissingExtraError
from driftbell.publish.metric_rows import MetricRow, metric_rows
from driftbell.records import ColumnStats, Interval, Kind, Period, Verdict
from driftbell.wiring.metrics_target import COLUMNS, parse_target

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
QUANTILES = (1.0, 2.0, 3.0, 4.0, 5.0)


def period(day: int, rows: int = 100, *, mean: float = 3.0, length: timedelta = DAY) -> Period:
    start = START + day * DAY
    if not rows:
        quiet = (
            ColumnStats("age", "feature", Kind.NUMERIC),
            ColumnStats("city", "feature", Kind.CATEGORICAL),
        )
        return Period(start, start + length, 0, 0, Verdict.UNKNOWN, True, 0.0, columns=quiet)
    columns = (
        ColumnStats(
            "age", "feature", Kind.NUMERIC, Verdict.WARNING, True, 0.4, 1e-320, 0.1, 2, mean, QUANTILES
        ),
        ColumnStats(
            "city\0, \"of\" 'x' %s", "feature", Kind.CATEGORICAL, Verdict.OK, False, 0.1, 0.5, 0.0, 0
        ),
    )
    estimated = {"accuracy": Interval(0.9, 0.85, 0.95)}
    realized = {"accuracy": Interval(0.8, 0.7, 0.9), "log_loss": Interval(0.5, 0.4, 0.6)}
    return Period(start, start + length, rows, 50, Verdict.WARNING, True, 0.25, estimated, realized, columns)


def rows_of(*periods: Period) -> list[MetricRow]:
    return metric_rows("churn", periods, {"accuracy": Interval(0.92, 0.9, 0.94)})


def test_each_measure_is_in_each_period() -> None:
    rows = rows_of(period(0), period(1, 0))
    first, second = (
        {(r.column_name, r.metric): r for r in rows if r.start == START + i * DAY} for i in (0, 1)
    )
    totals = {metric for name, metric in first if not name}
    assert totals == {
        *("rows", "labelled", "score", "needs_labels", "drifted_columns", "estimated_accuracy"),
        *("realized_accuracy", "realized_log_loss", "reference_accuracy"),
    }
    assert {key for key in second if not key[0]} == {("", metric) for metric in totals}
    assert {metric for name, metric in second if name == "age"} == {
        *("distance", "p_value", "drifted", "null_share", "unreadable", "mean"),
        *("q05", "q25", "q50", "q75", "q95"),
    }
    assert first["", "realized_accuracy"][-3:] == (0.8, 0.7, 0.9)
    assert first["age", "p_value"].value == 0.0
    assert first["", "drifted_columns"].value == 1
    assert second["", "rows"].value == 0
    assert second["", "rows"].verdict == "unknown"
    assert all(r.value is None for key, r in second.items() if key[0] or key[1] == "realized_accuracy")


def read_rows(target: str, server: Any = None) -> list[tuple[Any, ...]]:
    """Read all rows, with times as datetimes."""
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    query = f"SELECT {names} FROM driftbell_metrics"
    if target.startswith("postgresql"):
        found = [tuple(row) for row in server.run(query, target.split("?")[0].rpartition("/")[2])]
    elif target.startswith("sqlite"):
        with closing(sqlite3.connect(target.removeprefix("sqlite:///"))) as connection:
            found = connection.execute(query).fetchall()
    else:
        path = Path(target)
        frame = pl.read_csv(path) if path.suffix == ".csv" else pl.read_parquet(path)
        found = frame.with_columns(pl.col("column_name", "source").fill_null("")).rows()
    return sorted((_row(row) for row in found), key=str)


def _row(row: tuple[Any, ...]) -> tuple[Any, ...]:
    times = (
        datetime.fromisoformat(cell) if isinstance(cell, str) else cell.astimezone(UTC) for cell in row[1:3]
    )
    return (row[0], *times, row[3], row[4], bool(row[5]), *row[6:])


@pytest.fixture(params=["parquet", "csv", "sqlite", "PostgreSQL"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Any]:
    if request.param == "PostgreSQL":
        server = request.getfixturevalue("postgres_server")
        return server.empty_database(), server
    return (
        f"sqlite:///{tmp_path}/m.db" if request.param == "sqlite" else f"{tmp_path}/m.{request.param}"
    ), None


def expected(rows: list[MetricRow]) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in rows), key=str)


def test_a_replay_replaces_its_periods_and_keeps_the_others(place: tuple[str, Any]) -> None:
    target = parse_target(place[0])
    target.check()
    first = rows_of(period(0), period(1, 0), period(2))
    target.write(first)
    assert read_rows(*place) == expected(first)
    target.write(first)
    assert read_rows(*place) == expected(first)
    longer = rows_of(period(1, 0), period(2, mean=7.0), period(3, 0), period(4))
    target.write(longer)
    kept = [row for row in first if row.start == START]
    assert read_rows(*place) == expected([*kept, *longer])
    other = metric_rows("other", [period(2)])
    target.write(other)
    assert read_rows(*place) == expected([*kept, *longer, *other])


def test_periods_of_another_length_replace_those_of_their_time(place: tuple[str, Any]) -> None:
    target = parse_target(place[0])
    target.write(rows_of(*(period(day) for day in range(14))))
    week = rows_of(period(0, length=7 * DAY))
    target.write(week)
    starts = {row[1] for row in read_rows(*place)}
    assert starts == {START, *(START + day * DAY for day in range(7, 14))}


def test_longer_periods_that_overlap_are_replaced(place: tuple[str, Any]) -> None:
    target = parse_target(place[0])
    target.write(rows_of(period(0, length=7 * DAY), period(7, length=7 * DAY)))
    target.write(metric_rows("other", [period(0, length=7 * DAY)]))
    target.write(rows_of(*(period(day) for day in range(3, 7))))
    starts = {(row[0], row[1]) for row in read_rows(*place)}
    days = [*range(3, 7), 7]
    assert starts == {("other", START), *(("churn", START + day * DAY) for day in days)}


def test_two_writers_at_once_keep_both_sources(place: tuple[str, Any]) -> None:
    target = parse_target(place[0])
    sources = {name: metric_rows(name, [period(day) for day in range(5)]) for name in "abcdef"}
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(target.write, [*sources.values()] * 2):
            pass
    assert read_rows(*place) == expected([row for rows in sources.values() for row in rows])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_columns_that_others_added_are_kept(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m.{suffix}"
    read, write = (
        (pl.read_csv, pl.DataFrame.write_csv)
        if suffix == "csv"
        else (pl.read_parquet, pl.DataFrame.write_parquet)
    )
    target = parse_target(str(path))
    target.write(rows_of(period(0), period(1)))
    write(read(path).with_columns(note=pl.lit("holiday")), path)
    target.write(rows_of(period(1), period(2)))
    notes = read(path).group_by("start").agg(pl.col("note").unique()).sort("start")["note"].to_list()
    assert notes == [["holiday"], [None], [None]]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    link = tmp_path / "m.csv"
    link.symlink_to(tmp_path / "shared" / "metrics")
    for day in (0, 1):
        parse_target(str(link)).write(rows_of(period(day)))
    assert link.is_symlink()
    assert pl.read_csv(tmp_path / "shared" / "metrics")["start"].n_unique() == 2


def test_truth_values_of_a_spreadsheet_are_read(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    target = parse_target(str(path))
    target.write(rows_of(period(0)))
    path.write_text(path.read_text().replace("true", "TRUE"))
    target.write(rows_of(period(1)))
    assert pl.read_csv(path)["complete"].all()


def test_many_columns_and_days(place: tuple[str, Any]) -> None:
    columns = tuple(
        ColumnStats(f"x{i}", "feature", Kind.NUMERIC, quantiles=QUANTILES, mean=1e-300) for i in range(100)
    )
    days = [
        Period(START + d * DAY, START + (d + 1) * DAY, 5, 0, Verdict.OK, True, columns=columns)
        for d in range(20)
    ]
    rows = metric_rows("wide", days)
    assert len(rows) > 20_000
    parse_target(place[0]).write(rows)
    assert read_rows(*place) == expected(rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m.txt", r"--metrics must be FILE.parquet, .* got 'm.txt'"),
        ("s3://me:secret@bucket/x", r"--metrics must be FILE.parquet, .* got 's3://"),
        ("", "--metrics must be FILE.parquet, .* got ''"),
        ("sqlite:///", "sqlite:/// must name a file"),
        ("sqlite:///m.db?mode=ro&table=a", "has no parameter but table, got 'mode=ro'"),
        ("sqlite:///m.db?table=a;b", "the table must be one name"),
        ("sqlite:///m.db?table=a&table=b", "the table must be one name"),
        ("postgresql://me:secret@127.0.0.1/x?table=a.b.c", "the table must be one name"),
    ],
)
def test_a_target_that_is_none(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_target(text)
    assert "secret" not in str(caught.value)


def test_the_table_is_no_parameter_of_the_connection() -> None:
    target = parse_target("postgresql://me@db/x?sslmode=require&table=team.churn&connect_timeout=3")
    assert target.place == "postgresql://me@db/x?sslmode=require&connect_timeout=3"
    assert target.table == "team.churn"
    assert parse_target("m.parquet").table == ""


def test_a_place_that_cannot_be_written_is_named_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "broken.parquet").write_bytes(b"no parquet")
    (tmp_path / "folder.parquet").mkdir()
    (tmp_path / "bad.csv").write_text(f"{','.join(COLUMNS)}\nx,yesterday,2,3,ok,true,,rows,1,,\n")
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE driftbell_metrics (a, b)")
    for text, message in (
        (f"{tmp_path}/no/m.csv", "the folder .*no does not exist"),
        (f"{tmp_path}/other.csv", r"other.csv has other columns than metrics, such as no 'source'"),
        (f"{tmp_path}/broken.parquet", "cannot read the file to add to, .*broken.parquet"),
        (f"{tmp_path}/bad.csv", "bad.csv has other values than metrics"),
        (f"{tmp_path}/folder.parquet", "cannot write .*folder.parquet: it is a folder"),
        (f"sqlite:///{tmp_path}/no/m.db", "the folder .*no does not exist"),
        (f"sqlite:///{tmp_path}/other.db", r"driftbell_metrics of sqlite.*\?table=NAME"),
        (f"sqlite:///{tmp_path}/broken.parquet", "cannot write to sqlite.*broken.parquet"),
        ("postgresql://me:secret@127.0.0.1:1/x", "cannot write to postgresql.*127.0.0.1.*cannot connect"),
        ("postgresql://127.0.0.1/x", "the URL must name a user"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            parse_target(text).check()
        assert str(caught.value).startswith("--metrics: ")
        assert "secret" not in str(caught.value)


def test_credentials_and_rights_in_postgresql(postgres_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url = postgres_server.empty_database()
    name = url.split("?")[0].rpartition("/")[2]
    for bad, message in (
        (url.replace(ENCODED, "wrong"), "password authentication failed"),
        (url.replace(f":{ENCODED}", ""), "is a password missing, in the URL or in PGPASSWORD"),
        (url.replace(name, "nowhere"), "nowhere.*does not exist"),
        (f"{url}&table=absent.metrics", "absent.*does not exist"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            parse_target(bad).check()
        assert PASSWORD not in str(caught.value)
        assert "wrong" not in str(caught.value)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    parse_target(url.replace(f":{ENCODED}", "")).check()
    postgres_server.run("CREATE ROLE writer LOGIN PASSWORD 'w'; CREATE ROLE reader LOGIN PASSWORD 'r'", name)
    postgres_server.run("GRANT SELECT, INSERT, DELETE ON driftbell_metrics TO writer", name)
    postgres_server.run("GRANT SELECT ON driftbell_metrics TO reader", name)
    writer, reader = (url.replace(f"driftbell:{ENCODED}", user) for user in ("writer:w", "reader:r"))
    parse_target(writer).write(rows_of(period(0)))  # needs no right to create tables
    for call in (parse_target(reader).check, lambda: parse_target(reader).write(rows_of(period(0)))):
        with pytest.raises(ConfigError, match="permission denied"):
            call()
    assert read_rows(url, postgres_server) == expected(rows_of(period(0)))


@pytest.mark.parametrize(
    ("column", "change"), [("value", "integer USING 0"), ("start", "text"), ("low", "real")]
)
def test_a_table_that_would_round_values_is_refused(postgres_server: Any, column: str, change: str) -> None:
    url = postgres_server.empty_database()
    name = url.split("?")[0].rpartition("/")[2]
    parse_target(url).write(rows_of(period(0)))
    postgres_server.run(f"ALTER TABLE driftbell_metrics ALTER {column} TYPE {change}", name)
    with pytest.raises(ConfigError, match=f"column '{column}' of the table driftbell_metrics"):
        parse_target(url).check()


def test_a_read_only_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.csv"
    target = parse_target(str(path))
    target.write(rows_of(period(0)))
    monkeypatch.setattr("os.access", lambda place, mode: place != path)  # the superuser may write everything
    with pytest.raises(ConfigError, match=r"cannot write .*m.csv: it is read-only"):
        target.check()


def test_two_writers_at_once_lose_nothing(postgres_server: Any) -> None:
    target = parse_target(f"{postgres_server.empty_database()}&table=public.both")
    sources = {name: metric_rows(name, [period(day) for day in range(5)]) for name in "abcd"}
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(target.write, [*sources.values()] * 2):
            pass
    name = target.place.split("?")[0].rpartition("/")[2]
    (row,) = postgres_server.run("SELECT count(*), count(DISTINCT source) FROM public.both", name)
    assert row == [sum(map(len, sources.values())), 4]


def test_the_queries_of_the_guide_run(place: tuple[str, Any]) -> None:
    if place[0].endswith(("csv", "parquet")):
        pytest.skip("files have no queries")
    parse_target(place[0]).write(rows_of(period(0), period(1, 0)))
    guide = Path(__file__).parents[3] / "docs" / "guides" / "metrics.md"
    performance, drift = guide.read_text().partition("```sql\n")[2].partition("```")[0].split("\n\n")
    for query, count in ((performance, 6), (drift, 4)):
        if place[1]:
            rows = place[1].run(query, place[0].split("?")[0].rpartition("/")[2])
        else:
            with closing(sqlite3.connect(place[0].removeprefix("sqlite:///"))) as connection:
                rows = connection.execute(query).fetchall()
        assert len(rows) == count


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pg8000", None)
    with pytest.raises(MissingExtraError, match=r"driftbell\[postgres\]"):
        parse_target("postgresql://me@db/x").check()


def test_a_failed_write_changes_nothing(postgres_server: Any) -> None:
    url = postgres_server.empty_database()
    target = parse_target(url)
    target.write(rows_of(period(0)))
    twice = rows_of(period(0, mean=9.0)) * 2
    with pytest.raises(ConfigError, match="duplicate key"):
        target.write(twice)
    assert read_rows(url, postgres_server) == expected(rows_of(period(0)))
