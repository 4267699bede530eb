"""`GET /monitor/performance`: performance, realized with labels and estimated without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from fastapi import APIRouter

from driftbell.ports import Model, Store
from driftbell.records import Check, Interval, Labelled, Performance, Share
from driftbell.server.http.problems import documented
from driftbell.stats import calibration, class_scores, confusion, wilson

RECENT = 20
METRIC = "accuracy"
MOST_ROWS = 10_000
"""Labelled predictions that one answer is made of, however large the window is."""


def performance_router(
    log: Store, model: Model, *, window_rows: int, clock: Callable[[], datetime]
) -> APIRouter:
    """Build the route of one model."""
    router = APIRouter(prefix="/monitor", tags=["monitor"])

    @router.get("/performance", summary="How well the model does", responses=documented(503))
    def performance() -> dict[str, Any]:
        """Accuracy by labels (as known now, and at each check) and by estimate, with 90 % intervals."""
        return performance_shown(log, model, window_rows=window_rows, now=clock())

    return router


def performance_shown(log: Store, model: Model, *, window_rows: int, now: datetime) -> dict[str, Any]:
    """Return the performance of the served version as JSON.

    Args:
        log: where predictions, labels and checks are.
        model: whose.
        window_rows: the largest window.
        now: the time.

    Raises:
        StoreError: the log cannot be read.
    """
    whose: dict[str, Any] = {"model": model.name, "version": model.version}
    rows = min(window_rows, MOST_ROWS)
    labelled = log.labels.newest(rows, **whose)
    checks = log.checks.newest(RECENT, version=model.version)
    known = _last_known(checks)
    right = sum(found.label == found.prediction.output for found in labelled)
    counts = _counted(labelled, model.classes)
    return {
        **whose,
        "metric": known.metric if known else METRIC,
        "reference": known.reference if known else None,
        "realized": _share_shown(Share(right, len(labelled))),
        "realized_as_known_then": [
            {
                "check": c.id,
                "time": c.time.isoformat(),
                **_share_shown(log.labels.realized(rows, **whose, as_of=c.time)),
            }
            for c in checks
        ],
        "estimated": _interval_shown(known.estimated if known else None),
        **counts,
        "calibration": _calibrated(labelled),
        "labels": _labels(log, whose, window_rows, now),
    }


def _last_known(checks: Sequence[Check]) -> Performance | None:
    """Return the performance of the last check; that of an older one is outdated."""
    degradation = checks[0].judgement.degradation if checks else None
    return degradation.performance if degradation else None


def _share_shown(share: Share) -> dict[str, Any]:
    found = wilson(share.part, share.whole) if share.whole else None
    interval = asdict(found) if found else {"value": None, "low": None, "high": None}
    return {**interval, "rows": share.whole}


def _interval_shown(interval: Interval | None) -> dict[str, float] | None:
    return asdict(interval) if interval else None


def _counted(labelled: Sequence[Labelled], known: Sequence[str]) -> dict[str, Any]:
    labels, outputs = [f.label for f in labelled], [f.prediction.output for f in labelled]
    classes = list(dict.fromkeys([*known, *labels, *outputs]))
    counts = confusion(labels, outputs, classes)
    return {
        "confusion": {
            name: dict(zip(classes, row, strict=True))
            for name, row in zip(classes, counts.tolist(), strict=True)
        },
        "classes": {name: asdict(score) for name, score in zip(classes, class_scores(counts), strict=True)},
    }


def _calibrated(labelled: Sequence[Labelled]) -> list[dict[str, Any]]:
    believed = [f.prediction.probabilities.get(f.prediction.output, float("nan")) for f in labelled]
    return [asdict(b) for b in calibration(believed, [f.label == f.prediction.output for f in labelled])]


def _labels(log: Store, whose: dict[str, Any], window_rows: int, now: datetime) -> dict[str, Any]:
    totals = log.labels.totals(**whose)
    window = log.labels.coverage(window_rows, **whose)
    newest = totals.last_label
    return {
        "labelled": totals.labelled,
        "corrections": totals.corrections,
        "share": window.part / window.whole if window.whole else None,
        "window_rows": window.whole,
        "newest": newest.isoformat() if newest else None,
        "age_seconds": max(0.0, (now - newest).total_seconds()) if newest else None,
    }
