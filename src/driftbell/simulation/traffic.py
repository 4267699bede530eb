"""Traffic for a prediction service: rows like the reference, then rows with faults by name."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import httpx
import numpy as np
from numpy.typing import NDArray

from driftbell.errors import ConfigError
from driftbell.records import Column, Columns, Value
from driftbell.simulation.faults import CONTRACT_FAULTS, LARGEST_SHARE, MOST_DECIMALS, Fault, Row, apply

BACKOFF = (0.1, 0.2, 0.4)
"""Seconds between the attempts to send one request."""
TIMEOUT_SECONDS = 10.0

Answer: TypeAlias = tuple[int | None, str]
"""The HTTP status, None where there was no answer, and why it is not 200."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One request is through.

    Attributes:
        phase: `normal` or `drifted`.
        index: how many of the phase are through, this one included.
        total: requests of the phase.
        status: the HTTP status; None where there was no answer.
        detail: why it was refused or failed, else "".
    """

    phase: str
    index: int
    total: int
    status: int | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """All requests of a run, counted.

    Attributes:
        sent: all of them, failed ones included.
        by_status: answers by HTTP status.
        failed: requests without an answer.
    """

    sent: int
    by_status: Mapping[int, int]
    failed: int


def line(progress: Progress) -> str:
    """Put one request's progress in words.

    >>> line(Progress("normal", 1, 50, 200))
    '[1/50] normal request sent. Status: 200'
    """
    status = "no answer" if progress.status is None else progress.status
    why = f" ({progress.detail})" if progress.detail else ""
    return f"[{progress.index}/{progress.total}] {progress.phase} request sent. Status: {status}{why}"


def iris_rows(n: int, rng: np.random.Generator) -> list[Row]:
    """Draw n rows from the joint distribution of the Iris data."""
    return sample_rows(_iris(), n, rng)


def sample_rows(columns: Columns, n: int, rng: np.random.Generator) -> list[Row]:
    """Draw n rows from the joint distribution of a table, so that they are no drift.

    Whole rows are resampled. A column of decimal numbers gets Gaussian jitter with a standard deviation
    of half its resolution (the last decimal place), and is rounded back to it: without the rounding no
    value would tie with the reference, which is drift. It stays within its range. Other cells stay as
    they are.

    Args:
        columns: the reference, at least one row.
        n: how many.
        rng: the source of randomness.
    """
    index = rng.integers(len(next(iter(columns.values()))), size=n)
    drawn = [_drawn(column, index, rng) for column in columns.values()]
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*drawn, strict=True)]


def simulate(
    url: str,
    *,
    normal: int = 50,
    drifted: int = 50,
    rate: float | None,
    faults: Sequence[Fault] = CONTRACT_FAULTS,
    rng: np.random.Generator,
    report: Callable[[Progress], None],
    reference: Columns | None = None,
    headers: Mapping[str, str] | None = None,
    concurrency: int = 1,
    sleep: Callable[[float], None] = time.sleep,
    client: httpx.Client | None = None,
) -> Summary:
    """Send normal, then drifted rows to `POST {url}/predict`, with random pauses.

    Args:
        url: of the service.
        normal: number of normal rows.
        drifted: number of drifted rows after them.
        rate: requests a second on average (a Poisson process); None or 0 for no pauses.
        faults: what is wrong with the drifted rows.
        rng: the source of rows and pauses.
        report: is told of every request as soon as it is through, in the caller's thread.
        reference: the table whose rows are normal; None for the Iris data.
        headers: to send along, such as an API key.
        concurrency: requests at the same time.
        sleep: waits so many seconds.
        client: to send with; one of its own otherwise.

    Raises:
        ConfigError: an argument is wrong, or the service cannot be reached at all. Once it has answered, a
            request without an answer is tried again a few times and then counted as failed.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"the URL must begin with http:// or https://, got '{url}'")
    if rate is not None and not rate >= 0:
        raise ConfigError(f"the rate must be a number of requests a second, or 0 for no pauses, got {rate}")
    table = _iris() if reference is None else reference
    # everything is drawn before the first request: a wrong fault is told at once, and threads share no rng
    phases = {
        "normal": sample_rows(table, normal, rng),
        "drifted": apply(sample_rows(table, drifted, rng), faults, rng),
    }
    counts: Counter[int | None] = Counter()
    with contextlib.nullcontext(client) if client else httpx.Client(timeout=TIMEOUT_SECONDS) as http:
        sender = _Sender(http, url, {"Content-Type": "application/json", **(headers or {})}, sleep)
        for phase, rows in phases.items():
            pauses = rng.exponential(concurrency / rate if rate else 0.0, len(rows)).tolist()
            with contextlib.closing(_answers(sender.send, rows, pauses, concurrency)) as answers:
                for index, (status, detail) in enumerate(answers, 1):
                    counts[status] += 1
                    report(Progress(phase, index, len(rows), status, detail))
    by_status = {status: count for status, count in counts.items() if status is not None}
    return Summary(counts.total(), by_status, counts[None])


@dataclass(slots=True)
class _Sender:
    http: httpx.Client
    url: str
    headers: Mapping[str, str]
    sleep: Callable[[float], None]
    reached: bool = False

    def send(self, row: Row, pause: float) -> Answer:
        """Send one row after a pause."""
        self.sleep(pause)
        why = ""
        for wait in (*BACKOFF, 0.0):
            try:
                return self._post(row)
            except (httpx.RequestError, httpx.InvalidURL) as error:
                why = str(error) or type(error).__name__
                if not self.reached:
                    hint = "is the service running? start it with `driftbell up`"
                    raise ConfigError(f"cannot reach {self.url}: {hint} ({why})") from error
                self.sleep(wait)
        return None, why

    def _post(self, row: Row) -> Answer:
        target = f"{self.url.rstrip('/')}/predict"
        response = self.http.post(target, content=json.dumps(row), headers=self.headers)
        self.reached = True
        return response.status_code, "" if response.is_success else _detail(response)


def _answers(
    send: Callable[[Row, float], Answer], rows: Sequence[Row], pauses: Sequence[float], concurrency: int
) -> Generator[Answer, None, None]:
    """Send every row and give the answers in order of completion."""
    alone = len(rows) if concurrency == 1 else 1  # the first one shows whether the service is there
    yield from map(send, rows[:alone], pauses[:alone])
    pool = ThreadPoolExecutor(concurrency)
    try:
        work = zip(rows[alone:], pauses[alone:], strict=True)
        for done in as_completed([pool.submit(send, row, pause) for row, pause in work]):
            yield done.result()
    finally:  # after Ctrl-C, what has not begun is not sent
        pool.shutdown(cancel_futures=True)


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):  # not from driftbell, perhaps from a proxy
        return response.reason_phrase


def _iris() -> dict[str, Column]:
    from sklearn.datasets import load_iris

    data: Any = load_iris()
    return dict(zip(data.feature_names, data.data.T, strict=True))


def _drawn(column: Column, index: NDArray[np.intp], rng: np.random.Generator) -> list[Value]:
    cells = column[index]
    if column.dtype != np.float64:
        return [_sendable(v) for v in cells.tolist()]
    known = column[np.isfinite(column)]
    decimals = _decimals(known)
    if decimals is not None:
        finite = np.isfinite(cells)
        jittered = np.round(cells + rng.normal(0, 10.0**-decimals / 2, len(cells)), decimals)
        cells = np.where(finite, np.clip(jittered, known.min(), known.max()), cells)
    return [None if math.isnan(v) else v for v in cells.tolist()]


def _decimals(known: NDArray[np.float64]) -> int | None:
    """Find the last decimal place that is used, negative before the point; None for no jitter."""
    _, counts = np.unique(known, return_counts=True)
    if not len(known) or counts.max() > LARGEST_SHARE * len(known):
        return None
    places = range(-MOST_DECIMALS, MOST_DECIMALS + 1)
    with np.errstate(over="ignore"):
        return next((d for d in places if np.array_equal(np.round(known, d), known)), None)


def _sendable(cell: Any) -> Value:
    if cell is None or isinstance(cell, bool):
        return cell
    return cell.isoformat() if isinstance(cell, datetime) else str(cell)
