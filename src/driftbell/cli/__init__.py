"""The command line: parse, call one function, print, exit."""

from driftbell.cli import alerts, judge, run
from driftbell.cli.frame import cli, main

__all__ = ["alerts", "cli", "judge", "main", "run"]
