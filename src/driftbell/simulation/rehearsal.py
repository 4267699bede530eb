"""Rehearsal: detection and detection delay of faults in rows sampled from the reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.answers import Answers
from driftbell.degradation.detector import CusumDetector
from driftbell.degradation.loss_scale import loss_scale
from driftbell.errors import InputError
from driftbell.phrases import printable
from driftbell.ports import Model, Store
from driftbell.records import (
    Column,
    Degradation,
    EvidenceState,
    Feature,
    Kind,
    Outputs,
    Prediction,
    Reference,
    Value,
    Verdict,
    Window,
)
from driftbell.simulation.faults import Fault, FaultKind, Row, apply_faults, check_faults, frozen_value
from driftbell.simulation.row_times import row_time, with_rows
from driftbell.simulation.traffic import sample_rows
from driftbell.tabular.outputs import output_texts, output_values

ACCURACY = "accuracy"

MAX_WINDOWS = 20
TOP_FEATURES = 3
"""Number of the most important features that the default faults cover."""

SCALE_FACTOR, NULL_SHARE = 1.8, 0.3
LABEL = "\0label"
"""Name of the label column while rows are sampled; no feature has it."""

WEEK = timedelta(days=7)
HOUR = 3600


@dataclass(frozen=True, slots=True)
class RehearsalOutcome:
    """Outcome of one fault.

    Attributes:
        fault: the fault in the grammar of `parse_fault`; "" for rows without a fault.
        detection_delay: number of predictions until the alarm; None without an alarm.
        rows: number of predictions.
        estimated_loss: estimated loss at the alarm; None without an alarm.
        interval: 90 % interval of the estimated loss.
        actual_loss: loss on these rows against the same rows without the fault; None if the
            reference has no labels.
        columns: suspect columns of the alarm, the most likely first.
        refused: reason why the service would refuse such rows with an error, otherwise "".
        frozen_at: value at which a feature was frozen; None for other faults.
        metric: name of the metric of alarms, in which losses are measured.
        needs_labels_after: number of predictions until a check cannot tell whether the model performs worse;
            None if each check tells.
        reason: why it cannot tell, with the loss that may hide and what settles it, or "".
        currency: of losses that are costs, or "".
    """

    fault: str
    detection_delay: int | None
    rows: int
    estimated_loss: float | None = None
    interval: tuple[float, float] | None = None
    actual_loss: float | None = None
    columns: tuple[str, ...] = ()
    refused: str = ""
    frozen_at: Value = None
    metric: str = ACCURACY
    needs_labels_after: int | None = None
    reason: str = ""
    currency: str = ""

    @property
    def cannot_tell(self) -> bool:
        """True if there is no alarm, and a check cannot tell whether the model performs worse."""
        return self.detection_delay is None and self.needs_labels_after is not None

    @property
    def name(self) -> str:
        """The fault as it was given, with the value at which it froze its column if that was drawn."""
        if self.frozen_at is None or "=" in self.fault:
            return self.fault
        return f"{self.fault} (frozen at {printable(str(self.frozen_at), 40)})"


def _is_amount(feature: Feature) -> bool:
    """Return whether a feature has numbers that may be shifted, scaled and swapped."""
    return feature.kind is Kind.NUMERIC and not feature.has_number_categories


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Rehearsal of faults against a model and its degradation detector.

    Attributes:
        model: the served model.
        reference: reference of the model.
        detector: degradation detector, fitted on the reference.
        window_rows: new predictions per check.
        max_windows: number of windows without an alarm after which a rehearsal ends.
    """

    model: Model
    reference: Reference
    detector: CusumDetector
    window_rows: int
    max_windows: int = MAX_WINDOWS

    def default_faults(self) -> list[Fault]:
        """Return the default faults: shift, scale, freeze, nulls and swap of the most important features."""
        learned = self.detector.charts.learned
        names = [learned.encoder.names[j] for j in learned.top] or list(self.model.schema.names)
        features = {f.name: f for f in self.model.schema.features}
        faults: list[Fault] = []
        for name in names[:TOP_FEATURES]:
            column = self.reference.columns[name]
            if _is_amount(features[name]):
                spread = float(f"{np.std(column[np.isfinite(column)]):.3g}")
                faults += [
                    Fault(FaultKind.SHIFT, name, spread or 1.0),
                    Fault(FaultKind.SCALE, name, SCALE_FACTOR),
                ]
            faults.append(Fault(FaultKind.STUCK, name))
            if features[name].nullable:
                faults.append(Fault(FaultKind.NULLS, name, NULL_SHARE))
        numeric = [n for n in names if _is_amount(features[n])]
        for a, b in combinations(numeric, 2):
            if features[a].nullable == features[b].nullable:  # else the service rejects the nulls of one
                faults.append(Fault(FaultKind.SWAP, a, other=b))
                break
        return faults

    def __call__(self, fault: Fault | None, seed: int = 0) -> RehearsalOutcome:
        """Run checks on rows with a fault until an alarm opens; at most `max_windows` windows.

        Args:
            fault: the fault; None for rows without a fault.
            seed: random seed of the rows.

        Raises:
            ConfigError: the model has no such feature, or its values are not numbers to shift or scale.
            PredictError: the model fails on such rows.
        """
        rng = np.random.default_rng(seed)
        rows, labels = self._sample(rng)
        outcome = self._run(rows, labels, fault, rng)
        if fault is None or fault.kind is not FaultKind.STUCK:
            return outcome
        return replace(outcome, frozen_at=frozen_value(fault, rows))

    def check_faults(self, faults: Sequence[Fault], seed: int = 0) -> None:
        """Check that faults can be injected before the first one is.

        Raises:
            ConfigError: faults that cannot; the message has the problem of each.
        """
        check_faults(self._sample(np.random.default_rng(seed))[0], faults)

    def _run(
        self, rows: list[Row], labels: list[Any], fault: Fault | None, rng: np.random.Generator
    ) -> RehearsalOutcome:
        """Run checks on rows with a fault, see `__call__`."""
        faulty = apply_faults(rows, [fault] if fault else [], rng)
        name = str(fault) if fault else ""
        try:
            for row in faulty:
                self.model.schema.validate(row)
        except InputError as error:
            return RehearsalOutcome(name, None, 0, refused=error.problems[0].message)
        state = EvidenceState()
        losses: list[NDArray[np.float64]] = []
        waiting: tuple[Prediction, ...] = ()
        untold: tuple[int | None, str] = (None, "")
        for start in range(0, len(faulty), self.window_rows):
            stop = start + self.window_rows
            answers, window_losses = self._predict_both(
                rows[start:stop], faulty[start:stop], labels[start:stop]
            )
            losses.append(window_losses)
            waiting += as_predictions(self.model, faulty[start:stop], answers, start)
            state, degradation = self.detector.advance(
                state, Window(waiting, stop - len(waiting) + 1, stop), []
            )
            waiting = waiting[len(waiting) - (stop - state.seq) :]  # too few for a block
            if degradation.needs_labels and untold[0] is None:
                untold = (stop, with_rows(degradation.sentence))
            if degradation.verdict is Verdict.ALARM:
                return self._outcome(name, stop, losses, degradation, untold)
        return self._outcome(name, None, losses, None, untold)

    def _sample(self, rng: np.random.Generator) -> tuple[list[Row], list[Any]]:
        labels = self.reference.labels
        rows = len(next(iter(self.reference.columns.values())))
        column: Column = np.full(rows, None, dtype=object) if labels is None else labels
        table = {name: self.reference.columns[name] for name in self.model.schema.names}
        sample = sample_rows({**table, LABEL: column}, self.max_windows * self.window_rows, rng)
        return sample, [row.pop(LABEL) for row in sample]

    def _predict_both(
        self, rows: Sequence[Row], faulty: Sequence[Row], labels: Sequence[Any]
    ) -> tuple[Outputs, NDArray[np.float64]]:
        """Return the predictions of the faulty rows, and the change of the error of labelled rows."""
        answers, undisturbed = self._predict(faulty), self._predict(rows)
        classes = self.model.classes
        labelled = np.array([label is not None for label in labels])
        truth = output_values((str(label) for label in labels if label is not None), classes)
        loss = self.detector.charts.learned.loss
        errors, before = (
            loss.of_rows(truth, Answers(o.values.astype(np.float64), o.probabilities).take(labelled))
            for o in (answers, undisturbed)
        )
        change = errors - before
        return answers, change[~np.isnan(change)]

    def _predict(self, rows: Sequence[Row]) -> Outputs:
        schema = self.model.schema
        return self.model.predict(schema.columns([[row[name] for name in schema.names] for row in rows]))

    def _outcome(
        self,
        fault: str,
        delay: int | None,
        losses: list[NDArray[np.float64]],
        degradation: Degradation | None,
        untold: tuple[int | None, str],
    ) -> RehearsalOutcome:
        all_losses = np.concatenate(losses)
        loss = degradation.estimated_loss if degradation else None
        scale = loss_scale(self.detector.charts)
        return RehearsalOutcome(
            fault,
            delay,
            len(losses) * self.window_rows,
            loss.value if loss else None,
            (loss.low, loss.high) if loss else None,
            scale.amount(float(all_losses.mean())) if len(all_losses) else None,
            degradation.suspect_columns if degradation else (),
            metric=scale.metric,
            needs_labels_after=untold[0],
            reason=untold[1],
            currency=scale.currency,
        )


def as_predictions(
    model: Model, rows: Sequence[Row], outputs: Outputs, start: int = 0
) -> tuple[Prediction, ...]:
    """Return a model's answers on rows as the log would have them, one second apart.

    Args:
        model: the model.
        rows: the features of n rows.
        outputs: the model's answers on them.
        start: number of rows before.
    """
    classes, texts = model.classes, output_texts(outputs, model.classes, model.name)
    probabilities = np.zeros((len(rows), 0)) if outputs.probabilities is None else outputs.probabilities
    return tuple(
        Prediction(
            id=f"{start + i:08}",
            time=row_time(start + i),
            model=model.name,
            version=model.version,
            features=row,
            output=texts[i],
            probabilities=dict(zip(classes, probabilities[i].tolist(), strict=False)),
            latency_ms=0.0,
        )
        for i, row in enumerate(rows)
    )


def rehearse(rehearsal: Rehearsal, faults: Sequence[Fault], *, seed: int = 0) -> Iterator[RehearsalOutcome]:
    """Yield the outcome without a fault, then the outcome of each fault.

    Args:
        rehearsal: the model and its detector.
        faults: faults to rehearse; none for the default faults.
        seed: random seed of the rows.

    Raises:
        ConfigError, PredictError: see `Rehearsal`.
    """
    if faults:
        rehearsal.check_faults(faults, seed)
    for fault in (None, *(faults or rehearsal.default_faults())):
        yield rehearsal(fault, seed)


def rows_per_day(store: Store, now: datetime) -> float | None:
    """Return the mean number of predictions per day of the last week; None without predictions.

    Args:
        store: store with the predictions.
        now: current time (UTC).

    Raises:
        StoreError: the log cannot be read.
    """
    buckets = store.predictions.traffic(now - WEEK, HOUR)
    if not buckets:
        return None
    span = max(now - buckets[0].start, timedelta(seconds=HOUR))
    return sum(bucket.count for bucket in buckets) / (span / timedelta(days=1))
