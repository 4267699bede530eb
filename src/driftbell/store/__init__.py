"""Where predictions and checks live."""

from driftbell.data_folder import alone, in_use, unused
from driftbell.store.snapshot import LogFacts, add_waiting, copy_log, facts_of
from driftbell.store.sql import SqlLog
from driftbell.store.sqlite import sqlite_log, upgrade_sqlite

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
