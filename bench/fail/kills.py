"""`kill -9` of random processes under load, and a database that crashes now and then."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import postgres
from tests.conftest import Running, command, descendants, running, wait_until
from tests.failing import Load

QUIET: dict[str, Any] = {"REPORTS__EVIDENTLY": "off", "REPORTS__KEEP": "5", "CHECK__EVERY": "10s"}
DURABLE = ("fsync=off", "full_page_writes=off", "max_connections=100")
"""What is committed survives the death of the database's processes, which is all that dies here."""

LOGGED_SECONDS = 60
CRASH_EVERY = 6


@dataclass(frozen=True)
class Setting:
    """Where predictions go, how durable, and how many workers answer."""

    log: str
    durability: str
    workers: int

    def __str__(self) -> str:
        return f"{self.log}, {self.durability}, {self.workers} worker{'s' if self.workers > 1 else ''}"


@dataclass(kw_only=True)
class Records:
    """What was answered, and what is in the log.

    Attributes:
        answered: ids of all answers with 200.
        logged: ids in the log.
    """

    answered: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Answered, and not in the log."""
        return len(set(self.answered) - set(self.logged))

    @property
    def doubled(self) -> int:
        """More than once in the log."""
        return len(self.logged) - len(set(self.logged))


@dataclass
class Outcome(Records):
    """What became of it.

    Attributes:
        kills: by what was killed.
        pauses: seconds from each kill to the next answer.
        statuses: answers other than 200 and broken connections.
    """

    kills: dict[str, int] = field(default_factory=dict)
    pauses: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)


class Store:
    """The log of one run: a database of its own in a server, or a file."""

    def __init__(self, folder: Path, server: postgres.Server | None) -> None:
        self._folder, self.server = folder, server
        self.settings: Mapping[str, str] = {}
        if server:
            url = server.empty_database()
            self._name = url.split("?")[0].rpartition("/")[2]
            (folder / "url").write_text(url, "utf-8")
            self.settings = {"LOG__URL_FILE": str(folder / "url")}

    def ids(self) -> list[str]:
        """Give every id in the log."""
        if self.server:
            return [row[0] for row in self.server.run("SELECT id FROM predictions", self._name)]
        with contextlib.closing(sqlite3.connect(self._folder / "data" / "log.sqlite", timeout=20)) as log:
            return [row[0] for row in log.execute("SELECT id FROM predictions")]


@contextlib.contextmanager
def database() -> Iterator[postgres.Server]:
    """Start a PostgreSQL for the whole run."""
    with contextlib.closing(postgres.Server(*DURABLE)) as server:
        yield server


def kills(
    setting: Setting, number: int, server: postgres.Server | None, chance: random.Random, folder: Path
) -> Outcome:
    """Kill so many processes, one after the other, under load, and count what is in the log at the end."""
    outcome = Outcome()
    store = Store(folder, server if setting.log == "postgresql" else None)
    settings: dict[str, Any] = {
        **QUIET,
        **store.settings,
        "LOG__DURABILITY": setting.durability,
        "SERVER__WORKERS": str(setting.workers),
    }
    with contextlib.ExitStack() as started:
        service = started.enter_context(running("up", folder / "data", **settings))
        with Load(service.url, clients=6, pause=0.02) as load:
            for turn in range(number):
                time.sleep(chance.uniform(0.1, 1.5))
                at = time.monotonic()
                if store.server and turn % CRASH_EVERY == CRASH_EVERY - 1:
                    what = "database"
                    store.server.stop(signal.SIGQUIT)
                    time.sleep(chance.uniform(0, 3))
                    at = time.monotonic()
                    store.server.start()
                else:
                    what = _kill(service, chance)
                outcome.kills[what] = outcome.kills.get(what, 0) + 1
                if what in ("tree", "parent", "server"):
                    service = started.enter_context(running("up", folder / "data", **settings))
                    load.url = service.url
                _answers_again(load, at, what)
                outcome.pauses.append(time.monotonic() - at)
        outcome.answered, outcome.statuses = load.answered, dict(load.statuses)
        with contextlib.suppress(AssertionError):  # which is what is counted
            wait_until(
                lambda: set(load.answered) <= set(store.ids()),
                LOGGED_SECONDS,
                "the log of all that was answered",
            )
        outcome.logged = store.ids()
    return outcome


def _answers_again(load: Load, at: float, what: str) -> None:
    wait_until(lambda: load.answers_since(at), 60, f"an answer after the death of the {what}")


def _kill(service: Running, chance: random.Random) -> str:
    """Kill one process, or all of them; tell which."""
    below = descendants(service.process.pid)
    kinds: dict[str, list[int]] = {"parent": [service.process.pid], "tree": [*below, service.process.pid]}
    for pid in below:
        line = command(pid)
        kind = next(
            (
                k
                for k, word in (("monitor", " monitor "), ("server", " serve "), ("worker", "spawn_main"))
                if word in line
            ),
            None,
        )
        if kind:
            kinds.setdefault(kind, []).append(pid)
    what = chance.choice(sorted(kinds))
    for pid in kinds[what] if what == "tree" else [chance.choice(kinds[what])]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return what
