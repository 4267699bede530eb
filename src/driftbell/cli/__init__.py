"""The command line: parse, call one function, print, exit."""

from driftbell.cli import alarms, alerts, certs, database, grafana, judge, labels, operate, replay, run
from driftbell.cli.frame import cli, main

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
