"""The command line: parse, call one function, print, exit."""

import gc

gc.set_threshold(20_000)  # nothing that is imported is garbage: looking for some takes a tenth of a start

from driftbell.cli import alarms, backtest, certs, check, database, grafana, labels, notify, ops, run  # noqa: E402
from driftbell.cli.root import cli, main  # noqa: E402

__all__ = [
    "alarms",
    "backtest",
    "certs",
    "check",
    "cli",
    "database",
    "grafana",
    "labels",
    "main",
    "notify",
    "ops",
    "run",
]
