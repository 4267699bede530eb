"""The degradation detector of a served model: CUSUM charts on logged predictions and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec
import numpy as np

from driftbell.alarms.metric import BALANCED_ACCURACY, LOG_LOSS, ROC_AUC, AlarmMetric
from driftbell.alarms.smallest_loss import SmallestLoss
from driftbell.degradation.auc_loss import UnknownMetricError
from driftbell.degradation.cusum import LABELS, MIN_LABELS, MIN_ROWS, CusumCharts
from driftbell.degradation.label_coverage import CorrectedRows, LabelRows
from driftbell.degradation.labelled_metrics import labelled_rows
from driftbell.degradation.loss_scale import loss_scale
from driftbell.degradation.model_columns import MIN_BASELINE_LABELS
from driftbell.degradation.reference_models import (
    DEFAULT_METRIC,
    FOLDS,
    Answers,
    Vector,
    fit_reference_models,
    one_thread,
)
from driftbell.degradation.relevant_loss import relevant_loss
from driftbell.degradation.update import Rows, update
from driftbell.errors import ConfigError
from driftbell.records import (
    Column,
    Columns,
    Degradation,
    EvidenceState,
    LabelledPrediction,
    Outputs,
    Prediction,
    Window,
)
from driftbell.tabular.columns import as_column
from driftbell.tabular.outputs import output_values

DEFAULT_LOSS = SmallestLoss()

NEED_KNOWN_CLASSES = (BALANCED_ACCURACY, LOG_LOSS, ROC_AUC)
"""Metrics that do not count a label that is no class of the model."""


class CusumDetector:
    """CUSUM detector; implements `driftbell.ports.DegradationDetector`.

    Args:
        charts: fitted on the reference.
        classes: the model's classes, by class id; none for a regression.
    """

    def __init__(self, charts: CusumCharts, classes: Sequence[str]) -> None:
        self.charts = charts
        self._classes = tuple(classes)

    @property
    def smallest_loss(self) -> float:
        """The smallest loss that matters, in units of the metric."""
        return loss_scale(self.charts).amount(self.charts.smallest_loss)

    def advance(
        self, state: EvidenceState, window: Window, labels: Sequence[LabelledPrediction]
    ) -> tuple[EvidenceState, Degradation]:
        """Count new evidence, each row once, in blocks of a fixed number of rows in the order of logging.

        Predictions that are too few for a block are judged, and wait: so the evidence is the same for any
        times of checks.
        """
        rows, size, start = self.rows(window), self.charts.block_rows, 0
        while len(rows.answers) - start >= size + MIN_ROWS:  # the last block is judged with the labels
            state, _ = update(self.charts, state, rows.part(start, start + size), LabelRows())
            start += size
        rest, waiting = rows.part(start, start + size), len(rows.answers) - start
        complete = waiting >= size
        state, degradation = update(self.charts, state, rest, self.label_rows(labels), complete=complete)
        counted = start + size if complete else start
        seq = window.sequence(counted - 1) if counted else state.seq
        label_seq = max([state.label_seq, *(label.seq for label in labels)])
        return msgspec.structs.replace(state, seq=seq, label_seq=label_seq), degradation

    def with_baseline(self, window: Window, labels: Mapping[str, str] | None = None) -> CusumDetector:
        """Return a detector with these predictions as baseline; the meaning of a label stays the same.

        Args:
            window: the predictions.
            labels: by prediction id. At least 100 measure the performance on them; else it is estimated.
        """
        rows = self.rows(window)
        if len(rows.answers) < MIN_LABELS:
            return self
        charts, learned = self.charts, self.charts.learned
        with one_thread():
            matrix = learned.encoder(rows.columns, len(rows.answers))
            by_confidence = learned.error_by_confidence(matrix, rows.answers)
            by_features = learned.error_by_features(matrix, rows.answers)
            errors = learned.errors
            increase = charts.baselines[LABELS].mean - float(errors.mean())
            measured = self._measured(window, labels or {})
            accepted_labels = 0 if measured is None else len(measured)
            if measured is None:
                measured = errors + increase + charts.examine(rows.columns, rows.answers).loss
            accepted = learned.with_usual(rows.columns, rows.answers)
        return CusumDetector(
            CusumCharts(
                accepted,
                smallest_loss=charts.smallest_loss,
                checks_per_alarm=charts.checks_per_alarm,
                block_rows=charts.check_rows,
                seconds_per_alarm=charts.seconds_per_alarm,
                baseline=(by_confidence, by_features, measured),
                accepted_labels=accepted_labels,
            ),
            self._classes,
        )

    def _measured(self, window: Window, labels: Mapping[str, str]) -> Vector | None:
        """Return the loss of each labelled prediction; None if labels are too few, or mean nothing."""
        labelled = [prediction for prediction in window.predictions if prediction.id in labels]
        if not self.charts.learned.labelled:
            return None
        errors = self._losses(labelled, [labels[prediction.id] for prediction in labelled])
        known = errors[~np.isnan(errors)]
        return known if len(known) >= MIN_BASELINE_LABELS else None

    def rows(self, window: Window) -> Rows:
        """Return logged predictions as rows for the charts."""
        predictions = window.predictions
        names = self.charts.learned.encoder.names
        columns = {name: as_column([p.features.get(name) for p in predictions]) for name in names}
        return Rows(
            columns,
            self._answers(predictions),
            [p.time for p in predictions],
            [p.id for p in predictions],
        )

    def label_rows(self, labels: Sequence[LabelledPrediction]) -> LabelRows:
        """Return logged labels as rows for the charts."""
        of_label, of_earlier = (
            self._errors(labels, [label.label for label in labels]),
            self._errors(labels, [label.before or "" for label in labels]),
        )
        is_first = np.array([label.before is None for label in labels], dtype=bool)
        counts = is_first & ~np.isnan(of_label)
        first = [label for label, used in zip(labels, counts, strict=True) if used]
        errors = of_label[counts]
        usual = self.charts.baselines[LABELS].mean  # instead of that of a row that does not count
        changes = np.nan_to_num(of_label, nan=usual) - np.nan_to_num(of_earlier, nan=usual)
        again = [label for label in labels if label.before is not None]
        corrected = CorrectedRows(changes[~is_first], _times(again), self._features(again)) if again else None
        unknown = Counter(
            label.label for label in first if self._classes and label.label not in self._classes
        )
        return LabelRows(
            errors,
            _times(first),
            float(changes[~is_first].sum()),
            self._features(first),
            unknown,
            corrected,
        )

    def _features(self, labels: Sequence[LabelledPrediction]) -> Callable[[Sequence[int]], Columns]:
        """Return a function that returns the features of some of these predictions."""
        names = self.charts.learned.encoder.names

        def features(rows: Sequence[int]) -> Columns:
            cells = [labels[i].prediction.features for i in rows]
            return {name: as_column([row.get(name) for row in cells]) for name in names}

        return features

    def _errors(self, labelled: Sequence[LabelledPrediction], texts: Sequence[str]) -> Vector:
        """Return the loss of each labelled prediction with these labels, NaN for one that does not count."""
        return self._losses([row.prediction for row in labelled], texts)

    def _losses(self, predictions: Sequence[Prediction], texts: Sequence[str]) -> Vector:
        truth = output_values(texts, self._classes)
        return self.charts.learned.loss.of_rows(truth, self._answers(predictions))

    def _answers(self, predictions: Sequence[Prediction]) -> Answers:
        probabilities = None
        if self.charts.learned.answers.probabilities is not None:
            cells = [[p.probabilities.get(c, 0.0) for c in self._classes] for p in predictions]
            probabilities = np.array(cells, dtype=np.float64).reshape(len(predictions), len(self._classes))
        return Answers(output_values((p.output for p in predictions), self._classes), probabilities)


def _times(labels: Sequence[LabelledPrediction]) -> list[datetime]:
    """Return the times of the predictions."""
    return [label.prediction.time for label in labels]


def fit_detector(
    features: Columns,
    outputs: Outputs,
    labels: Column | None,
    *,
    classes: Sequence[str],
    smallest_loss: SmallestLoss = DEFAULT_LOSS,
    metric: AlarmMetric = DEFAULT_METRIC,
    checks_per_alarm: float,
    block_rows: int = 500,
    seconds_per_alarm: float | None = None,
    bucketed: frozenset[str] = frozenset(),
    seed: int = 0,
) -> CusumDetector:
    """Fit a detector on a reference.

    Args:
        features: of the reference, n rows.
        outputs: the model's answers on them, out-of-sample if possible.
        labels: the true classes by name, or numbers, null where unknown; None if no row has one. A label that
            is no class of the model is a wrong answer. Fewer than 20 labels among rows without any are
            ignored.
        classes: the model's classes, by class id; none for a regression.
        smallest_loss: the smallest loss that matters.
        metric: of the alarms.
        checks_per_alarm: checks that the budget allows for each false alarm.
        block_rows: the expected number of new rows of a check.
        seconds_per_alarm: see `CusumCharts`.
        bucketed: names of numeric features that have one number for each of some buckets.
        seed: random seed.

    Raises:
        ConfigError: the reference has fewer than two rows, or the metric does not fit the model.
    """
    if len(outputs.values) < FOLDS:
        raise ConfigError(f"model.reference needs at least {FOLDS} rows, has {len(outputs.values)}")
    answers = Answers(outputs.values.astype(np.float64), outputs.probabilities)
    truth: Vector | None = None
    has_label = labelled_rows(labels)
    if labels is not None and has_label is not None:
        features = {k: v[has_label] for k, v in features.items()}
        answers = answers.take(has_label)
        truth = output_values(map(str, labels[has_label].tolist()), classes)
    charts = fit_charts(
        features,
        answers,
        truth,
        classes=classes,
        smallest_loss=smallest_loss,
        metric=metric,
        checks_per_alarm=checks_per_alarm,
        block_rows=block_rows,
        seconds_per_alarm=seconds_per_alarm,
        bucketed=bucketed,
        seed=seed,
    )
    return CusumDetector(charts, classes)


def fit_charts(
    features: Columns,
    answers: Answers,
    truth: Vector | None,
    *,
    classes: Sequence[str],
    smallest_loss: SmallestLoss = DEFAULT_LOSS,
    metric: AlarmMetric = DEFAULT_METRIC,
    checks_per_alarm: float,
    block_rows: int = 500,
    seconds_per_alarm: float | None = None,
    bucketed: frozenset[str] = frozenset(),
    seed: int = 0,
) -> CusumCharts:
    """Fit the charts of a detector on a reference.

    Args:
        features: n rows.
        answers: the model's answers on them.
        truth: labels, coded like the answers, shape (n,), -1 for a class that the model does not know; None
            without labels.
        classes: the model's classes, by class id; none for a regression.
        smallest_loss: the smallest loss that matters.
        metric: of the alarms.
        checks_per_alarm: checks that the budget allows for each false alarm.
        block_rows: the expected number of new rows of a check.
        seconds_per_alarm: see `CusumCharts`.
        bucketed: names of numeric features that have one number for each of some buckets.
        seed: random seed.

    Raises:
        ConfigError: the metric does not fit the model.
    """
    metric = metric.of_model(
        classes, has_probabilities=answers.probabilities is not None, labelled=truth is not None
    )
    if truth is not None and metric.name in NEED_KNOWN_CLASSES and (truth < 0).any():
        known = truth >= 0
        features = {name: column[known] for name, column in features.items()}
        answers, truth = answers.take(known), truth[known]
    try:
        learned = fit_reference_models(
            features, answers, truth, classes=len(classes), seed=seed, metric=metric, names=tuple(classes)
        )
    except UnknownMetricError as error:
        raise ConfigError(f"alarms.metric = '{metric.name}': {error}") from error
    learned.bucketed = bucketed
    return CusumCharts(
        learned,
        smallest_loss=relevant_loss(learned, smallest_loss),
        checks_per_alarm=checks_per_alarm,
        block_rows=block_rows,
        seconds_per_alarm=seconds_per_alarm,
    )
