"""Serve or monitor a model, and raise an alarm when its performance degrades.

You set the false-alarm budget.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driftbell.drift.compare import compare
    from driftbell.drift.judge import judge
    from driftbell.errors import (
        AnswerError,
        ArchiveError,
        ConfigError,
        DriftbellError,
        InputError,
        LeaseLostError,
        MissingExtraError,
        MissingModuleError,
        ModelError,
        OverloadedError,
        PredictError,
        ReportError,
        StoreError,
        UntrustedModelError,
    )
    from driftbell.integrations.asgi import WatchedApp, watch
    from driftbell.integrations.client import Monitor, MonitorCounts
    from driftbell.records import (
        ChangePoint,
        ColumnComparison,
        ColumnStats,
        ColumnVerdict,
        DailyCost,
        Degradation,
        Effect,
        Evidence,
        Feature,
        FieldProblem,
        Histogram,
        Interval,
        Judgement,
        Kind,
        LimitResult,
        Measure,
        MetricComparison,
        ModelMetrics,
        Performance,
        RefusalCause,
        RefusedRows,
        Result,
        ResultKind,
        Scope,
        Suspect,
        TablePerformance,
        TargetDrift,
        Verdict,
    )
    from driftbell.simulation.backtest import backtest
    from driftbell.simulation.backtest_checks import Backtest, BacktestCheck, BacktestReference
    from driftbell.tabular.schema import Schema, infer_schema
    from driftbell.wiring.table_check import TableCheck, check
    from driftbell.wiring.table_profile import TableProfile, profile

__version__ = "0.1.0"

_MODULES = {
    "backtest": "driftbell.simulation.backtest",
    "check": "driftbell.wiring.table_check",
    "compare": "driftbell.drift.compare",
    "infer_schema": "driftbell.tabular.schema",
    "judge": "driftbell.drift.judge",
    "profile": "driftbell.wiring.table_profile",
    "watch": "driftbell.integrations.asgi",
    "Backtest": "driftbell.simulation.backtest_checks",
    "BacktestCheck": "driftbell.simulation.backtest_checks",
    "BacktestReference": "driftbell.simulation.backtest_checks",
    "Monitor": "driftbell.integrations.client",
    "MonitorCounts": "driftbell.integrations.client",
    "Schema": "driftbell.tabular.schema",
    "TableCheck": "driftbell.wiring.table_check",
    "TableProfile": "driftbell.wiring.table_profile",
    "WatchedApp": "driftbell.integrations.asgi",
}

__all__ = [  # noqa: RUF022 - functions, types, errors
    "backtest",
    "check",
    "compare",
    "infer_schema",
    "judge",
    "profile",
    "watch",
    "Backtest",
    "BacktestCheck",
    "BacktestReference",
    "ChangePoint",
    "ColumnComparison",
    "ColumnStats",
    "ColumnVerdict",
    "DailyCost",
    "Degradation",
    "Effect",
    "Evidence",
    "Feature",
    "FieldProblem",
    "Histogram",
    "Interval",
    "Judgement",
    "Kind",
    "LimitResult",
    "Measure",
    "MetricComparison",
    "Monitor",
    "MonitorCounts",
    "ModelMetrics",
    "Performance",
    "RefusalCause",
    "RefusedRows",
    "Result",
    "ResultKind",
    "Schema",
    "Scope",
    "Suspect",
    "TableCheck",
    "TablePerformance",
    "TableProfile",
    "TargetDrift",
    "Verdict",
    "WatchedApp",
    "AnswerError",
    "ArchiveError",
    "ConfigError",
    "DriftbellError",
    "InputError",
    "LeaseLostError",
    "MissingExtraError",
    "MissingModuleError",
    "ModelError",
    "OverloadedError",
    "PredictError",
    "ReportError",
    "StoreError",
    "UntrustedModelError",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use: the command line and servers start without NumPy and SciPy."""
    if name not in __all__:
        raise AttributeError(f"module 'driftbell' has no attribute '{name}'")
    module = _MODULES.get(name) or f"driftbell.{'errors' if name.endswith('Error') else 'records'}"
    value = globals()[name] = getattr(import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
