"""`GET /monitor/performance`: performance, realized with labels and estimated without them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol

from fastapi import APIRouter

from driftbell.ports import Store
from driftbell.publish.measured_metrics import metric_labels_view, metrics_view
from driftbell.records import Check, Interval, LabelledPrediction, Performance, Share, Task
from driftbell.server.api.monitor import MonitorView, VersionQuery
from driftbell.server.http.problems import documented
from driftbell.stats import REGRESSION_METRICS, calibration, class_scores, confusion, mean_interval, wilson
from driftbell.tabular.outputs import output_values

RECENT_CHECKS = 20
METRICS = {Task.CLASSIFICATION: "accuracy", Task.REGRESSION: "mean absolute error"}
MAX_ROWS = 10_000
"""Maximum number of labelled predictions of one answer, however large the window is."""


MAX_UNSEEN, OTHER_LABELS = 20, "other labels"
"""Labels that are no class of the model: the most frequent ones have a row of their own."""


class MeasuredModel(Protocol):
    """The facts of a model that its performance depends on; see `driftbell.ports.Model`."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def version(self) -> str:
        """Its version."""

    @property
    def task(self) -> Task:
        """Classification or regression."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, by class id."""


@dataclass(frozen=True, slots=True)
class _RegisteredModel:
    """A version that is not loaded; implements `MeasuredModel`."""

    name: str
    version: str
    task: Task
    classes: tuple[str, ...]


def performance_router(view: MonitorView, *, window_rows: int) -> APIRouter:
    """Build the route.

    Args:
        view: access to the store and the served model.
        window_rows: see `performance_view`.
    """
    router = APIRouter(prefix="/monitor", tags=["monitor"])

    @router.get("/performance", summary="Get the model's performance", responses=documented(404, 422, 503))
    def performance(version: VersionQuery = None) -> dict[str, Any]:
        """Return performance with 90 % intervals: realized now and at each recent check, and estimated.

        It is that of the served version, or of another registered one.
        """
        model: MeasuredModel = view.served()
        if version is not None and version != model.version:
            registered = view.store.versions.get(version, model=model.name)
            if registered is None:
                raise view.unknown_version(version)
            task = Task(registered.task)
            model = _RegisteredModel(registered.model, registered.version, task, registered.classes)
        return performance_view(view.store, model, window_rows=window_rows, now=view.clock())

    return router


def performance_view(
    store: Store, model: MeasuredModel, *, window_rows: int, now: datetime
) -> dict[str, Any]:
    """Return the performance of a version as JSON.

    Args:
        store: store of predictions, labels and checks.
        model: the model of the version.
        window_rows: maximum number of labelled predictions.
        now: the current time (UTC).

    Raises:
        StoreError: the store cannot be read.
    """
    version: dict[str, Any] = {"model": model.name, "version": model.version}
    rows = min(window_rows, MAX_ROWS)
    labelled = store.labels.newest(rows, **version)
    checks = store.checks.newest(RECENT_CHECKS, version=model.version)
    last = _performance(checks[0]) if checks else None  # that of an older check is outdated
    is_other = last is not None and last.metric not in METRICS.values()
    return {
        **version,
        "metric": last.metric if last else METRICS[model.task],
        "reference": last.reference if last else None,
        **_realized_views(labelled, model),
        **({"realized": _checked_view(last)} if is_other else {}),
        "realized_at_checks": [
            {
                "check": c.id,
                "time": c.time.isoformat(),
                **(_checked_view(_performance(c)) if is_other else _realized_at(store, model, rows, c.time)),
                "metrics": _metrics_at(c),
            }
            for c in checks
        ],
        "estimated": asdict(last.estimated) if last and last.estimated else None,
        "metrics": metrics_view(checks[0].judgement) if checks else {},
        "metric_labels": metric_labels_view(checks[0].judgement.metrics) if checks else None,
        "target_drift": _target_view(checks),
        "labels": _labels_view(store, version, window_rows, now),
    }


def _performance(check: Check) -> Performance | None:
    degradation = check.judgement.degradation
    return degradation.performance if degradation else None


def _checked_view(performance: Performance | None) -> dict[str, Any]:
    """Return the realized metric of alarms of a check, which depends on the reference and on settings."""
    realized = performance.realized if performance else None
    return {**_interval_view(realized), "rows": performance.labelled if performance and realized else 0}


def _target_view(checks: Sequence[Check]) -> dict[str, Any] | None:
    """Return the target drift of the newest check; None without labels in its window."""
    target = checks[0].judgement.target_drift if checks else None
    return asdict(target) if target else None


def _realized_views(labelled: Sequence[LabelledPrediction], model: MeasuredModel) -> dict[str, Any]:
    """Return the realized performance: accuracy by class, or the errors of a regression."""
    if model.task is Task.REGRESSION:
        from driftbell.degradation.labelled_metrics import answer_metrics  # a server starts without it

        predicted = output_values([row.prediction.output for row in labelled], ())
        labels = output_values([row.label for row in labelled], ())
        metrics = answer_metrics(predicted, labels, None, 0)
        views = {name: _interval_view(metrics.get(name)) for name in REGRESSION_METRICS}
        realized = {**views["mae"], "rows": len(labelled)}
        return {"realized": realized, "rmse": views["rmse"], "r2": views["r2"]}
    correct = sum(row.label == row.prediction.output for row in labelled)
    return {
        "realized": _share_view(Share(correct, len(labelled))),
        **_class_views(labelled, model.classes),
        "calibration": _calibration_view(labelled),
    }


def _realized_at(store: Store, model: MeasuredModel, rows: int, time: datetime) -> dict[str, Any]:
    """Return the realized performance on the labels that had arrived at a time."""
    labels: dict[str, Any] = {"model": model.name, "version": model.version, "as_of": time}
    if model.task is not Task.REGRESSION:
        return _share_view(store.labels.realized(rows, **labels))
    totals = store.labels.realized_errors(rows, **labels)
    mae = mean_interval(totals.rows, totals.absolute, totals.squared, low=0.0)
    return {**_interval_view(mae), "rows": totals.rows}


def _metrics_at(check: Check) -> dict[str, dict[str, float]]:
    """Return the realized metrics that a check measured; empty without enough labels."""
    metrics = check.judgement.metrics
    return {name: asdict(interval) for name, interval in metrics.realized.items()} if metrics else {}


def _interval_view(interval: Interval | None) -> dict[str, float | None]:
    return asdict(interval) if interval else {"value": None, "low": None, "high": None}


def _share_view(share: Share) -> dict[str, Any]:
    interval = wilson(share.part, share.whole) if share.whole else None
    return {**_interval_view(interval), "rows": share.whole}


def _class_views(labelled: Sequence[LabelledPrediction], model_classes: Sequence[str]) -> dict[str, Any]:
    """Return the confusion matrix and each class's scores, also for labels that are no class."""
    counts = Counter(row.label for row in labelled if row.label not in model_classes)
    named = {*model_classes, *(label for label, _ in counts.most_common(MAX_UNSEEN))}
    labels = [row.label if row.label in named else OTHER_LABELS for row in labelled]
    outputs = [row.prediction.output for row in labelled]
    classes = list(dict.fromkeys([*model_classes, *labels, *outputs]))
    matrix = confusion(labels, outputs, classes)
    return {
        "confusion": {
            name: dict(zip(classes, counts, strict=True))
            for name, counts in zip(classes, matrix.tolist(), strict=True)
        },
        "classes": {name: asdict(score) for name, score in zip(classes, class_scores(matrix), strict=True)},
    }


def _calibration_view(labelled: Sequence[LabelledPrediction]) -> list[dict[str, Any]]:
    confidences = [row.prediction.probabilities.get(row.prediction.output, float("nan")) for row in labelled]
    is_correct = [row.label == row.prediction.output for row in labelled]
    return [asdict(b) for b in calibration(confidences, is_correct)]


def _labels_view(store: Store, version: dict[str, Any], window_rows: int, now: datetime) -> dict[str, Any]:
    totals = store.labels.totals(**version)
    window = store.labels.coverage(window_rows, **version)
    newest = totals.last_label
    return {
        "labelled": totals.labelled,
        "corrections": totals.corrections,
        "share": window.part / window.whole if window.whole else None,
        "window_rows": window.whole,
        "newest": newest.isoformat() if newest else None,
        "age_seconds": max(0.0, (now - newest).total_seconds()) if newest else None,
    }
