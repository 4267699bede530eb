"""Gate, rehearsal and backtest say plainly where checks cannot tell whether the model performs worse."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tests import degradations

import driftbell
from driftbell.alarms.smallest_loss import SmallestLoss
from driftbell.cli import cli
from driftbell.cli.backtest import _outcome_line
from driftbell.cli.gate import _catches_lines, _quiet_lines
from driftbell.cli.root import exit_code, unknown_parts
from driftbell.degradation.detector import fit_detector
from driftbell.drift.judge import judge
from driftbell.models.reference import build_reference, reference_outputs
from driftbell.monitor.period_metrics import PeriodMetrics
from driftbell.publish.table_documents import table_junit
from driftbell.records import ColumnComparison, Evidence, Judgement, Kind, Verdict, Window
from driftbell.simulation.faults import Fault, FaultKind
from driftbell.simulation.gate import GateStatus, Past, catches, is_quiet
from driftbell.simulation.rehearsal import Rehearsal, as_predictions
from driftbell.tabular.columns import as_column
from driftbell.tabular.schema import infer_schema
from driftbell.testing import FakeModel

ROWS = 200
FROZEN = Fault(FaultKind.STUCK, "plan", "basic")
SHIFTED = Fault(FaultKind.SHIFT, "age", 20.0)
HARMLESS = Fault(FaultKind.SHIFT, "size", 0.001)
REASON = (
    "Cannot tell whether the model performs worse: in the 200 rows until row {}, the values of plan are one "
    "category in all rows, which may be real or wrong; up to "
)


def plans(rows: int, seed: int, *, frozen: int | None = None) -> dict[str, Any]:
    """Return features and labels; from a row on, one category is in all rows, which costs 26 points."""
    rng = np.random.default_rng(seed)
    plan = rng.choice(["basic", "pro", "team"], rows).astype(object)
    age, size = rng.normal(40, 10, rows).round(1), rng.normal(3, 1, rows).round(2)
    right = (plan == "pro") | (age > 52)
    truth = np.where(right ^ (rng.random(rows) < 0.05), "yes", "no").astype(object)
    if frozen is not None:
        plan[frozen:] = "basic"
    answer = np.where((plan == "pro") | (age > 52), "yes", "no").astype(object)
    return {"plan": plan, "age": age, "size": size, "answer": answer, "truth": truth}


def features(table: dict[str, Any]) -> dict[str, Any]:
    return {name: table[name] for name in ("plan", "age", "size")}


@pytest.fixture(scope="module")
def rehearsal() -> Rehearsal:
    table = plans(1500, 0)
    schema = infer_schema(features(table))
    model = FakeModel(schema, ["no", "yes"], lambda c: (c["plan"] == "pro") | (c["age"].astype(float) > 52))
    labels = as_column(list(table["truth"]), Kind.CATEGORICAL)
    reference = build_reference(model, features(table), labels=labels)
    detector = fit_detector(
        features(table),
        reference_outputs(reference, model.classes),
        labels,
        classes=model.classes,
        smallest_loss=SmallestLoss(0.02),
        checks_per_alarm=1000,
        block_rows=ROWS,
    )
    return Rehearsal(model, reference, detector, ROWS, 4)


def past(rehearsal: Rehearsal, *, labelled: bool) -> Past:
    """Return five windows; from the third on, a category is frozen."""
    table = plans(5 * ROWS, 1, frozen=2 * ROWS)
    cells = features(table)
    rows = [
        dict(zip(cells, row, strict=True)) for row in zip(*(c.tolist() for c in cells.values()), strict=True)
    ]
    outputs = rehearsal.model.predict({name: as_column(list(c)) for name, c in cells.items()})
    predictions = as_predictions(rehearsal.model, rows, outputs)
    labels = {p.id: str(v) for p, v in zip(predictions, table["truth"], strict=True)} if labelled else {}
    columns = {name: as_column(list(c)) for name, c in cells.items()}
    return Past("may.csv", predictions, columns, labels, timed=False)


def test_a_gate_is_unknown_about_a_harmful_fault_that_only_labels_show(rehearsal: Rehearsal) -> None:
    answer = catches(rehearsal, [FROZEN, SHIFTED, HARMLESS], smallest_loss=0.02)
    assert answer.status is GateStatus.UNKNOWN
    head, frozen, reason, shifted, harmless = _catches_lines(answer)
    assert head == (
        "UNKNOWN  catches: 1 of 2 harmful faults caught within 4 windows of 200 rows; checks cannot tell "
        "about 1 without labels"
    )
    assert frozen.startswith("  stuck:plan=basic: no alarm in 800 rows, cannot tell after 200; actual loss 2")
    assert reason.strip().startswith(REASON.format(199))
    assert "points of accuracy may be lost, and only labels of these rows show it" in reason
    assert shifted.startswith("  shift:age=+20: alarm after ")
    assert harmless.endswith("harmless, does not count")


def test_a_missed_fault_fails_a_gate_that_cannot_tell_about_another(rehearsal: Rehearsal) -> None:
    """With a smallest loss below zero, a tiny shift counts, and has no alarm."""
    answer = catches(rehearsal, [FROZEN, HARMLESS], smallest_loss=-1.0)
    assert answer.status is GateStatus.FAILED
    assert "not caught without labels: shift:size=+0.001" in "\n".join(_catches_lines(answer))
    assert "not caught without labels: stuck:plan" not in "\n".join(_catches_lines(answer))


def test_a_gate_is_unknown_about_a_past_that_checks_cannot_judge(rehearsal: Rehearsal) -> None:
    quiet = partial(is_quiet, strong=0.001, budget="1 per 1000 checks")
    answer = quiet(rehearsal, past(rehearsal, labelled=False))
    assert answer.status is GateStatus.UNKNOWN
    head, span, _drift = _quiet_lines(answer)
    assert head == (
        "UNKNOWN  quiet: 0 alarms in 5 checks of 200 rows of may.csv; the budget, 1 per 1000 checks, "
        "allows 0; 3 checks cannot tell whether the model performs worse: labels settle it"
    )
    assert span.startswith(
        f"  cannot tell at check 2 (rows 400 to 599), lasts 3 checks: {REASON.format(599)}"
    )
    assert (
        quiet(rehearsal, past(rehearsal, labelled=True)).status is GateStatus.FAILED
    )  # labels show the loss


def test_a_rehearsal_says_why_it_cannot_tell(rehearsal: Rehearsal) -> None:
    line, reason = _outcome_line(rehearsal(FROZEN), None).split("\n")
    assert line.startswith(
        "stuck:plan=basic: no alarm in 800 predictions, cannot tell after 200; actual loss 2"
    )
    assert reason.strip().startswith(REASON.format(199))
    assert "cannot tell" not in _outcome_line(rehearsal(SHIFTED), None)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Result]:
    """Return a function that runs `driftbell backtest` on a stream with a frozen category."""
    folder = tmp_path_factory.mktemp("tables")
    for name, table in (("before", plans(1500, 0)), ("now", plans(5 * ROWS, 1, frozen=2 * ROWS))):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(table)
            writer.writerows(zip(*table.values(), strict=True))
    arguments = ["backtest", "--reference", f"{folder}/before.csv", "--stream", f"{folder}/now.csv"]
    arguments += ["--prediction", "answer", "--window-rows", str(ROWS)]

    def run(*more: str) -> Result:
        done = CliRunner().invoke(cli, [*arguments, *more], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done

    return run


UNLABELLED = ("--exclude", "truth")


def test_a_backtest_prints_cannot_tell_and_why(tables: Callable[..., Result]) -> None:
    _, *lines, summary, reason, _reading, unlabelled = tables(*UNLABELLED).stdout.splitlines()
    assert [" ".join(line.split()[1:3]) for line in lines[:2]] == ["ok 0.00", "ok 0.00"]
    assert all(line.split()[1:3] == ["cannot", "tell"] and "plan" in line for line in lines[2:])
    assert summary == "5 checks of 200 rows: 3 cannot tell, 2 ok."
    assert reason.startswith(f"The first check that cannot tell: {REASON.format(599)}")
    assert unlabelled.startswith("5 of 5 checks have rows without a label")


def test_the_json_of_a_backtest_says_which_checks_need_labels(tables: Callable[..., Result]) -> None:
    checks = [json.loads(line) for line in tables(*UNLABELLED, "--json").stdout.splitlines()]
    assert [c["needs_labels"] for c in checks] == [False, False, True, True, True]
    assert [c["verdict"] for c in checks] == ["ok", "ok", "warning", "warning", "warning"]
    assert checks[2]["columns"][0] == "plan"


def test_page_and_notebook_of_a_backtest_say_cannot_tell() -> None:
    before, now = plans(1500, 0), plans(5 * ROWS, 1, frozen=2 * ROWS)
    del before["truth"], now["truth"]
    result = driftbell.backtest(before, now, prediction="answer", window_rows=ROWS)
    page = result.to_html()
    assert "<h1>0 alarms in 5 checks. Verdicts: 3 cannot tell, 2 ok.</h1>" in page
    assert "<title>cannot tell: backtest</title>" in page
    assert page.count("</span> cannot tell</b>") == 4  # three rows, and the worst verdict above
    section = page.split("<h2>Cannot tell</h2>")[1].split("</section>")[0]
    assert section.count("Check ") == 1
    assert f"<b>Check 2, row 400.</b> {REASON.format(599)}" in section
    assert "3 cannot tell, 2 ok" in result._repr_html_()
    assert "check 2: cannot tell;" in result._repr_html_()
    assert "3 cannot tell, 2 ok" in result.plot().get_suptitle()


NEEDS_LABELS = replace(degradations.UNKNOWN, evidence=(Evidence("estimate", "", 0.2),))


@pytest.mark.parametrize("fail_on", ["drift", "alarm", "never"])
def test_a_check_that_cannot_tell_ends_without_a_verdict(fail_on: str) -> None:
    judgement = Judgement(Verdict.WARNING, "Cannot say.", degradation=NEEDS_LABELS)
    assert exit_code(judgement, fail_on) == 3
    assert unknown_parts(judgement) == "cannot tell whether the model performs worse"
    waiting = replace(judgement, degradation=replace(NEEDS_LABELS, waiting=True))
    assert exit_code(waiting, "never") == 0


def test_an_alarm_has_a_case_in_junit_also_if_it_is_no_failure() -> None:
    columns = judge([ColumnComparison("age", "feature", Kind.NUMERIC, 0.5, (), None)], rows=100).columns
    judgement = Judgement(Verdict.ALARM, "The model performs worse.", columns)
    for fails in (True, False):
        page = table_junit(judgement, time=datetime(2026, 1, 31, tzinfo=UTC), fails=fails, drift_fails=fails)
        case = ElementTree.fromstring(page).find(".//testcase[@name='verdict']")
        assert case is not None
        (outcome,) = case
        assert (outcome.tag, outcome.text) == ("failure" if fails else "system-out", judgement.sentence)


@pytest.mark.parametrize("labelled", [False, True])
def test_a_period_of_the_log_cannot_tell_until_its_labels_do(rehearsal: Rehearsal, labelled: bool) -> None:
    logged = past(rehearsal, labelled=True)
    parts = [logged.predictions[k * ROWS : (k + 1) * ROWS] for k in (0, 1, 2)]
    quiet, before, frozen = (Window(tuple(p), k * ROWS + 1, (k + 1) * ROWS) for k, p in enumerate(parts))
    unused: Any = None
    metrics = PeriodMetrics(unused, rehearsal.model, unused, unused, rehearsal.detector, 10, 0.05, 0.02)
    labels = logged.labels if labelled else {}
    assert metrics._estimated(quiet, before, labels)[1] is False
    assert metrics._estimated(before, frozen, labels)[1] is not labelled
    assert metrics._estimated(before, Window((), 0, 0), labels) == ({}, None)


def test_a_check_that_cannot_tell_is_an_error_in_junit() -> None:
    judgement = Judgement(Verdict.WARNING, "Cannot say.", degradation=NEEDS_LABELS)
    page = table_junit(judgement, time=datetime(2026, 1, 31, tzinfo=UTC), fails=True, drift_fails=True)
    root = ElementTree.fromstring(page)
    assert root.get("errors") == "1"
    (error,) = root.iter("error")
    assert error.get("message") == "Cannot say."
