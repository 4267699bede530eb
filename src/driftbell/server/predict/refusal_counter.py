"""Counts of refused rows: collected in memory for a second, then added to the store; both are bounded."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import structlog

from driftbell.errors import InputError, PredictError, StoreError
from driftbell.ports import Model, Store
from driftbell.records import FieldProblem, Refusal, Value
from driftbell.records.refusals import MODEL_ERROR, OTHER_CAUSES, SAME_REQUEST, UNREADABLE
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.problems import Refused
from driftbell.tabular.feature_value import short_value
from driftbell.tabular.logged_values import LoggedValues

MAX_PENDING = 300
"""Different causes that wait for the store; further ones are counted together."""

MAX_PROBLEMS = 50
"""Problems of one row that are counted."""

MAX_FIELDS = 50
"""Fields that the metric counts by name."""

MAX_EXAMPLE_FEATURES = 50
"""Features of a row that is stored as an example."""

MAX_MESSAGE = 160
"""Characters of a model's own message that are stored."""

FLUSH_SECONDS, RETRY_SECONDS = 1.0, 10.0
LOG_SECONDS = 10.0
"""Refused rows are logged once in this time, however many there are."""

OTHER_FIELDS = "other"

BODY_STATUSES = (400, 409, 413, 415, 422)
"""Statuses of requests that are refused for their body."""

BODY_FAULTS = {
    "not_json": "not JSON",
    "not_csv": "not CSV",
    "not_arrow": "not Arrow IPC",
    "not_a_batch": "no batch of rows",
    "duplicate": "a field twice",
    "content_type": "another content type",
    "content_encoding": "cannot be decompressed",
    "too_large": "too large",
    "empty_body": "empty",
}
"""Plain words of the reasons why no rows can be read from a body."""

NO_ROWS = ("disconnected", "empty_batch")
"""Reasons of requests without rows, or from clients that have gone."""

Kind = tuple[str, str]
"""Field and reason of a problem."""

logger = structlog.get_logger()


class RefusalCounter:
    """Counts rows that got no prediction because of their values or the model, by field, reason and value.

    Args:
        store: where the counts are added to.
        model: the served model.
        metrics: counts them too.
        clock: returns the time (UTC).
        logged: what is logged of the rows; None for everything.
    """

    def __init__(
        self,
        store: Store,
        model: Model,
        metrics: Metrics,
        *,
        clock: Callable[[], datetime],
        logged: LoggedValues | None = None,
    ) -> None:
        self._store = store
        self._served = {"model": model.name, "version": model.version}
        self._logged = logged
        self._names = frozenset(model.schema.names)
        self._metrics = metrics
        self._clock = clock
        self._pending: dict[tuple[str, str, str], list[int]] = {}
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._examples: dict[tuple[str, str, str], dict[str, Value]] = {}
        self._fields: set[str] = set()
        self._unlogged: dict[tuple[str, str], int] = {}
        self._next_log = 0.0

    def count_error(self, error: Exception, rows: int | None = None) -> None:
        """Count a request that got no prediction; nothing for an error that is not of its rows or the model.

        Args:
            error: why.
            rows: number of rows of the request; None if they were not read.
        """
        match error:
            case InputError():
                self.count(error, rows)
            case Refused():
                self._count_body(error)
            case PredictError():
                self._count_failed(error, rows or 1)

    def count(self, error: InputError, rows: int | None = None) -> None:
        """Count the rows of a refused request, each with all its problems.

        Args:
            error: a problem without the position of a row is one of all rows.
            rows: number of rows of the request, all of which are refused; None for that of the error, or
                else only the rows that have a problem.
        """
        total = rows if error.rows is None else error.rows
        by_row: dict[int | None, list[FieldProblem]] = {}
        for problem in error.problems:
            by_row.setdefault(problem.row, []).append(problem)
        of_all = by_row.pop(None, None)
        firsts: Counter[Kind] = Counter()
        for problems in by_row.values():
            self._count_problems(problems, 1, firsts)
        rest = max((total or 0) - len(by_row), 0 if by_row else 1)
        if of_all and rest:
            self._count_problems(of_all, rest, firsts)
        elif rest and total is not None:
            self._count_problems([FieldProblem("", SAME_REQUEST, "")], rest, firsts)
        self._count_firsts(firsts)
        if error.example is not None and self._logged is None:
            problem = error.problems[0]
            cause = problem.field, problem.reason, problem.value
            if cause in self._pending:  # bounded
                self._examples[cause] = _shortened(error.example)
        self._start()

    def _count_body(self, refusal: Refused) -> None:
        """Count a request that was refused for its body: its rows, or as one if they cannot be counted."""
        if refusal.status not in BODY_STATUSES or refusal.reason in NO_ROWS:
            return
        if refusal.rows is None:
            why = BODY_FAULTS.get(refusal.reason, refusal.reason)
            problem = FieldProblem("", UNREADABLE, refusal.detail, value=why)
            self.count(InputError([problem]))
        else:
            problems = refusal.errors or [FieldProblem("", refusal.reason, refusal.detail)]
            self.count(InputError(problems), refusal.rows)

    def _count_failed(self, error: PredictError, rows: int) -> None:
        """Count the rows of a request that the model failed on, with the type and message of its error."""
        value = short_value(error.reason or str(error), MAX_MESSAGE)
        problem = FieldProblem("", MODEL_ERROR, str(error), value=value)
        firsts: Counter[Kind] = Counter()
        self._count_row([problem], rows, firsts)
        self._count_firsts(firsts)
        self._start()

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())

    async def settle(self) -> None:
        """Add the waiting counts to the store now, if it can be written."""
        if self._pending:
            try:
                await self._flush()
            except StoreError as error:  # the task retries
                logger.warning("refused rows are not counted yet", error=str(error))

    async def close(self) -> None:
        """Add the waiting counts to the store, then stop."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.settle()
        self._log()

    def _count_problems(self, problems: Sequence[FieldProblem], rows: int, firsts: Counter[Kind]) -> None:
        counted = problems[:MAX_PROBLEMS]
        self._count_row([self._logged.problem(p) for p in counted] if self._logged else counted, rows, firsts)

    def _count_row(self, problems: Sequence[FieldProblem], rows: int, firsts: Counter[Kind]) -> None:
        """Count rows with the same problems, once for each field and reason.

        Args:
            problems: of each of the rows.
            rows: number of rows.
            firsts: counts the rows by their first problem.
        """
        seen: set[Kind] = set()
        for problem in problems:
            field = problem.field if problem.field in self._names else ""
            is_first = not seen
            cause = field, problem.reason, problem.value
            if cause not in self._pending and len(self._pending) >= MAX_PENDING:
                cause = ("", OTHER_CAUSES, "")
            kind = cause[:2]
            counts = self._pending.setdefault(cause, [0, 0])
            if kind not in seen:
                counts[0] += rows
            seen.add(kind)
            counts[1] += rows * is_first
            if is_first:
                firsts[field, problem.reason] += rows

    def _count_firsts(self, firsts: Counter[Kind]) -> None:
        """Count rows by their first problem in the metric and for the log."""
        for kind, rows in firsts.items():
            self._count_metric(*kind, rows)
            if kind in self._unlogged or len(self._unlogged) < MAX_FIELDS:
                self._unlogged[kind] = self._unlogged.get(kind, 0) + rows

    def _count_metric(self, field: str, reason: str, rows: int) -> None:
        if field and field not in self._fields:
            if len(self._fields) < MAX_FIELDS:
                self._fields.add(field)
            else:
                field = OTHER_FIELDS
        self._metrics.refused.labels(reason, field).inc(rows)

    async def _run(self) -> None:
        pause = FLUSH_SECONDS
        while self._pending:
            await asyncio.sleep(pause)
            try:
                await self._flush()
                pause = FLUSH_SECONDS
            except StoreError:
                pause = RETRY_SECONDS
            self._log()
        self._task = None

    async def _flush(self) -> None:
        """Add the waiting counts to the store; they wait on if it cannot be written.

        Raises:
            StoreError: the store cannot be written.
        """
        async with self._lock:
            pending, self._pending = self._pending, {}
            examples, self._examples = self._examples, {}
            refusals = [
                Refusal(*cause, rows, refused, examples.get(cause))
                for cause, (rows, refused) in pending.items()
            ]
            if not refusals:
                return
            try:
                await asyncio.to_thread(self._store.refusals.add, refusals, self._clock(), **self._served)
            except StoreError:
                for cause, counts in self._pending.items():  # counted meanwhile
                    kept = pending.setdefault(cause, [0, 0])
                    kept[:] = [a + b for a, b in zip(kept, counts, strict=True)]
                self._pending, self._examples = pending, examples | self._examples
                raise

    def _log(self) -> None:
        now = time.monotonic()
        if not self._unlogged or now < self._next_log:
            return
        self._next_log = now + LOG_SECONDS
        causes = {f"{field or '-'}: {reason}": rows for (field, reason), rows in self._unlogged.items()}
        self._unlogged = {}
        logger.warning("rows were refused", rows=sum(causes.values()), causes=causes)


def _shortened(row: Mapping[str, Value]) -> dict[str, Value]:
    """Return the first features of a row, long texts shortened."""
    cells = list(row.items())[:MAX_EXAMPLE_FEATURES]
    return {name: short_value(value) if isinstance(value, str) else value for name, value in cells}
