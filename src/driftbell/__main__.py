"""Entry point of `python -m driftbell`."""

from driftbell.cli import main

main()
