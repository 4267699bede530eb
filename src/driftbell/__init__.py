"""Serve a model or watch one, and ring when its inputs or predictions drift, and only then."""

from driftbell.backtest import BacktestCheck, backtest
from driftbell.compare import compare
from driftbell.errors import ConfigError, DriftbellError, InputError, LogError, ModelError
from driftbell.judge import judge
from driftbell.records import (
    Check,
    ColumnComparison,
    ColumnVerdict,
    Feature,
    Judgement,
    Prediction,
    Result,
    Verdict,
)
from driftbell.schema import Schema, infer_schema

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022 - verbs first, then nouns
    "backtest",
    "compare",
    "infer_schema",
    "judge",
    "BacktestCheck",
    "Check",
    "ColumnComparison",
    "ColumnVerdict",
    "ConfigError",
    "DriftbellError",
    "Feature",
    "InputError",
    "Judgement",
    "LogError",
    "ModelError",
    "Prediction",
    "Result",
    "Schema",
    "Verdict",
]
