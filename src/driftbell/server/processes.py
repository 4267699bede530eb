"""The server process and its workers: uvicorn's, with a second signal that ends them and time limits."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from driftbell.process.stop_signal import handle_stop

PING_SECONDS = 0.2
"""While the parent waits for the answer of a worker, it looks this often whether it should stop."""

ACCEPTS = 16
"""New connections that one iteration of the event loop accepts. libuv accepts one for each handle of a
listening socket, so with a single handle a flood of short connections delays all others by many seconds."""

logger = structlog.get_logger()


class _WorkerServer(uvicorn.Server):
    """uvicorn's server that calls `on_listening` of the application's state once it accepts connections."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen; a failure of the application ends the process."""
        await super().startup(sockets)
        if not self.should_exit:
            self.lifespan.state["on_listening"]()


class _Worker(Process):
    """uvicorn's process of a worker, with its server."""

    @property
    def server(self) -> uvicorn.Server:
        """The server, made at the first use in the process of the worker."""
        self._server = self._server or _WorkerServer(self.config)
        return self._server


class _Server(_WorkerServer):
    """Server that also ends at once at the second signal.

    Args:
        config: of the server.
        supervised: another process kills this one if it stops late, so the second signal is ignored.
    """

    def __init__(self, config: uvicorn.Config, *, supervised: bool) -> None:
        super().__init__(config)
        self._supervised = supervised

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the stop signals while the server runs, also SIGHUP, which uvicorn does not."""
        before = signal.getsignal(signal.SIGHUP)
        if before is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, lambda _, frame: self.handle_exit(signal.SIGTERM, frame))
        try:
            with super().capture_signals():
                yield
        finally:
            signal.signal(signal.SIGHUP, before)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, or end at once."""
        if not self.should_exit:
            super().handle_exit(sig, frame)
        elif not self._supervised:
            os._exit(128 + sig)


class _Workers(Multiprocess):
    """uvicorn's parent of workers, which kills those that do not stop in time.

    It closes its copy of a worker's end of the health-check pipe. With it open, the parent would wait for the
    answer of a worker that has died, and neither start another nor handle a signal meanwhile.

    Args:
        config: of the server.
        stop_seconds: time for all workers to stop.
        supervised: another process kills this one if it stops late, so the second signal is ignored.

    Attributes:
        failed: whether a worker could not start.
    """

    def __init__(self, config: uvicorn.Config, stop_seconds: float, *, supervised: bool) -> None:
        super().__init__(config, sockets=listening_sockets(config))
        self.failed = False
        self._stop_seconds = stop_seconds
        self._supervised = supervised
        self._stopping = False
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # uvicorn ignores it, and its workers do not
        handle_stop(self._handle)

    def init_processes(self) -> None:
        """Start the workers."""
        self.processes = [self._start() for _ in range(self.processes_num)]

    def keep_subprocess_alive(self) -> None:
        """Replace the workers that have died or do not answer."""
        for index, worker in enumerate(self.processes):
            if self._answers(worker):
                continue
            if self._stopping:
                return
            worker.kill()
            worker.join()
            if worker.exitcode == STARTUP_FAILURE:
                self.failed = True
                self.should_exit.set()
                return
            logger.error("worker ended and is replaced", pid=worker.pid, exit_code=worker.exitcode)
            self.processes[index] = self._start()

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

    def _start(self) -> _Worker:
        worker = _Worker(self.config, self.sockets)
        worker.start()
        worker.child_conn.close()
        return worker

    def _answers(self, worker: Process) -> bool:
        """Return whether a worker answers a ping in time, and before this process should stop."""
        deadline = time.monotonic() + self.config.timeout_worker_healthcheck
        try:
            worker.parent_conn.send(b"ping")
            while not worker.parent_conn.poll(PING_SECONDS):
                if self._stopping or not worker.process.is_alive() or time.monotonic() > deadline:
                    return False
            worker.parent_conn.recv()
        except (OSError, EOFError, pickle.UnpicklingError):
            return False
        return worker.process.is_alive()

    def _handle(self, number: int, _: FrameType | None) -> None:
        """Stop at the first signal; kill the workers and end at the second. It takes no lock."""
        if not self._stopping:
            self._stopping = True
            self.signal_queue.append(signal.SIGTERM)
            return
        if self._supervised:
            return
        for worker in self.processes:
            if worker.process.pid and worker.process.exitcode is None:
                os.kill(worker.process.pid, signal.SIGKILL)
        os._exit(128 + number)


def listening_sockets(config: uvicorn.Config) -> list[socket.socket]:
    """Bind a port, and return several handles of the one socket; see `ACCEPTS`."""
    bound = config.bind_socket()
    return [bound, *(bound.dup() for _ in range(ACCEPTS - 1))]


def run_single(config: uvicorn.Config, *, supervised: bool) -> None:
    """Serve in this process until a stop signal."""
    server = _Server(config, supervised=supervised)
    server.run(listening_sockets(config))
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def run_workers(config: uvicorn.Config, stop_seconds: float, *, supervised: bool) -> None:
    """Serve in workers until a stop signal."""
    workers = _Workers(config, stop_seconds, supervised=supervised)
    workers.run()
    if workers.failed:
        sys.exit(STARTUP_FAILURE)
