"""Spark counts as Polars does, on a real cluster and by Spark Connect, and its faults are named."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import venv
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests import spark
from tests.conftest import alive, descendants, wait_until

import driftbell
from driftbell.drift.column_bins import column_bins
from driftbell.drift.compare import prepare
from driftbell.engines.count_parts import CountPlan, count_table
from driftbell.engines.large_files import open_large
from driftbell.engines.spark_tables import SparkTable, read_source
from driftbell.errors import ConfigError, InputError
from driftbell.tabular.column_options import ColumnOptions
from driftbell.tabular.typed_column import read_columns

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: Any) -> Any:
    with spark.cluster(tmp_path_factory.mktemp("spark")) as running:
        yield running


@pytest.fixture(scope="module")
def session(cluster: Any) -> Any:
    from pyspark.sql import SparkSession

    session = SparkSession.builder.remote(cluster.remote).getOrCreate()
    yield session
    session.stop()


def hostile(rows: int, seed: int) -> pl.DataFrame:
    """Return columns in which engines are known to differ."""
    rng = np.random.default_rng(seed)
    special = [0.0, -0.0, np.nan, np.inf, -np.inf, 0.1, float(np.float32(0.1)), 5e-324, 1.7e308, -1.0]
    days = rng.integers(0, 3000, rows)
    start = datetime(2024, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
    times = [start + timedelta(hours=int(day), microseconds=int(day)) for day in days]
    place = rng.integers(0, len(special), rows)
    null = rng.random(rows) < 0.1
    words = ["1", "2.5", "n/k", "NA", "", " 7 ", "1e3", "-999", "null"]
    columns = {
        "double": pl.Series(np.where(rng.random(rows) < 0.5, rng.normal(size=rows), np.take(special, place))),
        "float": pl.Series(rng.normal(size=rows).astype(np.float32)),
        "special float": pl.Series(np.take([*special[:7], 1e-45, 3e38, -3e38], place).astype(np.float32)),
        "decimal": pl.Series([Decimal(int(d)) / 100 for d in days], dtype=pl.Decimal(12, 2)),
        "large decimal": pl.Series([Decimal(int(d)) / 7 for d in days], dtype=pl.Decimal(38, 18)),
        "boolean": pl.Series(rng.random(rows) < 0.3),
        "zoned": pl.Series(times, dtype=pl.Datetime("us", "UTC")),
        "local time": pl.Series([t.replace(tzinfo=None) for t in times], dtype=pl.Datetime("ms")),
        "date": pl.Series([date(1600, 1, 1) + timedelta(days=int(d) * 50) for d in days]),
        "tiny": pl.Series(days % 100, dtype=pl.Int8),
        "unsigned": pl.Series(days.astype(np.uint64) + np.uint64(2**63), dtype=pl.UInt64),
        "large": pl.Series(days + 2**53, dtype=pl.Int64),
        "number.in.text": pl.Series(np.take(words, rng.integers(0, len(words), rows) * (days % 20 == 0))),
        "city": pl.Series(np.take(["Rome", "Oslo", "NA", "Zürich", "'`\"", "\u2028"], place % 6)),
        "new city": pl.Series([f"city {d % 60 if seed == 0 else d}" for d in days]),
        "date in text": pl.Series([f"{t:%d.%m.%Y}" if i % 50 else "soon" for i, t in enumerate(times)]),
        "note": pl.Series([f"order {d} of {d * d} – {'ä' * int(d % 9)}" * 3 for d in days]),
        "nulls": pl.Series([None] * rows, dtype=pl.Float64),
        "list": pl.Series([[int(d)] for d in days]),
        "bytes": pl.Series([b"\xff"] * rows),
    }
    frame = pl.DataFrame(columns)
    return frame.with_columns(pl.when(pl.Series(null)).then(None).otherwise(pl.all()).name.keep())


def plan_of(reference: pl.DataFrame, options: ColumnOptions) -> CountPlan:
    typed = read_columns(reference, columns=options.kinds, nulls=options.nulls)
    return CountPlan({c.name: column_bins(c) for c in prepare(typed).columns}, options)


def whole(value: Any) -> Any:
    """Return counts as plain values, with the mean of numbers instead of their sum."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if hasattr(value, "__dataclass_fields__"):
        fields = {name: whole(getattr(value, name)) for name in value.__dataclass_fields__}
        if "total" in fields:
            del fields["total"], fields["rest"]
            fields["mean"] = None if value.mean is None else float(f"{value.mean:.12g}")
        return fields
    return [whole(v) for v in value] if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    "options", [ColumnOptions(), ColumnOptions({"tiny": "categorical"}, nulls=["-999", "7"])]
)
def test_counts_are_those_of_polars_to_the_last_bit(session: Any, tmp_path: Path, options: Any) -> None:
    plan = plan_of(hostile(900, 0), options)
    for i in range(3):
        hostile(1500, i + 1).write_parquet(tmp_path / f"{i}.parquet")
    by_polars = count_table(open_large(str(tmp_path)).parts(list(plan.bins)), plan)
    by_spark = read_source(session, str(tmp_path)).count(plan)
    assert {name: counts.rows for name, counts in by_spark.items()} == dict.fromkeys(plan.bins, 4500)
    for name, counts in by_polars.items():
        assert whole(by_spark[name]) == whole(counts), name


def table(rows: int, seed: int, shift: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "moved": rng.normal(shift, 1, rows),
            "a.b": rng.integers(0, 40, rows) / 10,
            "City": rng.choice(["Rome", "Oslo"], rows),
            "city": rng.choice(["Bern", "Genf"], rows),
        }
    )


def without_engine(text: str) -> Any:
    text = text.replace(" rows of the file differ", " rows differ")
    document = json.loads(text, parse_float=lambda number: f"{float(number):.9g}")
    for facts in document.get("detected", {}).values():
        for name in ("engine", "format", "files"):
            facts.pop(name, None)
    return document


def test_a_check_of_data_frames_says_what_that_of_files_says(session: Any, tmp_path: Path) -> None:
    tables = [table(900, 0), table(6000, 1, 0.4).with_columns(pl.col("a.b").cast(pl.Float32))]
    paths, frames = [], []
    for i, content in enumerate(tables):
        paths.append(str(tmp_path / f"{i}.parquet"))
        content.write_parquet(paths[i])
        others = str(tmp_path / f"other names {i}.parquet")
        content.rename({name: f"x{j}" for j, name in enumerate(content.columns)}).write_parquet(others)
        frames.append(session.read.parquet(others).toDF(*content.columns))  # City and city beside each other
    for reference, current, exact_rows in (
        (*frames, 1000),
        (paths[0], frames[1], 1000),
        (frames[0], paths[1], 1000),
        (*frames, 10_000),
    ):
        result = driftbell.check(reference, current, exact_rows=exact_rows)
        by_files = driftbell.check(*paths, exact_rows=exact_rows)
        assert result.drifted_columns == ("moved",)
        assert result.rows == (900, 6000)
        documents = [without_engine(check.to_json()) for check in (result, by_files)]
        if exact_rows > 1000:  # of rows in memory, nothing is detected
            documents[1].pop("detected")
        assert documents[0] == documents[1]
    sampled = driftbell.check(frames[1], frames[1], exact_rows=1000)
    assert sampled.verdict.value == "ok"
    assert sampled.detected["current"]["engine"].startswith("Spark 4")


def test_the_counts_of_many_tasks_are_merged(session: Any) -> None:
    frame = session.range(5000).selectExpr("id % 97 AS x", "cast(id % 3 AS string) AS s").repartition(12)
    plan = plan_of(
        pl.DataFrame({"x": np.arange(97) % 90, "s": ["0", "a", "b"] * 32 + ["a"]}), ColumnOptions()
    )
    counts = SparkTable(frame, "numbers").count(plan)
    assert counts["x"].numbers.rows == counts["s"].rows == 5000
    assert counts["x"].numbers.beyond == (0, sum(i % 97 > 89 for i in range(5000)))
    assert SparkTable(frame.limit(0), "nothing").count(plan)["x"].rows == 0


def test_an_executor_that_is_killed_half_way_changes_no_count(session: Any, tmp_path: Path) -> None:
    marker = str(tmp_path / "killed")

    def kill_executor_once(batches: Any) -> Any:
        import os
        import signal
        from pathlib import Path

        for i, batch in enumerate(batches):
            if i == 1:
                try:
                    os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    pass
                else:
                    process = os.getpid()
                    while Path(f"/proc/{process}/comm").read_text("utf-8").strip() != "java":
                        stat = Path(f"/proc/{process}/stat").read_text("utf-8")
                        process = int(stat.rpartition(")")[2].split()[1])
                    os.kill(process, signal.SIGKILL)
            yield batch

    frame = session.range(0, 40_000, 1, 2).selectExpr("id % 50 AS x")
    plan = plan_of(pl.DataFrame({"x": np.arange(100) % 50}), ColumnOptions())
    before = SparkTable(frame, "numbers").count(plan)
    killed = SparkTable(frame.mapInArrow(kill_executor_once, "x long"), "numbers").count(plan)
    assert Path(marker).exists()
    assert whole(killed["x"]) == whole(before["x"])
    assert killed["x"].rows == 40_000


def test_an_executor_without_driftbell_is_named_and_can_be_sent_the_package(
    cluster: Any, session: Any, tmp_path: Path
) -> None:
    from pyspark.sql import SparkSession

    venv.create(tmp_path / "bare", with_pip=False)
    packages = next((tmp_path / "bare" / "lib").glob("*/site-packages"))
    for name in ("numpy", "numpy.libs", "polars", "_polars_runtime_32", "msgspec", "pyarrow"):
        found = [Path(folder, name) for folder in sys.path if Path(folder, name).exists()]
        (packages / name).symlink_to(found[0])
    program = tmp_path / "python"
    path = f'PYTHONPATH=$(echo "$PYTHONPATH" | sed "s#{spark.SOURCES}##g")'
    program.write_text(f'#!/bin/sh\n{path} exec "{tmp_path}/bare/bin/python" "$@"\n')
    program.chmod(0o755)
    plan = plan_of(pl.DataFrame({"id": np.arange(100) % 50}), ColumnOptions())
    other = SparkSession.builder.remote(cluster.remote).create()
    try:
        other.conf.set("spark.sql.execution.pyspark.python", str(program))
        words = (
            r"numbers: an executor failed: \S*/bare/bin/python on \S+ cannot import driftbell: No module "
            r"named 'driftbell': install 'driftbell\[spark\]==[\d.]+' for the Python of every executor"
        )
        with pytest.raises(ConfigError, match=words):
            SparkTable(other.range(2000), "numbers").count(plan)
        sources = str(spark.SOURCES)
        other.addArtifacts(
            shutil.make_archive(str(tmp_path / "driftbell"), "zip", sources, "driftbell"), pyfile=True
        )
        assert SparkTable(other.range(2000), "numbers").count(plan)["id"].rows == 2000
    finally:
        other.stop()


def test_faults_of_tables_are_named(session: Any, tmp_path: Path) -> None:
    text, past, now = tmp_path / "notes.csv", tmp_path / "past.parquet", tmp_path / "now"
    text.write_text("a\n1\n", "utf-8")
    assert read_source(session, str(text)) is None
    with pytest.raises(ConfigError, match=r"cannot read s\.lost: it is no file here and no table of Spark"):
        read_source(session, "s.lost")
    with pytest.raises(ConfigError, match=r"cannot read .*lost\.parquet: \[PATH_NOT_FOUND\]"):
        read_source(session, str(tmp_path / "lost.parquet"))
    now.mkdir()
    table(2000, 0).drop("City").write_parquet(past)
    table(2000, 0).drop("City", "moved").write_parquet(now / "1.parquet")
    result = driftbell.check(str(past), session.read.parquet(str(now)), exact_rows=1000)
    assert "the current data has no such column" in result.columns[0].reason
    words = table(2000, 0).drop("City", "moved").with_columns(pl.lit("n/k").alias("a.b"))
    words.write_parquet(now / "2.parquet")
    with pytest.raises(
        ConfigError, match=r"cannot read .*now: column 'a\.b' has numbers in .*1\.parquet and text"
    ):
        read_source(session, str(now))
    with pytest.raises(ConfigError, match=r"cannot read file:.*now: \[CANNOT_MERGE_SCHEMAS\]"):
        read_source(session, f"file://{now}")
    result = driftbell.check(str(past), session.read.parquet(str(now / "2.parquet")), exact_rows=1000)
    assert (
        "numbers in the reference, text in current: 2000 of 2000 cells such as 'n/k'"
        in result.columns[1].reason
    )
    with pytest.raises(InputError, match="duplicate column name 'x'"):
        driftbell.check(session.sql("SELECT 1 AS x, 2 AS x"), {"x": [1]})
    profile = driftbell.profile({"id": [1, 2] * 20})
    with pytest.raises(ConfigError, match=r"more than exact_rows .* a sample such as frame\.sample"):
        driftbell.check(profile, session.range(2000), exact_rows=1000)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"PYTHONPATH": str(spark.SOURCES)} | environment
    variables.pop("SPARK_CONNECT_MODE_ENABLED", None)  # of this process
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=variables, timeout=200, check=False)


@pytest.mark.parametrize("kind", ["master", "remote"])
def test_the_command_on_a_cluster_says_what_polars_says(cluster: Any, tmp_path: Path, kind: Any) -> None:
    paths = [str(tmp_path / "past.parquet"), str(tmp_path / "now")]
    table(900, 0).drop("City").write_parquet(paths[0])
    for year in (2025, 2026):
        folder = tmp_path / "now" / f"year={year}"
        folder.mkdir(parents=True)
        table(1500, year, 0.4).drop("City").write_parquet(folder / "1.parquet")
    options = {"master": ["--spark-master", cluster.master], "remote": []}[kind]
    variables = cluster.environment | ({"SPARK_REMOTE": cluster.remote} if kind == "remote" else {})
    command = ["-m", "driftbell", "check", *paths, "--json", "--column", "city=categorical"]
    by_polars = run(*command, DRIFTBELL_CHECK__EXACT_ROWS="1000")
    by_spark = run(*command, "--engine", "spark", *options, **variables)
    assert by_spark.returncode == by_polars.returncode == 1, by_spark.stderr
    assert without_engine(by_spark.stdout) == without_engine(by_polars.stdout)
    assert json.loads(by_spark.stdout)["detected"]["current"]["engine"].startswith("Spark 4")


def test_the_example_runs(cluster: Any) -> None:
    example = str(ROOT / "examples/check_on_spark.py")
    done = run(example, **cluster.environment, SPARK_REMOTE=cluster.remote)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("WARNING  Drift in amount"), done.stdout


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "import os; os.environ |= {'PATH': '/nowhere', 'JAVA_HOME': ''}",
            "no java in PATH: it needs Java 17",
        ),
        ("import os; os.environ['JAVA_HOME'] = '/nowhere'", "JAVA_HOME is /nowhere, which has no bin/java"),
        ("sys.modules['pyspark'] = None", r"needs the extra 'spark': pip install 'driftbell[spark]'"),
    ],
)
def test_what_is_not_installed_is_named(code: str, words: str, tmp_path: Path) -> None:
    spark.need_spark()
    table(20, 0).write_parquet(tmp_path / "a.parquet")
    arguments = ["check", "a.parquet", "a.parquet", "--engine", "spark", "--spark-master", "local[1]"]
    program = f"import sys; {code}; from driftbell.cli import main; sys.argv[1:] = {arguments}; main()"
    variables = os.environ | {"PYTHONPATH": str(spark.SOURCES)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=variables, cwd=tmp_path
    )
    assert done.returncode == 2
    assert words in done.stderr


def test_the_processes_of_a_killed_test_run_end(tmp_path: Path) -> None:
    spark.need_spark()
    code = f"""
import time
from pathlib import Path
from tests import spark
from tests.ports import free_port
folder = Path({str(tmp_path)!r})
port = free_port()
options = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(free_port())]
master = "org.apache.spark.deploy.master.Master"
with spark.process(folder, spark.environment_of(folder, spark.settings()), port, master, *options):
    print("ready", flush=True)
    time.sleep(600)
"""
    variables = os.environ | {"PYTHONPATH": str(spark.SOURCES), "PYTEST_XDIST_WORKER": "gw19"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT, env=variables
    ) as run:
        assert run.stdout.readline() == b"ready\n"
        below = descendants(run.pid)
        run.send_signal(signal.SIGKILL)
    assert below
    wait_until(lambda: not any(map(alive, below)), 40, "the end of the master")
