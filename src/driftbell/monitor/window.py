"""The window of a check as a table."""

from __future__ import annotations

from driftbell.ports import Model
from driftbell.records import Column, Kind, LoggedRows, Reference, Task, Value, Window, probability_column
from driftbell.tabular.columns import as_column
from driftbell.tabular.outputs import output_values


def window_columns(window: Window, model: Model, reference: Reference) -> dict[str, Column]:
    """Build a table of logged predictions; see `logged_columns`."""
    return logged_columns(window_rows(window), model, reference)


def window_rows(window: Window) -> LoggedRows:
    """Return what a comparison needs of a window."""
    rows = window.predictions
    return LoggedRows([p.features for p in rows], [p.output for p in rows], [p.probabilities for p in rows])


def logged_columns(rows: LoggedRows, model: Model, reference: Reference) -> dict[str, Column]:
    """Build a table of logged predictions with the columns of the reference.

    A feature without any value is omitted, so that the comparison reports it as missing.
    """
    columns: dict[str, Column] = {}
    for feature in model.schema.features:
        name = feature.name
        if any(name in features for features in rows.features):
            cells: list[Value] = [features.get(name) for features in rows.features]
            columns[name] = as_column(cells, feature.kind)
    for name, role in reference.roles.items():
        if role == "prediction":
            is_regression = model.task is Task.REGRESSION
            columns[name] = (
                output_values(rows.outputs, ())
                if is_regression
                else as_column(rows.outputs, Kind.CATEGORICAL)
            )
    for label in model.classes:
        name = probability_column(label)
        if name in reference.columns:
            columns[name] = as_column([p.get(label) for p in rows.probabilities], Kind.NUMERIC)
    return columns
