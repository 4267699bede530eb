"""Performance metrics of a check: on the labels of the reference, and on the newest labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from driftbell.alarms.metric import AlarmMetric
from driftbell.degradation.label_texts import unlabelled_text
from driftbell.degradation.labelled_metrics import prediction_metrics, reference_metrics
from driftbell.degradation.metric_texts import MONITORED_METRICS
from driftbell.degradation.model_columns import MIN_BASELINE_LABELS, MIN_LABELS
from driftbell.models.reference import reference_outputs
from driftbell.monitor.baseline_labels import labelled_predictions
from driftbell.ports import Model, Store
from driftbell.records import (
    Baseline,
    Degradation,
    Interval,
    LabelTotals,
    ModelMetrics,
    Reference,
    Task,
    Verdict,
    Window,
)

DEFAULT_METRIC = AlarmMetric()

Measured = tuple[dict[str, Interval], int]
"""Metrics, and the number of labels that they are measured on."""


@dataclass(slots=True)
class MetricsReader:
    """Measure the performance of a model with the labels of its reference and of its predictions.

    The metrics on the reference are computed once; those on an accepted baseline, after new labels.

    Attributes:
        metric: of the alarms.
    """

    metric: AlarmMetric = DEFAULT_METRIC
    _of_reference: dict[str, Measured] = field(default_factory=dict)
    _of_baseline: dict[tuple[Baseline, LabelTotals], Measured] = field(default_factory=dict)

    def __call__(
        self,
        store: Store,
        model: Model,
        reference: Reference,
        baseline: Baseline | None,
        window: Window,
        max_rows: int,
    ) -> ModelMetrics:
        """Measure the metrics of a check.

        Args:
            store: the prediction store.
            model: the served model.
            reference: its reference.
            baseline: the predictions that replace the reference; their labels count. None for the reference.
            window: the window of the check.
            max_rows: maximum number of labelled predictions.

        Raises:
            StoreError: the store cannot be read.
        """
        if baseline:
            before, reference_labels = self._baseline(store, model, baseline)
        else:
            before, reference_labels = self._reference(model, reference)
        newest = store.labels.newest(max_rows, model=model.name, version=model.version)
        metrics, labels = prediction_metrics(
            [row.prediction for row in newest], [row.label for row in newest], model.classes, self.metric
        )
        in_window = {prediction.id for prediction in window.predictions}
        return ModelMetrics(
            before,
            reference_labels,
            monitored(metrics, self.metric) if labels >= MIN_LABELS else {},
            labels,
            sum(row.prediction.id in in_window for row in newest),
            min((row.prediction.time for row in newest), default=None),
            max((row.prediction.time for row in newest), default=None),
            max((row.time for row in newest), default=None),
        )

    def deciding(self, model: Model) -> str:
        """Return the metric that alarms are about."""
        return deciding_metric(model, self.metric)

    def _reference(self, model: Model, reference: Reference) -> Measured:
        if reference.version not in self._of_reference:
            outputs = reference.out_of_sample or reference_outputs(reference, model.classes)
            metrics, labels = reference_metrics(outputs, reference.labels, model.classes, self.metric)
            self._of_reference[reference.version] = monitored(metrics, self.metric), labels
        return self._of_reference[reference.version]

    def _baseline(self, store: Store, model: Model, baseline: Baseline) -> Measured:
        served = {"model": model.name, "version": model.version}
        key = baseline, store.labels.totals(**served)
        if key not in self._of_baseline:
            self._of_baseline.clear()
            self._of_baseline[key] = _baseline_metrics(store, model, baseline, self.metric)
        return self._of_baseline[key]


def _baseline_metrics(store: Store, model: Model, baseline: Baseline, metric: AlarmMetric) -> Measured:
    served = {"model": model.name, "version": model.version}
    labelled = labelled_predictions(store, baseline, **served)
    predictions, labels = [prediction for prediction, _ in labelled], [label for _, label in labelled]
    metrics, count = prediction_metrics(predictions, labels, model.classes, metric)
    if count < MIN_BASELINE_LABELS:  # with fewer, alarms compare with an estimate
        return {}, count
    compared = monitored(metrics, metric)
    compared.pop(deciding_metric(model, metric), None)  # that of a baseline is what alarms compare with
    return compared, count


def monitored(metrics: Mapping[str, Interval], metric: AlarmMetric = DEFAULT_METRIC) -> dict[str, Interval]:
    """Return the metrics of `MONITORED_METRICS`, in their order, and that of the alarms."""
    names = dict.fromkeys((*MONITORED_METRICS, metric.name))
    return {name: metrics[name] for name in names if name in metrics}


def deciding_metric(model: Model, metric: AlarmMetric = DEFAULT_METRIC) -> str:
    """Return the metric that alarms are about."""
    if metric.name:
        return metric.name
    return "mae" if model.task is Task.REGRESSION else "accuracy"


def with_realized(
    degradation: Degradation | None, metrics: ModelMetrics, deciding: str
) -> Degradation | None:
    """Return a judgement with the realized performance of the metrics, so that a check has one value."""
    if degradation is None or degradation.performance is None:
        return degradation
    realized = metrics.realized.get(deciding)
    performance = replace(
        degradation.performance, realized=realized, labelled=metrics.labels if realized else 0
    )
    return replace(degradation, performance=performance)


def with_unlabelled(degradation: Degradation | None, metrics: ModelMetrics, rows: int) -> Degradation | None:
    """Return a judgement without a loss with a sentence about the rows of the window without a label.

    Args:
        degradation: the judgement.
        metrics: have the number of labels in the window.
        rows: number of predictions in the window.
    """
    if degradation is None or degradation.waiting:
        return degradation
    if not degradation.closing and degradation.verdict not in (Verdict.OK, Verdict.WARNING):
        return degradation
    parts = (degradation.sentence, unlabelled_text(rows, metrics.in_window))
    return replace(degradation, sentence=" ".join(filter(None, parts)))
