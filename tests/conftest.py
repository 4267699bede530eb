"""Fixtures for all tests: a real service on loopback, free ports, temporary folders."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from structlog._config import BoundLoggerLazyProxy
from structlog.testing import capture_logs

from driftbell.config.settings import Settings
from driftbell.hidden_values import hide_values
from driftbell.records import Value
from driftbell.wiring import model as wiring_model
from driftbell.wiring.model import open_serving_model
from driftbell.wiring.server import METRICS_PREFIX
from tests import postgres, processes
from tests.ports import free_port

UMASK = os.umask(0o077)
os.umask(UMASK)

CHEAP_MONITOR = {"REPORTS__EVIDENTLY": "off", "ALARMS__BUDGET": "1 per 200 checks"}
"""Settings with which a monitor starts soonest: no import of Evidently, short simulations of false alarms.

For tests that look at no verdict, since with such a budget alarms are frequent.
"""

EXAMPLE = {
    "sepal length (cm)": 5.1,
    "sepal width (cm)": 3.5,
    "petal length (cm)": 1.4,
    "petal width (cm)": 0.2,
}

hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the workers: more threads than processors only wait

if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # else it goes on to the end of its test, with all that it has started
    processes.end_with_parent()

if "TEST_MODELS" not in os.environ:  # else it is another worker's process
    os.environ["TEST_MODELS"] = tempfile.mkdtemp(prefix="driftbell-models-")
    atexit.register(shutil.rmtree, os.environ["TEST_MODELS"], ignore_errors=True)


@functools.cache
def _default_ssl_context(*_: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _ssl_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    """Return one context for all requests that ask for no other.

    Reading the certificates of all authorities takes ten times longer than a request on loopback.
    """
    if verify is True and cert is None and trust_env:
        return _default_ssl_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    return httpx.create_ssl_context(verify, cert, trust_env)


pytest.MonkeyPatch().setattr("httpx._transports.default.create_ssl_context", _ssl_context)


def pytest_xdist_auto_num_workers() -> int:
    """One process more than processors: tests of services wait now and then."""
    return (os.cpu_count() or 1) + 1


MARKED_FOLDERS = {"service": "service", "browser": "browser", "stack": "stack"}
"""Tests by the folder they stand in; a test that uses a PostgreSQL fixture is marked `postgres`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with what it needs, so that `make check` can leave it out."""
    for item in items:
        folder = item.path.parent.name
        if folder in MARKED_FOLDERS:
            item.add_marker(MARKED_FOLDERS[folder])
        if needs_postgres(item):
            item.add_marker("postgres")


def needs_postgres(item: pytest.Item) -> bool:
    """Return whether a test starts a PostgreSQL."""
    fixtures = getattr(item, "fixturenames", ())
    return "postgres_server" in fixtures or "PostgreSQL" in item.name or item.path.name == "test_postgres.py"


@dataclass
class Running:
    """A driftbell process and where to reach it."""

    process: subprocess.Popen[bytes]
    url: str
    data_dir: Path
    output: Path

    def lines(self) -> str:
        return self.output.read_text("utf-8")

    def events(self, event: str = "") -> list[dict[str, Any]]:
        """The log lines, each of which must be JSON; those of one event if it is given."""
        found = [json.loads(line) for line in self.lines().rpartition("\n")[0].splitlines()]
        return [e for e in found if not event or e["event"] == event]

    def line(self, event: str, **fields: object) -> dict[str, Any]:
        """Wait for the one log line of an event with these fields: a thread writes lines after the answer."""

        def lines() -> list[dict[str, Any]]:
            return [e for e in self.events(event) if all(e.get(k) == v for k, v in fields.items())]

        wait_until(lines, 60, f"the line {event!r} with {fields}")
        (line,) = lines()
        return line

    def status(self) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/monitor/status", timeout=10).raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        return total(self.samples(), name, **labels)

    def samples(self) -> list[Sample]:
        """One scrape; the buckets are left out, since reading them takes most of the time."""
        answer = httpx.get(f"{self.url}/metrics", timeout=10).raise_for_status()
        text = "\n".join(line for line in answer.text.split("\n") if "_bucket{" not in line)
        return [s for family in text_string_to_metric_families(text) for s in family.samples]

    def logged_ids(self) -> list[str]:
        """The ids in the log, once what was answered is there; a service that ended is not waited for."""
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"{self.url}/monitor/status", timeout=10)
        return [row[0] for row in self.sql("SELECT id FROM predictions")]

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement on the log behind the service's back."""
        with contextlib.closing(sqlite3.connect(self.data_dir / "log.sqlite", timeout=10)) as log, log:
            return log.execute(statement, values).fetchall()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def kill_tree(self) -> None:
        """SIGKILL to the process and everything below it, at once."""
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)


def command(pid: int) -> str:
    """The command line of a process, or "" when there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    return command(pid) != ""


def descendants(pid: int) -> list[int]:
    """Return the processes below a process, each before its own children."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            parent = stat.read_text("utf-8", "replace").rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(stat.parent.name))

    def below(parent: int) -> list[int]:
        return [p for child in sorted(children.get(parent, [])) for p in (child, *below(child))]

    return below(pid)


def metrics_folders(service: Running) -> list[Path]:
    """Where the workers of a running service add up their metrics."""
    pids = [service.process.pid, *descendants(service.process.pid)]
    places = [Path("/dev/shm"), Path(tempfile.gettempdir())]
    found = [place / f"{METRICS_PREFIX}{pid}" for place in places for pid in pids]
    return [folder for folder in found if folder.exists()]


def wait_until(true: Callable[[], object], seconds: float = 60.0, what: str = "the condition") -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if true():
                return
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come true within {seconds} s")


def with_models(data_dir: Path) -> Path:
    """Put the default model into a data folder, trained and converted once for all tests of a run."""
    if not (data_dir / "models").exists():
        shutil.copytree(_models(), data_dir / "models")
    return data_dir


@functools.cache
def _models() -> Path:
    made = Path(os.environ["TEST_MODELS"])
    with capture_logs():
        open_serving_model(Settings(data_dir=made))
    return made / "models"


@contextlib.contextmanager
def running(verb: str, data_dir: Path, *args: str, **settings: str) -> Iterator[Running]:
    """Start `driftbell VERB` on a free port, wait until a server answers, and stop it at the end.

    Settings are environment variables without their prefix, such as CHECK__EVERY="1s".
    """
    with starting(verb, data_dir, *args, **settings) as service:
        if verb in ("up", "serve"):
            try:
                wait_until(lambda: ready(service), 120, f"`driftbell {verb}`")
            except AssertionError as error:
                raise AssertionError(f"{error}\n{service.lines()}") from error
        yield service


@contextlib.contextmanager
def starting(verb: str, data_dir: Path, *args: str, **settings: str) -> Iterator[Running]:
    """Start `driftbell VERB` as `running` does, without waiting for it."""
    port = free_port()
    with_models(data_dir)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DRIFTBELL_")}
    environment |= {f"DRIFTBELL_{k}": v for k, v in settings.items()}
    environment |= {"DRIFTBELL_DATA_DIR": str(data_dir), "DRIFTBELL_SERVER__PORT": str(port)}
    output = data_dir / f"{verb}-{port}.out"
    with output.open("wb") as out:
        process = processes.start(
            [sys.executable, "-m", "driftbell", verb, *args],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=data_dir,
        )
    service = Running(process, f"http://127.0.0.1:{port}", data_dir, output)
    try:
        yield service
    finally:
        try:
            service.stop()
        except subprocess.TimeoutExpired:
            service.kill_tree()
            raise


def ready(service: Running) -> bool:
    if service.process.poll() is not None:
        raise AssertionError(f"driftbell ended with code {service.process.returncode}:\n{service.lines()}")
    health = httpx.get(f"{service.url}/health", timeout=5)
    return health.is_success


def monitored(service: Running) -> None:
    """Wait until a monitor holds the lease."""
    wait_until(lambda: service.status()["monitor"] == "running", 120, "the monitor")


def total(samples: list[Sample], name: str, **labels: str) -> float:
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


def predict(url: str, rows: Sequence[Mapping[str, Value]]) -> list[dict[str, Any]]:
    """Send one batch and give the answers."""
    answer = httpx.post(f"{url}/predict/batch", json=rows, timeout=30).raise_for_status()
    found: list[dict[str, Any]] = answer.json()["predictions"]
    return found


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """Restore the umask, which a command sets for its process, also in a fixture of a module."""
    os.umask(UMASK)
    yield
    os.umask(UMASK)


@pytest.fixture(autouse=True)
def default_logging() -> Iterator[None]:
    """Restore the logging that a test configures in this process, such as by a command.

    Loggers of modules keep what was configured when they first wrote, so they have to forget it.
    """
    yield
    hide_values(False)
    sys.excepthook = sys.__excepthook__
    if not structlog.is_configured():
        return
    structlog.reset_defaults()
    for name, module in list(sys.modules.items()):
        if name.startswith("driftbell"):
            for value in list(vars(module).values()):
                if isinstance(value, BoundLoggerLazyProxy):
                    vars(value).pop("bind", None)


@pytest.fixture
def tried_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load models for the first time in this process: another one takes a second, which few tests need."""

    def load_here(settings: Settings, meanwhile: Callable[[], None] = lambda: None, _: object = None) -> None:
        wiring_model.convert_model(settings)
        meanwhile()

    monkeypatch.setattr(wiring_model, "try_model", load_here)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`driftbell serve`, shared by the tests that only ask it things."""
    with running("serve", tmp_path_factory.mktemp("service")) as found:
        yield found


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A PostgreSQL that is fast and not durable, shared by the tests that leave it running."""
    postgres.required()
    with contextlib.closing(postgres.Server(*postgres.FAST)) as server:
        yield server
