"""A standalone cluster of Spark on loopback, and a server of Spark Connect on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import driftbell
from tests import processes
from tests.conftest import alive, descendants, wait_until
from tests.ports import free_port

SOURCES = Path(driftbell.__file__).parents[1]

QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Options of Java for processes that live for seconds."""


class Cluster(NamedTuple):
    """A running cluster.

    Attributes:
        master: URL of the master.
        remote: URL of the server of Spark Connect.
        environment: of programs that use the cluster.
    """

    master: str
    remote: str
    environment: dict[str, str]


def need_spark() -> None:
    """Skip the test without PySpark or Java, except in CI."""
    reason = ""
    if find_spec("pyspark") is None:
        reason = "PySpark is not installed: pip install 'driftbell[spark]'"
    elif not shutil.which("java"):
        reason = "Java is not installed: Debian's default-jre-headless"
    if reason:
        assert os.environ.get("CI") != "true", f"CI promises Spark: {reason}"
        pytest.skip(reason)


def settings() -> dict[str, str]:
    """Return settings of a small application, of which two fit onto the cluster."""
    return {
        "spark.cores.max": "2",
        "spark.executor.cores": "1",
        "spark.executor.memory": "512m",
        "spark.executor.extraJavaOptions": QUICK,
        "spark.executorEnv.PYTHONPATH": str(SOURCES),
        "spark.driver.extraJavaOptions": QUICK,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "512m",
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
    }


def environment_of(folder: Path, options: dict[str, str]) -> dict[str, str]:
    """Return the environment of processes of Spark; write their settings into a folder."""
    defaults = folder / "spark-defaults.conf"
    defaults.write_text("".join(f"{name} {value}\n" for name, value in options.items()), "utf-8")
    return os.environ | {
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": str(SOURCES),
        "SPARK_CONF_DIR": str(folder),
        "SPARK_DAEMON_JAVA_OPTS": QUICK,
        "SPARK_DAEMON_MEMORY": "512m",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_NO_DAEMONIZE": "1",
    }


@contextlib.contextmanager
def process(folder: Path, environment: dict[str, str], port: int, *arguments: str) -> Iterator[Any]:
    """Run a process of Spark until the end of the block, once its port is open."""
    spec = find_spec("pyspark")
    home = Path(spec.origin).parent
    output = folder / f"{arguments[0].rpartition('.')[2]}-{port}.log"
    with output.open("wb") as out:
        started = processes.start(
            [home / "bin" / "spark-class", *arguments],
            env=environment | {"SPARK_HOME": str(home)},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        try:
            wait_until(lambda: started.poll() is not None or _open(port), 120, f"port {port}")
            assert started.poll() is None, "it has ended"
        except AssertionError as error:
            raise AssertionError(f"{arguments}: {error}\n{output.read_text('utf-8')}") from error
        yield started
    finally:
        below = descendants(started.pid)
        started.terminate()
        started.wait(40)
        wait_until(lambda: not any(map(alive, below)), 40, "the end of the executors")


def _open(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def workers(folder: Path, environment: dict[str, str], memory: str = "1g") -> Iterator[str]:
    """Run a master and two workers; yield the URL of the master.

    Args:
        folder: of their logs.
        environment: from `environment_of`.
        memory: memory of all executors of a worker.
    """
    port, page = free_port(), free_port()
    master = f"spark://127.0.0.1:{port}"
    on = ["org.apache.spark.deploy.{0}", "--host", "127.0.0.1", "--port"]
    with contextlib.ExitStack() as stack:

        def start(port: int, name: str, page: int, *arguments: str) -> None:
            command = [on[0].format(name), *on[1:], str(port), "--webui-port", str(page), *arguments]
            stack.enter_context(process(folder, environment, port, *command))

        start(port, "master.Master", page)
        for _ in range(2):
            limits = ["--cores", "2", "--memory", memory, "--work-dir", str(folder / "work")]
            start(free_port(), "worker.Worker", free_port(), *limits, master)
        yield master


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Run a master, two workers and a server of Spark Connect."""
    need_spark()
    environment, port = environment_of(folder, settings()), free_port()
    with workers(folder, environment) as master:
        server = ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "--master", master]
        for name, value in (("port", str(port)), ("address", "127.0.0.1")):
            server += ["--conf", f"spark.connect.grpc.binding.{name}={value}"]
        with process(folder, environment, port, "org.apache.spark.deploy.SparkSubmit", *server):
            yield Cluster(master, f"sc://127.0.0.1:{port}", environment)
