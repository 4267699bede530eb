"""Columns of tables without predictions: all of them are features, except the times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from driftbell.degradation.model_columns import input_error
from driftbell.phrases import suggest_column
from driftbell.records import Column, Columns


class FeatureColumns:
    """Columns without predictions; an alternative to `ModelColumns` in a backtest.

    Args:
        reference: columns of the reference.
        stream: columns of the stream.
        probabilities: must be empty.
        label: must be None.
        timestamp: name of the time column; None if the rows are in order.

    Attributes:
        classes: none.
        notes: none.

    Raises:
        InputError: the time column is missing, or a column belongs to predictions.
    """

    classes: tuple[str, ...] = ()

    def __init__(
        self,
        reference: Columns,
        stream: Columns,
        *,
        probabilities: Mapping[Any, str],
        label: str | None,
        timestamp: str | None,
    ) -> None:
        if label or probabilities:
            name = "label" if label else "probabilities"
            raise input_error("prediction", "missing", f"{name} needs the column of the predictions, too")
        for table_name, table in (("reference", reference), ("stream", stream)):
            if timestamp is not None and timestamp not in table:
                message = f"the {table_name} has no column '{timestamp}': {suggest_column(timestamp, table)}"
                raise input_error(timestamp, "missing", message)
        self.notes: list[str] = []
        self._names = tuple(name for name in reference if name != timestamp)

    def features(self, table: Columns) -> dict[str, Column]:
        """Return the features of the reference that the table has."""
        return {name: table[name] for name in self._names if name in table}

    def roles(self, reference: Columns) -> dict[str, str]:
        """Return the role of each column that is compared."""
        return dict.fromkeys(self.features(reference), "feature")
