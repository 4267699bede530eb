"""Columns of an archive file: their names, and the rows of a period."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import datetime

from driftbell.errors import ArchiveError
from driftbell.records import LoggedRows, probability_column
from driftbell.tabular.exact_names import exactly

COLUMNS = ("id", "time", "version", "output", "latency_ms", "metadata", "label", "label_time")
"""Columns of every file before the probabilities and the features."""

PATH_COLUMNS = ("model", "date")
"""Columns that are in the path of a file."""


def feature_columns(features: Iterable[str], labels: Iterable[str]) -> dict[str, str]:
    """Return the column of each feature; one with the name of another column gets a prefix.

    Args:
        features: names of the features in order.
        labels: the classes of which the file has the probability.

    >>> feature_columns(["age", "label"], ["yes"])
    {'age': 'age', 'label': 'feature label'}
    """
    names = {*COLUMNS, *PATH_COLUMNS, *map(probability_column, labels)}
    columns = {}
    for feature in features:
        name = feature
        while name in names:
            name = f"feature {name}"
        names.add(name)
        columns[feature] = name
    return columns


def read_rows(
    content: bytes, file: str, features: Sequence[str], labels: Sequence[str], start: datetime, end: datetime
) -> LoggedRows:
    """Read the rows of a period from a file.

    Args:
        content: the file.
        file: its name, for messages.
        features: names of the features of the model version in order.
        labels: its classes.
        start: start of the period.
        end: its end, which does not belong to it.

    Raises:
        ArchiveError: it is no archive file.
    """
    import polars as pl

    try:
        table = pl.scan_parquet(io.BytesIO(content))
        stored = table.collect_schema().names()
        shares = [label for label in labels if probability_column(label) in stored]
        columns = {f: name for f, name in feature_columns(features, shares).items() if name in stored}
        names = dict.fromkeys(["output", *columns.values(), *map(probability_column, shares)])
        period = table.filter((pl.col("time") >= start) & (pl.col("time") < end))
        frame = period.select(exactly(names)).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).partition("\n")[0]
        raise ArchiveError(f"cannot read {file}: it is no archive file, or damaged: {reason}") from error
    values = pl.DataFrame({feature: frame[name] for feature, name in columns.items()})
    probabilities = pl.DataFrame({label: frame[probability_column(label)] for label in shares})
    rows = frame.height
    return LoggedRows(
        values.to_dicts() if columns else [{}] * rows,
        frame["output"].to_list(),
        probabilities.to_dicts() if shares else [{}] * rows,
    )
