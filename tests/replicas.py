"""Two servers and two monitors on one PostgreSQL, whose monitors are killed and paused at random."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests import postgres
from tests.conftest import Running, running, wait_until
from tests.failing import Load

QUIET: dict[str, Any] = {"REPORTS__EVIDENTLY": "off", "REPORTS__KEEP": "5", "SERVER__ACCESS_LOG": "false"}


@dataclass
class Fire:
    """What happened, and what came of it.

    Attributes:
        every: seconds between two checks.
        answered: ids of all answers with 200.
        logged: ids in the log.
        checks: id and scheduled time of every automatic check, in the order in which they were saved.
        reported: the intervals that a monitor logged as missed.
        kills: how many were killed; likewise `pauses`.
        refused: checks that a monitor could not save because it was paused for too long.
    """

    every: int
    answered: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    checks: list[tuple[str, datetime]] = field(default_factory=list)
    reported: set[datetime] = field(default_factory=set)
    kills: int = 0
    pauses: int = 0
    refused: int = 0

    @property
    def twice(self) -> int:
        """How many checks there are for an interval that had one already."""
        occasions = [occasion for _, occasion in self.checks]
        return (
            len(occasions) - len(set(occasions)) + len(self.checks) - len({name for name, _ in self.checks})
        )

    @property
    def without(self) -> set[datetime]:
        """The intervals between the first and the last check that had none."""
        occasions = {occasion for _, occasion in self.checks}
        first, step = min(occasions), timedelta(seconds=self.every)
        return {first + n * step for n in range((max(occasions) - first) // step)} - occasions


def under_fire(
    server: postgres.Server, folder: Path, *, seconds: float, every: int, chance: random.Random
) -> Fire:
    """Run them for some seconds, and kill or pause one monitor after the other while the other one works."""
    url = server.empty_database()
    (folder / "url").write_text(url, "utf-8")
    settings: dict[str, Any] = {**QUIET, "LOG__URL_FILE": str(folder / "url"), "CHECK__EVERY": f"{every}s"}
    fire = Fire(every)
    database = url.split("?")[0].rpartition("/")[2]

    def saved() -> int:
        return int(server.run("SELECT count(*) FROM checks WHERE kind = 'automatic'", database)[0][0])

    with contextlib.ExitStack() as started:
        servers = [started.enter_context(running("serve", folder / n, **settings)) for n in "ab"]
        loads = [started.enter_context(Load(s.url, clients=2, pause=0.1)) for s in servers]
        monitors = [_Monitor(folder / n, settings, started) for n in "cd"]
        wait_until(lambda: all(m.works() for m in monitors), 90, "both monitors")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline or not fire.pauses:
            wait_until(lambda: all(m.works() for m in monitors), 90, "both monitors")
            time.sleep(chance.uniform(0, every))
            holds = [m for m in monitors if m.process.events("drift monitor holds the lease")]
            # mostly the one that works, or did
            victim = chance.choice(monitors if not holds or chance.random() < 0.3 else holds)
            if fire.kills <= fire.pauses:
                fire.kills += 1
                victim.kill()
                time.sleep(chance.uniform(0, every))
                victim.start()
            else:
                fire.pauses += 1
                with victim.paused():
                    time.sleep(chance.uniform(0, 2 * every))
        before = saved()
        wait_until(lambda: saved() > before, 90, "checks after all that")
        for load in loads:
            load.stop()
    fire.refused = sum(len(p.events("drift check not saved")) for m in monitors for p in m.all)
    for line in (e for m in monitors for p in m.all for e in p.events("drift checks were missed")):
        since, until = (datetime.fromisoformat(line[key]) for key in ("since", "check"))
        steps = range((until - since) // timedelta(seconds=every))
        fire.reported |= {since + n * timedelta(seconds=every) for n in steps}
    fire.answered = [name for load in loads for name in load.answered]
    fire.logged = [row[0] for row in server.run("SELECT id FROM predictions", database)]
    fire.checks = [
        (row[0], datetime.fromisoformat(row[1]["occasion"]))
        for row in server.run("SELECT id, body FROM checks WHERE kind = 'automatic' ORDER BY seq", database)
    ]
    return fire


class _Monitor:
    """A monitor's place: one process after the other."""

    def __init__(self, folder: Path, settings: dict[str, Any], started: contextlib.ExitStack) -> None:
        self._folder, self._settings, self._started = folder, settings, started
        self.all: list[Running] = []
        self.start()

    def start(self) -> None:
        self.process = self._started.enter_context(running("monitor", self._folder, **self._settings))
        self.all.append(self.process)

    def works(self) -> bool:
        return bool(self.process.events("drift scheduler started"))

    def kill(self) -> None:
        self.process.process.kill()
        self.process.process.wait(10)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        os.kill(self.process.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.process.pid, signal.SIGCONT)
