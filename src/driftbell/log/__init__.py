"""Where predictions and checks live."""

from driftbell.log.locks import alone, in_use, unused
from driftbell.log.snapshot import LogFacts, add_waiting, copy_log, facts_of
from driftbell.log.sql import SqlLog
from driftbell.log.sqlite import sqlite_log, upgrade_sqlite

__all__ = [
    "LogFacts",
    "SqlLog",
    "add_waiting",
    "alone",
    "copy_log",
    "facts_of",
    "in_use",
    "sqlite_log",
    "unused",
    "upgrade_sqlite",
]
