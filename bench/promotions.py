"""Promote two versions in turn under load, and check the version of every answer.

Over two workers on SQLite, then over two replicas on a real PostgreSQL. An answer is right if its version was
the champion at some moment between the begin of its request and its end, both read by the client; services
and clients read the same clock. Each promotion takes at least the three seconds between decision and switch.

    python bench/promotions.py [--tiny] [--promotions 1000] [--replicated 200] [--connections 64]
                               [--pause 0.2]

The program fails if a request failed, an answer had another version, or an answered prediction is not in the
log.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from skops import io as skops_io
from tests import postgres
from tests.command_line import driftbell
from tests.conftest import running, wait_until

from switch.clients import Clients

QUIET = {"CHECK__EVERY": "off", "SERVER__ACCESS_LOG": "false", "REPORTS__EVIDENTLY": "off"}
CLASSES = ("setosa", "versicolor", "virginica")
PROGRESS = 25


@dataclass
class Outcome:
    """What promotions under load did.

    Attributes:
        answered: answers with 200.
        failed: requests without such an answer, by status or error.
        wrong: answers whose version was no champion while the request was in progress.
        lost: answered predictions that are not in the log.
        promoting: seconds of each call that promotes.
        first_new: milliseconds from the time of a switch to the end of the first answer of the new version.
        last_old: milliseconds from the time of a switch to the end of the last answer of the old version, of
            a request that began before.
    """

    answered: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    wrong: int = 0
    lost: int = 0
    promoting: list[float] = field(default_factory=list)
    first_new: list[float] = field(default_factory=list)
    last_old: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--promotions", type=int, default=1000, help="over two workers")
    parser.add_argument("--replicated", type=int, default=200, help="over two replicas on PostgreSQL")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--pause", type=float, default=0.2, help="of a connection, seconds")
    options = parser.parse_args()
    promotions, replicated = options.promotions, options.replicated
    if options.tiny:
        promotions, replicated, options.connections = 2, 2, 8
    print(
        "| services | promotions | answers | failed | wrong version | not logged | from the switch to the "
        "first answer of the new version, p50 / p99 ms | to the last answer of the old one, p50 / p99 ms | "
        "promotion, p50 / p99 s |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        files = write_model(Path(folder))
        load = {"connections": options.connections, "pause": options.pause}
        if promotions:
            outcomes.append(over_workers(Path(folder), files, promotions, load))
            print_row("two workers, SQLite", outcomes[-1])
        reason = postgres.absent()
        if reason and os.environ.get("CI") == "true":
            sys.exit(reason)
        if replicated and not reason:
            outcomes.append(over_replicas(Path(folder), files, replicated, load))
            print_row("two replicas, PostgreSQL", outcomes[-1])
        elif reason:
            print(f"\nnot measured over replicas: {reason}")
    if any(o.failed or o.wrong or o.lost for o in outcomes):
        sys.exit("promotions lost or mixed up requests")


def print_row(name: str, outcome: Outcome) -> None:
    columns = [
        name,
        f"{len(outcome.promoting):,}",
        f"{outcome.answered:,}",
        ", ".join(f"{n} {what}" for what, n in outcome.failed.items()) or "0",
        str(outcome.wrong),
        str(outcome.lost),
        *(quantiles(values, "{:.1f}") for values in (outcome.first_new, outcome.last_old)),
        quantiles(outcome.promoting, "{:.1f}"),
    ]
    print(f"| {' | '.join(columns)} |", flush=True)


def quantiles(values: Sequence[float], form: str) -> str:
    return " / ".join(form.format(np.quantile(values, q)) for q in (0.5, 0.99)) if values else "–"


def write_model(folder: Path) -> Path:
    """Write a logistic regression, and its reference, which differ from the forest that is served first."""
    data: Any = load_iris(as_frame=True)
    labels = data.target.map(dict(enumerate(CLASSES)))
    data.data.assign(species=labels).to_csv(folder / "iris.csv", index=False)
    skops_io.dump(LogisticRegression(max_iter=1000).fit(data.data, labels), folder / "linear.skops")
    return folder


def over_workers(folder: Path, files: Path, promotions: int, load: dict[str, Any]) -> Outcome:
    """Promote over the two workers of one service."""
    data_dir = folder / "workers"

    def versions() -> dict[str, str]:
        with contextlib.closing(sqlite3.connect(data_dir / "log.sqlite", timeout=20)) as log:
            return dict(log.execute("SELECT id, version FROM predictions"))

    with running("serve", data_dir, **QUIET, SERVER__WORKERS="2") as service:
        add(data_dir, files)
        return switched([service.url], promotions, load, versions)


def over_replicas(folder: Path, files: Path, promotions: int, load: dict[str, Any]) -> Outcome:
    """Promote over two services with one database."""
    with contextlib.ExitStack() as started:
        server = started.enter_context(contextlib.closing(postgres.Server("max_connections=60")))
        url = server.empty_database()
        (folder / "url").write_text(url, "utf-8")
        settings = {**QUIET, "LOG__URL_FILE": str(folder / "url")}
        replicas = [started.enter_context(running("serve", folder / name, **settings)) for name in ("a", "b")]
        add(folder / "a", files, LOG__URL_FILE=settings["LOG__URL_FILE"])
        database = url.split("?")[0].rpartition("/")[2]

        def versions() -> dict[str, str]:
            return dict(server.run("SELECT id, version FROM predictions", database))

        return switched([replica.url for replica in replicas], promotions, load, versions)


def add(data_dir: Path, files: Path, **settings: str) -> None:
    command = ("models", "add", str(files / "linear.skops"), "--reference", str(files / "iris.csv"))
    done = driftbell(*command, cwd=data_dir, DATA_DIR=str(data_dir), **settings)
    assert done.returncode == 0, done.stderr


def switched(urls: list[str], promotions: int, load: dict[str, Any], versions: Any) -> Outcome:
    """Promote each of two versions in turn under load, and look at every answer.

    Args:
        urls: of the services.
        promotions: how many.
        load: see `Clients`.
        versions: returns the version of each stored prediction, by id.
    """
    outcome = Outcome()
    listed = httpx.get(f"{urls[0]}/models", timeout=60).json()
    first = listed["changes"][0]["version"]
    (second,) = (v["version"] for v in listed["versions"] if v["version"] != first)
    switches = [(0.0, first)]
    with Clients(urls, **load) as clients:
        time.sleep(1.0)
        for number in range(promotions):
            version = (second, first)[number % 2]
            switches.append((promote(urls[number % len(urls)], version, outcome), version))
            if number % PROGRESS == PROGRESS - 1:
                failed = sum(clients.failures.values())
                counts = f"{number + 1} promotions, {len(clients.ids):,} answers, {failed} failed"
                print(counts, file=sys.stderr, flush=True)
        time.sleep(max(0.0, switches[-1][0] - time.time()) + 1.0)
    outcome.answered, outcome.failed = len(clients.ids), dict(clients.failures)
    with contextlib.suppress(AssertionError):  # which is what is counted
        wait_until(lambda: set(clients.ids) <= versions().keys(), 120, "the predictions in the log")
    judge(outcome, clients, switches, versions())
    return outcome


def promote(url: str, version: str, outcome: Outcome) -> float:
    """Promote a version, and return the time of the switch."""
    begin = time.monotonic()
    why = {"author": "bench", "reason": "a measurement"}
    answer = httpx.post(f"{url}/models/{version}/promote", json=why, timeout=150)
    outcome.promoting.append(time.monotonic() - begin)
    assert answer.status_code == 200, answer.text
    return datetime.fromisoformat(answer.json()["active_from"]).timestamp()


def judge(
    outcome: Outcome, clients: Clients, switches: list[tuple[float, str]], versions: dict[str, str]
) -> None:
    """Compare the version of each answer with the champions while its request was in progress."""
    starts = [start for start, _ in switches]
    first_new = [float("inf")] * len(switches)
    last_old = [0.0] * len(switches)
    for prediction, begin, end in zip(clients.ids, clients.begins, clients.ends, strict=True):
        version = versions.get(prediction)
        if version is None:
            outcome.lost += 1
            continue
        earliest, latest = bisect_right(starts, begin) - 1, bisect_right(starts, end) - 1
        champions = [switches[number][1] for number in range(earliest, latest + 1)]
        if version not in champions:
            outcome.wrong += 1
        elif version == champions[-1]:
            first_new[latest] = min(first_new[latest], end)
        else:
            last_old[latest] = max(last_old[latest], end)
    for number, start in list(enumerate(starts))[1:]:
        outcome.first_new.append(1000 * (first_new[number] - start))
        if last_old[number]:
            outcome.last_old.append(1000 * (last_old[number] - start))


if __name__ == "__main__":
    main()
