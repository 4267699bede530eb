"""`driftbell alarms`: on the log, next to a service or without one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.life import Life

from driftbell.cli import cli
from driftbell.errors import DriftbellError
from driftbell.publish.json_views import alarm_view
from driftbell.publish.label_sheet import label_cell, label_sheet
from driftbell.records import Alarm
from driftbell.store.sqlite import open_sqlite

SAID = ("--author", "ada", "--reason", "a load test")


@pytest.fixture
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Life]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTBELL_DATA_DIR", str(tmp_path))
    log = open_sqlite(tmp_path / "log.sqlite")
    lease = log.coordination.take_lease("test", now=datetime.now(UTC), seconds=60, next_run=None)
    assert lease is not None
    yield Life(log, lease, tmp_path / "reports")
    log.close()


def run(*args: str) -> str:
    done = CliRunner().invoke(cli, ["alarms", *args], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def refused(*args: str) -> str:
    with pytest.raises(DriftbellError) as caught:
        run(*args)
    return str(caught.value)


def test_alarms_are_listed_newest_first(life: Life) -> None:
    assert run("list") == "no alarms\n"
    alarm = life.open_alarm()
    lines = run("list").splitlines()
    assert lines == [f"{alarm.id}  m v1  opened 2026-01-31 12:10 UTC, open", f"  {alarm.sentence}"]
    assert json.loads(run("list", "--json")) == [alarm_view(alarm)]
    run("annotate", alarm.id, "false", *SAID)
    first, second = run("list").splitlines()
    assert ", false (ada: a load test)" in first
    assert second.startswith("  From 2026-01-31 12:")
    assert second.endswith("Closed: Annotated as false by ada: a load test")


def test_one_alarm_is_printed_with_its_period_and_why_it_closed(life: Life) -> None:
    alarm = life.open_alarm()
    assert run("show", alarm.id[:5]).splitlines() == [
        f"{alarm.id}  m v1  opened 2026-01-31 12:10 UTC, open",
        "  Loss since: 2026-01-31 12:10 UTC",
        "  Alarm open: 2026-01-31 12:10 UTC to now",
        "  Largest loss: unknown",
        "  Suspect columns then: age, 100 % of the evidence: older",
        f"  Newest check with an alarm: {alarm.sentence}",
    ]
    life.check(200)
    lines = run("show", alarm.id).splitlines()
    assert lines[0] == f"{alarm.id}  m v1  opened 2026-01-31 12:10 UTC, closed 2026-01-31 12:15 UTC"
    assert lines[2] == "  Alarm open: 2026-01-31 12:10 UTC to 2026-01-31 12:15 UTC"
    assert lines[-1].startswith(
        "  Closed because: No degradation. None of the last 200 predictions has a label"
    )
    reason = json.loads(run("show", alarm.id, "--json"))["closing_reason"]
    assert lines[-1] == f"  Closed because: {reason}"
    assert "no alarm has the id xyz" in refused("show", "xyz")


def test_a_mark_is_written_and_the_beginning_of_the_id_is_enough(life: Life) -> None:
    alarm = life.open_alarm()
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    assert (
        run("annotate", alarm.id[:5], "silenced", *SAID, "--until", until.isoformat())
        == f"{alarm.id}: silenced until {until:%Y-%m-%d %H:%M} UTC\n"
    )
    listed = run("list").splitlines()[0]
    assert f", open, silenced until {until:%Y-%m-%d %H:%M} UTC (ada: a load test)" in listed
    result = life.store.alarms.get(alarm.id)
    assert result is not None
    assert (result.annotation, result.author) == ("silenced", "ada")
    assert (result.reason, result.until) == ("a load test", until)
    assert result.closed is None


def test_invalid_arguments_are_errors(life: Life, tmp_path: Path) -> None:
    alarm = life.open_alarm()
    assert "--until is missing: --until must be" in refused("annotate", alarm.id, "silenced", *SAID)
    assert "--until is only for 'silenced'" in refused("annotate", alarm.id, "false", "--until", "x", *SAID)
    assert "no alarm has the id xyz" in refused("annotate", "xyz", "false", *SAID)
    assert "no alarm has the id" in refused("annotate", "", "false", *SAID)
    assert "cannot write" in refused("label-sheet", alarm.id, str(tmp_path / "no" / "x.csv"))
    done = CliRunner().invoke(cli, ["alarms", "annotate", alarm.id, "wrong", *SAID])
    assert (done.exit_code, "'expected', 'false', 'silenced'" in done.output) == (2, True)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_rows_to_label_are_written_ready_to_be_filled_in(life: Life, tmp_path: Path) -> None:
    alarm = life.open_alarm()
    output = run("label-sheet", alarm.id, "these.csv")
    rows = table((tmp_path / "these.csv").read_text("utf-8"))
    assert output == ("these.csv: 5 rows; fill in the column 'label', then run: driftbell labels these.csv\n")
    assert [list(row) for row in rows] == [["prediction_id", "label", "prediction", "age"]] * 5
    for row in rows:
        result = life.store.predictions.get(row["prediction_id"])
        assert result is not None
        assert (row["label"], row["prediction"], float(row["age"])) == ("", "old", result.features["age"])


def test_the_hint_to_send_labels_names_another_address(
    life: Life, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarm = life.open_alarm()
    monkeypatch.setenv("DRIFTBELL_SERVER__PORT", "8123")
    output = run("label-sheet", alarm.id, "my rows.csv")
    assert output.endswith("driftbell labels 'my rows.csv' --url http://127.0.0.1:8123\n")


def test_an_open_alarm_asks_for_the_newest_rows_and_a_closed_one_for_its_first(life: Life) -> None:
    def ids(alarm: Alarm) -> list[str]:
        return [row["prediction_id"] for row in table(label_sheet(life.store, alarm))]

    alarm = life.open_alarm()
    first = ids(alarm)
    life.check(100, shift=20)
    assert min(ids(alarm)) > max(first)
    life.check(200)
    (closed,) = life.store.alarms.newest(5)
    assert closed.closed is not None
    assert ids(closed) == first
    assert label_sheet(life.store, replace(closed, id="gone")).splitlines() == [
        "prediction_id,label,prediction"
    ]


def test_a_text_is_no_formula_in_a_spreadsheet(life: Life) -> None:
    alarm = life.open_alarm()
    (newest,) = life.store.checks.newest(1)
    assert newest.judgement.degradation is not None
    first = life.store.predictions.get(newest.judgement.degradation.to_label[0])
    assert first is not None
    evil = replace(first, id="evil", output="=1+1", features={"age": -5.0, "@sum": "+1", "label": "x"})
    life.store.predictions.append([evil])
    degradation = replace(newest.judgement.degradation, to_label=("evil", "unknown"))
    life.store.checks.save(
        replace(newest, id="later", judgement=replace(newest.judgement, degradation=degradation)), life.lease
    )
    (row,) = table(label_sheet(life.store, alarm))
    assert row == {"prediction_id": "evil", "label": "", "prediction": "'=1+1", "age": "-5.0", "'@sum": "'+1"}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "＝", "＋", "－", "＠"])
@pytest.mark.parametrize(
    "before",
    [
        "",
        " ",
        "\n",
        "\r",
        "\r\n",
        "\t",
        "a;",
        "a\t",
        "a\n ",
        '"',
        "a|'",
        "\u3000",
        "\u200b",
        "a;\ufeff",
        "\t; \t",
    ],
)
def test_no_cell_is_a_formula_however_lines_are_split(sign: str, before: str, separator: str) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(["id", label_cell(f"{before}{sign}cmd()"), "end"])
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        for row in csv.reader(io.StringIO(text.getvalue(), newline=""), delimiter=separator, quoting=quoting):
            for cell in row:
                start = cell.strip(" \t\r\n\u3000\u200b\ufeff").lstrip('"').strip()
                assert not start.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")), row


@pytest.mark.parametrize("run", ["\t", " ", ";", "'", '"', "\t ", "\t'", "\u200b", "\n;"])
def test_a_long_cell_is_read_once(run: str) -> None:
    text = "a" + run * 500_000
    assert label_cell(text + "a") == text + "a"  # hours if each start read the rest


@pytest.mark.parametrize("text", ["a-b", "3 + 4", "ann@example.org", "a; b", "x = y", "größe"])
def test_other_texts_are_not_changed(text: str) -> None:
    assert label_cell(text) == text
