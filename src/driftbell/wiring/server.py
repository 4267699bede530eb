"""Run the prediction service; imports nothing that only the monitor needs."""

from __future__ import annotations

import functools
import ipaddress
import math
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from driftbell import jsonlog
from driftbell.alarms.smallest_loss import parse_smallest_loss
from driftbell.config.settings import Settings, load, log_database
from driftbell.data_folder import restrict_access
from driftbell.errors import ConfigError, MissingExtraError, StoreError
from driftbell.phrases import network_address
from driftbell.ports import Model
from driftbell.process.memory import limit_arenas
from driftbell.process.parent_death import exit_with
from driftbell.process.stop_signal import handle_stop
from driftbell.process.supervised_thread import SupervisedThread
from driftbell.records import Task
from driftbell.wiring.access import open_access
from driftbell.wiring.logged_values import LoggedVersions
from driftbell.wiring.model import open_serving_model
from driftbell.wiring.store import clock, open_store, report_folder
from driftbell.wiring.versions import register_champion

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from driftbell.server.http.connections import ConnectionLimits
    from driftbell.store.sql import SqlStore
    from driftbell.wiring.model_trial import TrialProcess

METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
METRICS_PREFIX = "driftbell-metrics-"
SHUTDOWN_SECONDS = 4
"""Time for requests in progress when the server stops; what still waits then is answered with 503."""

STOP_SECONDS = 8.0
"""Time for the workers to stop; then they are killed."""

START_SECONDS = 20
"""A worker that does not answer its parent within this time is replaced; a busy machine starts slowly."""

VERIFY_DELAY_SECONDS, VERIFY_SECONDS = 2.0, 86400.0
"""Time until the store is first looked over for damage, and between two times."""

logger = structlog.get_logger()


def run_server(settings: Settings, *, supervised: bool = False, trial: TrialProcess | None = None) -> None:
    """Serve in this process, or in `server.workers` processes below it, until a stop signal.

    The workers read the settings again, from the file and the environment.

    Args:
        settings: all settings.
        supervised: another process kills this one if it stops late, so a second signal is ignored.
        trial: the process that loads the model for the first time, if it was started before.

    Raises:
        ConfigError, StoreError: the service cannot start.
    """
    _require_opentelemetry(settings)
    host, port = settings.server.host, settings.server.port
    check_port(host, port)
    has_workers = settings.server.workers > 1
    app: FastAPI | str
    if has_workers:
        # migrate once, and train, convert and register once, before the workers start
        with closing(open_store(settings, lazy=_uses_spool(settings))) as store:
            open_access(settings, store)
            model = open_serving_model(settings, meanwhile=_import_libraries, trial=trial)
            register_champion(settings, store.versions, model, clock())
        app = "driftbell.wiring.server:application"
    else:
        app = _application(settings, trial)
    from driftbell.server.processes import run_single, run_workers  # here, since its imports are slow

    handle_stop(lambda *_: sys.exit(0))  # from here there is something to clean up; uvicorn raises it again
    logger.info(
        "service starting", url=f"http://{network_address(host, port)}", workers=settings.server.workers
    )
    folder = None
    try:
        folder = _metrics_folder() if has_workers else None
        config = server_config(app, settings, factory=has_workers, workers=settings.server.workers)
        if has_workers:
            run_workers(config, STOP_SECONDS, supervised=supervised)
        else:
            run_single(config, supervised=supervised)
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def server_config(app: Any, settings: Settings, **options: Any) -> uvicorn.Config:
    """Return the configuration of a server.

    Args:
        app: the application, or the name of its factory.
        settings: all settings.
        **options: further options of uvicorn.
    """
    import uvicorn  # the monitor's process imports this module too, and needs no web server

    from driftbell.server.http.protocol import BoundedProtocol

    return uvicorn.Config(
        app,
        host=settings.server.host,
        port=settings.server.port,
        loop="uvloop",
        http=functools.partial(BoundedProtocol, limits=_connection_limits(settings)),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.server.trusted_proxies),
        forwarded_allow_ips=_with_mapped(settings.server.trusted_proxies),
        timeout_keep_alive=math.ceil(settings.server.keep_alive.total_seconds()),
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        timeout_worker_healthcheck=START_SECONDS,
        **options,
    )


def _with_mapped(proxies: Sequence[str]) -> list[str]:
    """Add the form of each IPv4 proxy that a socket for both protocols reports (RFC 4291, 2.5.5.2)."""
    networks = [ipaddress.ip_network(proxy) for proxy in proxies]
    mapped = [f"::ffff:{n.network_address}/{96 + n.prefixlen}" for n in networks if n.version == 4]
    return [*proxies, *mapped]


def _connection_limits(settings: Settings) -> ConnectionLimits:
    from driftbell.server.http.connections import ConnectionLimits, max_connections, raise_file_limit

    possible = max_connections(raise_file_limit())  # workers inherit the raised limit
    wanted = settings.server.connections
    if wanted is not None and wanted > possible:
        logger.warning("server.connections is above the limit of open files", connections=possible)
    return ConnectionLimits(
        head_bytes=settings.server.header_limit,
        head_seconds=settings.server.header_timeout.total_seconds(),
        body_seconds=settings.server.body_timeout.total_seconds(),
        connections=min(wanted or possible, possible),
    )


def check_port(host: str, port: int) -> None:
    """Check that a port is free.

    Raises:
        ConfigError: it is not.
    """
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        hint = "choose another port with --port or server.port"
        raise ConfigError(
            f"cannot listen on {network_address(host, port)}: {error.strerror}; {hint}"
        ) from error


def application() -> FastAPI:
    """Build the application in a server process; called by uvicorn."""
    parent = parent_process()
    if parent and parent.pid:  # a worker
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # its parent stops it
        jsonlog.configure()
        exit_with(parent.pid)
    settings = load().settings
    restrict_access(settings.data_dir, int(settings.umask, 8))
    return _application(settings)


def _application(settings: Settings, trial: TrialProcess | None = None) -> FastAPI:
    limit_arenas()
    _require_opentelemetry(settings)
    endpoint = settings.tracing.endpoint
    store = open_store(settings, lazy=_uses_spool(settings) or parent_process() is not None)
    access = open_access(settings, store)  # refuses a start without keys before the model is loaded
    model = open_serving_model(settings, meanwhile=_import_libraries, trial=trial)

    from driftbell.server.app import Service, create_app
    from driftbell.server.http.prefix import PathPrefix
    from driftbell.server.http.site_guard import SiteGuard
    from driftbell.server.http.tracing import Tracing, open_tracing
    from driftbell.wiring.served_versions import version_source

    logged = LoggedVersions(settings)
    logged.require_features(model)
    logged.add(settings, model)
    source = version_source(settings, store.versions, model, prepare=logged.add)
    if log_database(settings.log) is None:
        _verify_daily(store)
    return create_app(
        Service(
            model=source.models[0] if source else model,
            store=store,
            versions=source,
            journals=settings.journals_dir,
            reports=report_folder(settings),
            window_rows=settings.window.rows,
            body_limit=settings.server.body_limit,
            queue_limit=settings.server.queue_limit,
            access_log=settings.server.access_log,
            site_guard=SiteGuard(
                _allowed_hosts(settings), bound=settings.server.host, origins=settings.server.cors_origins
            ),
            tracing=open_tracing(endpoint, sample=settings.tracing.sample) if endpoint else Tracing(),
            clock=clock,
            durability=settings.log.durability,
            on_failure=settings.log.on_failure,
            budget_per_day=settings.alarms.budget.per_day(settings.check.every),
            smallest_loss=_smallest_loss(settings, model),
            compared_loss=parse_smallest_loss(settings.alarms.smallest_loss),
            prefix=PathPrefix(settings.server.root_path or "", use_header=settings.server.forwarded_prefix),
            cors_origins=settings.server.cors_origins,
            access=access,
            logged=logged,
        )
    )


def _import_libraries() -> None:
    """Import what serving needs, which takes a while."""
    with suppress(ImportError):  # optional
        import onnxruntime  # noqa: F401
    import driftbell.server.app
    import driftbell.server.processes
    import driftbell.wiring.served_versions  # noqa: F401


def _smallest_loss(settings: Settings, model: Model) -> float | None:
    """Return the smallest relevant loss of a classifier; of a regression it depends on the reference."""
    if model.task is Task.REGRESSION:
        return None
    return parse_smallest_loss(settings.alarms.smallest_loss).of_accuracy()


def _verify_daily(store: SqlStore) -> None:
    """Look for damage of the store in a thread, soon after the start and then every day."""

    def verify() -> None:
        time.sleep(VERIFY_DELAY_SECONDS)
        while True:
            try:
                store.verify()
            except StoreError as error:
                if store.connections.damage:
                    logger.error("prediction log is damaged", error=str(error))
                    return
                logger.warning("prediction log cannot be checked for damage", error=str(error))
            time.sleep(VERIFY_SECONDS)

    SupervisedThread(verify, name="database").start()


def _allowed_hosts(settings: Settings) -> list[str]:
    """Return the configured names, and the one of the address for people."""
    link = urlsplit(settings.notifications.link or "").hostname
    return [*settings.server.allowed_hosts, *([link] if link else [])]


def _uses_spool(settings: Settings) -> bool:
    """Return whether the service runs without the store, spooling predictions until it is available."""
    return settings.log.on_failure == "spool"


def _require_opentelemetry(settings: Settings) -> None:
    if settings.tracing.endpoint is None:
        return
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace.export  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("tracing.endpoint", "otel") from error


def _metrics_folder() -> Path:
    """Create an empty folder for the metrics that the workers share, and remove those of dead servers.

    It is in memory if possible: the workers map its files, and a full disk would kill them.
    """
    memory = Path("/dev/shm")  # noqa: S108 - the folder below it belongs to this process alone
    parent_folder = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    for old in parent_folder.glob(f"{METRICS_PREFIX}*"):
        if not Path(f"/proc/{old.name.removeprefix(METRICS_PREFIX)}").exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = parent_folder / f"{METRICS_PREFIX}{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    os.environ[METRICS_VARIABLE] = str(folder)
    return folder
