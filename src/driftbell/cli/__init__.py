"""Command line: each command parses its arguments, calls one function, prints the result and exits."""

import gc

gc.set_threshold(1_000_000)  # imports create no garbage, and collections take a fifth of the start-up time

from driftbell.cli.root import cli, main  # noqa: E402

__all__ = ["cli", "main"]
