"""Spark counts as Polars does, on a real cluster and by Spark Connect, and its faults are named."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests import spark
from tests.conftest import alive, descendants, wait_until
from tests.spark_tables import hostile, plan_of, whole

import driftbell
from driftbell.engines import spark_counts
from driftbell.engines.count_parts import count_table
from driftbell.engines.large_files import open_large
from driftbell.engines.spark_counts import count_files_on_executors
from driftbell.engines.spark_files import stored_files
from driftbell.engines.spark_tables import SparkTable, read_source
from driftbell.errors import ConfigError, InputError
from driftbell.tabular.column_options import ColumnOptions

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


@pytest.mark.parametrize(
    "options", [ColumnOptions(), ColumnOptions({"tiny": "categorical"}, nulls=["-999", "7"])]
)
def test_counts_are_those_of_polars_to_the_last_bit(session: Any, tmp_path: Path, options: Any) -> None:
    plan = plan_of(hostile(900, 0), options)
    for i in range(3):
        hostile(1500, i + 1).write_parquet(tmp_path / f"{i}.parquet")
    by_polars = count_table(open_large(str(tmp_path)).parts(list(plan.bins)), plan)
    files = read_source(session, str(tmp_path))
    assert files.detected["files"] == 3
    rows = [SparkTable(files.frame.repartition(2), "rows")] if options.nulls else []
    for source in (files, *rows):
        by_spark = source.count(plan)
        assert {name: counts.rows for name, counts in by_spark.items()} == dict.fromkeys(plan.bins, 4500)
        for name, counts in by_polars.items():
            assert whole(by_spark[name]) == whole(counts), name


def test_executors_read_the_columns_that_files_store_as_spark_reads_them(
    session: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "a b%20ü" / "year=2026"
    folder.mkdir(parents=True)
    stored = {"x": np.arange(900) % 50 / 10, "year": ["stored"] * 900, "some": [1] * 900, "s": ["a"] * 900}
    first = pl.DataFrame(stored).with_columns(
        pl.date(1500, 1, 1).alias("old"), pl.date(2000, 1, 1).alias("new"), pl.lit(1, pl.UInt8).alias("byte")
    )
    first.with_columns(pl.col("s").cast(pl.Categorical)).write_parquet(folder / "1.parquet")
    first.drop("some").write_parquet(folder / "2.parquet", row_group_size=200)
    frame = session.read.option("mergeSchema", "true").parquet(str(folder.parent))
    plan = plan_of(first, ColumnOptions())
    files = stored_files(frame)
    assert files.paths == tuple(str(folder / f"{i}.parquet") for i in (1, 2))
    by_files = count_files_on_executors(session, files, plan, 1800)
    assert sorted(by_files) == ["new", "s", "x"]
    by_rows = SparkTable(frame.repartition(2), "rows").count(plan)
    every = SparkTable(frame, "files").count(plan)
    assert {n: whole(c) for n, c in every.items()} == {n: whole(c) for n, c in by_rows.items()}
    assert {n: whole(c) for n, c in by_files.items()} == {n: whole(by_rows[n]) for n in by_files}
    assert count_files_on_executors(session, files, plan, 1801) == {}  # the files have changed


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
    text = text.replace(" rows of the file ", " rows ")
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


def test_labels_and_data_frames_of_pandas_on_spark(session: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    paths = [str(tmp_path / "past.parquet"), str(tmp_path / "now.parquet")]
    for path, rows, wrong in zip(paths, (900, 4000), (0.1, 0.3), strict=True):
        label = rng.integers(0, 2, rows)
        answer = np.where(rng.random(rows) < wrong, 1 - label, label)
        columns = (
            table(rows, rows)
            .drop("City")
            .with_columns(
                pl.Series("label", label), pl.Series("answer", answer), pl.Series("1", 0.2 + 0.6 * answer)
            )
        )
        columns.with_columns(pl.when(pl.col("a.b") > 1).then("label")).write_parquet(path)
    roles: dict[str, Any] = {"prediction": "answer", "label": "label", "probabilities": {"1": "1"}}
    by_files = driftbell.check(*paths, exact_rows=1000, **roles)
    assert by_files.verdict.value == "alarm"
    frames = [session.read.parquet(path) for path in paths]
    pandas = [frame.repartition(2).pandas_api() for frame in frames]
    for reference, current in (frames, pandas, (paths[0], pandas[1])):
        result = driftbell.check(reference, current, exact_rows=1000, **roles)
        assert without_engine(result.to_json()) == without_engine(by_files.to_json())


def test_the_counts_of_many_tasks_are_merged(session: Any) -> None:
    frame = session.range(5000).selectExpr("id % 97 AS x", "cast(id % 3 AS string) AS s").repartition(12)
    plan = plan_of(
        pl.DataFrame({"x": np.arange(97) % 90, "s": ["0", "a", "b"] * 32 + ["a"]}), ColumnOptions()
    )
    counts = SparkTable(frame, "numbers").count(plan)
    assert counts["x"].numbers.rows == counts["s"].rows == 5000
    assert counts["x"].numbers.beyond == (0, sum(i % 97 > 89 for i in range(5000)))
    assert SparkTable(frame.limit(0), "nothing").count(plan)["x"].rows == 0


def killing_once(marker: str) -> Any:
    """Return a function of batches that kills its executor after the first one, once."""

    def batches_and_kill(batches: Any) -> Any:
        import os
        import signal
        from pathlib import Path

        for i, batch in enumerate(batches):
            yield batch
            if i == 0:
                try:
                    os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    continue
                process = os.getpid()
                while Path(f"/proc/{process}/comm").read_text("utf-8").strip() != "java":
                    stat = Path(f"/proc/{process}/stat").read_text("utf-8")
                    process = int(stat.rpartition(")")[2].split()[1])
                os.kill(process, signal.SIGKILL)

    return batches_and_kill


def test_an_executor_that_is_killed_half_way_changes_no_count(
    session: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    frame = session.range(0, 40_000, 1, 2).selectExpr("id % 50 AS x")
    plan = plan_of(pl.DataFrame({"x": np.arange(100) % 50}), ColumnOptions())
    before = SparkTable(frame, "numbers").count(plan)
    kill = killing_once(str(tmp_path / "by rows"))
    by_rows = SparkTable(frame.mapInArrow(kill, "x long"), "numbers").count(plan)
    files, on_executor = tmp_path / "files", spark_counts._on_executor
    pl.DataFrame({"x": np.arange(40_000) % 50}).write_parquet(files / "1.parquet", mkdir=True)

    def killed(name: str, *arguments: Any) -> Any:
        run, kill = on_executor(name, *arguments), killing_once(str(tmp_path / "by files"))
        return (lambda batches: run(kill(batches))) if name == "count_runs" else run

    monkeypatch.setattr(spark_counts, "_on_executor", killed)
    frame = session.read.parquet(str(files))
    by_files = count_files_on_executors(session, stored_files(frame), plan, 40_000)
    assert (tmp_path / "by rows").exists()
    assert (tmp_path / "by files").exists()
    assert whole(by_rows["x"]) == whole(by_files["x"]) == whole(before["x"])
    assert by_files["x"].rows == 40_000


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
    exact_times = pl.select(
        pl.datetime_range(pl.datetime(2026, 1, 1), pl.datetime(2026, 1, 9), time_unit="ns")
    )
    exact_times.write_parquet(tmp_path / "times.parquet")
    with pytest.raises(ConfigError, match=r"times\.parquet: it has times in nanoseconds, which Spark cannot"):
        read_source(session, str(tmp_path / "times.parquet"))
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
        "numbers in the reference, text in current: 2,000 of 2,000 cells such as 'n/k'"
        in result.columns[1].reason
    )
    torn = (now / "1.parquet").read_bytes()
    (now / "2.parquet").write_bytes(torn[:4] + b"?" * 2000 + torn[2004:])
    frame = session.read.parquet(str(now))
    with pytest.raises(ConfigError, match=r"cannot read the current table: .*file:\S*/now/2\.parquet"):
        driftbell.check(str(past), frame, exact_rows=1000)
    with pytest.raises(InputError, match="duplicate column name 'x'"):
        driftbell.check(session.sql("SELECT 1 AS x, 2 AS x"), {"x": [1]})
    profile = driftbell.profile({"id": [1, 2] * 20})
    with pytest.raises(ConfigError, match=r"more than exact_rows .* a sample such as frame\.sample"):
        driftbell.check(profile, session.range(2000), exact_rows=1000)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | environment | {"PYTHONPATH": f"{spark.SOURCES}:{ROOT}"}
    variables.pop("SPARK_CONNECT_MODE_ENABLED", None)  # of this process
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=variables, timeout=200, check=False)


WITH_SCANS = """
import sys
from driftbell.cli import main
from driftbell.wiring import spark_check
from tests.spark_tables import scans
def read_source(session, source, read=spark_check.read_source):
    if source.endswith("now"):
        print("scans:", *scans(session, source), file=sys.stderr)
    return read(session, source)
spark_check.read_source = read_source
main()
"""
"""Program of the command that also prints which data frames of the current files are plain scans."""


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
    command = ["check", *paths, "--json", "--column", "city=categorical"]
    by_polars = run("-m", "driftbell", *command, DRIFTBELL_CHECK__EXACT_ROWS="1000")
    by_spark = run("-c", WITH_SCANS, *command, "--engine", "spark", *options, **variables)
    assert by_spark.returncode == by_polars.returncode == 1, by_spark.stderr
    assert "scans: files\n" in by_spark.stderr
    assert without_engine(by_spark.stdout) == without_engine(by_polars.stdout)
    detected = json.loads(by_spark.stdout)["detected"]["current"]
    assert detected.pop("engine").startswith("Spark 4")
    assert (detected["format"], detected["files"]) == ("Parquet", 2)


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
