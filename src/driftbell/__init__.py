"""Serve a model or watch one, and ring when it does worse, at most as often falsely as you allow."""

from typing import TYPE_CHECKING, Any

from driftbell.drift.compare import compare
from driftbell.drift.judge import judge
from driftbell.errors import ConfigError, DriftbellError, InputError, ModelError, StoreError
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
from driftbell.tabular.schema import Schema, infer_schema

if TYPE_CHECKING:
    from driftbell.simulation.backtest import BacktestCheck, backtest

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
    "StoreError",
    "ModelError",
    "Prediction",
    "Result",
    "Schema",
    "Verdict",
]


def __getattr__(name: str) -> Any:
    """Import what replays the past when it is asked for: a server never does, and starts sooner."""
    if name in ("BacktestCheck", "backtest"):
        from driftbell.simulation import backtest as module

        return getattr(module, name)
    raise AttributeError(f"module 'driftbell' has no attribute '{name}'")
