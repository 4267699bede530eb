"""Convert the configured model in a process of its own."""

from __future__ import annotations

from contextlib import suppress

from driftbell import jsonlog
from driftbell.config.settings import load
from driftbell.errors import DriftbellError
from driftbell.wiring.model import open_model


def make() -> None:
    """Have the model that the environment's settings name made and kept, for another process."""
    jsonlog.configure()
    with suppress(DriftbellError):
        open_model(load().settings)
