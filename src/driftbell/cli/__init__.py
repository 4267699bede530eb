"""The command line: parse, call one function, print, exit."""

import gc

gc.set_threshold(20_000)  # nothing that is imported is garbage: looking for some takes a tenth of a start

from driftbell.cli import alarms, alerts, certs, database, grafana, judge, labels, operate, replay, run  # noqa: E402
from driftbell.cli.frame import cli, main  # noqa: E402

__all__ = [
    "alarms",
    "alerts",
    "certs",
    "cli",
    "database",
    "grafana",
    "judge",
    "labels",
    "main",
    "operate",
    "replay",
    "run",
]
