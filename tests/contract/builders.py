"""Records for the tests of the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from hypothesis import strategies as st
from tests.model_keys import ModelKey

from driftbell.drift.compare import compare
from driftbell.drift.judge import judge
from driftbell.records import (
    Alarm,
    Check,
    CheckKind,
    Judgement,
    Label,
    LabelledPrediction,
    Notification,
    Prediction,
    Verdict,
)
from driftbell.records.alarms import Annotation
from driftbell.records.api_keys import ApiKey, new_api_key

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


IRIS: ModelKey = {"model": "iris", "version": "v1"}


ANY = st.characters()
"""Every character, half a surrogate pair and NUL among them: callers send what they like."""


TEXT = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


def prediction(number: int, **changes: Any) -> Prediction:
    record = Prediction(
        id=f"id-{number}",
        time=NOW + timedelta(seconds=number),
        model="iris",
        version="v1",
        features={"x": float(number), "größe": "ü\n\"'", "flag": True, "gone": None},
        output="setosa",
        probabilities={"setosa": 0.75, "virginica": 0.25},
        latency_ms=1.5,
        metadata={"shop": 'Zürich "1"', "basket": 3, "price": 1.5, "test": True},
    )
    return replace(record, **changes)


def check(number: int = 0, verdict: Verdict = Verdict.OK, **changes: Any) -> Check:
    record = Check(
        id=f"check-{number}",
        time=NOW,
        kind=CheckKind.AUTOMATIC,
        model="iris",
        version="v1",
        reference="5f5f5f5f5f5f",
        rows=500,
        first=1,
        last=500,
        judgement=Judgement(verdict, "A sentence."),
        duration=0.25,
    )
    return replace(record, **changes)


def notification(number: int = 0, verdict: Verdict = Verdict.ALARM, **changes: Any) -> Notification:
    record = Notification(
        check_id=f"check-{number}",
        time=NOW,
        model="iris",
        version="v1",
        before=None,
        verdict=verdict,
        since=NOW - timedelta(minutes=5),
        sentence="A sentence.",
        columns=("a", "größe"),
        report="drift_report_20260131_120000.html",
    )
    return replace(record, **changes)


def label(number: int, value: str = "setosa", minutes: int = 60) -> Label:
    return Label(f"id-{number}", value, NOW + timedelta(minutes=minutes))


def alarm(number: int = 0, **changes: Any) -> Alarm:
    values = {
        "id": f"check{number}",
        **IRIS,
        "opened": NOW + timedelta(hours=number),
        "closed": None,
        "sentence": "Worse since 11:30.",
        "columns": ("age", "city"),
        "first": 7,
        "last": 90,
    }
    return Alarm(**{**values, **changes})


def annotation(word: str, minutes: int = 0, until: datetime | None = None) -> Annotation:
    return Annotation(word, "ada", "a new sensor", NOW + timedelta(minutes=minutes), until)


def full_judgement() -> Judgement:
    rng = np.random.default_rng(0)
    reference = {"x": rng.normal(size=50), "t": ["a", "b"] * 25, "gone": [1.0] * 50, "u": [np.inf] * 50}
    window = {"x": rng.normal(3, 1, 40), "t": ["a", None] * 20, "u": [1.0] * 40, "extra": [1] * 40}
    return judge(compare(reference, window), rows=40)


def summaries(labels: list[LabelledPrediction]) -> list[tuple[str, str, str | None]]:
    """Return id, label and previous label of each labelled prediction."""
    return [(one.prediction.id, one.label, one.before) for one in labels]


def api_key(name: str = "ada", *scopes: str) -> ApiKey:
    return new_api_key(name, scopes or ("predict",), now=NOW)[0]
