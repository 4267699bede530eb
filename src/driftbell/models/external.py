"""A model that is served elsewhere: driftbell knows its predictions, and cannot ask for more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from driftbell.errors import PredictError
from driftbell.ports import EXTERNAL
from driftbell.records import Columns, Outputs, Task, Value
from driftbell.tabular.schema import Schema


@dataclass
class ExternalModel:
    """A model that is served elsewhere; implements `driftbell.ports.Model`.

    Attributes:
        name: its name.
        version: its version.
        schema: its features.
        task: whether it predicts classes or numbers.
        classes: its classes, by class id; none for a regression.
    """

    name: str
    version: str
    schema: Schema
    task: Task
    classes: tuple[str, ...] = ()
    engine: str = EXTERNAL
    engine_reason: str = "the model is served elsewhere"
    inline: bool = False
    class_counts: tuple[int, ...] = ()

    def predict(self, columns: Columns) -> Outputs:
        """Raise an error: the model is not here."""
        self._refuse()

    def answer(self, rows: Sequence[Sequence[Value]]) -> tuple[list[Any], list[list[float]] | None]:
        """Raise an error: the model is not here."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise PredictError(
            f"model '{self.name}' is served elsewhere, so it cannot predict here: set model.path to its "
            "file, or to the URL of its server"
        )
