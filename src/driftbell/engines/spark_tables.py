"""Tables of Spark: data frames of the user's own session, Parquet files and tables of a catalog."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from driftbell import __version__
from driftbell.drift.column_counts import ColumnCounts
from driftbell.engines.count_parts import CountPlan
from driftbell.engines.large_files import number_precision, open_large
from driftbell.engines.spark_counts import count_files_on_executors, count_on_executors
from driftbell.engines.spark_files import StoredFiles, stored_files
from driftbell.engines.spark_kernel import polars_frame
from driftbell.errors import ConfigError
from driftbell.tabular.cells import read_series
from driftbell.tabular.raw_table import RawTable, check_names, first_line

MAX_MESSAGE = 500
"""Characters of an error of Spark that are kept."""

SAMPLE_SEED = 0

NEEDS_JAVA = (
    "it needs Java 17 or newer, such as Debian's default-jre-headless; set JAVA_HOME if it is elsewhere. "
    "Spark Connect (--spark-master sc://HOST) needs none"
)
NANOSECONDS = (
    "it has times in nanoseconds, which Spark cannot read: write them in microseconds, in pandas with "
    "to_parquet(…, coerce_timestamps='us', allow_truncated_timestamps=True), or pass no --engine spark"
)
FAULT = re.compile(r"RuntimeError: driftbell\.executor: ([^\n]+)")
"""Fault of an executor in the error of a job, which has the traceback of its Python worker."""

CAUSE = re.compile(r"(?m)^(?:: )?[\w.$]*(?:Error|Exception): (.+)$")
"""Message of an error in a traceback of Python or Java."""

TEXT_TYPES = ("interval year", "interval month", "variant", "object", "void")
"""Types, by the start of their names, that Arrow lacks or Polars cannot read: they are counted as text."""

IS_PATH = re.compile(r"(?i).*[/\\*?\[{].*|.*\.parquet")
"""Names of tables that are paths and not names of a catalog."""


def is_spark(table: Any) -> bool:
    """Return whether an object is a data frame of Spark, of Spark Connect, or of pandas on Spark."""
    module, _, rest = type(table).__module__.partition(".")
    is_pandas = rest.startswith("pandas") and hasattr(type(table), "to_spark")
    return module == "pyspark" and (hasattr(table, "mapInArrow") or is_pandas)


@dataclass(frozen=True, eq=False)
class SparkTable:
    """A data frame of Spark that is counted on its executors.

    Attributes:
        frame: the data frame.
        name: its name for messages: "the current table", or the source.
    """

    frame: Any
    name: str

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns.

        Raises:
            InputError: two columns have the same name.
        """
        names = [str(name) for name in self.frame.columns]
        check_names(names)
        return names

    @cached_property
    def total(self) -> int:
        """Number of rows, which Spark counts."""
        with readable(self.name):
            return int(self.frame.count())

    @property
    def detected(self) -> dict[str, Any]:
        """Facts about the source; the format and the number of files if the executors read them."""
        facts: dict[str, Any] = {"engine": f"Spark {self.frame.sparkSession.version}"}
        if self._files is None:
            return facts
        count = len(self._files.paths)
        return facts | {"format": "Parquet"} | ({"files": count} if count > 1 else {})

    @cached_property
    def _files(self) -> StoredFiles | None:
        """Parquet files that the executors read themselves; None if Spark reads the rows."""
        with readable(self.name):
            return stored_files(self.frame)

    def precision(self, name: str) -> np.dtype[Any] | None:
        """Return the dtype of the numbers of a column; None for other types."""
        return self._precisions.get(name)

    @cached_property
    def _precisions(self) -> Mapping[str, np.dtype[Any] | None]:
        empty = self._collect(self._typed(self.names).limit(0), self.names)
        return {s.name: number_precision(s.dtype) for s in empty.get_columns()}

    def sample(self, rows: int, names: Sequence[str] | None = None) -> RawTable:
        """Return about this number of random rows, all if there are not more, of some columns or of all."""
        names = self.names if names is None else list(names)
        frame = self._typed(names)
        if self.total > rows:
            frame = frame.sample(rows / self.total, SAMPLE_SEED)
        series = self._collect(frame, names).get_columns()
        return RawTable({s.name: read_series(s.name, s) for s in series}, detected=self.detected)

    def collect(self, maximum: int) -> RawTable:
        """Return all rows.

        Args:
            maximum: largest number of rows that may be read to this process.

        Raises:
            ConfigError: there are more.
        """
        if self.total > maximum:
            raise ConfigError(
                f"{self.name} of Spark has {self.total:,} rows, more than exact_rows ({maximum:,}), and this "
                "check needs them all in one process: pass a sample such as frame.sample(0.01), or a larger "
                "exact_rows"
            )
        return self.sample(self.total)

    def count(self, plan: CountPlan) -> dict[str, ColumnCounts]:
        """Count all rows on the executors, which read columns of Parquet files themselves where they can."""
        if not plan.bins:
            return {}
        with readable(self.name):
            counts = self._count_files(plan)
            bins = {name: on for name, on in plan.bins.items() if name not in counts}
            if bins:
                counts |= count_on_executors(self._typed(list(bins)), replace(plan, bins=bins))
        return {name: counts[name] for name in plan.bins}

    def _count_files(self, plan: CountPlan) -> dict[str, ColumnCounts]:
        """Return the counts of the columns that the executors can read from files."""
        if self._files is None:
            return {}
        return count_files_on_executors(self.frame.sparkSession, self._files, plan, self.total)

    def _typed(self, names: list[str]) -> Any:
        """Return columns in types that Arrow has; they are called by their positions.

        Spark reads dots and backticks in names as syntax, and by default ignores their case.
        """
        with readable(self.name):
            frame = self.frame.toDF(*(f"c{i}" for i in range(len(self.names))))
            columns = []
            for name in names:
                place = self.names.index(name)
                column = frame[f"c{place}"]
                if self._types[place].startswith(TEXT_TYPES):
                    column = column.cast("string")
                columns.append(column)
            return frame.select(*columns)

    @cached_property
    def _types(self) -> list[str]:
        return [field.dataType.simpleString() for field in self.frame.schema.fields]

    def _collect(self, frame: Any, names: list[str]) -> Any:
        with readable(self.name):
            return polars_frame([frame.toArrow()], names)


def spark_table(frame: Any, name: str) -> SparkTable:
    """Return a data frame of Spark as a table.

    Args:
        frame: a data frame of Spark, or of pandas on Spark.
        name: its name for messages.

    Raises:
        ConfigError: it is of Spark 3, or a stream.
    """
    if type(frame).__module__.startswith("pyspark.pandas"):
        frame = frame.spark.frame()  # without the index, as `to_spark` returns it with a warning
    if not hasattr(frame, "toArrow"):
        raise ConfigError(f"cannot read {name}: it is of Spark {frame.sparkSession.version}: use Spark 4")
    with readable(name):
        if frame.isStreaming:
            raise ConfigError(f"cannot read {name}: it is a stream: pass one batch, as in foreachBatch")
    return SparkTable(frame, name)


def as_spark(table: Any, name: str) -> Any:
    """Return a data frame of Spark as a `SparkTable`, and any other table as it is."""
    return spark_table(table, name) if is_spark(table) else table


def read_source(session: Any, source: str) -> SparkTable | None:
    """Read Parquet files, or a table of the catalog.

    Args:
        session: a session of Spark.
        source: a path, URI, folder or pattern of Parquet files that the executors can read; or the name of a
            table, such as `sales.orders`.

    Returns:
        None for a file of another format here, such as CSV, which this process reads.

    Raises:
        ConfigError: Spark cannot read it.
    """
    path = source
    if Path(source).exists():
        if open_large(source) is None:
            return None
        path = str(Path(source).absolute())
    with readable(source):
        if path is source and not IS_PATH.fullmatch(source):
            if not session.catalog.tableExists(source):
                raise ConfigError(f"cannot read {source}: it is no file here and no table of Spark's catalog")
            return spark_table(session.table(source), source)
        return spark_table(session.read.option("mergeSchema", "true").parquet(path), source)


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Raise errors of Spark as errors that name the table and say what to do.

    Raises:
        ConfigError: Spark raised an error.
    """
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("pyspark", "py4j", "grpc", "pyarrow", "polars"):
            raise
        raise ConfigError(f"cannot read {name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return what happened and what to do, from an error of Spark."""
    text = str(error)
    fault = FAULT.search(text)
    if fault or (fault := re.search(r"(No module named '(?:numpy|pyarrow|pandas|pyspark)\S*)", text)):
        return (
            f"an executor failed: {fault[1]}: install 'driftbell[spark]=={__version__}' for the Python of "
            "every executor, and name that Python in PYSPARK_PYTHON"
        )
    if "JAVA_GATEWAY_EXITED" in text:
        return f"Spark could not start Java; its output is above: {NEEDS_JAVA}"
    if "PARQUET_TYPE_ILLEGAL" in text and "NANOS" in text:
        return NANOSECONDS
    causes = CAUSE.findall(text)
    return (causes[-1] if causes else first_line(error))[:MAX_MESSAGE]
