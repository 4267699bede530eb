"""Watches a model by its log: see `driftbell.ports.Watch`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from driftbell.degradation.cusum import LABELS, LEAST_LABELS, LEAST_ROWS, CusumCharts
from driftbell.degradation.reference_models import FOLDS, Answers, Vector, learn, one_thread
from driftbell.degradation.update import LabelRows, Rows, step
from driftbell.errors import ConfigError
from driftbell.records import Column, Columns, Degradation, Labelled, Outputs, Window
from driftbell.tabular.columns import as_column


class CusumDetector:
    """Turns logged predictions and labels into evidence.

    Args:
        evidence: fitted on the reference.
        classes: what the model answers, by class id.
    """

    def __init__(self, evidence: CusumCharts, classes: Sequence[str]) -> None:
        self.evidence = evidence
        self._ids = {name: i for i, name in enumerate(classes)}
        self._classes = tuple(classes)

    def advance(
        self, state: Mapping[str, Any], window: Window, labels: Sequence[Labelled]
    ) -> tuple[Mapping[str, Any], Degradation]:
        """Count new evidence, every row once; fewer than 50 new predictions wait."""
        rows = self._rows(window)
        new, degradation = step(self.evidence, state, rows, self._labels(labels))
        seq = window.last if len(rows.answers) >= LEAST_ROWS else state.get("seq", 0)
        label_seq = max([state.get("label_seq", 0), *(found.seq for found in labels)])
        return {**new, "seq": seq, "label_seq": label_seq}, degradation

    def rebased(self, window: Window) -> CusumDetector:
        """Give one for which these predictions are what is normal; what a label is worth stays as it is."""
        rows = self._rows(window)
        if len(rows.answers) < LEAST_LABELS:
            return self
        before = self.evidence
        with one_thread():
            matrix = before.learned.encoder(rows.columns, len(rows.answers))
            by_confidence = before.learned.error_by_confidence(matrix, rows.answers)
            by_features = before.learned.error_by_features(matrix, rows.answers)
            errors = before.learned.errors
            risen = before.baselines[LABELS].mean - float(errors.mean())
            measured = errors + risen + before.look(rows.columns, rows.answers).loss
            moved = before.learned.with_usual(rows.columns, rows.answers)
        return CusumDetector(
            CusumCharts(
                moved,
                smallest_loss=before.smallest_loss,
                checks_per_alarm=before.checks_per_alarm,
                block_rows=before.block_rows,
                normal=(by_confidence, by_features, measured),
            ),
            self._classes,
        )

    def _rows(self, window: Window) -> Rows:
        found = window.predictions
        names = self.evidence.learned.encoder.names
        columns = {name: as_column([p.features.get(name) for p in found]) for name in names}
        ids = np.array([self._ids.get(p.output, -1) for p in found], dtype=np.float64)
        probabilities = None
        if self.evidence.learned.answers.probabilities is not None:
            cells = [[p.probabilities.get(c, 0.0) for c in self._classes] for p in found]
            probabilities = np.array(cells, dtype=np.float64).reshape(len(found), len(self._classes))
        return Rows(columns, Answers(ids, probabilities), [p.time for p in found], [p.id for p in found])

    def _labels(self, labels: Sequence[Labelled]) -> LabelRows:
        first = [found for found in labels if found.before is None]
        wrong = [float(found.label != found.prediction.output) for found in first]
        corrected = sum(
            float(found.label != found.prediction.output) - float(found.before != found.prediction.output)
            for found in labels
            if found.before is not None
        )
        return LabelRows(np.array(wrong), [found.prediction.time for found in first], corrected)


def watch(
    features: Columns,
    outputs: Outputs,
    labels: Column | None,
    *,
    classes: Sequence[str],
    smallest_loss: float,
    checks_per_alarm: float,
    block_rows: int = 500,
    seed: int = 0,
) -> CusumDetector:
    """Fit a watch on a reference.

    Args:
        features: of the reference, n rows.
        outputs: the model's answers on them, honest ones where there are any.
        labels: the true classes by name, null where not known; None where no row has one. Fewer than 20
            beside rows without one teach too little, and are not looked at.
        classes: what the model answers, by class id.
        smallest_loss: of accuracy that matters, 0.02 is two points.
        checks_per_alarm: how many checks the budget allows for one false alarm.
        block_rows: the usual number of new rows of a check.
        seed: of everything random.

    Raises:
        ConfigError: a label is no class of the model, or the reference has fewer than two rows.
    """
    if len(outputs.class_ids) < FOLDS:
        raise ConfigError(f"model.reference needs at least {FOLDS} rows, has {len(outputs.class_ids)}")
    answers = Answers(outputs.class_ids.astype(np.float64), outputs.probabilities)
    truth: Vector | None = None
    if labels is not None:
        known = np.array([v is not None for v in labels.tolist()], dtype=bool)
        ids = {name: float(i) for i, name in enumerate(classes)}
        unknown = {str(v) for v in labels[known].tolist() if str(v) not in ids}
        if unknown:
            raise ConfigError(
                f"model.target has labels that are no class of the model: {sorted(unknown)[:5]}"
            )
        if known.all() or np.count_nonzero(known) >= LEAST_LABELS:
            features = {k: v[known] for k, v in features.items()}
            answers = answers.take(known)
            truth = np.array([ids[str(v)] for v in labels[known].tolist()])
    learned = learn(features, answers, truth, classes=len(classes), seed=seed)
    return CusumDetector(
        CusumCharts(
            learned, smallest_loss=smallest_loss, checks_per_alarm=checks_per_alarm, block_rows=block_rows
        ),
        classes,
    )
