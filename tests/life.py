"""A simulated model in service: traffic, checks, and a detector that counts rows over sixty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from driftbell.alarms.notifications import NotificationRules
from driftbell.monitor.check import Checker
from driftbell.publish.report_folder import MAIN_REPORT, ReportFolder
from driftbell.records import (
    Alarm,
    BlockSummary,
    ChangePoint,
    Check,
    CheckKind,
    Columns,
    Degradation,
    EvidenceState,
    LabelledPrediction,
    Lease,
    Prediction,
    Reference,
    SourceState,
    Suspect,
    Verdict,
    Window,
)
from driftbell.records.alarms import Annotation
from driftbell.store.sql import SqlStore
from driftbell.tabular.columns import as_columns
from driftbell.tabular.schema import infer_schema
from driftbell.testing import FakeModel

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
FEATURES = as_columns({"age": np.random.default_rng(0).normal(40, 10, 300)})
MODEL_VERSION = {"model": "m", "version": "v1"}


def model(version: str = "v1") -> FakeModel:
    """Return a model that answers "old" above forty, without probabilities."""
    return FakeModel(
        infer_schema(FEATURES),
        ("old", "young"),
        lambda columns: np.where(columns["age"] > 40, 0, 1),
        name="m",
        version=version,
        probabilities=False,
        inline=False,
    )


class Page:
    """Report of one line: the version of the reference."""

    def write(self, check: Check, reference: Reference, window: Columns) -> bytes:
        return f"{reference.version} {len(reference.columns['age'])} rows".encode()


@dataclass(frozen=True)
class CountingDetector:
    """Detector that counts rows over sixty above the normal share; eight more are degradation."""

    normal: float = 0.03
    broken: bool = False

    def advance(
        self, state: EvidenceState, window: Window, labels: Sequence[LabelledPrediction]
    ) -> tuple[EvidenceState, Degradation]:
        if self.broken:
            raise ValueError("5.123457 is too much")
        over = [p for p in window.predictions if float(p.features["age"] or 0) > 60]
        excess = sum(state.estimate.sums) + len(over) - self.normal * len(window.predictions)
        excess += sum(one.label != one.prediction.output for one in labels)
        if len(over) <= self.normal * len(window.predictions):
            excess = 0.0
        blocks = state.estimate.blocks
        if not (excess > 0 and over):
            blocks = ()
        elif not blocks:
            blocks = (BlockSummary(len(over), excess, over[0].time, over[-1].time),)
        after = EvidenceState(
            seq=window.last or state.seq,
            label_seq=labels[-1].seq if labels else state.label_seq,
            rows=state.rows + len(window.predictions),
            labelled=state.labelled + len(labels),
            estimate=SourceState(sums=(excess,), blocks=blocks),
        )
        if excess < 8:
            return after, Degradation(Verdict.OK, "No degradation.", score=excess / 8, rows=after.rows)
        began = blocks[0].first
        return after, Degradation(
            Verdict.ALARM,
            f"Worse since {began:%H:%M}: {excess:.0f} too many.",
            score=excess / 8,
            rows=after.rows,
            change_point=ChangePoint(began, began, began),
            suspects=(Suspect("age", 1.0, "older"),),
            to_label=tuple(p.id for p in over[:5]),
        )

    def with_baseline(self, window: Window, labels: Mapping[str, str] | None = None) -> CountingDetector:
        over = np.mean([float(p.features["age"] or 0) > 60 for p in window.predictions])
        return replace(self, normal=float(over) + 0.05)


def reference() -> Reference:
    prediction = np.where(FEATURES["age"] > 40, "old", "young").astype(object)
    roles = {"age": "feature", "prediction": "prediction"}
    return Reference({**FEATURES, "prediction": prediction}, roles, "r1")


class Life:
    """A model in service: traffic in steps of five minutes, and checks."""

    def __init__(self, store: SqlStore, lease: Lease, folder: Path) -> None:
        self.store, self.lease, self.now, self.rows = store, lease, NOON, 0
        self.checker = Checker(
            store=store,
            model=model(),
            reference=reference(),
            folder=ReportFolder(folder, keep=10),
            sinks={MAIN_REPORT: Page()},
            window_rows=200,
            minimum_rows=10,
            false_discovery_rate=0.05,
            clock=lambda: self.now,
            notifies=NotificationRules(timedelta()),
            detector=CountingDetector(),
        )

    def traffic(self, rows: int, *, shift: float = 0.0, version: str = "v1") -> list[str]:
        ages = np.random.default_rng(self.rows).normal(40 + shift, 10, rows)
        new = [
            Prediction(
                f"id{self.rows + i:06}",
                self.now,
                "m",
                version,
                {"age": float(a)},
                "old" if a > 40 else "young",
                {},
                1.0,
            )
            for i, a in enumerate(ages)
        ]
        self.store.predictions.append(new)
        self.rows += rows
        return [p.id for p in new]

    def check(self, rows: int = 0, *, shift: float = 0.0) -> Check:
        self.now += timedelta(minutes=5)
        self.traffic(rows, shift=shift)
        return self.checker(CheckKind.AUTOMATIC, self.now.isoformat(), self.lease)

    def open(self) -> Alarm | None:
        return self.store.alarms.current(**MODEL_VERSION)

    def open_alarm(self) -> Alarm:
        """Send drifted traffic until an alarm is open."""
        self.check(200)
        assert self.check(200, shift=20).judgement.verdict is Verdict.ALARM
        result = self.open()
        assert result is not None
        return result

    def annotate(self, alarm: Alarm, word: str, until: datetime | None = None) -> Alarm:
        result = self.store.alarms.annotate(alarm.id, Annotation(word, "ada", "because", self.now, until))
        assert result is not None
        return result

    def notified(self) -> list[Verdict]:
        return [d.notification.verdict for d in self.store.notifications.pending()]
