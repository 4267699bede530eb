"""Rehearsals: a fault in rows like the reference's; would it be seen, and after how long?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.degradation import CusumDetector
from driftbell.errors import InputError
from driftbell.ports import Log, Model, Reference
from driftbell.records import Column, Degradation, Kind, Outputs, Prediction, Verdict, Window
from driftbell.simulation.faults import Fault, FaultKind, Row, apply
from driftbell.simulation.traffic import sample_rows
from driftbell.tabular.columns import kind_of

MOST_WINDOWS = 20
TOP = 3
"""So many of the most important features are rehearsed by themselves."""

SCALE, NULLS = 1.8, 0.3
LABEL = "\0label"
"""A name that no feature has, under which labels are drawn with their rows."""

BEGIN = datetime(2000, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
HOUR = 3600


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fault.

    Attributes:
        fault: in words that `parse_fault` reads; "" for rows without one.
        detection_delay: predictions until the alarm; None where there was none.
        rows: predictions that were made.
        estimated_loss: of accuracy, when it rang, and its 90 % interval; None where it did not.
        interval: see there.
        actual_loss: of accuracy on these rows, the same rows without the fault beside them; None where the
            reference has no labels.
        columns: the alarm's suspects, the likeliest first.
        refused: why the service would refuse such rows, so that whoever sends them is told; or "".
    """

    fault: str
    detection_delay: int | None
    rows: int
    estimated_loss: float | None = None
    interval: tuple[float, float] | None = None
    actual_loss: float | None = None
    columns: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Tries faults out on a model.

    Attributes:
        model: what is served.
        reference: its own.
        detector: the degradation detector, fitted on the reference.
        window_rows: new predictions of a check.
    """

    model: Model
    reference: Reference
    detector: CusumDetector
    window_rows: int

    def default_faults(self) -> list[Fault]:
        """List what is worth a try: the features that matter most, moved, scaled, stuck, null, exchanged."""
        learned = self.detector.evidence.learned
        names = [learned.encoder.names[j] for j in learned.top] or list(self.model.schema.names)
        features = {f.name: f for f in self.model.schema.features}
        found: list[Fault] = []
        for name in names[:TOP]:
            column = self.reference.columns[name]
            if features[name].kind is Kind.NUMERIC:
                spread = float(f"{np.std(column[np.isfinite(column)]):.3g}")
                found += [Fault(FaultKind.SHIFT, name, spread or 1.0), Fault(FaultKind.SCALE, name, SCALE)]
            found.append(Fault(FaultKind.STUCK, name))
            if features[name].nullable:
                found.append(Fault(FaultKind.NULLS, name, NULLS))
        numeric = [n for n in names if kind_of(self.reference.columns[n]) is Kind.NUMERIC]
        if len(numeric) > 1:
            found.append(Fault(FaultKind.SWAP, numeric[0], other=numeric[1]))
        return found

    def __call__(self, fault: Fault | None, seed: int = 0) -> Outcome:
        """Send rows with a fault, window by window, until it rings; 20 windows at most.

        Args:
            fault: what is wrong; None for nothing.
            seed: of the rows.

        Raises:
            ConfigError: the model has no such feature, or it holds no numbers to shift or scale.
            PredictError: the model fails on such rows.
        """
        rng = np.random.default_rng(seed)
        rows, labels = self._drawn(rng)
        wrong = apply(rows, [fault] if fault else [], rng)
        words = str(fault) if fault else ""
        try:
            for row in wrong:
                self.model.schema.validate(row)
        except InputError as error:
            return Outcome(words, None, 0, refused=error.problems[0].message)
        state: Any = {}
        lost: list[NDArray[np.float64]] = []
        for start in range(0, len(wrong), self.window_rows):
            stop = start + self.window_rows
            answers, lost_here = self._answered(rows[start:stop], wrong[start:stop], labels[start:stop])
            lost.append(lost_here)
            state, degradation = self.detector.advance(
                state, self._window(wrong[start:stop], answers, start), []
            )
            if degradation.verdict is Verdict.ALARM:
                return self._outcome(words, stop, lost, degradation)
        return self._outcome(words, None, lost, None)

    def _drawn(self, rng: np.random.Generator) -> tuple[list[Row], list[Any]]:
        labels = self.reference.labels
        rows = len(next(iter(self.reference.columns.values())))
        known: Column = np.full(rows, None, dtype=object) if labels is None else labels
        table = {name: self.reference.columns[name] for name in self.model.schema.names}
        drawn = sample_rows({**table, LABEL: known}, MOST_WINDOWS * self.window_rows, rng)
        return drawn, [row.pop(LABEL) for row in drawn]

    def _answered(
        self, rows: Sequence[Row], wrong: Sequence[Row], labels: Sequence[Any]
    ) -> tuple[Outputs, NDArray[np.float64]]:
        """Answer the faulty rows; for each with a label, 1 where the fault made it wrong, -1 where right."""
        answers, usual = self._predicted(wrong), self._predicted(rows)
        ids = {name: i for i, name in enumerate(self.model.classes)}
        known = np.array([label is not None for label in labels])
        truth = np.array([ids.get(label, -1) for label in labels])[known]
        errors = (answers.class_ids[known] != truth).astype(np.float64)
        return answers, errors - (usual.class_ids[known] != truth)

    def _predicted(self, rows: Sequence[Row]) -> Outputs:
        schema = self.model.schema
        return self.model.predict(schema.columns([[row[name] for name in schema.names] for row in rows]))

    def _window(self, rows: Sequence[Row], answers: Outputs, start: int) -> Window:
        classes = self.model.classes
        chances = np.zeros((len(rows), 0)) if answers.probabilities is None else answers.probabilities
        return Window(
            tuple(
                Prediction(
                    id=f"{start + i:08}",
                    time=BEGIN + timedelta(seconds=start + i),
                    model=self.model.name,
                    version=self.model.version,
                    features=row,
                    output=classes[answers.class_ids[i]],
                    probabilities=dict(zip(classes, chances[i].tolist(), strict=False)),
                    latency_ms=0.0,
                )
                for i, row in enumerate(rows)
            ),
            start + 1,
            start + len(rows),
        )

    def _outcome(
        self, fault: str, seen: int | None, lost: list[NDArray[np.float64]], degradation: Degradation | None
    ) -> Outcome:
        every = np.concatenate(lost)
        loss = degradation.estimated_loss if degradation else None
        return Outcome(
            fault,
            seen,
            len(lost) * self.window_rows,
            loss.value if loss else None,
            (loss.low, loss.high) if loss else None,
            float(every.mean()) if len(every) else None,
            tuple(s.column for s in degradation.suspects) if degradation else (),
        )


def rehearse(rehearsal: Rehearsal, faults: Sequence[Fault], *, seed: int = 0) -> Iterator[Outcome]:
    """Try faults out, one after the other; before them no fault at all, which should be quiet.

    Args:
        rehearsal: on which model.
        faults: what; none for the usual ones.
        seed: of the rows.

    Raises:
        ConfigError, PredictError: see `Rehearsal`.
    """
    for fault in (None, *(faults or rehearsal.default_faults())):
        yield rehearsal(fault, seed)


def rows_per_day(log: Log, now: datetime) -> float | None:
    """Measure the traffic of the last week; None where there is none.

    Args:
        log: where predictions are.
        now: the present (UTC).

    Raises:
        LogError: the log cannot be read.
    """
    found = log.traffic(now - WEEK, HOUR)
    if not found:
        return None
    span = max(now - found[0].start, timedelta(seconds=HOUR))
    return sum(bucket.count for bucket in found) / (span / timedelta(days=1))
