"""What is lost when things fail: real services on loopback, under load, whose processes are killed at random.

Kills: `kill -9` of a worker, the server, the monitor, their parent or all at once, on SQLite and PostgreSQL
(which crashes now and then), with each durability that promises something, and 1 and 2 workers. Outages:
PostgreSQL is away for a minute. Monitors: two of them, killed and paused, beside two servers on one
PostgreSQL. Storms: more connections than can be answered. Cycles: services are
started and stopped at random moments. Clients: slow, silent, greedy and flooding ones. Fuzz: generated and
mutated requests to every route. Calls: system calls of the write path fail, or are the last ones of the
process. Whatever was answered with 200 must be in the log once.

    python bench/failures.py [--tiny] [--only kills outages monitors storms cycles clients fuzz calls]
                             [--kills 100] [--away 60] [--seconds 300] [--connections 1000] [--cycles 200]
                             [--clients 100] [--requests 100000] [--calls 4] [--seed 1]
    python bench/failures.py --soak 3600
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import postgres
from tests.replicas import under_fire

from fail.clients import attacks, stall
from fail.cycles import cycles
from fail.fuzz import fuzz
from fail.hostile import Route
from fail.kills import Outcome, Setting, database, kills
from fail.outages import outage
from fail.storms import soak, storm
from fail.system_calls import missing as missing_strace
from fail.system_calls import sweeps
from serve.load import wrk

PARTS = ("kills", "outages", "monitors", "storms", "cycles", "clients", "fuzz", "calls")
TINY = {
    "only": ("kills", "outages", "storms", "cycles", "clients", "fuzz", "calls"),
    "kills": 1,
    "away": 0.5,
    "connections": 100,
    "cycles": 1,
    "calls": 1,
    "clients": 10,
    "requests": 100,
}
"""The monitors have a test that does the same."""

STORM_SECONDS = 10.0
STORMS = {
    "native": {"MODEL__ENGINE": "native"},
    "native, 100 may wait": {"MODEL__ENGINE": "native", "SERVER__QUEUE_LIMIT": "100"},
    "ONNX Runtime": {},
}


def main() -> None:
    options = parsed()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory() as folder:
        if options.soak:
            for line in soak(Path(folder), options.soak):
                print(line, flush=True)
            return
        wrong = [words for part in options.only for words in PRINTERS[part](options, Path(folder))]
    if wrong:
        sys.exit("\n".join(wrong))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--kills", type=int, default=100, help="in all")
    parser.add_argument("--away", type=float, default=60.0, help="seconds without a database")
    parser.add_argument("--seconds", type=float, default=300.0, help="of monitors that are harmed")
    parser.add_argument("--connections", type=int, default=1000, help="of a storm")
    parser.add_argument("--calls", type=int, default=4, help="numbers of each system call that fails")
    parser.add_argument("--cycles", type=int, default=200, help="starts and stops")
    parser.add_argument("--clients", type=int, default=100, help="of each hostile kind")
    parser.add_argument("--requests", type=int, default=100_000, help="that are generated and mutated")
    parser.add_argument(
        "--soak", type=float, default=0.0, help="load for so many seconds, and tell the memory"
    )
    parser.add_argument("--seed", type=int, default=1)
    found = parser.parse_args()
    if found.tiny:
        vars(found).update(TINY)
    return found


def missing() -> str:
    """Say why there is no PostgreSQL; where all has to be measured, that is an end."""
    reason = postgres.absent()
    if reason and os.environ.get("CI") == "true":
        sys.exit(reason)
    return reason


def settings(tiny: bool) -> list[Setting]:
    logs = ["sqlite"] if missing() else ["sqlite", "postgresql"]
    if tiny:
        return [Setting(logs[-1], "process", 2)]
    return [Setting(*each) for each in product(logs, ("process", "power"), (1, 2))]


def print_kills(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Print what became of what was answered; give what is wrong."""
    chance = random.Random(options.seed)
    each = settings(options.tiny)
    head = "kills | answered | logged | lost | doubled | s to the next answer: median, longest"
    print(f"| log, durability, workers | {head} |")
    print("| --- |" + " --- |" * 6)
    total = 0
    with_database = any(setting.log == "postgresql" for setting in each)
    with database() if with_database else nullcontext() as server:
        for number, setting in enumerate(each):
            turns = options.kills * (number + 1) // len(each) - options.kills * number // len(each)
            outcome = kills(setting, turns, server, chance, made(folder, f"kills{number}"))
            total += sum(outcome.kills.values())
            print(f"| {setting} | {kills_row(outcome)} |", flush=True)
            if outcome.lost or outcome.doubled or not outcome.answered:
                counts = f"{outcome.lost} lost, {outcome.doubled} doubled, {len(outcome.answered)} answered"
                yield f"{setting}: {counts}"
    print(f"\n{total} kills.\n", flush=True)


def kills_row(outcome: Outcome) -> str:
    what = ", ".join(f"{count} {name}" for name, count in sorted(outcome.kills.items()))
    pauses = f"{median(outcome.pauses):.1f}, {max(outcome.pauses):.1f}"
    counts = f"{len(outcome.answered):,} | {len(outcome.logged):,} | {outcome.lost} | {outcome.doubled}"
    return f"{what} | {counts} | {pauses}"


def print_outages(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Print what a database that was away did; give what is wrong."""
    if reason := missing():
        print(f"Outages: not measured ({reason})\n")
        return
    print(f"PostgreSQL away for {options.away:.0f} s\n")
    head = "answered, meanwhile | refused | refusals, ms: p50, p99, longest | s to an answer, to all logged"
    print(f"| log.on_failure | {head} | lost | doubled |\n| --- |" + " --- |" * 6)
    with database() as server:
        for mode in ("refuse",) if options.tiny else ("refuse", "spool"):
            found = outage(server, made(folder, mode), on_failure=mode, seconds=options.away)
            waits = ", ".join(f"{ms:.1f}" for ms in found.refused_ms)
            cells = (
                f"{found.answered[0]:,}, {found.answered[1]:,} | {found.refused:,} | {waits}",
                f"{found.back_s[0]:.1f}, {found.back_s[1]:.1f} | {found.lost} | {found.doubled}",
            )
            print(f"| {mode} | {' | '.join(cells)} |", flush=True)
            if found.lost or found.doubled or (mode == "spool" and found.refused):
                yield f"outage, {mode}: {found}"
    print()


def print_monitors(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Print which checks there were; give what is wrong."""
    if reason := missing():
        print(f"Monitors: not measured ({reason})\n")
        return
    with database() as server:
        fire = under_fire(
            server,
            made(folder, "monitors"),
            seconds=options.seconds,
            every=5,
            chance=random.Random(options.seed),
        )
    lost, doubled = len(set(fire.answered) - set(fire.logged)), len(fire.logged) - len(set(fire.logged))
    head = "checks | intervals with two | with none | not saved | answered | lost | doubled"
    print(f"| monitors killed, paused | {head} |\n| --- |" + " --- |" * 7)
    checks = f"{len(fire.checks)} | {fire.twice} | {len(fire.without)} | {fire.refused}"
    print(
        f"| {fire.kills}, {fire.pauses} | {checks} | {len(fire.answered):,} | {lost} | {doubled} |\n",
        flush=True,
    )
    if fire.twice or lost or doubled or fire.without:
        yield f"monitors: {fire.twice} twice, {len(fire.without)} missed, {lost} lost, {doubled} doubled"


def print_storms(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Print what a storm did; give what is wrong."""
    if wrk() is None:
        if os.environ.get("CI") == "true":
            sys.exit("wrk is missing (Debian's package wrk)")
        print("Storms: not measured (no wrk)\n")
        return
    print(f"{options.connections:,} connections\n")
    head = "answered/s before, during | refused/s | refusal, ms: p50, p99 | longest wait, s"
    print(f"| model | {head} | full speed after, s | memory, MB |\n| --- |" + " --- |" * 6)
    chosen = list(STORMS.items())[1:2] if options.tiny else STORMS.items()
    for number, (name, settings) in enumerate(chosen):
        found = storm(
            settings,
            made(folder, f"storm{number}"),
            connections=options.connections,
            seconds=1.0 if options.tiny else STORM_SECONDS,
            patience=0.0 if options.tiny else 20.0,
        )
        waits = f"{found.refused_ms[0]:.1f}, {found.refused_ms[1]:.1f}" if found.refused_ms else "–"
        back = "never" if found.recovered_s is None else f"{found.recovered_s:.1f}"
        speed = f"{found.before:,.0f}, {found.during:,.0f} | {found.refused:,.0f} | {waits}"
        memory = f"{found.memory[0]:.0f}, {found.memory[1]:.0f}"
        print(f"| {name} | {speed} | {found.slowest_s:.2f} | {back} | {memory} |", flush=True)
        if found.recovered_s is None and not options.tiny:
            yield f"storm, {name}: not as fast as before 20 s later"
    print()


def print_calls(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Print the faults of each system call; give what is wrong."""
    if reason := missing_strace():
        print(f"System calls: not measured ({reason})\n")
        return
    head = "faults that struck | answered | refused | broken connections | lost | doubled"
    print(f"| system call | {head} |\n| --- |" + " --- |" * 6)
    chosen = ("write",) if options.tiny else ()
    for log in ("sqlite",) if options.tiny or missing() else ("sqlite", "postgresql"):
        with database() if log == "postgresql" else nullcontext() as server:
            for sweep, lost, doubled in sweeps(made(folder, f"calls-{log}"), server, options.calls, chosen):
                struck = ", ".join(f"{count} {effect}" for effect, count in sweep.struck.items()) or "none"
                counts = f"{len(sweep.answered):,} | {sweep.statuses[503]} | {sweep.statuses[0]}"
                print(f"| {log}, {sweep.call} | {struck} | {counts} | {lost} | {doubled} |", flush=True)
                yield from sweep.problems
                if lost or doubled:
                    yield f"{log}, {sweep.call}: {lost} lost, {doubled} doubled"
    print()


def print_cycles(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Print the outcomes of starts and stops; yield what is wrong."""
    outcome = cycles(options.cycles, made(folder, "cycles"), random.Random(options.seed))
    head = "early | s to the end: median, longest | answered | lost | doubled | problems"
    print(f"| starts and stops | {head} |\n| --- |" + " --- |" * 6)
    times = f"{median(outcome.seconds):.2f}, {max(outcome.seconds):.2f}" if outcome.seconds else "–"
    counts = f"{len(outcome.answered):,} | {outcome.lost} | {outcome.doubled} | {len(outcome.problems)}"
    print(f"| {outcome.stops.total()} | {outcome.early} | {times} | {counts} |\n", flush=True)
    for name, count in sorted(outcome.stops.items()):
        print(f"- {name}: {count}")
    print(flush=True)
    yield from outcome.problems
    if not options.tiny:
        yield from outcome.slow
    if outcome.lost or outcome.doubled:
        yield f"cycles: {outcome.lost} lost, {outcome.doubled} doubled"


def print_clients(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Print what hostile clients did; yield what is wrong."""
    head = "requests | statuses | /health/live, longest, ms | predictions by status | memory, MB"
    print(f"| clients | {head} |\n| --- |" + " --- |" * 5)
    only = [Route("POST", "/labels"), Route("GET", "/")] if options.tiny else []
    seconds = 0.6 if options.tiny else 15.0
    for attack in attacks(made(folder, "clients"), seconds=seconds, clients=options.clients, only=only):
        statuses, predictions = dict(attack.statuses), dict(attack.predictions)
        memory = f"{attack.memory[0]:.0f}, {attack.memory[1]:.0f}"
        cells = f"{attack.requests} | {statuses} | {attack.live_s * 1000:.0f} | {predictions} | {memory}"
        print(f"| {attack.name} | {cells} |", flush=True)
        for taken, name in attack.slowest[:5]:
            print(f"| – {name} | {taken} s | | | | |")
        if not options.tiny:
            yield from attack.problems()
    print("\n| a log that nobody reads | answered | /health/live, longest, ms | s to the end | code |")
    print("| --- |" + " --- |" * 4)
    for number, verb in enumerate(("serve",) if options.tiny else ("serve", "serve --workers 2", "up")):
        outcome = stall(verb, made(folder, f"stall{number}"), seconds=seconds / 2)
        cells = f"{outcome.answered:,} | {outcome.live_s * 1000:.0f} | {outcome.stop_s:.1f} | {outcome.code}"
        print(f"| {verb} | {cells} |", flush=True)
        yield from outcome.problems(whole=not options.tiny)
    print()


def print_fuzz(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Print the answers to generated requests; yield what is wrong."""
    outcome = fuzz(options.requests, made(folder, "fuzz"), random.Random(options.seed))
    head = "statuses | /health/live, longest, ms | memory, MB | lines of /metrics | s"
    print(f"| fuzzed requests | {head} |\n| --- |" + " --- |" * 5)
    memory = ", ".join(f"{size:.0f}" for size in outcome.memory)
    cells = f"{dict(outcome.statuses)} | {outcome.live_s * 1000:.0f} | {memory} | {outcome.series}"
    print(f"| {outcome.statuses.total():,} | {cells} | {outcome.seconds:.0f} |\n", flush=True)
    sizes = ", ".join(f"{name}: {size:.0f} MB" for name, size in outcome.parts.items())
    print(f"At the end: {sizes}\n", flush=True)
    yield from outcome.problems(whole=not options.tiny)


PRINTERS = {
    "kills": print_kills,
    "outages": print_outages,
    "monitors": print_monitors,
    "storms": print_storms,
    "calls": print_calls,
    "cycles": print_cycles,
    "clients": print_clients,
    "fuzz": print_fuzz,
}


def made(folder: Path, name: str) -> Path:
    found = folder / name
    found.mkdir()
    return found


if __name__ == "__main__":
    main()
