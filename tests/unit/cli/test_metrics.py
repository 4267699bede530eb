"""`driftbell metrics`: the prediction log, period by period, in SQLite and in PostgreSQL."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.metrics import accuracy_score, f1_score

from driftbell.cli import cli
from driftbell.cli.metrics import metrics
from driftbell.config.settings import Settings
from driftbell.drift.compare import compare
from driftbell.records import Alarm, Label, Prediction
from driftbell.wiring.model import OpenedModel, open_model
from driftbell.wiring.store import open_store

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TODAY = datetime(2026, 3, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> OpenedModel:
    return open_model(Settings(data_dir=tmp_path_factory.mktemp("model")))


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTBELL_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("driftbell.wiring.period_metrics.clock", lambda: TODAY + timedelta(hours=9))
    if request.param == "PostgreSQL":
        monkeypatch.setenv("DRIFTBELL_LOG__URL", request.getfixturevalue("postgres_server").clean())
    return tmp_path


def settings() -> Settings:
    from driftbell.cli.root import settings as load

    return load(None).settings


def predictions(opened: OpenedModel, days_ago: int, rows: int, *, moved: float = 0.0) -> list[Prediction]:
    """Return predictions of one day, on rows of the reference."""
    names, model = opened.model.schema.names, opened.model
    rng = np.random.default_rng(days_ago)
    chosen = rng.integers(0, len(opened.reference.columns[names[0]]), rows)
    columns = {name: opened.reference.columns[name][chosen].copy() for name in names}
    columns[names[0]] = columns[names[0]] + moved
    outputs = model.predict(columns)
    start = TODAY - days_ago * DAY
    return [
        Prediction(
            id=f"{days_ago}-{i}",
            time=start + timedelta(minutes=i),
            model=model.name,
            version=model.version,
            features={name: float(columns[name][i]) for name in names},
            output=model.classes[outputs.values[i]],
            probabilities=dict(zip(model.classes, outputs.probabilities[i].tolist(), strict=True)),
            latency_ms=1.0,
        )
        for i in range(rows)
    ]


def label(prediction: Prediction, value: str) -> Label:
    return Label(prediction.id, value, prediction.time + timedelta(hours=1))


def run(*args: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, ["metrics", *args])
    assert (done.exit_code, done.exception) == (code, None), done.output
    return done.stdout


def read(path: Path, column: str, metric: str) -> dict[int, float | None]:
    """Return the values of a measure by the number of days ago."""
    frame = pl.read_parquet(path).filter(column_name=column, metric=metric)
    days = ((TODAY - start) // DAY for start in frame["start"])
    return dict(zip(days, frame["value"], strict=True))


def test_each_day_has_its_metrics(opened: OpenedModel, folder: Path) -> None:
    classes, name = opened.model.classes, opened.model.schema.names[0]
    days = {
        4: predictions(opened, 4, 120),
        2: predictions(opened, 2, 90, moved=3.0),
        1: predictions(opened, 1, 5),
    }
    truth = {p.id: classes[(classes.index(p.output) + (i % 3 == 0)) % 3] for i, p in enumerate(days[4])}
    with contextlib.closing(open_store(settings())) as store:
        assert run("-o", "m.parquet").startswith("nothing to write")
        for rows in days.values():
            store.predictions.append(rows)
        other = Prediction("other", TODAY - 9 * DAY, "another", "v", {}, "x", {}, 1.0)
        store.predictions.append([other])
        store.labels.add([label(p, classes[0]) for p in days[4][:60]])
        store.labels.add([label(p, truth[p.id]) for p in days[4][:100]])  # corrects the first ones
        path = folder / "m.parquet"
        assert run("-o", "m.parquet") == (
            "m.parquet: 5 periods with 215 predictions: 1 warning, 3 unknown, 1 ok\n"
        )
        assert read(path, "", "needs_labels") == {4: 0, 3: None, 2: 0, 1: None, 0: None}
        assert read(path, "", "rows") == {4: 120, 3: 0, 2: 90, 1: 5, 0: 0}
        assert read(path, "", "labelled") == {4: 100, 3: 0, 2: 0, 1: 0, 0: 0}
        frame = pl.read_parquet(path)
        assert frame["source"].unique().to_list() == [f"{opened.model.name} {opened.model.version}"]
        verdicts = dict(frame.filter(metric="rows").select("start", "verdict").rows())
        assert list(verdicts.values()) == ["ok", "unknown", "warning", "unknown", "unknown"]
        assert frame.filter(metric="rows")["complete"].to_list() == [True] * 4 + [False]
        answers, labels = [p.output for p in days[4][:100]], [truth[p.id] for p in days[4][:100]]
        accuracy = read(path, "", "realized_accuracy")
        assert accuracy == {4: accuracy_score(labels, answers), 3: None, 2: None, 1: None, 0: None}
        assert read(path, "", "realized_f1")[4] == pytest.approx(f1_score(labels, answers, average="macro"))
        estimated = read(path, "", "estimated_accuracy")
        assert [day for day, value in estimated.items() if value is not None] == [4, 2]
        assert 0.8 < estimated[4] <= 1
        for day in (4, 2):
            values = np.array([p.features[name] for p in days[day]], dtype=float)
            assert read(path, name, "mean")[day] == pytest.approx(np.mean(values), rel=1e-12)
            assert read(path, name, "q95")[day] == pytest.approx(np.quantile(values, 0.95), rel=1e-12)
            (compared,) = compare({name: opened.reference.columns[name]}, {name: values})
            assert read(path, name, "distance")[day] == max(e.size for e in compared.effects)
        assert read(path, name, "drifted") == {4: 0, 3: None, 2: 1, 1: None, 0: None}

        store.labels.add([label(p, p.output) for p in days[2]])  # labels come late
        before = pl.read_parquet(path)
        assert run("-o", "m.parquet", "--since", "2026-03-08T05:00").startswith("m.parquet: 3 periods")
        assert read(path, "", "realized_accuracy") == {**accuracy, 2: 1.0}
        after = pl.read_parquet(path)
        of_labels = pl.col("metric").is_in(["labelled", "needs_labels"])
        own = ~pl.col("metric").str.starts_with("realized_") & ~of_labels
        assert after.filter(own).equals(before.filter(own))  # a later replay changes nothing else


def test_a_period_with_an_open_alarm_is_an_alarm(
    opened: OpenedModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = opened.model.name, opened.model.version
    alarm = Alarm("a", *served, TODAY - 3 * DAY + HOUR, TODAY - 2 * DAY + HOUR, "")
    other = Alarm("b", *served, TODAY - HOUR, TODAY, "")
    monkeypatch.setattr("driftbell.store.alarms.SqlAlarms.newest", lambda *_, **__: [other, alarm])
    with contextlib.closing(open_store(settings())) as store:
        store.predictions.append(predictions(opened, 4, 100))
    run("-o", "m.parquet", "--period", "24h")
    rows = pl.read_parquet(folder / "m.parquet").filter(metric="rows")
    assert rows["verdict"].to_list() == ["ok", "alarm", "alarm", "alarm", "unknown"]


def test_periods_that_retention_has_cut_stay_as_they_are(
    opened: OpenedModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(open_store(settings())) as store:
        for day in (3, 2, 1):
            store.predictions.append(predictions(opened, day, 10))
        run("-o", "m.parquet")
        monkeypatch.setenv("DRIFTBELL_RETENTION__DAYS", "2")
        assert run("-o", "m.parquet") == "m.parquet: 3 periods with 20 predictions: 1 unknown, 2 ok\n"
        assert read(folder / "m.parquet", "", "rows") == {3: 10, 2: 10, 1: 10, 0: 0}


def test_since_is_a_time_or_a_duration() -> None:
    option: Any = next(p for p in metrics.params if p.name == "since")
    assert option.callback(None, option, "2026-01-31") == datetime(2026, 1, 31, tzinfo=UTC)
    assert option.callback(None, option, "2026-01-31T02:00+02:00") == datetime(2026, 1, 31, tzinfo=UTC)
    before = datetime.now(UTC) - 3 * DAY
    assert before <= option.callback(None, option, "3d") <= before + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "Missing option '-o' / '--metrics'"),
        (("-o", "m.xml"), "--metrics must be FILE.parquet"),
        (("-o", "m.csv", "--period", "often"), "must be an interval"),
        (("-o", "m.csv", "--since", "yesterday"), "must be a time such as 2026-01-31, or a duration"),
        (("-o", "m.csv", "--since", "0001-01-01", "--period", "1s"), "at most 100000 are possible"),
    ],
)
def test_what_is_wrong_is_named(
    args: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTBELL_DATA_DIR", str(tmp_path))
    open_store(Settings(data_dir=tmp_path)).close()
    done: Any = CliRunner().invoke(cli, ["metrics", *args])
    assert words in done.output + str(done.exception)
    assert done.exit_code != 0
