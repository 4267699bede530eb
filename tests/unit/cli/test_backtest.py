"""`driftbell backtest`: what it prints, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import click
import polars as pl
import pytest
from click.testing import CliRunner, Result

from driftbell.cli import cli
from driftbell.cli.backtest_table import _line, print_checks
from driftbell.cli.model_options import _split
from driftbell.errors import ConfigError, DriftbellError
from driftbell.records import Verdict
from driftbell.simulation.backtest_checks import Backtest, BacktestCheck, BacktestReference


def write(path: Path, rows: int, *, wrong: int = 10) -> None:
    """Write rows of which one in ten is answered wrongly, or more."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["day", "age", "plan", "answer", "p=low", "p_high", "truth"])
        for i in range(rows):
            truth = int(i * 37 % 100 > 50)
            answer = 1 - truth if i % wrong == 0 else truth
            sure = 0.8 + i % 3 * 0.05
            p_high = sure if answer else 1 - sure
            names = ["<=50K", ">50K"]
            writer.writerow(
                [
                    i,
                    i * 37 % 100,
                    "ab"[i % 2],
                    names[answer],
                    f"{1 - p_high:.2f}",
                    f"{p_high:.2f}",
                    names[truth],
                ]
            )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tables")
    write(place / "before.csv", 300)
    write(place / "now.csv", 250)
    write(place / "worse.csv", 200, wrong=2)
    (place / "broken.csv").write_text("a,b\n1\n")
    (place / "broken.parquet").write_bytes(b"no parquet")
    return place


def backtest(folder: Path, *args: str, stream: str = "now.csv", code: int | None = 0) -> Result:
    given = ["backtest", "--reference", str(folder / "before.csv"), "--stream", str(folder / stream)]
    usual = ["--prediction", "answer", "--timestamp", "day", "--window-rows", "100"]
    done = CliRunner().invoke(cli, [*given, *usual, *args])
    if code is not None:
        assert (done.exit_code, done.exception) == (code, None), done.output
    return done


CLASSES = ("--probability", "<=50K=p=low", "--probability", ">50K=p_high")


def test_one_json_object_a_check_and_nothing_else_on_stdout(folder: Path) -> None:
    done = backtest(folder, *CLASSES, "--label", "truth", "--json", stream="worse.csv")
    checks = [json.loads(line) for line in done.stdout.splitlines()]
    assert [c["index"] for c in checks] == [0, 1]
    assert set(checks[0]) == {
        *(
            "index",
            "rows",
            "verdict",
            "score",
            "evidence",
            "columns",
            "estimated_loss",
            "interval",
            "sentence",
            "reference_score",
            "reference_metric",
            "notes",
            "start",
            "end",
            "complete",
            "labelled",
            "estimated",
            "realized",
            "change_point",
            "needs_labels",
            "column_stats",
        )
    }
    assert checks[-1]["verdict"] == "alarm"
    assert checks[-1]["score"] >= 1
    low, high = checks[-1]["interval"]
    assert low < checks[-1]["estimated_loss"] < high
    assert done.stderr == ""


def test_a_line_a_check_and_a_summary(folder: Path) -> None:
    done = backtest(folder, *CLASSES, "--label", "truth")
    header, *lines, summary, reading = done.stdout.splitlines()
    assert " ".join(header.split()) == "check verdict score loss (90 % interval) columns"
    assert reading.startswith(
        "Score: the evidence for a loss of at least 0.02; an alarm needs 1. Loss: of accuracy "
    )
    assert "need not fit the performance of the check's own rows" in reading
    assert [line.split()[:2] for line in lines] == [["0", "ok"], ["1", "ok"]]
    assert summary == "2 checks of 100 rows: 2 ok. On the reference: accuracy 0.9."
    assert done.stderr == "the last 50 rows are less than a window and were not checked\n"


def test_a_backtest_without_labels_says_what_only_labels_show(folder: Path) -> None:
    unlabelled = backtest(folder, *CLASSES)
    assert unlabelled.stdout.splitlines()[-1] == (
        "2 of 2 checks have rows without a label, and only labels show concept drift (other true values for "
        "the same inputs)."
    )


def test_an_alarm_is_no_failure(folder: Path) -> None:
    done = backtest(folder, *CLASSES, "--label", "truth", stream="worse.csv")
    assert "first alarm at check" in done.stdout.splitlines()[-2]


def check_with(**values: Any) -> BacktestCheck:
    facts: dict[str, Any] = {
        "index": 0,
        "rows": 500,
        "verdict": Verdict.OK,
        "score": 0.5,
        "evidence": {},
        "columns": (),
    }
    facts |= {"estimated_loss": 0.05, "interval": (0.01, 0.09), "sentence": "No alarm yet: … show a loss"}
    return BacktestCheck(**facts | values)


@pytest.mark.parametrize(
    ("score", "text"), [(0.126, "0.13"), (999.99, "999.99"), (1000.0, "> 999"), (1e9, "> 999")]
)
def test_a_large_score_has_a_mark(score: float, text: str) -> None:
    line = _line(check_with(score=score), by_time=False)
    assert line == f"    0  ok          {text:>6}  0.05 (0.01 to 0.09)"


@pytest.mark.parametrize(
    ("values", "is_explained"),
    [
        ({}, True),
        ({"verdict": Verdict.WARNING}, True),
        ({"verdict": Verdict.ALARM}, False),
        ({"estimated_loss": 0.01}, False),
        ({"needs_labels": True, "verdict": Verdict.WARNING}, False),
        ({"sentence": "No drift: all 6 columns look like the reference.", "interval": (-0.1, 0.2)}, False),
    ],
)
def test_a_relevant_loss_without_an_alarm_is_explained(
    values: dict[str, Any], is_explained: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = BacktestReference(100, "accuracy", {}, 0.02, ())
    print_checks(
        Backtest(lambda: iter([check_with(**values)]), reference, count=1), "500 rows", as_json=False
    )
    printed = capsys.readouterr().out
    first = "The first check with a loss of 0.02 or more and no alarm: No alarm yet: … show a loss"
    assert (first in printed) is is_explained


def test_the_configuration_file_sets_columns_budget_and_smallest_loss(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "own.toml"
    config.write_text(
        '[columns]\nexclude = ["plan"]\n[alarms]\nbudget = "1 per 20 checks"\nsmallest_loss = 0.6\n'
    )
    worse = (*CLASSES, "--label", "truth", "--json")
    alone = [json.loads(line) for line in backtest(folder, *worse, stream="worse.csv").stdout.splitlines()]
    configured = backtest(folder, *worse, "--config", str(config), stream="worse.csv").stdout.splitlines()
    checks = [json.loads(line) for line in configured]
    assert "plan" in json.dumps(alone)
    assert "plan" not in json.dumps(checks)
    assert "alarm" in {check["verdict"] for check in alone}
    assert "alarm" not in {check["verdict"] for check in checks}  # a loss of 60 points is the smallest
    options = ("--config", str(config), "--budget", "1 per 1000 checks", "--smallest-loss", "0.02")
    again = backtest(folder, *worse, *options, stream="worse.csv").stdout.splitlines()
    assert "alarm" in {json.loads(line)["verdict"] for line in again}


def test_the_configuration_file_sets_the_costs(folder: Path, tmp_path: Path) -> None:
    """An unchanged stream has the same costs, of which one answer in ten is wrong."""
    config = tmp_path / "own.toml"
    config.write_text(
        '[alarms.costs]\n"<=50K" = {">50K" = 50}\n">50K" = {"<=50K" = 50}\n[alarms]\ncurrency = "EUR"\n'
    )
    options = (*CLASSES, "--label", "truth", "--json", "--config", str(config))
    first, *_ = map(json.loads, backtest(folder, *options).stdout.splitlines())
    assert first["reference_metric"] == "cost per prediction"
    assert first["reference_score"] == pytest.approx(5.0)
    *_, last = map(json.loads, backtest(folder, *options, stream="worse.csv").stdout.splitlines())
    wrong = 1 - last["realized"]["accuracy"]["value"]
    assert last["realized"]["cost"]["value"] == pytest.approx(50 * wrong)
    assert "cost per prediction 5.00 → " in last["sentence"]
    assert " EUR (90 % interval: " in last["sentence"]
    low, high = last["interval"]
    assert low <= 50 * wrong - 5.0 <= high


def test_a_budget_per_time_of_the_configuration_file_counts_the_configured_checks(
    folder: Path, tmp_path: Path
) -> None:
    tables = (*CLASSES, "--label", "truth", "--json")
    config = tmp_path / "own.toml"
    config.write_text('[check]\nevery = "1h"\n[alarms]\nbudget = "2 per 1d"\n')
    done = backtest(folder, *tables, "--config", str(config), stream="worse.csv")
    assert done.stdout == backtest(folder, *tables, "--budget", "1 per 12 checks", stream="worse.csv").stdout


def test_columns_and_labels_that_are_null_everywhere_are_noted(tmp_path: Path) -> None:
    row = {"x": [0.0, 1.0] * 100, "empty": [None] * 200, "answer": ["a", "b"] * 100}
    for name, truth in (("before", ["a", "b"] * 100), ("now", [None] * 200)):
        pl.DataFrame({**row, "y": truth}).write_parquet(tmp_path / f"{name}.parquet")
    arguments = ["backtest", "--reference", str(tmp_path / "before.parquet"), "--prediction", "answer"]
    arguments += ["--stream", str(tmp_path / "now.parquet"), "--label", "y", "--window-rows", "100"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines() == [
        "note: column 'empty' is null in every row of both tables and is not compared",
        "note: the stream has no labels in 'y': losses are estimated",
    ]


def test_a_line_a_period_and_a_summary(tmp_path: Path) -> None:
    for name, days in (("before", (1, 2)), ("now", (3, 5))):
        rows = [f"2026-03-0{day}T{i % 24:02}:00:00,{i * 37 % 100}" for day in days for i in range(60)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["when,age", *rows]))
    tables = ("--reference", str(tmp_path / "before.csv"), "--stream", str(tmp_path / "now.csv"))
    args = ["backtest", *tables, "--timestamp", "when", "--every", "1d", "--budget", "1 per 30d"]
    done = CliRunner().invoke(cli, args)
    header, *lines, summary, reason = done.stdout.splitlines()
    assert " ".join(header.split()) == "start (UTC) rows verdict score loss (90 % interval) columns"
    assert [line.split()[:4] for line in lines] == [
        ["2026-03-03", "00:00", "60", "ok"],
        ["2026-03-04", "00:00", "0", "unknown"],
        ["2026-03-05", "00:00", "60", "ok"],
    ]
    assert summary == "3 checks of 1d: 1 unknown, 2 ok."
    assert reason.startswith("The first unknown check: Cannot judge: needs 10, has 0 ")
    assert done.stderr == ""
    checks = [json.loads(line) for line in CliRunner().invoke(cli, [*args, "--json"]).stdout.splitlines()]
    assert [c["start"] for c in checks][:2] == ["2026-03-03T00:00:00+00:00", "2026-03-04T00:00:00+00:00"]
    assert [c["column_stats"][0]["null_share"] for c in checks] == [0.0, None, 0.0]


def test_a_growing_file_is_replayed_into_the_same_metrics(tmp_path: Path) -> None:
    def write_days(name: str, *days: int) -> str:
        rows = [f"2026-03-{day:02}T{i % 24:02}:00:00,{i * 37 % 100}" for day in days for i in range(60)]
        (tmp_path / name).write_text("\n".join(["when,age", *rows]))
        return str(tmp_path / name)

    args = ["backtest", "--reference", write_days("before.csv", 1, 2), "--timestamp", "when", "--every", "1d"]
    target = ("--metrics", f"{tmp_path}/metrics.csv")
    for days in ((3, 5), (3, 5), (3, 5, 6)):
        done = CliRunner().invoke(cli, [*args, "--stream", write_days("now.csv", *days), *target])
        assert (done.exit_code, done.exception) == (0, None), done.output
    with (tmp_path / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "rows"]
    assert [(r["start"][:10], r["value"], r["verdict"]) for r in rows] == [
        ("2026-03-03", "60.0", "ok"),
        ("2026-03-04", "0.0", "unknown"),
        ("2026-03-05", "60.0", "ok"),
        ("2026-03-06", "60.0", "ok"),
    ]
    assert {row["source"] for row in rows} == {"now.csv"}
    for bad in (
        ("--window-rows", "10"),
        ("--metrics", "metrics.txt"),
        ("--metrics", ""),
        ("--metrics", f"{tmp_path}/no/m.csv"),
    ):
        done = CliRunner().invoke(cli, [*args, "--stream", f"{tmp_path}/now.csv", *target, *bad])
        assert "--metrics" in (done.stderr or str(done.exception))
        assert done.exit_code != 0


def test_labels_that_are_not_named_are_a_feature_that_must_be_there(folder: Path) -> None:
    done = backtest(folder, *CLASSES, "--budget", "1 per 30d", "--every", "5m", "--json")
    assert len(done.stdout.splitlines()) == 2


def test_parquet_gives_what_csv_gives(folder: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    from driftbell.tabular.typed_column import plain_columns, read_columns

    for name in ("before", "now"):
        columns = {k: v.tolist() for k, v in plain_columns(read_columns(folder / f"{name}.csv")).items()}
        parquet.write_table(pa.table(columns), folder / f"{name}.parquet")
    args = (*CLASSES, "--label", "truth", "--json")
    other = ("--reference", str(folder / "before.parquet"), "--stream", str(folder / "now.parquet"))
    assert backtest(folder, *args, *other).stdout == backtest(folder, *args).stdout


@pytest.mark.parametrize(
    ("pair", "columns", "expected"),
    [
        ("yes=p", ["p"], ("yes", "p")),
        ("<=50K=p", ["p"], ("<=50K", "p")),
        ("<=50K=p=low", ["p=low"], ("<=50K", "p=low")),
        ("a=b=c", ["c", "b=c"], ("a=b", "c")),
        ("a=b=c", [], ("a=b", "c")),
    ],
)
def test_where_a_pair_is_split(pair: str, columns: list[str], expected: tuple[str, str]) -> None:
    assert _split(pair, columns) == expected


@pytest.mark.parametrize("pair", ["yes", "=p", "yes=", "=", ""])
def test_a_pair_that_is_none(pair: str) -> None:
    with pytest.raises(ConfigError, match="--probability must be CLASS=COL"):
        _split(pair, ["p"])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--probability", "a=p_high", "--probability", "a=p_high"), ["--probability", "'a'", "twice"]),
        (("--probability", ">50K=p_hihg"), ["the reference has no column 'p_hihg'", "p_high"]),
        (("--label", "turth"), ["'turth'", "truth"]),
        (("--prediction", "anwser"), ["'anwser'", "answer"]),
        (("--timestamp", "plan"), ["column 'plan'", "row 0", "'a' is not a time"]),
        (("--window-rows", "1000"), ["the stream needs at least 1000 rows, has 250"]),
        (("--window-rows", "0"), ["--window-rows"]),
        (("--label-delay", "-1"), ["--label-delay"]),
        (("--budget", "often"), ["--budget", "'1 per 30d'"]),
        (("--every", "5"), ["--every", "'5m'"]),
        (("--smallest-loss", "0"), ["smallest_loss must be more than 0"]),
        (("--seed", "-1"), ["--seed"]),
        (("--stream", "nowhere.csv"), ["--stream", "nowhere.csv"]),
        (("--reference", "nowhere.parquet"), ["--reference", "nowhere.parquet"]),
        (("--stream", "before.xlsx"), ["--stream", "before.xlsx"]),
        (("--stream", "{folder}/broken.csv"), ["--stream", "line 2 has 1 cell"]),
        (("--stream", "{folder}/broken.parquet"), ["--stream", "broken.parquet"]),
    ],
)
def test_what_is_wrong_is_named(folder: Path, args: tuple[str, ...], words: list[str]) -> None:
    done = backtest(folder, *(a.format(folder=folder) for a in args), code=None)
    assert isinstance(done.exception, DriftbellError | SystemExit), done.exception
    message = done.stderr if isinstance(done.exception, SystemExit) else str(done.exception)
    assert done.exit_code == (2 if isinstance(done.exception, SystemExit) else 1)
    for word in words:
        assert word in message


def test_help_tells_the_exit_codes() -> None:
    command: Any = cli.get_command(click.Context(cli), "backtest")
    with click.Context(command) as context:
        assert "Exit codes: 0 the " in command.get_help(context)
        assert "ran, with or without alarms; 2 it could not run." in command.get_help(context)


def test_a_page_is_written(folder: Path, tmp_path: Path) -> None:
    backtest(folder, *CLASSES, "--label", "truth", "--html", str(tmp_path / "page.html"), stream="worse.csv")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "1 alarm in 2 checks" in page
    assert f"{folder / 'before.csv'}, 300 rows" in page
    assert '<svg class="backtest"' in page
    target = str(tmp_path / "missing" / "page.html")
    done = backtest(folder, "--html", target, code=None)
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception) == f"--html: cannot write {target}: there is no folder {tmp_path / 'missing'}"
