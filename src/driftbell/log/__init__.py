"""Where predictions and checks live."""

from driftbell.log.sql import SqlLog, sqlite_log

__all__ = ["SqlLog", "sqlite_log"]
