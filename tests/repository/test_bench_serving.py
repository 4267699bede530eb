"""The benchmark of serving is only worth something if its counts, ratios and clean-up are right."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from serve.load import Found, cpu_seconds, in_session, memory_mb, tree
from serve.running import Outcome, rows_in, stop
from serve.targets import BARE, LITSERVE, MLSERVER, OURS, ROUTE, SERVE, TARGETS, TUTORIAL, bodies, python_for
from serve.verdicts import best_peer, failures, verdicts

SERVING = Path(__file__).parents[2] / "bench" / "serving.py"
PARENT = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); time.sleep(60)"
CHILD = "import time\nmemory = b'x' * 50_000_000\nwhile time.process_time() < 0.5: pass\ntime.sleep(60)"


def found(rate: float, p99: float = 9.0, errors: int = 0) -> Found:
    return Found(requests=int(rate * 5), seconds=5.0, p50=1.0, p99=p99, p999=20.0, errors=errors)


def outcome(name: str, rate: float, **more: Any) -> Outcome:
    return Outcome(name, phases={"64": found(rate)}, **more)


def words(rounds: list[dict[str, Outcome]]) -> dict[str, tuple[Any, str]]:
    return {verdict.what: (verdict.found, verdict.word) for verdict in verdicts(rounds)}


def test_a_ratio_is_the_median_of_those_of_the_rounds() -> None:
    pairs = [(9000, 10_000), (12_000, 10_000), (33_000, 30_000)]
    rounds = [{OURS: outcome(OURS, ours), ROUTE: outcome(ROUTE, route)} for ours, route in pairs]
    value, word = next(v for what, v in words(rounds).items() if "plain route" in what and "requests" in what)
    assert (value, word) == (pytest.approx(1.1), "pass")


def test_what_is_wanted_is_judged_on_both_sides_and_what_is_not_there_is_said() -> None:
    slow = {OURS: outcome(OURS, 500), TUTORIAL: outcome(TUTORIAL, 100), BARE: outcome(BARE, 625)}
    slow[SERVE] = outcome(SERVE, 500, start_s=1.6, memory_mb=149.0)
    said = words([slow])
    assert [word for what, (_, word) in said.items() if "tutorial's" in what] == ["FAIL"]
    assert said["monitoring on to off"] == (pytest.approx(0.8), "pass")
    assert said["`driftbell serve` ready with a cached model, s"] == (1.6, "FAIL")
    assert said["`driftbell serve` resident, one worker, MB"] == (149.0, "pass")
    assert said["2 workers to one"] == (None, "not measured")


def test_the_tail_during_checks_is_compared_with_the_one_just_before() -> None:
    busy = outcome(OURS, 100)
    busy.phases |= {"64 again": found(100, p99=10.0), "64 + checks": found(100, p99=16.0)}
    assert words([{OURS: busy}])["p99 while checks run to p99 without"] == (pytest.approx(1.6), "FAIL")


def test_the_best_peer_is_the_fastest_one() -> None:
    assert (
        best_peer([{name: outcome(name, rate) for name, rate in ((LITSERVE, 600), (MLSERVER, 700))}])
        == MLSERVER
    )
    assert best_peer([{OURS: outcome(OURS, 1)}]) is None


def test_an_error_a_lost_row_and_silence_are_failures() -> None:
    lost = outcome(OURS, 100, answered=501, logged=500)
    wrong = Outcome(ROUTE, phases={"1": found(100, errors=2), "16": replace(found(0), requests=0)})
    assert len(list(failures([{OURS: lost, ROUTE: wrong}]))) == 3
    fine = outcome(OURS, 100, answered=500, logged=503)
    assert not list(failures([{OURS: fine, ROUTE: outcome(ROUTE, 100, answered=500)}]))


def test_a_server_is_measured_and_ended_with_all_below_it() -> None:
    server = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], start_new_session=True)
    try:
        deadline = time.monotonic() + 20
        while cpu_seconds(server.pid) < 0.5 and time.monotonic() < deadline:
            time.sleep(0.05)
        below = tree(server.pid)
        assert len(below) == 2
        assert memory_mb(server.pid) > 50
    finally:
        stop(server)
    deadline = time.monotonic() + 5
    while in_session(server.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not in_session(server.pid)


def test_rows_are_counted_once_they_are_all_there(tmp_path: Path) -> None:
    log = sqlite3.connect(tmp_path / "log.sqlite")
    log.execute("CREATE TABLE predictions (seq INTEGER PRIMARY KEY)")
    log.executemany("INSERT INTO predictions VALUES (?)", [(i,) for i in range(7)])
    log.commit()
    log.close()
    assert rows_in(tmp_path, at_least=7) == 7


def test_rows_that_never_come_are_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.running.UNMOVED_SECONDS", 0.3)
    with sqlite3.connect(tmp_path / "log.sqlite") as log:
        log.execute("CREATE TABLE predictions (seq INTEGER PRIMARY KEY)")
    log.close()
    assert rows_in(tmp_path, at_least=7) == 0


def test_every_target_has_a_body_on_one_line_and_says_how_to_get_it() -> None:
    row = {
        "sepal length (cm)": 5.1,
        "sepal width (cm)": 3.5,
        "petal length (cm)": 1.4,
        "petal width (cm)": 0.2,
    }
    for target in TARGETS:
        (body,) = bodies(target, [row])
        assert "\n" not in body
        assert "5.1" in body
        assert python_for(target, []) or target.install


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_without_wrk_it_says_so_and_fails_in_ci(tmp_path: Path, ci: str, code: int) -> None:
    environment = {**os.environ, "PATH": str(tmp_path), "CI": ci}
    command = [sys.executable, str(SERVING), "--tiny"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "wrk is missing" in done.stdout + done.stderr) == (code, True)
