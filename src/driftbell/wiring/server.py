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
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from driftbell import jsonlog
from driftbell.config.further_models import load_models
from driftbell.config.settings import Settings, load
from driftbell.data_folder import restrict_access
from driftbell.errors import ConfigError, MissingExtraError
from driftbell.phrases import network_address
from driftbell.process.memory import limit_arenas
from driftbell.process.parent_death import exit_with
from driftbell.process.stop_signal import handle_stop
from driftbell.wiring.access import open_access
from driftbell.wiring.further_models import check_model_names, named_model, uses_spool
from driftbell.wiring.model import open_serving_model
from driftbell.wiring.store import clock, open_store
from driftbell.wiring.versions import register_champion

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from driftbell.server.http.connections import ConnectionLimits
    from driftbell.wiring.model_trial import TrialProcess

METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
METRICS_PREFIX = "driftbell-metrics-"
SHUTDOWN_SECONDS = 4
"""Time for requests in progress when the server stops; what still waits then is answered with 503."""

STOP_SECONDS = 8.0
"""Time for the workers to stop; then they are killed."""

START_SECONDS = 20
"""A worker that does not answer its parent within this time is replaced; a busy machine starts slowly."""

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
    models = load_models(settings)
    host, port = settings.server.host, settings.server.port
    check_port(host, port)
    has_workers = settings.server.workers > 1
    app: FastAPI | str
    if has_workers:
        # migrate once, and train, convert and register once, before the workers start
        with closing(open_store(settings, lazy=uses_spool(settings))) as store:
            open_access(settings, store)
            model = open_serving_model(settings, meanwhile=_import_libraries, trial=trial)
            register_champion(settings, store.versions, model, clock())
            check_model_names(settings, store, model)
        for name, own in models.items():
            with named_model(settings, name), closing(open_store(own, lazy=uses_spool(own))) as store:
                register_champion(own, store.versions, open_serving_model(own), clock())
        app = "driftbell.wiring.server:application"
    else:
        app = _application(settings, models, trial)
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
    models = load_models(settings)
    for own in (settings, *models.values()):
        restrict_access(own.data_dir, settings.mask)
    return _application(settings, models)


def _application(
    settings: Settings, models: Mapping[str, Settings], trial: TrialProcess | None = None
) -> FastAPI:
    limit_arenas()
    _require_opentelemetry(settings)
    is_worker = parent_process() is not None
    store = open_store(settings, lazy=uses_spool(settings) or is_worker)
    access = open_access(settings, store)  # refuses a start without keys before the model is loaded
    model = open_serving_model(settings, meanwhile=_import_libraries, trial=trial)
    check_model_names(settings, store, model)

    from driftbell.server.app import create_app
    from driftbell.server.http.prefix import PathPrefix
    from driftbell.server.http.tracing import Tracing, open_tracing
    from driftbell.wiring.model_service import model_service

    endpoint = settings.tracing.endpoint
    tracing = open_tracing(endpoint, sample=settings.tracing.sample) if endpoint else Tracing()
    main = model_service(settings, store, model, access=access, tracing=tracing)
    further = {}
    for name, own in models.items():
        with named_model(settings, name):
            own_store = open_store(own, lazy=uses_spool(own) or is_worker)
            own_model = open_serving_model(own)
            service = model_service(own, own_store, own_model, access=access, tracing=tracing)
            further[name] = replace(service, site_guard=main.site_guard, prefix=PathPrefix())
    return create_app(main, further)


def _import_libraries() -> None:
    """Import what serving needs, which takes a while."""
    with suppress(ImportError):  # optional
        import onnxruntime  # noqa: F401
    import driftbell.server.app
    import driftbell.server.processes
    import driftbell.wiring.served_versions  # noqa: F401


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
