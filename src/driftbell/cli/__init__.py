"""The command line: parse, call one function, print, exit."""

from driftbell.cli import judge, operate, run
from driftbell.cli.frame import cli, main

__all__ = ["cli", "judge", "main", "operate", "run"]
