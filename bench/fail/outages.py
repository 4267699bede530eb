"""A database that is away under load."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import postgres
from tests.conftest import ready, running, wait_until
from tests.failing import Load

from fail.kills import Store

QUIET: dict[str, Any] = {"REPORTS__EVIDENTLY": "off", "SERVER__ACCESS_LOG": "false"}


@dataclass(frozen=True)
class Outage:
    """What an outage did.

    Attributes:
        answered: answers with 200 in all, and while the database was away.
        refused: answers with 503.
        refused_ms: median, 99th percentile and longest.
        back_s: seconds after its return until something was answered, and until all of before was logged.
        lost: answered and not logged.
        doubled: logged twice.
    """

    answered: tuple[int, int]
    refused: int
    refused_ms: tuple[float, float, float]
    back_s: tuple[float, float]
    lost: int
    doubled: int


def outage(server: postgres.Server, folder: Path, *, on_failure: str, seconds: float) -> Outage:
    """Stop the database at once, as a crash does, under load; start it again after some seconds."""
    store = Store(folder, server)
    settings: dict[str, Any] = {**QUIET, **store.settings, "LOG__ON_FAILURE": on_failure}
    with running("serve", folder / "data", **settings) as service:
        with Load(service.url, clients=8, pause=0.02) as load:
            wait_until(lambda: len(load.answered) > 100, 20, "the load")
            server.stop(signal.SIGQUIT)
            before = len(load.answered)
            time.sleep(seconds)
            meanwhile = len(load.answered) - before
            server.start()
            back = time.monotonic()
            wait_until(lambda: load.answers_since(back), 60, "an answer")
            answers = time.monotonic() - back
            known = set(load.answered)
            wait_until(lambda: known <= set(store.ids()), 120, "the log of what was answered")
            logged = time.monotonic() - back
        wait_until(lambda: ready(service), 20, "a healthy service")
        wait_until(lambda: service.metric("driftbell_log_queue") == 0, 60, "an empty queue")
        ids = store.ids()
    waits = sorted(load.refused_ms) or [0.0]
    return Outage(
        (len(load.answered), meanwhile),
        load.statuses[503],
        (waits[len(waits) // 2], waits[int(0.99 * len(waits))], waits[-1]),
        (answers, logged),
        len(set(load.answered) - set(ids)),
        len(ids) - len(set(ids)),
    )
