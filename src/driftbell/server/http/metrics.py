"""The metrics of the server."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Generic, Literal, TypeVar

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
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from starlette.responses import Response

M = TypeVar("M", bound=MetricWrapperBase)
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

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

logger = structlog.get_logger()
disable_created_metrics()  # type: ignore[no-untyped-call]


class ProcessMetrics:
    """The metrics of the server process, which all its models share.

    Args:
        registry: gets the metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.in_flight = Gauge(
            "driftbell_http_requests_in_flight",
            "HTTP requests being worked on.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.closed = Counter(
            "driftbell_connections_closed",
            "Connections closed by a limit, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in CLOSE_REASONS:
            self.closed.labels(reason)
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


class _OfModel(Generic[M]):
    """A metric of a further model: its last label is `model`.

    Args:
        metric: the metric.
        model: name of the model.
    """

    def __init__(self, metric: M, model: str) -> None:
        self._metric = metric
        self._model = model

    def labels(self, *values: str | int) -> M:
        """Return the series with these values of the other labels."""
        return self._metric.labels(*values, self._model)


class Metrics:
    """The metrics of the server; metrics about drift are read from the store at each scrape.

    With several workers (`PROMETHEUS_MULTIPROC_DIR` is set) each process writes files and a scrape adds
    them up, whichever process answers it.

    Those of a further model have the same names and the label `model`; what belongs to the process, such as
    closed connections, is counted by the main ones.

    Args:
        model: name of a further model; "" for the main one.
        main: the main metrics; their exposition has those of the further model too.

    Attributes:
        process: the metrics of the server process.
    """

    def __init__(self, model: str = "", main: Metrics | None = None) -> None:
        self.model = model
        self._registry = CollectorRegistry()
        self._registries = [self._registry]
        if main is not None:
            main._registries.append(self._registry)
        labels = ["route", "method", "status"]
        self.requests = self._counter("driftbell_http_requests", "HTTP requests answered.", *labels)
        self.duration = self._labelled(
            Histogram(
                "driftbell_http_request_duration_seconds",
                "Time from a request's arrival to its last byte.",
                self._names(labels),
                buckets=BUCKETS,
                registry=self._registry,
            )
        )
        self.predictions = Counter(
            "driftbell_predictions",
            "Predictions answered.",
            ["model", "version", "class"],
            registry=self._registry,
        )
        self.shadow_predictions = Counter(
            "driftbell_shadow_predictions",
            "Copies of requests that a shadow predicted and the log has.",
            ["model", "version"],
            registry=self._registry,
        )
        self.shadow_dropped = self._counter(
            "driftbell_shadow_dropped",
            "Copies of requests that a shadow did not predict, by reason.",
            "reason",
        )
        for reason in SHADOW_DROP_REASONS:
            self.shadow_dropped.labels(reason)
        self.rejected = self._counter("driftbell_rejected_inputs", "Inputs refused, by reason.", "reason")
        self.refused = self._counter(
            "driftbell_refused_rows",
            "Rows without a prediction because of a value or the model, by reason and field.",
            *("reason", "field"),
        )
        self.log_queue = self._gauge(
            "driftbell_log_queue", "Predictions that wait to be logged.", combine="livesum"
        )
        self.log_oldest = self._gauge(
            "driftbell_log_oldest_seconds",
            "Age of the oldest prediction that waits to be logged.",
            combine="livemax",
        )
        self.log_writable = self._gauge(
            "driftbell_log_writable", "Whether the prediction log can be written.", combine="livemin"
        )
        self.lost = self._total(
            "driftbell_predictions_lost",
            "Predictions that could not be logged; their requests were answered with 503.",
        )
        self.repeated = self._total(
            "driftbell_predictions_repeated",
            "Predictions that were not recorded, since the log has one with their id.",
        )
        self.labels = self._counter(
            "driftbell_labels", "Labels that came in, by what became of them.", "result"
        )
        for result in LABEL_RESULTS:  # a rate needs the zero before the first one
            self.labels.labels(result)
        self.process: ProcessMetrics = main.process if main is not None else ProcessMetrics(self._registry)

    def _names(self, labels: Sequence[str]) -> list[str]:
        return [*labels, *(["model"] if self.model else [])]

    def _labelled(self, metric: M) -> M | _OfModel[M]:
        return _OfModel(metric, self.model) if self.model else metric

    def _counter(self, name: str, text: str, *labels: str) -> Counter | _OfModel[Counter]:
        return self._labelled(Counter(name, text, self._names(labels), registry=self._registry))

    def _total(self, name: str, text: str) -> Counter:
        counter = Counter(name, text, self._names(()), registry=self._registry)
        return counter.labels(self.model) if self.model else counter

    def _gauge(self, name: str, text: str, *, combine: Literal["livesum", "livemax", "livemin"]) -> Gauge:
        gauge = Gauge(name, text, self._names(()), registry=self._registry, multiprocess_mode=combine)
        return gauge.labels(self.model) if self.model else gauge

    def exposition(self, collectors: Iterable[Collector]) -> Response:
        """Answer a scrape with these metrics and those of more collectors."""
        sources: list[Collector | CollectorRegistry] = [*self._registries]
        folder = os.environ.get(MULTIPROCESS_VARIABLE)
        if folder:
            _forget_the_dead(Path(folder))
            sources = [MultiProcessCollector(None, path=folder)]  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        registry.register(_Merged([*sources, *collectors]))
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Merged(Collector):
    """Collector of several sources, in which metrics of one name are one metric with all its series."""

    def __init__(self, sources: Iterable[Collector | CollectorRegistry]) -> None:
        self._sources = sources

    def describe(self) -> Iterable[Metric]:
        """Return no metrics, so that registration does not read the log."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Return all metrics, in the order of their first source."""
        by_name: dict[str, Metric] = {}
        for source in self._sources:
            for metric in source.collect():
                known = by_name.setdefault(metric.name, metric)
                if known is not metric:
                    known.samples.extend(metric.samples)
        return by_name.values()


def _forget_the_dead(folder: Path) -> None:
    """Remove the gauges of killed workers from the sums; their counters stay."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]
