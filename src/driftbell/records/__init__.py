"""Records of driftbell's domain: frozen types with derived properties only."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driftbell.records.alarms import Alarm
    from driftbell.records.check_state import (
        BlindSpot,
        BlockExplanation,
        BlockSummary,
        CheckState,
        ColumnCondition,
        EvidenceState,
        PendingLabels,
        RefusedCount,
        ShiftTest,
        SourceState,
        Suspicion,
    )
    from driftbell.records.checks import Baseline, Check, CheckKind
    from driftbell.records.data import (
        PREDICTION_COLUMN,
        Column,
        Columns,
        Feature,
        FieldProblem,
        Kind,
        Task,
        Value,
        probability_column,
    )
    from driftbell.records.degradation import (
        ChangePoint,
        DailyCost,
        Degradation,
        Evidence,
        Interval,
        Performance,
        Share,
        Suspect,
        TargetDrift,
    )
    from driftbell.records.judgement import (
        ColumnComparison,
        ColumnVerdict,
        Effect,
        Histogram,
        Judgement,
        Result,
        ResultKind,
        Scope,
    )
    from driftbell.records.labels import ErrorTotals, Label, LabelledPrediction, LabelReceipt, LabelTotals
    from driftbell.records.limits import Limit, LimitResult, Measure
    from driftbell.records.model_metrics import ModelMetrics
    from driftbell.records.operation import (
        Archive,
        ArchivedPrediction,
        ArchiveTotals,
        CheckRequest,
        CheckTotals,
        Delivery,
        Lease,
        Notification,
        TrafficBucket,
    )
    from driftbell.records.periods import ColumnStats, Period
    from driftbell.records.predictions import LoggedRows, Outputs, Prediction, ShadowPrediction, Window
    from driftbell.records.reference import Reference, Training
    from driftbell.records.refusals import Refusal, RefusalCause, RefusedRows, StoredRefusal
    from driftbell.records.slices import CountedDays, SliceKey, TimeSlice
    from driftbell.records.table_performance import MetricComparison, TablePerformance
    from driftbell.records.verdict import Verdict

_MODULES = {
    name: module
    for module, names in {
        "alarms": "Alarm",
        "check_state": (
            "BlindSpot BlockExplanation BlockSummary CheckState ColumnCondition EvidenceState PendingLabels "
            "RefusedCount ShiftTest SourceState Suspicion"
        ),
        "checks": "Baseline Check CheckKind",
        "data": "PREDICTION_COLUMN Column Columns Feature FieldProblem Kind Task Value probability_column",
        "degradation": "ChangePoint DailyCost Degradation Evidence Interval Performance Share Suspect "
        "TargetDrift",
        "judgement": "ColumnComparison ColumnVerdict Effect Histogram Judgement Result ResultKind Scope",
        "labels": "ErrorTotals Label LabelReceipt LabelTotals LabelledPrediction",
        "limits": "Limit LimitResult Measure",
        "model_metrics": "ModelMetrics",
        "operation": (
            "Archive ArchivedPrediction ArchiveTotals CheckRequest CheckTotals Delivery Lease "
            "Notification TrafficBucket"
        ),
        "periods": "ColumnStats Period",
        "predictions": "LoggedRows Outputs Prediction ShadowPrediction Window",
        "reference": "Reference Training",
        "refusals": "Refusal RefusalCause RefusedRows StoredRefusal",
        "slices": "CountedDays SliceKey TimeSlice",
        "table_performance": "MetricComparison TablePerformance",
        "verdict": "Verdict",
    }.items()
    for name in names.split()
}

__all__ = [
    "PREDICTION_COLUMN",
    "Alarm",
    "Archive",
    "ArchiveTotals",
    "ArchivedPrediction",
    "Baseline",
    "BlindSpot",
    "BlockExplanation",
    "BlockSummary",
    "ChangePoint",
    "Check",
    "CheckKind",
    "CheckRequest",
    "CheckState",
    "CheckTotals",
    "Column",
    "ColumnComparison",
    "ColumnCondition",
    "ColumnStats",
    "ColumnVerdict",
    "Columns",
    "CountedDays",
    "DailyCost",
    "Degradation",
    "Delivery",
    "Effect",
    "ErrorTotals",
    "Evidence",
    "EvidenceState",
    "Feature",
    "FieldProblem",
    "Histogram",
    "Interval",
    "Judgement",
    "Kind",
    "Label",
    "LabelReceipt",
    "LabelTotals",
    "LabelledPrediction",
    "Lease",
    "Limit",
    "LimitResult",
    "LoggedRows",
    "Measure",
    "MetricComparison",
    "ModelMetrics",
    "Notification",
    "Outputs",
    "PendingLabels",
    "Performance",
    "Period",
    "Prediction",
    "Reference",
    "Refusal",
    "RefusalCause",
    "RefusedCount",
    "RefusedRows",
    "Result",
    "ResultKind",
    "Scope",
    "ShadowPrediction",
    "Share",
    "ShiftTest",
    "SliceKey",
    "SourceState",
    "StoredRefusal",
    "Suspect",
    "Suspicion",
    "TablePerformance",
    "TargetDrift",
    "Task",
    "TimeSlice",
    "TrafficBucket",
    "Training",
    "Value",
    "Verdict",
    "Window",
    "probability_column",
]


def __getattr__(name: str) -> Any:
    """Import a record on first use: a small check needs half of them, and to define all takes 0.05 s."""
    if name not in _MODULES:
        raise AttributeError(f"module 'driftbell.records' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(f"driftbell.records.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
