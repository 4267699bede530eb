"""The only place where settings become objects."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from driftbell import jsonlog
from driftbell.check import Checker
from driftbell.compare import compare
from driftbell.config import Settings, alert_urls, load
from driftbell.errors import ConfigError
from driftbell.harm import HarmWatch, watch
from driftbell.judge import judge
from driftbell.log import SqlLog, alone, sqlite_log
from driftbell.models import (
    iris_model,
    iris_training,
    known_by_heart,
    labels_of,
    load_model,
    outputs_of,
    reference_of,
    try_model,
)
from driftbell.ports import Model, Reference, Sink, Target, Training
from driftbell.publish.evidently import EvidentlyReport, evidently_available, warm_up
from driftbell.publish.folder import MAIN, OWN, ReportFolder
from driftbell.publish.notify import Courier, apprise_targets
from driftbell.publish.report import OwnReport
from driftbell.records import Judgement
from driftbell.rehearse import Rehearsal
from driftbell.schedule import Monitor
from driftbell.schema import infer_schema
from driftbell.tables import read_table

if TYPE_CHECKING:
    from fastapi import FastAPI

NICENESS = 10
"""The monitor yields to the server wherever both want the processor."""

METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
METRICS_PREFIX = "driftbell-metrics-"
SHUTDOWN_SECONDS = 10
STOP_SECONDS = 5
"""How long a monitor that ends waits for a message that is being sent; the next one sends it again."""

START_SECONDS = 60
"""A worker that does not answer its parent for so long is replaced; a busy machine starts slowly."""

logger = structlog.get_logger()


def clock() -> datetime:
    """Tell the time in UTC."""
    return datetime.now(UTC)


def open_log(settings: Settings) -> SqlLog:
    """Open the prediction log, made or migrated first.

    Raises:
        LogError: it cannot be opened.
        ConfigError: the data folder cannot be written.
    """
    with alone(settings.data_dir):
        return sqlite_log(settings.log_path)


def open_model(settings: Settings) -> tuple[Model, Training]:
    """Load the model and its training data; the first start trains the default model.

    Raises:
        ConfigError: files are missing or wrong, see the message.
    """
    chosen = settings.model
    if chosen.path is None:
        if chosen.reference or chosen.sha256:
            raise ConfigError(
                "model.path is missing: model.reference and model.sha256 belong to a model file"
            )
        with alone(settings.data_dir):
            folder = settings.data_dir / "models" / "iris"
            return iris_model(folder)[0], iris_training(folder)
    if chosen.reference is None:
        raise ConfigError("model.reference is missing: name the model's training data (.csv or .parquet)")
    columns = read_table(chosen.reference)
    target = columns.pop(chosen.target, None) if chosen.target else None
    if chosen.target and target is None:
        raise ConfigError(f"model.target: {chosen.reference} has no column '{chosen.target}'")
    name = chosen.name or chosen.path.stem
    model = load_model(chosen.path, name=name, schema=infer_schema(columns), sha256=chosen.sha256)
    try_model(model)
    return model, Training(columns, None if target is None else labels_of(target, model.classes))


def report_folder(settings: Settings) -> ReportFolder:
    """Open the folder of the reports."""
    return ReportFolder(settings.reports_dir, keep=settings.reports.keep)


def alert_targets(settings: Settings) -> list[Target]:
    """Make who is told when the verdict changes.

    Raises:
        ConfigError: a URL is wrong, the file of URLs cannot be read, or apprise is missing.
    """
    return apprise_targets(alert_urls(settings.alerts))


def checker(settings: Settings, log: SqlLog, *, tells: bool = False) -> Checker:
    """Make what runs a check.

    Args:
        settings: all of them.
        log: where predictions are.
        tells: whether changes of the verdict become alerts.

    Raises:
        ConfigError: see `open_model`, or Evidently is wanted and not installed.
    """
    model, training = open_model(settings)
    reference = reference_of(model, training.features, labels=training.labels, honest=training.honest)
    warning = known_by_heart(reference)
    if warning:
        logger.warning("reference looks known to the model", reason=warning)
    return Checker(
        log=log,
        model=model,
        reference=reference,
        folder=report_folder(settings),
        sinks=_sinks(settings),
        window_rows=settings.window.rows,
        minimum_rows=settings.check.minimum_rows,
        false_discovery_rate=settings.check.false_discovery_rate,
        clock=clock,
        cooldown=(settings.alerts.cooldown or timedelta()) if tells else None,
        strong=1 / settings.alarms.budget.checks_per_alarm(settings.check.every),
        watch=_watch(settings, model, reference),
        promise=f"{settings.alarms.budget}, {settings.alarms.smallest_loss}, {settings.check.every}",
        warnings=(warning,) if warning else (),
    )


def _watch(settings: Settings, model: Model, reference: Reference) -> HarmWatch:
    """Fit who looks for harm; honest answers tell more than those of a model that has seen the rows."""
    classes = model.classes
    started = time.perf_counter()
    found = watch(
        {name: reference.columns[name] for name in model.schema.names},
        reference.honest or outputs_of(reference, classes),
        reference.labels,
        classes=classes,
        smallest_loss=settings.alarms.smallest_loss,
        checks_per_alarm=settings.alarms.budget.checks_per_alarm(settings.check.every),
        block_rows=settings.window.rows,
    )
    seen = found.evidence.smallest_seen(settings.window.rows, 1)
    logger.info(
        "drift watch fitted",
        budget=str(settings.alarms.budget),
        rate_of_budget=round(found.evidence.promised, 2),
        smallest_loss_seen_in_one_window=round(seen, 4),
        labels=reference.labels is not None,
        duration_s=round(time.perf_counter() - started, 2),
    )
    return found


def rehearsal(settings: Settings) -> Rehearsal:
    """Make what tries faults out on the served model.

    Raises:
        ConfigError: see `open_model`.
    """
    model, training = open_model(settings)
    reference = reference_of(model, training.features, labels=training.labels, honest=training.honest)
    return Rehearsal(model, reference, _watch(settings, model, reference), settings.window.rows)


def judged_window(settings: Settings) -> Judgement:
    """Judge the log's current window; nothing is saved.

    Raises:
        ConfigError, LogError: the model or the log cannot be opened.
    """
    log = open_log(settings)
    try:
        return checker(settings, log).look().check.judgement
    finally:
        log.close()


def judged_files(reference: Path, current: Path, settings: Settings) -> Judgement:
    """Judge one table against another.

    Raises:
        ConfigError: a file cannot be read.
    """
    before = read_table(reference)
    now = read_table(current, like=before)
    rows = len(next(iter(now.values()), ()))
    return judge(
        compare(before, now),
        rows=rows,
        minimum_rows=settings.check.minimum_rows,
        false_discovery_rate=settings.check.false_discovery_rate,
    )


def write_report(settings: Settings, target: Path) -> Judgement:
    """Write driftbell's own report on the log's current window to a file.

    Raises:
        ConfigError, LogError: the model or the log cannot be opened, or the file cannot be written.
    """
    log = open_log(settings)
    try:
        looking = checker(settings, log)
        found = looking.look()
        page = OwnReport().write(found.check, found.reference, found.columns)
    finally:
        log.close()
    try:
        target.write_bytes(page)
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}") from error
    return found.check.judgement


def _sinks(settings: Settings) -> Mapping[str, Sink]:
    wanted = settings.reports.evidently
    if wanted == "on" and not evidently_available():
        raise ConfigError(
            "reports.evidently is 'on' but Evidently is missing: pip install 'driftbell[evidently]'"
        )
    if wanted != "off" and evidently_available():
        return {MAIN: EvidentlyReport(), OWN: OwnReport()}
    return {MAIN: OwnReport()}


def run_monitor(settings: Settings) -> None:
    """Run the monitor in this process until SIGTERM or SIGINT.

    Raises:
        ConfigError, LogError: it cannot start.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    os.nice(NICENESS)
    targets = alert_targets(settings)
    log = open_log(settings)
    check = checker(settings, log, tells=bool(targets))
    monitor = Monitor(log, check, every=settings.check.every, clock=clock)
    courier = Courier(log, targets, holder=monitor.holder, link=settings.alerts.link, clock=clock)
    delivering = threading.Thread(target=courier.run, args=(stop,), name="alerts", daemon=True)
    delivering.start()
    if settings.reports.evidently != "off" and evidently_available():
        threading.Thread(target=warm_up, name="evidently", daemon=True).start()
    monitor.run(stop)
    delivering.join(STOP_SECONDS)
    log.close()


def run_server(settings: Settings) -> None:
    """Serve in this process, or in `server.workers` processes below it, until SIGTERM or SIGINT.

    The workers read the settings again, from the file and the environment.

    Raises:
        ConfigError, LogError: it cannot start.
    """
    import uvicorn

    _require_opentelemetry(settings)
    host, port = settings.server.host, settings.server.port
    _must_be_free(host, port)
    open_log(settings).close()  # migrated once, before the workers start
    open_model(settings)  # trained once, likewise
    several = settings.server.workers > 1
    folder = _metrics_folder() if several else None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again once it has shut down
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    logger.info("service starting", url=f"http://{host}:{port}", workers=settings.server.workers)
    try:
        uvicorn.run(
            "driftbell.wire:application",
            factory=True,
            host=host,
            port=port,
            workers=settings.server.workers,
            loop="uvloop",
            http="httptools",
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


def _must_be_free(host: str, port: int) -> None:
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        hint = "choose another port with --port or server.port"
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}; {hint}") from error


def application() -> FastAPI:
    """Make the application in a server process; uvicorn calls this."""
    from driftbell.server import Service, create_app
    from driftbell.server.tracing import Tracing, open_tracing

    parent = parent_process()
    if parent and parent.pid:  # a worker
        jsonlog.configure()
        exit_with(parent.pid)
    settings = load().settings
    model, _ = open_model(settings)
    _require_opentelemetry(settings)
    endpoint = settings.tracing.endpoint
    return create_app(
        Service(
            model=model,
            log=open_log(settings),
            folder=report_folder(settings),
            window_rows=settings.window.rows,
            body_limit=settings.server.body_limit,
            queue_limit=settings.server.queue_limit,
            access_log=settings.server.access_log,
            tracing=open_tracing(endpoint, sample=settings.tracing.sample) if endpoint else Tracing(),
            clock=clock,
            budget_per_day=settings.alarms.budget.per_day(settings.check.every),
            smallest_loss=settings.alarms.smallest_loss,
        )
    )


def _require_opentelemetry(settings: Settings) -> None:
    if settings.tracing.endpoint is None:
        return
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace.export  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "tracing.endpoint is set but OpenTelemetry is missing: pip install 'driftbell[otel]'"
        ) from error


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
