"""Traffic for a prediction service: rows like the reference, then rows with faults by name."""

from __future__ import annotations

import contextlib
import difflib
import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

import httpx
import numpy as np
from numpy.typing import NDArray

from driftbell.errors import ConfigError
from driftbell.records import Column, Columns, Value

BACKOFF = (0.1, 0.2, 0.4)
"""Seconds between the attempts to send one request."""
TIMEOUT_SECONDS = 10.0
MOST_DECIMALS = 6
LARGEST_SHARE = 0.2
"""A numeric column in which one value has more of the rows than this is not jittered: that would be drift."""
GRAMMAR = (
    "a fault is shift:NAME=+3, scale:NAME=1.8, stuck:NAME, stuck:NAME=5.1, nulls:NAME, nulls:NAME=0.3 or "
    "swap:NAME,NAME; NAME may be in double quotes"
)

Row: TypeAlias = dict[str, Value]
Answer: TypeAlias = tuple[int | None, str]
"""The HTTP status, None where there was no answer, and why it is not 200."""


class FaultKind(StrEnum):
    """What can happen to a feature."""

    SHIFT = "shift"
    SCALE = "scale"
    STUCK = "stuck"
    NULLS = "nulls"
    SWAP = "swap"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with one feature.

    Attributes:
        kind: what.
        feature: its name.
        value: what is added (shift), the factor (scale), the frozen value (stuck; None for the first one
            of the run) or the share of rows that become null (nulls; None for all).
        other: the feature that it is exchanged with (swap only).
    """

    kind: FaultKind
    feature: str
    value: float | None = None
    other: str = ""

    def __str__(self) -> str:
        """Write it as `parse_fault` reads it."""
        if self.other:
            return f"{self.kind}:{_quoted(self.feature)},{_quoted(self.other)}"
        if self.value is None:
            return f"{self.kind}:{_quoted(self.feature)}"
        sign = "+" if self.kind is FaultKind.SHIFT and self.value >= 0 else ""
        return f"{self.kind}:{_quoted(self.feature)}={sign}{self.value:.15g}"


CONTRACT_FAULTS = (
    Fault(FaultKind.SHIFT, "sepal length (cm)", 2.5),
    Fault(FaultKind.SHIFT, "sepal width (cm)", -1.0),
    Fault(FaultKind.SHIFT, "petal length (cm)", 3.0),
)
"""What "drifted" means unless told otherwise."""


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


def normal_rows(n: int, rng: np.random.Generator) -> list[Row]:
    """Draw n rows from the joint distribution of the Iris data."""
    return rows_like(_iris(), n, rng)


def rows_like(columns: Columns, n: int, rng: np.random.Generator) -> list[Row]:
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


def parse_fault(text: str) -> Fault:
    """Read a fault.

    Raises:
        ConfigError: with the grammar.

    >>> parse_fault('shift:"petal length (cm)"=+3')
    Fault(kind=<FaultKind.SHIFT: 'shift'>, feature='petal length (cm)', value=3.0, other='')
    """
    word, _, rest = text.partition(":")
    if word.strip() not in list(FaultKind):
        raise ConfigError(f"unknown fault '{word}'{_did_you_mean(word, FaultKind)}; {GRAMMAR}")
    kind = FaultKind(word.strip())
    name = r'\s*(?:"([^"]+)"|([^"]+?))\s*'
    tail = {FaultKind.SWAP: f",{name}", FaultKind.SHIFT: "=([^=]+)", FaultKind.SCALE: "=([^=]+)"}
    found = re.fullmatch(name + tail.get(kind, "(?:=([^=]+))?"), rest)
    if not found:
        raise ConfigError(f"cannot read the fault '{text}'; {GRAMMAR}")
    feature = found[1] or found[2]
    if kind is FaultKind.SWAP:
        return Fault(kind, feature, other=found[3] or found[4])
    return Fault(kind, feature, None if found[3] is None else _value(kind, found[3].strip()))


def apply(rows: Sequence[Row], faults: Iterable[Fault], rng: np.random.Generator) -> list[Row]:
    """Give a copy of the rows with the faults in it, applied in their order.

    Raises:
        ConfigError: the rows have no such feature, or it holds no numbers to shift or scale.
    """
    changed = [dict(row) for row in rows]
    for fault in faults if changed else ():
        for name in (fault.feature, fault.other):
            if name and name not in changed[0]:
                hint = _did_you_mean(name, changed[0]) or f"; the features are {', '.join(changed[0])}"
                raise ConfigError(f"fault '{fault.kind}': unknown feature '{name}'{hint}; {GRAMMAR}")
        _apply(changed, fault, rng)
    return changed


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
        "normal": rows_like(table, normal, rng),
        "drifted": apply(rows_like(table, drifted, rng), faults, rng),
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


def _value(kind: FaultKind, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"fault '{kind}': '{text}' is not a number; {GRAMMAR}")
    if kind is FaultKind.NULLS and not 0 <= value <= 1:
        raise ConfigError(f"fault 'nulls': the share of rows must be from 0 to 1, got {text}; {GRAMMAR}")
    return value


def _quoted(name: str) -> str:
    return f'"{name}"' if "=" in name or "," in name or name != name.strip() else name


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean '{close[0]}'?" if close else ""


def _apply(rows: list[Row], fault: Fault, rng: np.random.Generator) -> None:
    cells = [row[fault.feature] for row in rows]
    value = fault.value
    match fault.kind:
        case FaultKind.SHIFT:
            cells = [v if v is None else _number(fault, v) + (value or 0.0) for v in cells]
        case FaultKind.SCALE:
            cells = [v if v is None else _number(fault, v) * (1.0 if value is None else value) for v in cells]
        case FaultKind.STUCK:
            first = next((v for v in cells if v is not None), None)
            cells = [first if value is None else value] * len(cells)
        case FaultKind.NULLS:
            null = rng.random(len(cells)) < (1.0 if value is None else value)
            cells = [None if gone else v for gone, v in zip(null, cells, strict=True)]
        case FaultKind.SWAP:
            others = [row[fault.other] for row in rows]
            for row, mine in zip(rows, cells, strict=True):
                row[fault.other] = mine
            cells = others
    for row, cell in zip(rows, cells, strict=True):
        row[fault.feature] = cell


def _number(fault: Fault, cell: Value) -> float:
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        raise ConfigError(f"fault '{fault.kind}': '{fault.feature}' holds no numbers, got {cell!r}")
    return cell
