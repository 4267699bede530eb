"""The server process and its workers: uvicorn's, with a second signal that ends them and a time limit."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType

import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess

from driftbell.process.stop_signal import STOP_SIGNALS

logger = structlog.get_logger()


class _Server(uvicorn.Server):
    """uvicorn's server that ends at once at the second signal."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, or end at once."""
        if self.should_exit:
            os._exit(128 + sig)
        super().handle_exit(sig, frame)


class _Workers(Multiprocess):
    """uvicorn's parent of workers, which kills those that do not stop in time.

    It closes its copy of a worker's end of the health-check pipe. With it open, the parent would wait for the
    answer of a worker that has died, and neither start another nor handle a signal meanwhile.

    Args:
        config: of the server.
        stop_seconds: time for all workers to stop.
    """

    def __init__(self, config: uvicorn.Config, stop_seconds: float) -> None:
        super().__init__(config, sockets=[config.bind_socket()])
        self._stop_seconds = stop_seconds
        self._stopping = False
        for number in STOP_SIGNALS:
            signal.signal(number, self._handle)

    def init_processes(self) -> None:
        """Start the workers."""
        super().init_processes()
        self._close_worker_ends()

    def keep_subprocess_alive(self) -> None:
        """Replace the workers that have died."""
        super().keep_subprocess_alive()
        self._close_worker_ends()

    def join_all(self) -> None:
        """Wait for the workers, and kill those that are late."""
        deadline = time.monotonic() + self._stop_seconds
        for worker in self.processes:
            worker.process.join(max(0.0, deadline - time.monotonic()))
        late = [worker for worker in self.processes if worker.process.is_alive()]
        for worker in late:
            worker.process.kill()
        for worker in late:
            worker.process.join()
        if late:
            logger.error("workers did not stop in time and were killed", pids=[w.pid for w in late])

    def _close_worker_ends(self) -> None:
        for worker in self.processes:
            worker.child_conn.close()

    def _handle(self, number: int, _: FrameType | None) -> None:
        """Stop at the first signal; kill the workers and end at the second. It takes no lock."""
        if self._stopping:
            for worker in self.processes:
                if worker.process.pid and worker.process.exitcode is None:
                    os.kill(worker.process.pid, signal.SIGKILL)
            os._exit(128 + number)
        self._stopping = True
        self.signal_queue.append(number)


def run_single(config: uvicorn.Config) -> None:
    """Serve in this process until SIGTERM or SIGINT."""
    server = _Server(config)
    server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def run_workers(config: uvicorn.Config, stop_seconds: float) -> None:
    """Serve in workers until SIGTERM or SIGINT."""
    _Workers(config, stop_seconds).run()
