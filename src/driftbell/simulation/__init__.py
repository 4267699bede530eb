"""Replay a stream in time order: what would the checks have said?"""

from driftbell.simulation.backtest import BacktestCheck, backtest

__all__ = ["BacktestCheck", "backtest"]
