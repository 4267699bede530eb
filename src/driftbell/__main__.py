"""`python -m driftbell`."""

from driftbell.cli import main

main()
