"""Free ports for the servers that tests start."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket


def free_port() -> int:
    """Return a free port that no outgoing connection takes, since it lies below the ephemeral range.

    Each worker of a test run has its own thousand ports; each port is returned once.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for port in _ports:
        with contextlib.suppress(OSError), socket.socket() as s:
            s.bind(("127.0.0.1", 11_000 + 1_000 * (worker % 20) + port))
            return int(s.getsockname()[1])
    raise AssertionError("no port is free")


_ports = itertools.cycle(random.sample(range(1_000), 1_000))
