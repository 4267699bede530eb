"""The command line: parse, call one function, print, exit."""

from driftbell.cli import grafana, judge, run
from driftbell.cli.frame import cli, main

__all__ = ["cli", "grafana", "judge", "main", "run"]
