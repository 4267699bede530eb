"""The protocol of the peers in the benchmark of the alarms: what they get, and how answers are counted."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from alarm import score
from alarm.data import datasets
from alarm.methods import Outcome
from alarm.processes import Peers, peer_files, task_of
from alarm.scenarios import Run, scenario
from alarm.worker import reference_of, window_of

MEAN = """
from alarm.peer import Peer, Reference, Verdict, Window

class MeanOfErrors(Peer):
    name = "mean of the errors"
    modes = ("all", "late")

    def fit(self, reference: Reference) -> None:
        self.limit = reference.errors.mean() + 0.1

    def check(self, window: Window) -> Verdict:
        mean = window.errors.mean() if len(window.errors) else 0.0
        return Verdict(mean > self.limit, mean, interval=(mean, mean + 0.1))

class Pair(MeanOfErrors):
    name = "a pair"

    def check(self, window: Window) -> tuple[bool, float]:
        return tuple(super().check(window)[:2])
"""
FAULTS = """
import os
from alarm.peer import NotForThisError, Peer

class Base(Peer):
    modes = ("all",)
    def fit(self, reference): pass
    def check(self, window): return False, 0.0

class Raises(Base):
    name = "raises"
    def check(self, window): raise ValueError("no rows\\nat all")

class Dies(Base):
    name = "dies"
    def fit(self, reference): os._exit(3)

class NoNumber(Base):
    name = "no number"
    def check(self, window): return False, float("nan")

class ClassesOnly(Base):
    name = "classes only"
    def fit(self, reference): raise NotForThisError("regressions only")

class Prints(Base):
    name = "prints"
    def check(self, window):
        print("progress")
        os.write(1, b"more progress\\n")
        return True, 1
"""


@pytest.fixture(scope="module")
def run() -> Run:
    return scenario("stuck", datasets(None)["linear"], 2, "linear", 1000, before=3, after=3)


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Callable[..., Peers]]:
    started = []

    def start(**texts: str) -> Peers:
        files = []
        for name, text in texts.items():
            files.append(tmp_path / f"{name}.py")
            files[-1].write_text(text)
        started.append(Peers([sys.executable], files))
        return started[-1]

    yield start
    for each in started:
        each.close()


def by_name(outcomes: Iterator[Outcome]) -> dict[str, Outcome]:
    return {outcome.method: outcome for outcome in outcomes}


def test_a_peer_of_one_file_is_run_on_every_window(run: Run, peers: Callable[..., Peers]) -> None:
    outcomes = by_name(peers(mean=MEAN).ask(run, "all"))
    errors = (run.stream["prediction"] != run.stream["label"]).reshape(-1, 500).mean(axis=1)
    assert list(outcomes) == ["mean of the errors", "a pair"]
    assert outcomes["a pair"].scores == pytest.approx(errors.tolist())
    limit = (run.reference["prediction"] != run.reference["label"]).mean() + 0.1
    assert outcomes["a pair"].alarms == (errors > limit).astype(int).tolist()
    assert outcomes["mean of the errors"].intervals[0] == pytest.approx((errors[0], errors[0] + 0.1))
    assert not outcomes["a pair"].intervals
    assert not outcomes["a pair"].unknown


def test_the_documented_example_runs(run: Run, peers: Callable[..., Peers]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "benchmark.md").read_text(encoding="utf-8")
    example = page.split("## Add a peer")[1].split("```python\n")[1].split("```")[0]
    (outcome,) = peers(example=example).ask(run, "late")
    assert (outcome.method, outcome.problem, len(outcome.alarms)) == ("mean of the errors", "", 6)


def test_a_peer_takes_part_in_its_modes_only(run: Run, peers: Callable[..., Peers]) -> None:
    assert not by_name(peers(mean=MEAN).ask(run, "none"))


def test_a_failure_is_an_outcome_with_its_reason(run: Run, peers: Callable[..., Peers]) -> None:
    started = peers(faults=FAULTS)
    for _ in range(2):  # the second time in another process, because one died
        outcomes = by_name(started.ask(run, "all"))
        assert outcomes["raises"].problem == "ValueError: no rows at all"
        assert outcomes["dies"].problem == "the process ended with code 3"
        assert outcomes["no number"].problem == "ValueError: the score of window 1 is nan"
        assert (outcomes["classes only"].problem, outcomes["classes only"].unsupported) == (
            "",
            "regressions only",
        )
        assert outcomes["prints"].alarms == [1] * 6


def test_files_that_cannot_be_loaded_are_named(peers: Callable[..., Peers]) -> None:
    lacking = (
        "from alarm.peer import Peer\nclass Half(Peer):\n    name = 'half'\n    def fit(self, r): pass\n"
    )
    started = peers(
        missing="import a_package_that_nobody_has",
        broken="1 / 0",
        lacking=lacking,
        wrong_mode=FAULTS.replace('("all",)', '("some",)'),
        mean=MEAN,
    )
    names = {Path(file).stem: problem for file, problem in {**started.missing, **started.failed}.items()}
    assert names["missing"] == "No module named 'a_package_that_nobody_has'"
    assert names["broken"] == "ZeroDivisionError: division by zero"
    assert names["lacking"] == "TypeError: Half lacks check"
    assert names["wrong_mode"].startswith("TypeError: Raises.modes has ['some']; the modes are none, all,")
    assert list(started.modes) == ["mean of the errors", "a pair"]


def test_a_window_has_no_labels_but_those_that_arrive(run: Run) -> None:
    none, every, late = (task_of(run, mode) for mode in ("none", "all", "late"))
    assert "label" not in window_of(every, 0).rows
    assert len(window_of(none, 0).errors) == 0
    assert len(window_of(every, 1).errors) == 500
    assert [len(window_of(late, index).errors) for index in (0, 1)] == [0, 0]
    known = late["known"][:500]
    np.testing.assert_array_equal(window_of(late, 2).labelled["label"], run.stream["label"][:500][known])
    assert (every["labels_a_check"], late["labels_a_check"]) == (500, 50)


def test_the_errors_of_a_regression_are_absolute() -> None:
    run = scenario("none", datasets(None)["regression"], 0, "linear", 1000, before=1, after=1)
    reference = reference_of(task_of(run, "all"))
    assert reference.errors.mean() == pytest.approx(run.error_unit)
    assert reference.tolerated_error == pytest.approx(0.05 * run.error_unit)


def test_every_compared_tool_has_rows_a_package_and_a_range_in_the_requirements() -> None:
    packages = set()
    for file in peer_files():
        fields = dict(constants(file))
        assert {"name", "package"} <= set(fields), file
        packages.add(fields["package"])
    assert packages == {line.split(">=")[0] for line in requirements()}


def constants(file: Path) -> Iterator[tuple[str, object]]:
    """Yield the constants in the classes of a file, which need not be importable here."""
    for node in ast.walk(ast.parse(file.read_text())):
        for each in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(each, ast.Assign) and isinstance(each.value, ast.Constant):
                yield ast.unparse(each.targets[0]), each.value.value


def requirements() -> list[str]:
    path = Path(__file__).parents[2] / "bench" / "alarm" / "peers" / "requirements.txt"
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def row(**values: Any) -> score.Row:
    usual = {"method": "x", "mode": "all", "scenario": "stuck", "change": 1, "harmful": True, "loss": 0.3}
    usual |= {"regression": False, "alarms": [0, 1], "scores": [0.0, 1.0], "cpu_ms": 1.0, "fit_s": 0.0}
    return {**usual, "problem": "", "unsupported": "", **values}


def test_failed_and_unsupported_runs_are_left_out_and_named() -> None:
    rows = [row(), row(problem="ValueError: x"), row(problem="ValueError: x"), row(unsupported="two classes")]
    assert score.table(rows, "all")[2].startswith("| x | 1 | ")
    assert list(score.excluded(rows)) == [
        "x (with labels) failed 2 of 4 runs: ValueError: x",
        "x (with labels) does not support 1 of 4 runs: two classes",
    ]


def test_a_peer_without_the_answer_that_nobody_can_tell_has_no_share_of_it() -> None:
    harmless = row(harmful=False, loss=0.0)
    for unknown, cell in (([], "–"), ([0, 1], "0% (0 to 79) of 1"), ([0, 0], "0% (0 to 79) of 1")):
        cells = score.cells([{**harmless, "unknown": unknown}], "all")
        assert cells[score.HEADS.index("harmless: cannot tell")] == cell
