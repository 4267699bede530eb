"""Client of `POST /predictions` for any Python code: it never waits for the network and never raises."""

from __future__ import annotations

import atexit
import contextlib
import functools
import http.client
import inspect
import json
import logging
import os
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar, cast
from urllib.parse import urlsplit

from driftbell.errors import ConfigError
from driftbell.integrations.plain_value import plain_value
from driftbell.phrases import count_of

URL_VARIABLE, KEY_VARIABLE = "DRIFTBELL_URL", "DRIFTBELL_API_KEY"
DEFAULT_URL = "http://127.0.0.1:8000"
MAX_BATCH = 500
"""Predictions in one request."""

MAX_BATCH_BYTES = 512 * 1024
"""Size of one request; the service accepts 1 MiB by default."""

FLUSH_SECONDS = 0.5
"""Time between two requests, so that the predictions of a busy service share them."""

MAX_ANSWER_BYTES = 1024 * 1024
"""A larger answer is not one of the service."""

MAX_NAMES_LENGTH = 200

TIMEOUT_SECONDS = 5.0
MAX_PAUSE_SECONDS = 30.0
CLOSE_SECONDS = 2.0
LOG_SECONDS = 60.0
"""A problem is logged once in this time."""

logger = logging.getLogger("driftbell")

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class MonitorCounts:
    """Counts of the logged predictions of one process.

    Attributes:
        sent: accepted by the service.
        refused: refused by the service, since their values do not fit the model.
        dropped: not sent: the queue was full, a value cannot be written as JSON, or the process ended.
        waiting: in the queue.
    """

    sent: int
    refused: int
    dropped: int
    waiting: int


class Monitor:
    """Sends the predictions of a service to driftbell, which monitors its model.

    A call of `log` puts one prediction in a queue and returns in some microseconds; a thread sends the queue
    every half second and repeats a request that failed. `log` never raises and never waits: if driftbell does
    not answer, predictions wait until the queue is full, and then the oldest are dropped and counted. The
    model is configured on the side of driftbell, see `docs/guides/existing-services.md`.

    Args:
        url: address of the service; None for the variable `DRIFTBELL_URL`, or this machine.
        api_key: key with the scope `predict`; None for the variable `DRIFTBELL_API_KEY`.
        queue_limit: maximum number of waiting predictions.

    Raises:
        ConfigError: the URL is not valid.

    >>> monitor = Monitor("http://127.0.0.1:9")
    >>> monitor.log({"age": 31.0}, "yes", id="order-1")
    'order-1'
    >>> monitor.close(timeout=0)
    >>> monitor.counts.dropped
    1
    """

    def __init__(
        self, url: str | None = None, *, api_key: str | None = None, queue_limit: int = 10_000
    ) -> None:
        address = url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), 0
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise ConfigError(f"the URL of driftbell must be such as '{DEFAULT_URL}', got '{address}'")
        self._connect: Callable[[], http.client.HTTPConnection] = functools.partial(
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection,
            parts.hostname,
            port,
            timeout=TIMEOUT_SECONDS,
        )
        self._path = f"{parts.path.rstrip('/')}/predictions"
        self._headers = {"Content-Type": "application/json"}
        key = api_key or os.environ.get(KEY_VARIABLE)
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._queue: deque[bytes] = deque()
        self._limit = max(1, queue_limit)
        self._batch_limit = MAX_BATCH
        self._sent = self._refused = self._dropped = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._next_log = 0.0
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            own = weakref.WeakMethod(self._restart)
            os.register_at_fork(after_in_child=lambda: (restart := own()) and restart())

    def log(
        self,
        features: Mapping[str, Any],
        prediction: Any,
        *,
        id: str | None = None,
        probabilities: Mapping[str, float] | None = None,
        time: datetime | None = None,
        latency_ms: float | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Log one prediction; return its id, by which its label can follow.

        Args:
            features: values by name; NumPy's numbers and times, decimals, dates and NaN are understood.
            prediction: the class, or the number of a regression.
            id: your own key, at most 128 characters; None makes a new one.
            probabilities: probability by class.
            time: time of the prediction; None for now.
            latency_ms: time to predict, in milliseconds.
            metadata: texts, numbers and booleans that are stored with the prediction, such as a shop.
        """
        name = uuid.uuid4().hex
        try:
            name = name if id is None or id == "" else id if isinstance(id, str) else str(id)
            moment = datetime.now(UTC) if time is None else time
            item: dict[str, Any] = {
                "id": name,
                "time": (moment if moment.tzinfo else moment.astimezone()).isoformat(),
                "features": features,
                "prediction": prediction,
            }
            if probabilities is not None:
                item["probabilities"] = probabilities
            if latency_ms is not None:
                item["latency_ms"] = latency_ms
            if metadata:
                item["metadata"] = metadata
            line = json.dumps(plain_value(item), allow_nan=False).encode()
        except Exception as error:  # noqa: BLE001 - the host must not fail
            self.drop(1, f"a prediction cannot be written as JSON: {error}")
            return name
        self._put(line)
        return name

    def logged(
        self,
        function: Callable[P, R] | None = None,
        *,
        features: Callable[P, Mapping[str, Any]] | None = None,
    ) -> Any:
        """Decorate a function, also an async one, that predicts one row, so that each call is logged.

        Args:
            function: the function; its result is the prediction.
            features: returns the features from the function's arguments; without it, the first argument is
                the mapping of features.

        >>> monitor = Monitor("http://127.0.0.1:9")
        >>> @monitor.logged
        ... def predict(row):
        ...     return "yes" if row["age"] > 30 else "no"
        >>> predict({"age": 31})
        'yes'
        """

        def decorate(wrapped: Callable[P, R]) -> Callable[P, R]:
            def record(started: float, result: Any, *args: Any, **kwargs: Any) -> None:
                duration = (time.perf_counter() - started) * 1000
                try:
                    row = features(*args, **kwargs) if features else [*args, *kwargs.values()][0]
                except Exception as error:  # noqa: BLE001 - the host must not fail
                    self.drop(1, f"the features of a call are not known: {error or type(error).__name__}")
                    return
                self.log(row, result, latency_ms=duration)

            if inspect.iscoroutinefunction(wrapped):

                @functools.wraps(wrapped)
                async def await_call(*args: Any, **kwargs: Any) -> Any:
                    started = time.perf_counter()
                    result = await wrapped(*args, **kwargs)
                    record(started, result, *args, **kwargs)
                    return result

                return cast(Callable[P, R], await_call)

            @functools.wraps(wrapped)
            def call(*args: P.args, **kwargs: P.kwargs) -> R:
                started = time.perf_counter()
                result = wrapped(*args, **kwargs)
                record(started, result, *args, **kwargs)
                return result

            return call

        return decorate if function is None else decorate(function)

    @property
    def counts(self) -> MonitorCounts:
        """Counts of the logged predictions."""
        with self._lock:
            return MonitorCounts(self._sent, self._refused, self._dropped, len(self._queue))

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until every waiting prediction is sent; return whether it is.

        Args:
            timeout: seconds.
        """
        end = time.monotonic() + timeout
        while self.counts.waiting and time.monotonic() < end:
            self._wake.set()
            time.sleep(0.01)
        return not self.counts.waiting

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Send what waits, for a bounded time, and stop; what is left is dropped and counted. Idempotent.

        Args:
            timeout: seconds.
        """
        thread, self._closing = self._thread, True
        self._wake.set()
        if thread and thread.is_alive() and timeout > 0:
            thread.join(timeout)
        with self._lock:
            self._dropped += len(self._queue)
            self._queue.clear()
        atexit.unregister(self.close)

    def _restart(self) -> None:
        """Begin anew in a forked child: the parent sends what waits, and its thread is not here."""
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._queue, self._thread = deque(), None
        self._sent = self._refused = self._dropped = 0

    def _put(self, line: bytes) -> None:
        with self._lock:
            if self._closing:
                self._dropped += 1
                return
            full = len(self._queue) >= self._limit
            if full:
                self._queue.popleft()
                self._dropped += 1
            self._queue.append(line)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="driftbell", daemon=True)
                with contextlib.suppress(RuntimeError):  # no more threads: the next prediction tries again
                    thread.start()
                    self._thread = thread
            waiting = len(self._queue)
        if waiting >= MAX_BATCH:
            self._wake.set()
        if full:
            self._log("predictions are dropped, since driftbell does not answer in time")

    def _run(self) -> None:
        pause = FLUSH_SECONDS
        connection: http.client.HTTPConnection | None = None
        while True:
            self._wake.wait(pause)
            self._wake.clear()
            batch = self._batch()
            if not batch:
                if self._closing:
                    return
                continue
            is_new = connection is None
            try:
                connection = connection or self._connect()
                self._send(connection, batch)
                pause = 0.0 if self._batch() else FLUSH_SECONDS
            except Exception as error:  # noqa: BLE001 - any answer of any server: the thread must go on
                if connection:
                    connection.close()
                connection = None
                if isinstance(error, ConnectionError) and not is_new:  # the service closes idle ones
                    pause = 0.0
                    continue
                self._log(f"predictions are not sent: {error}")
                pause = min(MAX_PAUSE_SECONDS, 2 * max(pause, FLUSH_SECONDS))
                if self._closing:
                    return

    def _batch(self) -> list[bytes]:
        """Return the oldest predictions of the queue, as many as one request may have."""
        with self._lock:
            batch: list[bytes] = []
            size = 2
            for line in self._queue:
                size += len(line) + 1
                if batch and (len(batch) >= self._batch_limit or size > MAX_BATCH_BYTES):
                    break
                batch.append(line)
            return batch

    def _send(self, connection: http.client.HTTPConnection, batch: Sequence[bytes]) -> None:
        """Send a batch, and take it from the queue if the service has decided on it.

        Raises:
            Exception: it has not.
        """
        connection.request("POST", self._path, b"[%b]" % b",".join(batch), self._headers)
        response = connection.getresponse()
        body = response.read(MAX_ANSWER_BYTES + 1)
        if len(body) > MAX_ANSWER_BYTES:
            raise OSError(f"the service answered {response.status} with more than {MAX_ANSWER_BYTES} bytes")
        refused, reason = 0, ""
        if response.status == 200:
            answer = json.loads(body)
            refused = int(answer["refused"])
            errors, ignored = answer["errors"], answer.get("ignored")
            if ignored and isinstance(ignored, dict):
                names = ", ".join(sorted(map(str, ignored)))[:MAX_NAMES_LENGTH]
                self._log(f"fields that the model does not have are not stored: {names}")
            reason = str(errors[0]["message"]) if errors else ""
            self._batch_limit = min(MAX_BATCH, 2 * self._batch_limit)
        elif response.status == 413 or (response.status == 400 and _is_problem(body)):
            if len(batch) > 1:  # one row may be the cause: halve until it is alone
                self._batch_limit = len(batch) // 2
                return
            refused, reason = 1, _detail(body)
        elif response.status == 422:
            refused, reason = len(batch), _detail(body)
        else:
            raise OSError(f"the service answered {response.status}: {_detail(body)}")
        with self._lock:
            for line in batch:  # a full queue may have dropped the first ones meanwhile
                if self._queue and self._queue[0] is line:
                    self._queue.popleft()
            self._sent += len(batch) - refused
            self._refused += refused
        if refused:
            self._log(f"refused {count_of(refused, 'prediction')}: {reason}")

    def drop(self, count: int, reason: str) -> None:
        """Count predictions that cannot be logged.

        Args:
            count: number of predictions.
            reason: for the log of the host.
        """
        with self._lock:
            self._dropped += count
        self._log(reason)

    def _log(self, message: str) -> None:
        now = time.monotonic()
        if now >= self._next_log:
            self._next_log = now + LOG_SECONDS
            with contextlib.suppress(Exception):  # a handler of the host
                logger.warning("driftbell: %s", message)


def _is_problem(body: bytes) -> bool:
    """Return whether an answer is one of the service, and not of a proxy before it."""
    with contextlib.suppress(ValueError, RecursionError):
        answer = json.loads(body)
        return isinstance(answer, dict) and "detail" in answer
    return False


def _detail(body: bytes) -> str:
    with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):
        return str(json.loads(body)["detail"])[:300]
    return body[:100].decode("utf-8", "replace")
