"""The server's side; nothing here imports what only the monitor needs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from driftbell import jsonlog
from driftbell.config.settings import Settings, load
from driftbell.errors import ConfigError, MissingExtraError
from driftbell.wiring.model import open_served
from driftbell.wiring.store import clock, open_log, report_folder

if TYPE_CHECKING:
    from fastapi import FastAPI

METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
METRICS_PREFIX = "driftbell-metrics-"
SHUTDOWN_SECONDS = 10
START_SECONDS = 20
"""A worker that does not answer its parent for so long is replaced; a busy machine starts slowly."""

logger = structlog.get_logger()


def run_server(settings: Settings) -> None:
    """Serve in this process, or in `server.workers` processes below it, until SIGTERM or SIGINT.

    The workers read the settings again, from the file and the environment.

    Raises:
        ConfigError, StoreError: it cannot start.
    """
    import uvicorn

    from driftbell.server.http.protocol import OneWriteProtocol

    _require_opentelemetry(settings)
    host, port = settings.server.host, settings.server.port
    _must_be_free(host, port)
    several = settings.server.workers > 1
    folder = None
    app: FastAPI | str
    if several:
        open_log(settings, lazy=_spools(settings)).close()  # migrated once, before the workers start
        open_served(settings)  # trained and converted once, likewise
        _notice_dead_workers()
        folder = _metrics_folder()
        app = "driftbell.wiring.server:application"
    else:
        app = _application(settings)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again once it has shut down
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    logger.info("service starting", url=f"http://{host}:{port}", workers=settings.server.workers)
    try:
        uvicorn.run(
            app,
            factory=several,
            host=host,
            port=port,
            workers=settings.server.workers,
            loop="uvloop",
            http=OneWriteProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            timeout_worker_healthcheck=START_SECONDS,
        )
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _notice_dead_workers() -> None:
    """Have uvicorn see at once when a worker dies just while it is asked whether it lives.

    uvicorn keeps the worker's end of their pipe open in the parent too, and so would wait for an answer for
    `START_SECONDS`, in which it neither starts another worker nor hears a signal.
    """
    from uvicorn.supervisors.multiprocess import Process

    start = Process.start

    def start_and_let_go(worker: Process) -> None:
        start(worker)
        worker.child_conn.close()

    Process.start = start_and_let_go  # type: ignore[method-assign, assignment]


def _must_be_free(host: str, port: int) -> None:
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        hint = "choose another port with --port or server.port"
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}; {hint}") from error


def application() -> FastAPI:
    """Make the application in a server process; uvicorn calls this."""
    parent = parent_process()
    if parent and parent.pid:  # a worker
        jsonlog.configure()
        exit_with(parent.pid)
    return _application(load().settings)


def _application(settings: Settings) -> FastAPI:
    from driftbell.server import Service, create_app
    from driftbell.server.http.tracing import Tracing, open_tracing

    model = open_served(settings)
    _require_opentelemetry(settings)
    endpoint = settings.tracing.endpoint
    return create_app(
        Service(
            model=model,
            log=open_log(settings, lazy=_spools(settings) or parent_process() is not None),
            journals=settings.journals_dir,
            folder=report_folder(settings),
            window_rows=settings.window.rows,
            body_limit=settings.server.body_limit,
            queue_limit=settings.server.queue_limit,
            access_log=settings.server.access_log,
            tracing=open_tracing(endpoint, sample=settings.tracing.sample) if endpoint else Tracing(),
            clock=clock,
            durability=settings.log.durability,
            on_failure=settings.log.on_failure,
            budget_per_day=settings.alarms.budget.per_day(settings.check.every),
            smallest_loss=settings.alarms.smallest_loss,
        )
    )


def _spools(settings: Settings) -> bool:
    """Tell whether one serves without the log; a worker that starts anew does likewise, as its fellows do."""
    return settings.log.on_failure == "spool"


def _require_opentelemetry(settings: Settings) -> None:
    if settings.tracing.endpoint is None:
        return
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace.export  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("tracing.endpoint", "otel") from error


def exit_with(parent: int) -> None:
    """Ask this process to end when its parent is gone, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        logger.warning("parent process is gone, stopping")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _metrics_folder() -> Path:
    """Make an empty folder in which the workers add up their metrics, and remove those of dead servers.

    It is in memory where that can be had: the workers map its files, and a full disk would kill them.
    """
    memory = Path("/dev/shm")  # noqa: S108 - the name is the process's own, and must not exist
    place = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    for old in place.glob(f"{METRICS_PREFIX}*"):
        if not Path(f"/proc/{old.name.removeprefix(METRICS_PREFIX)}").exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = place / f"{METRICS_PREFIX}{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    os.environ[METRICS_VARIABLE] = str(folder)
    return folder
