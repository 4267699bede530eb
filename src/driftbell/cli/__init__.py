"""The command line: parse, call one function, print, exit."""

from driftbell.cli import judge, run
from driftbell.cli.frame import cli, main

__all__ = ["cli", "judge", "main", "run"]
