"""The window of a check as a table."""

from __future__ import annotations

from driftbell.ports import Model
from driftbell.records import Column, Kind, Reference, Task, Value, Window, probability_column
from driftbell.tabular.columns import as_column
from driftbell.tabular.outputs import output_values


def window_columns(window: Window, model: Model, reference: Reference) -> dict[str, Column]:
    """Build a table of logged predictions with the columns of the reference.

    A feature without any value is omitted, so that the comparison reports it as missing.
    """
    rows = window.predictions
    columns: dict[str, Column] = {}
    for feature in model.schema.features:
        if any(feature.name in p.features for p in rows):
            cells: list[Value] = [p.features.get(feature.name) for p in rows]
            columns[feature.name] = as_column(cells, feature.kind)
    for name, role in reference.roles.items():
        if role == "prediction":
            outputs = [p.output for p in rows]
            is_regression = model.task is Task.REGRESSION
            columns[name] = (
                output_values(outputs, ()) if is_regression else as_column(outputs, Kind.CATEGORICAL)
            )
    for label in model.classes:
        name = probability_column(label)
        if name in reference.columns:
            columns[name] = as_column([p.probabilities.get(label) for p in rows], Kind.NUMERIC)
    return columns
