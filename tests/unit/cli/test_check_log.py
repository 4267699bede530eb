"""`driftbell check --log`: a period of the prediction log, with its archive."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from driftbell.cli import cli
from driftbell.config.settings import Settings
from driftbell.monitor import retention
from driftbell.monitor.archive_files import LocalFiles
from driftbell.monitor.retention import Archiver
from driftbell.records import CheckState, Prediction
from driftbell.records.operation import Archive
from driftbell.wiring.model import OpenedModel, open_model
from driftbell.wiring.store import open_store

DAY = timedelta(days=1)
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> OpenedModel:
    return open_model(Settings(data_dir=tmp_path_factory.mktemp("model")))


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTBELL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DRIFTBELL_CHECK__EXACT_ROWS", "1000")
    (tmp_path / "log.key").write_text("ab" * 32)
    monkeypatch.setenv("DRIFTBELL_COLUMNS__LOG_KEY_FILE", str(tmp_path / "log.key"))
    if request.param == "PostgreSQL":
        monkeypatch.setenv("DRIFTBELL_LOG__URL", request.getfixturevalue("postgres_server").clean())
    return tmp_path


def settings() -> Settings:
    from driftbell.cli.root import settings as load

    return load(None).settings


def rows(
    opened: OpenedModel, count: int, days: int, *, moved: float = 0.0, seed: int = 0
) -> list[Prediction]:
    """Return predictions on rows of the reference, over some days until now, in any order of time."""
    names, model = opened.model.schema.names, opened.model
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(opened.reference.columns[names[0]]), count)
    columns = {name: opened.reference.columns[name][chosen].copy() for name in names}
    columns[names[0]] = columns[names[0]] + moved
    outputs = model.predict(columns)
    ages = rng.uniform(0.01, days, count)
    return [
        Prediction(
            id=f"{seed}-{i}",
            time=NOW - ages[i] * DAY,
            model=model.name,
            version=model.version,
            features={name: float(columns[name][i]) for name in names},
            output=model.classes[outputs.values[i]],
            probabilities=dict(zip(model.classes, outputs.probabilities[i].tolist(), strict=True)),
            latency_ms=1.0,
        )
        for i in range(count)
    ]


def log(predictions: list[Prediction]) -> None:
    with contextlib.closing(open_store(settings())) as store:
        store.predictions.append(predictions)


def run(*args: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, ["check", *args])
    assert done.exit_code == code, done.output
    return done.stdout


def error(*args: str) -> str:
    """Return the message of a refused command."""
    done = CliRunner().invoke(cli, ["check", *args])
    return str(done.exception) if not isinstance(done.exception, SystemExit) else done.output


def exported(opened: OpenedModel, predictions: list[Prediction], folder: Path) -> tuple[str, str]:
    """Write the reference and predictions to files, as `pandas` would export them."""
    files = str(folder / "reference.parquet"), str(folder / "rows.parquet")
    pl.DataFrame({n: c.tolist() for n, c in opened.reference.columns.items()}).write_parquet(files[0])
    table = [
        {
            **p.features,
            "prediction": p.output,
            **{f"probability of {n}": v for n, v in p.probabilities.items()},
        }
        for p in predictions
    ]
    pl.DataFrame(table).write_parquet(files[1])
    return files


def columns(text: str) -> dict[str, Any]:
    return {c["comparison"]["column"]: c for c in json.loads(text)["columns"]}


@pytest.mark.parametrize("count", [400, 3000])
@pytest.mark.parametrize("moved", [0.0, 0.6])
def test_the_verdict_is_that_of_the_exported_rows(
    opened: OpenedModel, folder: Path, count: int, moved: float
) -> None:
    logged = rows(opened, count, 80, moved=moved)
    log(logged)
    log([Prediction("other", NOW - DAY, "another", "v", {}, "x", {}, 1.0)])
    files = exported(opened, logged, folder)
    code = 1 if moved else 0
    by_log, by_file = run("--log", "--since", "90d", "--json", code=code), run(*files, "--json", code=code)
    verdicts = [json.loads(text)["verdict"] for text in (by_log, by_file)]
    assert verdicts == (["warning"] * 2 if moved else ["ok"] * 2)
    old, new = columns(by_file), columns(by_log)
    assert list(old) == list(new)
    for name, column in old.items():
        assert (column["drifted"], column["verdict"]) == (new[name]["drifted"], new[name]["verdict"])
        if count <= 1000:
            assert column["adjusted_p_value"] == pytest.approx(new[name]["adjusted_p_value"])
    facts = json.loads(by_log)["detected"]["current"]
    assert ("binned" in facts) == (count > 1000)
    assert f"the {count:,} predictions of the period" in json.loads(by_log)["sentence"]


def test_rows_in_the_archive_count_once_also_half_way(
    opened: OpenedModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "FILE_ROWS", 40)
    monkeypatch.setattr(retention, "DELETE_ROWS", 7)
    monkeypatch.setattr(retention, "PAUSE_RATIO", 0.0)
    monkeypatch.setenv("DRIFTBELL_RETENTION__ARCHIVE", str(folder / "archive"))
    log(rows(opened, 700, 20, moved=0.6))
    whole = columns(run("--log", "--json", code=1))
    part = ("--log", "--since", "15d", "--until", "5d", "--json")
    ten_days = columns(run(*part, code=1))
    with contextlib.closing(open_store(settings())) as store:
        lease = store.coordination.take_lease("a", now=NOW, seconds=3600, next_run=None)
        assert lease
        archiver = Archiver(
            store, LocalFiles(folder / "archive"), days=10, kinds={}, holder="a", clock=lambda: NOW
        )
        deleted: Counter[str] = Counter()

        def die(archive: Archive, *others: Any) -> int:
            """Delete rows until, after some files, a part of the rows of another one is deleted."""
            if len(deleted) > 4 and 0 < deleted[archive.file] < archive.rows:
                raise KeyboardInterrupt
            count = delete(archive, *others)
            deleted[archive.file] += count
            return count

        delete = store.retention.delete
        monkeypatch.setattr(store.retention, "delete", die)
        with pytest.raises(KeyboardInterrupt):
            archiver.work(lease)
        states = {a.state for a in store.rows.archived(NOW - 30 * DAY, NOW, **served(opened))}
        assert states == {"done", "written"}
        assert columns(run("--log", "--json", code=1)) == whole
        monkeypatch.setattr(store.retention, "delete", delete)
        archiver.work(lease)
    text = run("--log", "--json", "--verbose", code=1)
    assert columns(text) == whole
    assert json.loads(text)["detected"]["current"]["archived"] > 300
    assert columns(run(*part, code=1)) == ten_days
    monkeypatch.delenv("DRIFTBELL_RETENTION__ARCHIVE")
    assert re.search(r"\d+ predictions of the days from .* are in the archive, but retention", error("--log"))
    assert "are in the archive" not in error("--log", "--since", "2d")
    monkeypatch.setenv("DRIFTBELL_RETENTION__ARCHIVE", str(folder / "nowhere"))
    assert "cannot read" in error("--log")


def served(opened: OpenedModel) -> dict[str, Any]:
    return {"model": opened.model.name, "version": opened.model.version}


def test_deleted_rows_are_named(opened: OpenedModel, folder: Path) -> None:
    log(rows(opened, 300, 20))
    with contextlib.closing(open_store(settings())) as store:
        lease = store.coordination.take_lease("a", now=NOW, seconds=3600, next_run=None)
        assert lease
        archiver = Archiver(store, None, days=10, kinds={}, holder="a", clock=lambda: NOW)
        deleted = archiver.work(lease)
    assert f"Retention has deleted {deleted} predictions of the days of the period." in run(
        "--log", "--since", "30d"
    )
    assert "Retention" not in run("--log", "--since", "2d", code=0)


def test_a_period_without_rows_has_no_verdict(opened: OpenedModel, folder: Path) -> None:
    log([])
    text = run("--log", code=3)
    assert text.startswith("UNKNOWN  Cannot judge: needs 10, has 0 predictions of the period.")
    assert "The log has no predictions of iris." in text
    other = [Prediction("other", NOW - DAY, "iris", "v0", {}, "x", {}, 1.0)]
    log(other)
    assert "but of v0." in run("--log", code=3)
    log(rows(opened, 30, 3))
    text = run("--log", "--since", "2025-01-01", "--until", "2025-02-01T12:00", code=3)
    assert f"The log has predictions of version {opened.model.version} from" in text
    assert "Cannot judge" in run("--log", "--since", "5d", "--until", "4d", "--fail-on", "never", code=3)


def test_the_current_window_has_the_days_of_the_period(
    opened: OpenedModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(rows(opened, 3000, 25))
    assert "the last 500 predictions" in run()
    monkeypatch.setenv("DRIFTBELL_WINDOW__PERIOD", "30d")
    text = run()
    assert "the last 3,000 predictions" in text
    assert "are compared on 256 bins" in text
    monkeypatch.setenv("DRIFTBELL_CHECK__EXACT_ROWS", "5000")
    text = run()
    assert "the last 3,000 predictions" in text
    assert "bins" not in text


def test_columns_that_are_not_logged_are_named(
    opened: OpenedModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = opened.model.schema.names[0]
    monkeypatch.setenv("DRIFTBELL_COLUMNS__LOG", f"{name}=drop")
    logged = rows(opened, 300, 3)
    log(logged)
    result = columns(run("--log", "--json"))
    assert result[name]["verdict"] == "unknown"
    assert "not logged, by columns.log" in result[name]["reason"]
    assert name in run("--log")


def test_rows_in_another_form_are_not_checked(
    opened: OpenedModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from driftbell.wiring import log_check

    log(rows(opened, 300, 3))
    names = opened.model.schema.names
    monkeypatch.setenv("DRIFTBELL_COLUMNS__LOG", f"{names[0]}=bucket")
    monkeypatch.setattr(log_check, "_state", partial(_state_since, 200))
    text = run("--log", "--since", "30d")
    assert "the 100 predictions of the period" in text
    assert "Predictions before the last change of columns.log are not checked." in text


def _state_since(since: int, *_: Any) -> CheckState:
    return CheckState(since=since)


def test_wrong_use_is_refused(opened: OpenedModel, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "DRIFTBELL_LOG__URL" not in os.environ:
        monkeypatch.setenv("DRIFTBELL_DATA_DIR", str(folder / "nothing"))
        assert "there is no prediction log" in error("--log")
        monkeypatch.setenv("DRIFTBELL_DATA_DIR", str(folder))
    log([])
    assert "no version of 'iris' is named 'nope'" in error("--log", "--version", "nope")
    for args, words in {
        ("--since", "3d"): "--since needs --log",
        ("--until", "3d"): "--until needs --log",
        ("--version", "x"): "--version needs --log",
        ("--log", "a.csv", "b.csv"): "pass no files",
        ("--log", "--label", "x"): "--label belongs to tables",
        ("--log", "--exclude", "x"): "--exclude belongs to tables",
        ("--log", "--since", "soon"): "must be a time such as 2026-01-31",
        ("--log", "--since", "3d", "--until", "4d"): "--since must be before --until",
        ("--log", "--version", ""): "must not be empty",
    }.items():
        assert words in error(*args)


def test_reports_are_written(opened: OpenedModel, folder: Path) -> None:
    log(rows(opened, 300, 3, moved=0.6))
    text = run("--log", "--html", "drift.html", "--junit", "drift.xml", "--markdown", "-", code=1)
    assert "predictions of iris" in text
    assert "predictions of iris" in (folder / "drift.html").read_text("utf-8")
    assert (folder / "drift.xml").exists()
