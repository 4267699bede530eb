"""A session of Spark: in this process, on a cluster, or by Spark Connect."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from driftbell.engines.spark_tables import NEEDS_JAVA, readable
from driftbell.errors import ConfigError, MissingExtraError

OPTIONS = {
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",  # year=2026 is text, as for Polars
    "spark.ui.showConsoleProgress": "false",
}


@contextmanager
def spark_session(master: str | None) -> Iterator[Any]:
    """Open a session of Spark for the block.

    Args:
        master: URL such as `local[*]`, `spark://HOST:7077`, `yarn` or `k8s://URL`; or `sc://HOST` of Spark
            Connect. None is SPARK_REMOTE, or what Spark's own configuration says, else `local[*]`.

    Raises:
        MissingExtraError: PySpark is not installed.
        ConfigError: there is no Java, or Spark cannot be reached.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise MissingExtraError("--engine spark", "spark") from error
    builder: Any = SparkSession.builder.appName("driftbell check")
    for name, value in OPTIONS.items():
        builder = builder.config(name, value)
    address = master or os.environ.get("SPARK_REMOTE") or ""
    if address.startswith("sc://"):
        builder = builder.remote(address)
    else:
        _check_java()
        if master:
            for name in ("SPARK_REMOTE", "SPARK_CONNECT_MODE_ENABLED"):  # PySpark refuses both
                os.environ.pop(name, None)
            builder = builder.master(master)
        if address.startswith("local") or not address:
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    with readable(f"by Spark at {address}" if address else "by Spark"):
        session = builder.getOrCreate()
        if not address.startswith("sc://"):
            session.sparkContext.setLogLevel("ERROR")
    try:
        yield session
    finally:
        session.stop()


def _check_java() -> None:
    """Check that there is a Java.

    Raises:
        ConfigError: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    if not (Path(home, "bin", "java").exists() if home else shutil.which("java")):
        where = f"JAVA_HOME is {home}, which has no bin/java" if home else "there is no java in PATH"
        raise ConfigError(f"cannot start Spark: {where}: {NEEDS_JAVA}")
