"""How fast it answers, beside the peers: requests a second, latency, memory, start-up, in one run.

Real servers on loopback, one at a time, loaded by Debian's `wrk` with the rows of Iris. In each round every
target is started, loaded over 1, 16 and 64 connections, again while one check follows the other, and
stopped; numbers are medians over the rounds. Every answer must be 200, and every one of driftbell's a row in
its log. A peer is measured with the first of the Pythons named by --peers that has it.

    python bench/serving.py [--tiny] [--peers PYTHON[,PYTHON…]] [--seconds 5] [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from serve.load import Found, wrk
from serve.running import NotMeasuredError, Outcome, Plan, Stand
from serve.targets import OURS, ROUTE, TARGETS, Target, flowers
from serve.verdicts import Round, failures, verdicts


def main() -> None:
    options = parsed()
    if wrk() is None:
        words = "wrk is missing (Debian's package wrk)"
        if os.environ.get("CI") == "true":
            sys.exit(words)
        print(f"not measured: {words}")
        return
    targets = [target for target in TARGETS if target.name in options.targets]
    rounds, missing = measured(targets, options)
    if options.json:
        found = [{name: asdict(outcome) for name, outcome in each.items()} for each in rounds]
        options.json.write_text(json.dumps({"rounds": found, "missing": missing}, indent=1))
    print("\n".join(report(rounds, targets, missing)))
    if wrong := list(failures(rounds)):
        sys.exit("\n".join(wrong))
    if options.tiny and missing:
        sys.exit("not every target of --tiny was measured")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [target.name for target in TARGETS]
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--peers", default="", help="Pythons that have peers, with commas between")
    parser.add_argument("--targets", nargs="+", choices=names, default=names, help="these only")
    parser.add_argument("--seconds", type=int, default=5, help="for each number of connections")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--check-connections", type=int, nargs="*", default=[1, 16, 64], help="with checks")
    parser.add_argument("--json", type=Path, help="write every outcome")
    options = parser.parse_args()
    if options.tiny:
        options.targets, options.seconds, options.rounds = [ROUTE, OURS], 1, 1
        options.connections, options.check_connections = [4], [4]
    return options


def measured(targets: Sequence[Target], options: argparse.Namespace) -> tuple[list[Round], dict[str, str]]:
    """Give every outcome by round, and why some targets have none."""
    plan = Plan(options.seconds, options.connections, options.check_connections)
    rounds: list[Round] = []
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        stand = Stand(Path(folder), [p for p in options.peers.split(",") if p], flowers())
        for number in range(1, options.rounds + 1):
            rounds.append({})
            for target in targets:
                if target.name in missing:
                    continue
                print(f"round {number}: {target.name}", file=sys.stderr, flush=True)
                try:
                    rounds[-1][target.name] = stand.measure(target, plan)
                except NotMeasuredError as error:
                    missing[target.name] = str(error)
    return rounds, missing


def report(rounds: Sequence[Round], targets: Sequence[Target], missing: dict[str, str]) -> Iterator[str]:
    measured_phases = (phase for each in rounds for outcome in each.values() for phase in outcome.phases)
    for phase in dict.fromkeys(measured_phases):
        yield f"\n**Connections: {phase}**\n"
        yield "| service | requests/s | p50, ms | p99, ms | p99.9, ms | CPU, µs an answer | checks | errors |"
        yield "| --- |" + " --- |" * 7
        for name, own in by_target(rounds, targets).items():
            if any(phase in outcome.phases for outcome in own):
                yield f"| {name} | {numbers([o.phases[phase] for o in own if phase in o.phases])} |"
    head = "ready after, s | memory before and after the load, MB | answers | in the log | complete after, s"
    yield f"\n| service | {head} |\n| --- |" + " --- |" * 5
    for name, own in by_target(rounds, targets).items():
        yield f"| {name} | {life(own)} |"
    for name, words in missing.items():
        yield f"\n{name}: not measured ({words})"
    yield f"\n{os.cpu_count()} cores; ten million additions in Python take {additions():.1f} s here.\n"
    yield "| wanted | limit | found | |\n| --- | --- | --- | --- |"
    for verdict in verdicts(rounds):
        found = "–" if verdict.found is None else f"{verdict.found:.2f}"
        sign = "≥" if verdict.at_least else "≤"
        yield f"| {verdict.what} | {sign} {verdict.limit:g} | {found} | {verdict.word} |"


def by_target(rounds: Sequence[Round], targets: Sequence[Target]) -> dict[str, list[Outcome]]:
    found = {target.name: [each[target.name] for each in rounds if target.name in each] for target in targets}
    return {name: own for name, own in found.items() if own}


def numbers(own: Sequence[Found]) -> str:
    """Say what came back in one phase: medians over the rounds, and sums of what is counted."""
    waits = [median(getattr(found, name) for found in own) for name in ("p50", "p99", "p999")]
    cells = [f"{median(found.rate for found in own):,.0f}", *(f"{wait:.2f}" for wait in waits)]
    checks, errors = sum(found.checks for found in own), sum(found.errors for found in own)
    return " | ".join(
        [*cells, f"{median(found.cpu_us for found in own):,.0f}", str(checks or "–"), str(errors)]
    )


def life(own: Sequence[Outcome]) -> str:
    """Say how long one took to start, what memory it holds, and what became of its answers."""
    names = ("start_s", "idle_mb", "memory_mb", "fold_s")
    start, idle, after, fold = (median(getattr(outcome, name) for outcome in own) for name in names)
    rows = [outcome.logged for outcome in own if outcome.logged is not None]
    logged = f"{sum(rows):,} | {fold:.1f}" if rows else "– | –"
    return f"{start:.2f} | {idle:.0f}, {after:.0f} | {sum(o.answered for o in own):,} | {logged}"


def additions() -> float:
    """Measure how fast this machine is just now, since seconds and megabytes are no ratios."""
    start, total = time.perf_counter(), 0
    for number in range(10_000_000):
        total += number
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
