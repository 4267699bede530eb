"""Parquet files that a data frame of Spark reads whole, which executors can read without Java."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from driftbell.tabular.files import HIVE

JAVA_PACKAGE = "org.apache.spark.sql.execution.datasources"
SCAN = (
    f"{JAVA_PACKAGE}.LogicalRelation",
    f"{JAVA_PACKAGE}.HadoopFsRelation",
    f"{JAVA_PACKAGE}.parquet.ParquetFileFormat",
    f"{JAVA_PACKAGE}.InMemoryFileIndex",
)
"""Classes of a plain scan: its plan, relation, format and list of files.

Other formats on Parquet files, such as Delta, have other ones, and rows in the files that do not count.
"""

FIELD_ID = "parquet.field.id"
"""Metadata of columns that Spark may look up in files by a number instead of by their name."""

STORED_TYPES = frozenset(
    {
        "boolean",
        "tinyint",
        "smallint",
        "int",
        "bigint",
        "float",
        "double",
        "string",
        "date",
        "timestamp",
        "timestamp_ntz",
    }
)
"""Types of Spark that files may store as they are; decimals too."""


@dataclass(frozen=True)
class StoredFiles:
    """Parquet files that executors may read themselves.

    Attributes:
        paths: paths of the files.
        types: types of Spark of the columns that may be stored in every file as they are.
    """

    paths: tuple[str, ...]
    types: Mapping[str, str]


def stored_files(frame: Any) -> StoredFiles | None:
    """Return the files of a data frame that reads all rows of Parquet files of a mounted file system.

    Args:
        frame: a data frame of Spark, or of Spark Connect.

    Returns:
        None for all other data frames: with filters, projections, joins, or cached ones; of tables of other
        formats; and of files at URIs such as `hdfs://` and `s3a://`.
    """
    fields = frame.schema.fields
    if not _is_scan(frame) or any(FIELD_ID in field.metadata for field in fields):
        return None
    paths = [_local_path(uri) for uri in frame.inputFiles()]
    if not paths or None in paths:
        return None
    files = tuple(path for path in paths if path is not None)
    folders = {name.lower() for name in _folder_names(files)}
    types = {field.name: field.dataType.simpleString() for field in fields}
    stored = {
        name: kind
        for name, kind in types.items()
        if name.lower() not in folders and (kind in STORED_TYPES or kind.startswith("decimal"))
    }
    return StoredFiles(files, stored) if stored else None


def _is_scan(frame: Any) -> bool:
    """Return whether a data frame reads Parquet files and does nothing else.

    The attributes that say so are not public: without them, as in another version of Spark, it is no scan.
    """
    try:
        return _is_remote_scan(frame) if "connect" in type(frame).__module__ else _is_scan_here(frame)
    except (AttributeError, TypeError, ValueError):
        return False


def _is_remote_scan(frame: Any) -> bool:
    relation = frame._plan.plan(frame.sparkSession.client)
    if not (relation.HasField("read") and relation.read.HasField("data_source")):
        return False
    source, level = relation.read.data_source, frame.storageLevel
    is_plain = not (source.schema or source.predicates or relation.read.is_streaming)
    is_cached = level.useMemory or level.useDisk or level.useOffHeap
    return is_plain and source.format.lower() == "parquet" and not is_cached


def _is_scan_here(frame: Any) -> bool:
    from py4j.protocol import Py4JError

    try:
        plan = frame._jdf.queryExecution().optimizedPlan()  # of a cached data frame, it is another class
        if _java_class(plan) != SCAN[0] or _java_class(relation := plan.relation()) != SCAN[1]:
            return False
        return (_java_class(relation.fileFormat()), _java_class(relation.location())) == SCAN[2:]
    except Py4JError:
        return False


def _java_class(value: Any) -> str:
    return str(value.getClass().getName())


def _local_path(uri: str) -> str | None:
    """Return the path of a URI of a file; None for other URIs.

    >>> _local_path("file:///data/a%20b.parquet"), _local_path("hdfs://name/a.parquet")
    ('/data/a b.parquet', None)
    """
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme == "file" and not parts.netloc else None


def _folder_names(paths: Sequence[str]) -> Iterator[str]:
    """Yield the names of columns in the names of folders, such as `year=2026`."""
    for folder in {PurePosixPath(path).parent for path in paths}:
        for part in folder.parts:
            if match := HIVE.fullmatch(part):
                yield unquote(match[1])
