"""What is wanted of serving, as ratios in one run, and whether it was reached."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from serve.load import Found
from serve.running import Outcome
from serve.targets import BARE, NATIVE, OURS, PEERS, POWER, ROUTE, SERVE, TUTORIAL, TWO

MOST, ONE = "64", "1"
START_SECONDS, MEMORY_MB = 1.5, 150.0
Round = dict[str, Outcome]
"""The outcomes of one round, by target."""


@dataclass(frozen=True)
class Verdict:
    """One thing that is wanted.

    Attributes:
        what: it in words.
        limit: the number wanted.
        at_least: whether more is better.
        found: the number measured, or None.
    """

    what: str
    limit: float
    at_least: bool
    found: float | None

    @property
    def word(self) -> str:
        """Pass, fail or not measured."""
        if self.found is None:
            return "not measured"
        return "pass" if (self.found >= self.limit) == self.at_least or self.found == self.limit else "FAIL"


def verdicts(rounds: Sequence[Round]) -> Iterator[Verdict]:
    """Compare what was measured with what is wanted; a ratio is the median of those of the rounds."""

    def compared(one: str, other: str, phase: str, of: Callable[[Found], float]) -> float | None:
        return median(
            of(r[one].phases[phase]) / of(r[other].phases[phase])
            for r in rounds
            if all(name in r and phase in r[name].phases for name in (one, other))
        )

    def rate(found: Found) -> float:
        return found.rate

    best = best_peer(rounds)
    words = f"{OURS}, requests/s over {MOST} connections, default durability, everything on, to"
    yield Verdict(f"{words} the tutorial's", 100, True, compared(OURS, TUTORIAL, MOST, rate))
    to_best = compared(OURS, best, MOST, rate) if best else None
    yield Verdict(f"{words} the best peer's ({best or 'none here'})", 12, True, to_best)
    yield Verdict(f"{words} those of a plain route", 1.0, True, compared(OURS, ROUTE, MOST, rate))
    p50 = compared(OURS, ROUTE, ONE, lambda found: found.p50)
    yield Verdict("p50 over 1 connection to the plain route's", 1.5, False, p50)
    yield Verdict('durability "power" to the default', 0.5, True, compared(POWER, OURS, MOST, rate))
    yield Verdict("p99 while checks run to p99 without", 1.5, False, during_checks(rounds, OURS))
    yield Verdict("monitoring on to off", 0.8, True, compared(OURS, BARE, MOST, rate))
    yield Verdict(
        "native forest, in micro-batches, to the tutorial", 15, True, compared(NATIVE, TUTORIAL, MOST, rate)
    )
    yield Verdict("2 workers to one", 1.0, True, compared(TWO, OURS, MOST, rate))
    start = median(r[SERVE].start_s for r in rounds if SERVE in r)
    yield Verdict("`driftbell serve` ready with a cached model, s", START_SECONDS, False, start)
    memory = median(r[SERVE].memory_mb for r in rounds if SERVE in r)
    yield Verdict("`driftbell serve` resident, one worker, MB", MEMORY_MB, False, memory)


def during_checks(rounds: Sequence[Round], name: str, phase: str = MOST) -> float | None:
    """Give the p99 while checks run, as a ratio to the p99 just before without."""
    busy, quiet = f"{phase} + checks", f"{phase} again"
    own = [r[name].phases for r in rounds if name in r]
    return median(phases[busy].p99 / phases[quiet].p99 for phases in own if busy in phases)


def best_peer(rounds: Sequence[Round]) -> str | None:
    """Name the peer with the most requests a second over the most connections."""
    rates = {}
    for name in PEERS:
        found = median(r[name].phases[MOST].rate for r in rounds if name in r and MOST in r[name].phases)
        if found is not None:
            rates[name] = found
    return max(rates, key=lambda name: rates[name], default=None)


def failures(rounds: Sequence[Round]) -> Iterator[str]:
    """Tell what may never happen: an answer other than 200, an answer that is not in the log."""
    for number, outcomes in enumerate(rounds, 1):
        for name, outcome in outcomes.items():
            for phase, found in outcome.phases.items():
                if found.errors or not found.requests:
                    words = f"{found.errors} errors, {found.requests} answers"
                    yield f"round {number}, {name}, {phase} connections: {words}"
            if outcome.logged is not None and outcome.logged < outcome.answered:
                yield f"round {number}, {name}: {outcome.answered} answers, {outcome.logged} rows in the log"


def median(numbers: Iterable[float]) -> float | None:
    """Give the median, or None of nothing."""
    every = list(numbers)
    return statistics.median(every) if every else None
