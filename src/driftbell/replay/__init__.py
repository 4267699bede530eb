"""Replay a stream in time order: what would the checks have said?"""

from driftbell.replay.run import BacktestCheck, backtest

__all__ = ["BacktestCheck", "backtest"]
