"""A model in its own library: the schema's columns as the table that it was fitted on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.errors import ModelError, PredictError
from driftbell.models.answers import require_rows
from driftbell.models.foreign_code import call_model, failure_reason, first_call
from driftbell.models.frame import build_frame
from driftbell.models.load_advice import version_note
from driftbell.models.loaded import LoadedModel
from driftbell.phrases import count_of
from driftbell.ports import Model
from driftbell.records import Columns, Kind, Outputs, Value
from driftbell.tabular.dtypes import is_integer
from driftbell.tabular.schema import Schema


class NativeModel:
    """A model in its own library as a `driftbell.ports.Model`.

    Args:
        loaded: the model as its library loaded it.
        name: the model's name.
        version: content hash of the model.
        schema: its features; they are put into the order that the model was fitted with.
        label_known: whether the label of the reference is named, for messages.

    Attributes:
        engine_reason: why it runs natively; set by the code that decides.

    Raises:
        ModelError: it was fitted with other features than the schema's.
    """

    engine = "native"
    engine_reason = ""
    inline = False
    class_counts: tuple[int, ...] = ()

    def __init__(
        self, loaded: LoadedModel, *, name: str, version: str, schema: Schema, label_known: bool = False
    ) -> None:
        self.loaded = loaded
        self.name = name
        self.version = version
        self.task = loaded.task
        self.classes = loaded.classes
        self.schema = _ordered(schema, loaded, name, label_known=label_known)
        self._integers = [f.name for f in self.schema.features if is_integer(f.dtype)]

    def predict(self, columns: Columns) -> Outputs:
        """Predict a table of n rows with the same results as the library's own call."""
        return call_model(self.name, self._predict, columns)

    def _predict(self, columns: Columns) -> Outputs:
        fractions = self._fractions(columns)
        if not fractions.any() or fractions.all():
            return self._call(columns)
        # a fraction would turn the whole numbers of its column into floats, which other rows must not see
        values: Any = None
        probabilities: Any = None
        for rows in (fractions, ~fractions):
            outputs = self._call({name: column[rows] for name, column in columns.items()})
            if values is None:
                values = np.empty(len(rows), dtype=outputs.values.dtype)
                if outputs.probabilities is not None:
                    probabilities = np.empty((len(rows), outputs.probabilities.shape[1]))
            values[rows] = outputs.values
            if probabilities is not None:
                probabilities[rows] = outputs.probabilities
        return Outputs(values, probabilities)

    def _fractions(self, columns: Columns) -> NDArray[np.bool_]:
        """Return which rows have a number that is not whole in a column of integers."""
        rows = np.zeros(len(columns[self.schema.names[0]]), dtype=np.bool_)
        for name in self._integers:
            column = columns[name]
            if column.dtype.kind == "f":
                rows |= column % 1 != 0
        return rows

    def _call(self, columns: Columns) -> Outputs:
        outputs = self.loaded.predict(self._table(columns))
        return require_rows(outputs, len(columns[self.schema.names[0]]))

    def answer(self, rows: Sequence[Sequence[Value]]) -> tuple[list[Any], list[list[float]] | None]:
        """Predict valid rows; see `driftbell.ports.Model`."""
        outputs = self.predict(self.schema.columns(rows))
        probabilities = outputs.probabilities
        return outputs.values.tolist(), None if probabilities is None else probabilities.tolist()

    @property
    def predicts_argmax(self) -> bool:
        """True if the predicted class is known to be the most probable one."""
        return self.loaded.predicts_argmax

    def _table(self, columns: Columns) -> Any:
        if self.loaded.takes_frame:
            return build_frame(self.schema.features, columns)
        if all(f.kind is Kind.NUMERIC for f in self.schema.features):
            return np.column_stack([columns[name] for name in self.schema.names])
        return np.array([columns[name] for name in self.schema.names], dtype=object).T


def check_example_row(model: Model) -> None:
    """Check that a model can predict its own example row, so that a broken one fails at start.

    Raises:
        ModelError: it failed, or does not answer; the message holds the model's own, as no request data is
            involved yet.
    """
    row = model.schema.columns([model.schema.validate(model.schema.example)])
    try:
        first_call(model.name, lambda: model.predict(row))
    except PredictError as error:
        raise ModelError(
            f"model '{model.name}' cannot predict a row like the first one of its reference: "
            f"{failure_reason(error)}{version_note(model)}"
        ) from error


def _ordered(schema: Schema, loaded: LoadedModel, name: str, *, label_known: bool) -> Schema:
    """Return the schema in the model's order.

    Raises:
        ModelError: the model was fitted with other features.
    """
    order = list(loaded.feature_names)
    if order and set(order) != set(schema.names):
        missing = sorted(set(order) - set(schema.names))
        extra = sorted(set(schema.names) - set(order))
        differences = [f"missing {missing}"] if missing else []
        if extra:
            differences.append(f"not known to the model {extra} ({extra_advice(label_known, extra)})")
        text = ", ".join(differences)
        raise ModelError(f"the reference of model '{name}' does not have the model's features: {text}")
    width = len(schema.features)
    if loaded.feature_count not in (None, width):
        count = loaded.feature_count or 0
        raise ModelError(
            f"model '{name}' takes {count_of(count, 'feature')}, its reference has {width} "
            f"({extra_advice(label_known) if width > count else missing_advice(count)})"
        )
    if not order:
        return schema
    positions = {name: i for i, name in enumerate(order)}
    return Schema(tuple(sorted(schema.features, key=lambda f: positions[f.name])))


def missing_advice(count: int) -> str:
    """Return what to do about a reference with too few columns.

    >>> missing_advice(1)
    'use a table with its 1 feature in the order of the training, and check model.target and exclude'
    """
    return (
        f"use a table with its {count_of(count, 'feature')} in the order of the training, and check "
        "model.target and exclude"
    )


def extra_advice(label_known: bool, names: Sequence[str] = ()) -> str:
    """Return what to do about columns of a reference that the model does not take.

    Args:
        label_known: whether the label is named.
        names: the columns; () if it is not known which they are.

    >>> extra_advice(True, ["id", "note"])
    'leave them out with exclude = ["id", "note"] under [columns]'
    >>> extra_advice(False)
    'if one of them is the label, name it in model.target; leave others out with exclude under [columns]'
    """
    quoted = ", ".join(json.dumps(name, ensure_ascii=False) for name in names)
    some = f"exclude = [{quoted}]" if quoted else "exclude"
    if label_known:
        return f"leave them out with {some} under [columns]"
    return (
        f"if one of them is the label, name it in model.target; leave others out with {some} under [columns]"
    )
