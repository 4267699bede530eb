"""Examples of `Degradation` for tests of reports and pages."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from driftbell.records import ChangePoint, Degradation, Evidence, Interval, Performance, Suspect, Verdict

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)

WARMER = "values look about 1.8 times as large plus 32: perhaps another unit (°C → °F)"

ALARM = Degradation(
    Verdict.ALARM,
    "The model has probably done worse since 2026-01-31 10:20: 4.2 points of accuracy, "
    "most likely by petal length (cm).",
    score=1.8,
    evidence=(
        Evidence("labels", "", 0.4, note="120 labels came"),
        Evidence("estimate", "", 1.2),
        Evidence("disagreement", "petal length (cm)", 1.8, note="the others disagree in 31 % of the rows"),
        Evidence("disagreement", "sepal width (cm)", 0.3),
        Evidence("label shift", "", 0.7, can_alarm=False),
    ),
    rows=1_740,
    performance=Performance(
        "accuracy", 0.953, Interval(0.911, 0.887, 0.935), Interval(0.917, 0.868, 0.951), labelled=120
    ),
    estimated_loss=Interval(0.042, 0.018, 0.066),
    change_point=ChangePoint(
        NOON - timedelta(minutes=100), NOON - timedelta(minutes=130), NOON - timedelta(minutes=85)
    ),
    suspects=(
        Suspect(
            "petal length (cm)",
            0.81,
            WARMER,
        ),
        Suspect("sepal width (cm)", 0.19, ""),
    ),
    segment="petal width (cm) above 1.7",
    to_label=tuple(f"id-{i:04}" for i in range(50)),
)

OK = Degradation(
    Verdict.OK,
    "Nothing says that the model does worse.",
    score=0.2,
    evidence=(Evidence("estimate", "", 0.2), Evidence("labels", "", 0.0)),
    rows=500,
    performance=Performance("accuracy", 0.953, Interval(0.95, 0.93, 0.97)),
)

UNKNOWN = Degradation(Verdict.UNKNOWN, "Cannot say: 30 of 50 new rows are there.")

WARNING = replace(
    ALARM,
    verdict=Verdict.WARNING,
    sentence="Inputs changed, results are fine: the newest 200 labels show no loss.",
    estimated_loss=Interval(-0.001, -0.01, 0.008),
)
