"""The gate: quiet on an unchanged past, not on a changed one; harmful faults must be caught; exit codes."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tests.command_line import driftbell
from tests.conftest import with_models

from driftbell.cli.gate import gate as gate_command
from driftbell.config import settings as config
from driftbell.records import Label
from driftbell.simulation.faults import Fault, FaultKind
from driftbell.simulation.gate import GateStatus, Past, _settling, allowed_alarms, catches
from driftbell.simulation.rehearsal import Rehearsal, as_predictions
from driftbell.simulation.traffic import iris_rows
from driftbell.tabular.column_options import ColumnOptions
from driftbell.tabular.schema import infer_schema
from driftbell.testing import FakeModel
from driftbell.wiring import gate, offline
from driftbell.wiring.store import open_store

LENGTH, WIDTH = "petal length (cm)", "petal width (cm)"
SHIFT = f"shift:{LENGTH}=+1.76"
ROWS = 500


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_models(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def iris(data_dir: Path) -> Rehearsal:
    overrides = {"data_dir": str(data_dir)}
    return offline.rehearsal(config.load(None, overrides=overrides, environment={}).settings)


@pytest.fixture(autouse=True)
def fitted_once(iris: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        gate, "rehearsal", lambda settings: replace(iris, window_rows=settings.window.rows)
    )  # fitting another one takes seconds


@pytest.fixture(scope="module")
def rows(iris: Rehearsal) -> list[dict[str, Any]]:
    """Return rows without a fault, with the labels of their nearest flowers in column `truth`."""
    sample = iris_rows(4 * ROWS, np.random.default_rng(3))
    names = iris.model.schema.names
    table = np.column_stack([iris.reference.columns[n] for n in names])
    assert iris.reference.labels is not None
    for row in sample:
        nearest = np.abs(table - [row[n] for n in names]).sum(axis=1).argmin()
        row["truth"] = iris.reference.labels[nearest]
    return sample


def command(data_dir: Path, *args: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return driftbell("gate", "--data-dir", str(data_dir), *args, cwd=data_dir, **settings)


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def shifted(rows: list[dict[str, Any]], start: int) -> list[dict[str, Any]]:
    return [*rows[:start], *({**row, LENGTH: round(row[LENGTH] + 1.8, 1)} for row in rows[start:])]


@pytest.mark.parametrize(("checks", "rate"), [(1, 1000.0), (40, 200.0), (500, 100.0), (3000, 8640.0)])
def test_the_allowed_alarms_are_the_binomial_quantile(checks: int, rate: float) -> None:
    assert allowed_alarms(checks, rate) == stats.binom.ppf(0.99, checks, 1 / rate)


def test_at_the_budget_a_gate_fails_in_at_most_one_percent() -> None:
    rng = np.random.default_rng(0)
    for checks, rate in ((50, 1000.0), (400, 200.0)):
        alarms = rng.binomial(checks, 1 / rate, 20_000)
        assert np.mean(alarms > allowed_alarms(checks, rate)) <= 0.012


@pytest.mark.slow
def test_an_unchanged_past_is_quiet_and_faults_are_caught(
    tmp_path: Path, data_dir: Path, rows: list[dict[str, Any]]
) -> None:
    done = command(
        data_dir, "--past", write(tmp_path / "past.csv", rows), "--label", "truth", "--fault", SHIFT
    )
    assert (done.returncode, done.stderr) == (0, "")
    quiet, caught, outcome = done.stdout.splitlines()
    assert quiet.startswith("PASSED   quiet: 0 alarms in 4 checks of 500 rows of ")
    assert quiet.endswith("; the budget, 1 per 30d, allows 0")
    assert caught == "PASSED   catches: 1 of 1 harmful fault caught within 20 windows of 500 rows"
    assert outcome.startswith(f"{'':2}{SHIFT}: alarm after 500 rows; actual loss ")


def test_a_changed_past_fails_with_the_check_the_column_and_the_row(
    tmp_path: Path, data_dir: Path, rows: list[dict[str, Any]]
) -> None:
    past = write(tmp_path / "past.csv", shifted(rows, 2 * ROWS))
    done = command(data_dir, "--past", past, "--fault", SHIFT)
    assert (done.returncode, done.stderr) == (1, "")
    quiet, alarm, drift, caught, _, numbering = done.stdout.splitlines()
    assert numbering == "Checks and rows are counted from 0."
    assert quiet.startswith("FAILED   quiet: 1 alarm in 4 checks")
    assert alarm.startswith("  alarm at check 2 (rows 1000 to 1499), lasts 2 checks: The model loses ")
    assert "since row 1000" in alarm
    assert f"suspect columns: {LENGTH}" in alarm
    assert "2000-01-01" not in alarm
    assert f"{LENGTH} (2)" in drift
    assert caught.startswith("PASSED")


def test_a_reference_of_another_period_is_not_quiet(
    tmp_path: Path, data_dir: Path, rows: list[dict[str, Any]]
) -> None:
    done = command(
        data_dir, "--past", write(tmp_path / "past.csv", shifted(rows, 0)), "--json", "--fault", SHIFT
    )
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert result["status"] == result["quiet"]["status"] == "failed"
    (alarm,) = result["quiet"]["alarms"]
    assert (alarm["check"], alarm["checks"], alarm["rows"]) == (0, 4, [0, 499])
    assert alarm["columns"][0] == LENGTH
    assert result["catches"]["harmful"] == [SHIFT]


def test_windows_that_are_too_few_and_small_do_not_catch_a_small_fault(
    tmp_path: Path, data_dir: Path, rows: list[dict[str, Any]]
) -> None:
    past = write(tmp_path / "past.csv", rows)
    small = ("--fault", f"shift:{WIDTH}=+0.25", "--window-rows", "50", "--within", "1")
    done = command(data_dir, "--past", past, *small)
    assert done.returncode == 1
    assert "FAILED   catches: 0 of 1 harmful fault caught within 1 window of 50 rows" in done.stdout


@pytest.mark.slow
def test_a_harmless_fault_does_not_count(tmp_path: Path, data_dir: Path, rows: list[dict[str, Any]]) -> None:
    past = write(tmp_path / "past.csv", rows)
    done = command(data_dir, "--past", past, "--fault", "stuck:sepal width (cm)")
    assert done.returncode == 3
    assert "UNKNOWN  catches: no fault costs at least 2.0 points (alarms.smallest_loss)" in done.stdout
    assert "harmless, does not count" in done.stdout


def test_without_a_past_or_with_a_short_one_nothing_is_told(
    tmp_path: Path, data_dir: Path, rows: list[dict[str, Any]]
) -> None:
    done = command(data_dir, "--fault", SHIFT)
    assert done.returncode == 3
    assert "UNKNOWN  quiet: no past: pass --past TABLE" in done.stdout
    done = command(data_dir, "--past", write(tmp_path / "past.csv", rows[:120]), "--fault", SHIFT)
    assert done.returncode == 3
    assert "past.csv has 120 rows, and a check needs 500" in done.stdout


@pytest.mark.slow
def test_a_quiet_past_without_labels_says_what_only_labels_show(
    tmp_path: Path, data_dir: Path, rows: list[dict[str, Any]]
) -> None:
    done = command(data_dir, "--past", write(tmp_path / "past.csv", rows), "--fault", SHIFT)
    quiet = done.stdout.splitlines()[0]
    assert quiet.startswith("PASSED   quiet: 0 alarms in 4 checks of 500 rows of ")
    assert f"; the budget, 1 per 30d, allows 0; none of the {len(rows):,} rows of " in quiet
    assert quiet.endswith(
        "a label, and only labels show concept drift (other true values for the same inputs)"
    )


def test_the_log_is_the_past(iris: Rehearsal, tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    settings = config.load(None, overrides={"data_dir": str(tmp_path)}, environment={}).settings
    schema = iris.model.schema
    features = [{n: row[n] for n in schema.names} for row in shifted(rows, 2 * ROWS)]
    outputs = iris.model.predict(schema.columns([list(row.values()) for row in features]))
    now = datetime(2026, 1, 31, tzinfo=UTC)
    predictions = [
        replace(p, time=now + timedelta(minutes=i))
        for i, p in enumerate(as_predictions(iris.model, features, outputs))
    ]
    store = open_store(settings)
    store.predictions.append(predictions)
    labels = [Label(p.id, row["truth"], now) for p, row in zip(predictions, rows, strict=True)]
    store.labels.add(labels)
    store.close()
    past = gate.logged_past(settings, iris)
    assert past is not None
    assert past.timed
    assert list(past.labels.values()) == [row["truth"] for row in rows]
    result = gate.run_gate(settings, faults=(Fault(FaultKind.SHIFT, LENGTH, 1.76),))
    assert result.status is GateStatus.FAILED
    (alarm,) = result.quiet.alarms
    assert "by its labels, since 2026-01-31 16:40 UTC" in alarm.sentence
    assert result.catches.status is GateStatus.PASSED  # on rows like the reference's


def test_a_reference_without_labels_cannot_tell_the_loss(iris: Rehearsal) -> None:
    unlabelled = replace(iris, reference=replace(iris.reference, labels=None))
    answer = catches(unlabelled, [Fault(FaultKind.SHIFT, LENGTH, 1.76)], smallest_loss=0.02)
    assert answer.status is GateStatus.UNKNOWN
    assert "set model.target" in answer.reason


def test_refused_faults_do_not_count(iris: Rehearsal) -> None:
    answer = catches(iris, [Fault(FaultKind.NULLS, LENGTH, 0.3)], smallest_loss=0.02)
    assert answer.status is GateStatus.UNKNOWN
    assert answer.reason.startswith("no fault costs at least")


def test_alarms_without_a_fault_fail(iris: Rehearsal) -> None:
    columns = {**iris.reference.columns, LENGTH: iris.reference.columns[LENGTH] + 1.76}
    other = replace(iris, reference=replace(iris.reference, columns=columns))
    answer = catches(other, [Fault(FaultKind.STUCK, WIDTH, 0.2)], smallest_loss=0.02)
    assert answer.status is GateStatus.FAILED
    assert answer.reason == "an alarm without a fault after 500 rows"


def test_windows_smaller_than_a_block_are_collected(iris: Rehearsal) -> None:
    outcome = replace(iris, window_rows=20)(Fault(FaultKind.SHIFT, LENGTH, 1.76))
    assert outcome.detection_delay is not None
    assert outcome.detection_delay >= 60


@pytest.mark.parametrize(
    ("change", "args", "words"),
    [
        ({}, ("--label", "trut"), "has no column 'trut': did you mean 'truth'?"),
        ({LENGTH: ""}, (), "row 7 (counted from 0): 'petal length (cm)' must not be null"),
        ({LENGTH: "wide"}, (), "'petal length (cm)' must be a number, not 'wide' (unreadable cells: 1)"),
        ({}, ("--fault", "shfit:x=1"), "unknown fault 'shfit'"),
        ({}, ("--within", "0"), "--within"),
        ({}, ("--past", ""), "'--past': must not be empty"),
        ({}, ("--label", ""), "'--label': must not be empty"),
    ],
)
def test_bad_input_is_named(
    tmp_path: Path,
    data_dir: Path,
    rows: list[dict[str, Any]],
    change: Mapping[str, Any],
    args: tuple[str, ...],
    words: str,
) -> None:
    changed = [*rows[:7], {**rows[7], **change}, *rows[8:40]]
    done = command(data_dir, "--past", write(tmp_path / "past.csv", changed), *args)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_labels_without_a_table_are_refused(data_dir: Path) -> None:
    done = command(data_dir, "--label", "truth")
    assert done.returncode == 2
    assert "--label needs --past" in done.stderr


def test_labels_of_other_classes_are_refused(
    tmp_path: Path, data_dir: Path, rows: list[dict[str, Any]]
) -> None:
    past = write(tmp_path / "past.csv", [{**row, "truth": "rose"} for row in rows[:40]])
    done = command(data_dir, "--past", past, "--label", "truth")
    assert done.returncode == 2
    assert f"no label of {past} is a class of the model: ['rose']" in done.stderr


def test_labels_of_an_unknown_class_are_named(iris: Rehearsal, tmp_path: Path) -> None:
    rows = [{**row, "truth": "setosa"} for row in iris_rows(30, np.random.default_rng(0))]
    rows[3]["truth"] = "rose"
    past = gate.read_past(write(tmp_path / "past.csv", rows), "truth", iris.model, ColumnOptions())
    assert past.note == "labels that are no class of the model count as wrong: rose (1 in all)"


def test_configured_labels_that_are_not_used_are_named(iris: Rehearsal, tmp_path: Path) -> None:
    rows = [{**row, "truth": "setosa"} for row in iris_rows(30, np.random.default_rng(0))]
    path = write(tmp_path / "past.csv", rows)
    past = gate.read_past(path, None, iris.model, ColumnOptions(), target="truth")
    assert past.note == "its labels in 'truth' (model.target) are not used: pass --label 'truth'"
    assert gate.read_past(path, "truth", iris.model, ColumnOptions(), target="truth").note == ""
    assert gate.read_past(path, None, iris.model, ColumnOptions(), target="other").note == ""


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (30, "all rows have a label already, so only a longer past settles it"),
        (29, "more labels settle it"),
        (0, "labels settle it"),
    ],
)
def test_more_labels_settle_a_past_only_if_rows_lack_one(iris: Rehearsal, labels: int, text: str) -> None:
    rows = iris_rows(30, np.random.default_rng(0))
    outputs = iris.model.predict(iris.model.schema.columns([list(row.values()) for row in rows]))
    predictions = as_predictions(iris.model, rows, outputs)
    known = {p.id: "setosa" for p in predictions[:labels]}
    assert _settling(Past("past", predictions, {}, known, timed=False)) == text


def test_digits_are_categories_where_the_model_has_them(tmp_path: Path) -> None:
    schema = infer_schema({"zip": ["10115", "80331"], "age": [30.0, 40.0]})
    model = FakeModel(schema, ["no", "yes"], lambda columns: columns["age"] > 35)
    path = write(tmp_path / "past.csv", [{"zip": "10115", "age": 31, "id": i} for i in range(3)])
    past = gate.read_past(path, None, model, ColumnOptions(exclude=["missing"]))
    assert [(p.features, p.output) for p in past.predictions] == [({"zip": "10115", "age": 31.0}, "no")] * 3


def test_words_that_the_model_knows_or_the_settings_keep_are_no_nulls(tmp_path: Path) -> None:
    schema = infer_schema({"region": ["NA", "EU"], "plan": ["a", None]})
    model = FakeModel(schema, ["NA", "yes"], lambda columns: columns["region"] == "EU")
    path = write(tmp_path / "past.csv", [{"region": "NA", "plan": "None", "truth": "NA"}] * 3)
    past = gate.read_past(path, "truth", model, ColumnOptions())
    assert [p.features for p in past.predictions] == [{"region": "NA", "plan": None}] * 3
    assert list(past.labels.values()) == ["NA"] * 3
    past = gate.read_past(path, None, model, ColumnOptions(keep_null_words=["plan", "other"]))
    assert past.predictions[0].features == {"region": "NA", "plan": "None"}


def test_the_commands_of_the_guide_are_valid() -> None:
    guide = (Path(__file__).parents[3] / "docs/guides/rehearse-and-backtest.md").read_text("utf-8")
    lines = re.findall(r"^(?:\$ |\s+)driftbell gate (.*)$", guide, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        gate_command.make_context("gate", shlex.split(line)).close()
