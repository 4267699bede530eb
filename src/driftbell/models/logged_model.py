"""A model as the log or a description shows it, without values of features that are not logged in full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from driftbell.errors import PredictError
from driftbell.ports import Model
from driftbell.records import Columns, Feature, Outputs, Value
from driftbell.tabular.logged_values import LoggedValues
from driftbell.tabular.schema import Schema


class LoggedModel:
    """A model for checks and descriptions; implements `driftbell.ports.Model`, but cannot predict.

    Args:
        model: the model.
        features: its features as they are logged or described.
    """

    def __init__(self, model: Model, features: tuple[Feature, ...]) -> None:
        self.engine = model.engine
        self.engine_reason = model.engine_reason
        self.inline = model.inline
        self.name = model.name
        self.version = model.version
        self.schema = Schema(features)
        self.task = model.task
        self.classes = model.classes
        self.class_counts = model.class_counts

    def predict(self, columns: Columns) -> Outputs:
        """Raise an error: logged values are not those that the model gets."""
        raise self._no_values()

    def answer(self, rows: Sequence[Sequence[Value]]) -> tuple[list[Any], list[list[float]] | None]:
        """Raise an error; see `predict`."""
        raise self._no_values()

    def _no_values(self) -> PredictError:
        return PredictError(f"model '{self.name}' cannot predict from its log, which has no full values")


def public_model(model: Model, logged: LoggedValues | None) -> Model:
    """Return a model for pages and descriptions, without examples of features that are not logged in full."""
    return model if logged is None else LoggedModel(model, logged.public)
