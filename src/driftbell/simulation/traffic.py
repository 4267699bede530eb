"""Traffic simulator: rows sampled from a reference, then rows with faults, sent to a prediction service."""

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

from driftbell.config.sources import START_OR_NAME
from driftbell.errors import ConfigError
from driftbell.records import Column, Columns, Value
from driftbell.retries import with_backoff
from driftbell.simulation.faults import CONTRACT_FAULTS, Fault, Row, apply_faults, check_faults

TIMEOUT_SECONDS = 10.0
MAX_DECIMALS = 6
MAX_SHARE = 0.2
"""A numeric column in which one value has a larger share is not jittered: breaking the ties is drift."""

Answer: TypeAlias = tuple[int | None, str]
"""HTTP status (None without an answer), and the reason why it is not 200."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Result of one request.

    Attributes:
        phase: `normal` or `drifted`.
        index: number of completed requests of the phase, including this one.
        total: number of requests of the phase.
        status: HTTP status; None without an answer.
        detail: why the request was refused or failed, otherwise "".
    """

    phase: str
    index: int
    total: int
    status: int | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """Totals of a run.

    Attributes:
        sent: number of requests, including failed ones.
        by_status: number of answers by HTTP status.
        failed: number of requests without an answer.
    """

    sent: int
    by_status: Mapping[int, int]
    failed: int


def format_progress(progress: Progress) -> str:
    """Format the result of one request.

    >>> format_progress(Progress("normal", 1, 50, 200))
    '[1/50] normal request sent. Status: 200'
    """
    status = "no answer" if progress.status is None else progress.status
    why = f" ({progress.detail})" if progress.detail else ""
    return f"[{progress.index}/{progress.total}] {progress.phase} request sent. Status: {status}{why}"


def iris_rows(n: int, rng: np.random.Generator) -> list[Row]:
    """Draw n rows from the joint distribution of the Iris data."""
    return sample_rows(_iris(), n, rng)


def sample_rows(columns: Columns, n: int, rng: np.random.Generator) -> list[Row]:
    """Draw n rows from the joint distribution of a table, without drift.

    Whole rows are resampled. A column of decimal numbers gets Gaussian jitter with a standard deviation of
    half its resolution (the last decimal place), is rounded to its resolution and clipped to its range:
    without the rounding no value would tie with the reference, which is drift. Other cells are unchanged.

    Args:
        columns: the reference, at least one row.
        n: number of rows.
        rng: random generator.
    """
    index = rng.integers(len(next(iter(columns.values()))), size=n)
    cells_by_column = [_sample_cells(column, index, rng) for column in columns.values()]
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*cells_by_column, strict=True)]


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
        url: URL of the service.
        normal: number of normal rows.
        drifted: number of drifted rows after them.
        rate: mean number of requests per second (a Poisson process); None or 0 for no pauses.
        faults: faults of the drifted rows.
        rng: random generator of rows and pauses.
        report: called in this thread with the result of each request as soon as it is complete.
        reference: table to sample normal rows from; None for the Iris data.
        headers: additional request headers, such as an API key.
        concurrency: number of concurrent requests.
        sleep: function that waits a number of seconds.
        client: HTTP client; None for a new one.

    Raises:
        ConfigError: an argument is invalid, or the first request gets no answer. Later requests without an
            answer are retried a few times and then counted as failed.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"the URL must begin with http:// or https://, got '{url}'")
    if rate is not None and not rate >= 0:
        raise ConfigError(f"the rate must be a number of requests a second, or 0 for no pauses, got {rate}")
    table = _iris() if reference is None else reference
    # draw everything before the first request: an invalid fault fails at once, and threads share no generator
    phases = {"normal": sample_rows(table, normal, rng), "drifted": sample_rows(table, drifted, rng)}
    check_faults(phases["drifted"], faults)
    phases["drifted"] = apply_faults(phases["drifted"], faults, rng)
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


_with_retries = with_backoff(httpx.RequestError, attempts=4, first_wait=0.1)


@dataclass(slots=True)
class _Sender:
    http: httpx.Client
    url: str
    headers: Mapping[str, str]
    sleep: Callable[[float], None]
    reached: bool = False

    def send(self, row: Row, pause: float) -> Answer:
        """Send one row after a pause; retry with exponential backoff once the service has answered."""
        self.sleep(pause)
        try:
            return _with_retries(self._post, row) if self.reached else self._post(row)
        except (httpx.RequestError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            if not self.reached:
                raise ConfigError(f"cannot reach {self.url}: {START_OR_NAME} ({reason})") from error
            return None, reason

    def _post(self, row: Row) -> Answer:
        target = f"{self.url.rstrip('/')}/predict"
        response = self.http.post(target, content=json.dumps(row), headers=self.headers)
        self.reached = True
        return response.status_code, "" if response.is_success else _detail(response)


def _answers(
    send: Callable[[Row, float], Answer], rows: Sequence[Row], pauses: Sequence[float], concurrency: int
) -> Generator[Answer, None, None]:
    """Send every row, and yield the answers in order of completion."""
    serial = len(rows) if concurrency == 1 else 1  # the first request shows whether the service is running
    yield from map(send, rows[:serial], pauses[:serial])
    pool = ThreadPoolExecutor(concurrency)
    try:
        work = zip(rows[serial:], pauses[serial:], strict=True)
        for done in as_completed([pool.submit(send, row, pause) for row, pause in work]):
            yield done.result()
    finally:  # after Ctrl-C, queued requests are not sent
        pool.shutdown(cancel_futures=True)


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):  # an answer of a proxy, for example
        return response.reason_phrase


def _iris() -> dict[str, Column]:
    from sklearn.datasets import load_iris

    data: Any = load_iris()
    return dict(zip(data.feature_names, data.data.T, strict=True))


def _sample_cells(column: Column, index: NDArray[np.intp], rng: np.random.Generator) -> list[Value]:
    cells = column[index]
    if column.dtype != np.float64:
        return [_json_value(v) for v in cells.tolist()]
    values = column[np.isfinite(column)]
    decimals = _decimals(values)
    if decimals is not None:
        finite = np.isfinite(cells)
        jittered = np.round(cells + rng.normal(0, 10.0**-decimals / 2, len(cells)), decimals)
        cells = np.where(finite, np.clip(jittered, values.min(), values.max()), cells)
    return [None if math.isnan(v) else v for v in cells.tolist()]


def _decimals(values: NDArray[np.float64]) -> int | None:
    """Return the number of decimal places in use, negative for multiples of ten; None for no jitter."""
    _, counts = np.unique(values, return_counts=True)
    if not len(values) or counts.max() > MAX_SHARE * len(values):
        return None
    places = range(-MAX_DECIMALS, MAX_DECIMALS + 1)
    with np.errstate(over="ignore"):
        return next((d for d in places if np.array_equal(np.round(values, d), values)), None)


def _json_value(cell: Any) -> Value:
    if cell is None or isinstance(cell, bool):
        return cell
    return cell.isoformat() if isinstance(cell, datetime) else str(cell)
