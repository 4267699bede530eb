"""The metrics of the server."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from starlette.responses import Response

T = TypeVar("T")
MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

LABEL_RESULTS = ("accepted", "corrected", "duplicate", "unknown", "empty", "failed")
CLOSE_REASONS = (
    "head_limit",
    "head_timeout",
    "body_timeout",
    "answer_timeout",
    "connections",
    "evicted",
    "not_http",
)
SHADOW_DROP_REASONS = ("queue", "model", "store", "ended")
THREADS = ("journal", "parent", "database", "keys", "tokens", "shadow")
"""Background threads of a server process."""


MAX_CLASSES = 50
"""Maximum number of classes of a model version with series of their own."""

OTHER_CLASSES = "other"
"""Class of the predictions of all other classes."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

logger = structlog.get_logger()
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of the server; metrics about drift are read from the store at each scrape.

    With several workers (`PROMETHEUS_MULTIPROC_DIR` is set) each process writes files and a scrape adds
    them up, whichever process answers it.
    """

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        labels = ["route", "method", "status"]
        self.requests = Counter(
            "driftbell_http_requests", "HTTP requests answered.", labels, registry=registry
        )
        self.duration = Histogram(
            "driftbell_http_request_duration_seconds",
            "Time from a request's arrival to its last byte.",
            labels,
            buckets=BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "driftbell_http_requests_in_flight",
            "HTTP requests being worked on.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.predictions = Counter(
            "driftbell_predictions",
            "Predictions answered.",
            ["model", "version", "class"],
            registry=registry,
        )
        self.shadow_predictions = Counter(
            "driftbell_shadow_predictions",
            "Copies of requests that a shadow predicted and the log has.",
            ["model", "version"],
            registry=registry,
        )
        self.shadow_dropped = Counter(
            "driftbell_shadow_dropped",
            "Copies of requests that a shadow did not predict, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in SHADOW_DROP_REASONS:
            self.shadow_dropped.labels(reason)
        self.closed = Counter(
            "driftbell_connections_closed",
            "Connections closed by a limit, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in CLOSE_REASONS:
            self.closed.labels(reason)
        self.rejected = Counter(
            "driftbell_rejected_inputs", "Inputs refused, by reason.", ["reason"], registry=registry
        )
        self.refused = Counter(
            "driftbell_refused_rows",
            "Rows without a prediction because of a value or the model, by reason and field.",
            ["reason", "field"],
            registry=registry,
        )
        self.log_queue = Gauge(
            "driftbell_log_queue",
            "Predictions that wait to be logged.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.log_oldest = Gauge(
            "driftbell_log_oldest_seconds",
            "Age of the oldest prediction that waits to be logged.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.log_writable = Gauge(
            "driftbell_log_writable",
            "Whether the prediction log can be written.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.lost = Counter(
            "driftbell_predictions_lost",
            "Predictions that could not be logged; their requests were answered with 503.",
            registry=registry,
        )
        self.repeated = Counter(
            "driftbell_predictions_repeated",
            "Predictions that were not recorded, since the log has one with their id.",
            registry=registry,
        )
        self.labels = Counter(
            "driftbell_labels", "Labels that came in, by what became of them.", ["result"], registry=registry
        )
        for result in LABEL_RESULTS:  # a rate needs the zero before the first one
            self.labels.labels(result)
        self.thread_failures = Counter(
            "driftbell_thread_failures",
            "Failures of background threads of the server, which start again.",
            ["thread"],
            registry=registry,
        )
        for thread in THREADS:
            self.thread_failures.labels(thread)
        self.dropped_lines = Counter(
            "driftbell_log_lines_dropped",
            "Dropped log lines of the server: its output has a stalled reader, or cannot be written.",
            registry=registry,
        )
        self.trace_failures = Counter(
            "driftbell_trace_exports_failed",
            "Batches of spans that did not reach the collector.",
            registry=registry,
        )

    def exposition(self, collectors: Iterable[Collector]) -> Response:
        """Answer a scrape with these metrics and those of more collectors."""
        registry = CollectorRegistry()
        folder = os.environ.get(MULTIPROCESS_VARIABLE)
        if folder:
            _forget_the_dead(Path(folder))
            MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
        else:
            registry.register(self._registry)
        for collector in collectors:
            registry.register(collector)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def class_labels(classes: Sequence[str]) -> dict[str, str]:
    """Return the value of the label `class` by class: the first classes keep their names.

    The order of the model decides and not the frequency: a class that changed from one series to another
    would make a counter fall, which Prometheus takes for a restart.

    Args:
        classes: the classes of a model, in its order; none for a regression, which has one empty label.

    >>> labels = class_labels([f"fault {i}" for i in range(300)])
    >>> labels["fault 49"], labels["fault 50"], labels["fault 299"]
    ('fault 49', 'other', 'other')
    """
    return {c: c if i < MAX_CLASSES else OTHER_CLASSES for i, c in enumerate(classes)} or {"": ""}


def _forget_the_dead(folder: Path) -> None:
    """Remove the gauges of killed workers from the sums; their counters stay."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]
