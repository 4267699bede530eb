"""The served version: its model, and the parts of the application that are bound to one model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from driftbell.ports import Model
from driftbell.records import Value
from driftbell.server.predict.fast_path import row_parser
from driftbell.server.predict.predictor import Predictor
from driftbell.server.predict.refusal_counter import RefusalCounter


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """A loaded version, with the parts that are bound to it.

    Attributes:
        model: the model.
        predictor: predicts its rows.
        refusals: counts the rows that it got no answer for.
        parse_row: see `row_parser`.
    """

    model: Model
    predictor: Predictor
    refusals: RefusalCounter
    parse_row: Callable[[bytes], list[Value] | None]


class Deployment:
    """The version that answers requests; each request reads it once, at its beginning.

    Args:
        model: the model of the first version.
        predictor: builds the predictor of a model.
        refusals: builds the counter of refused rows of a model.

    Attributes:
        served: the version that answers requests.
    """

    def __init__(
        self,
        model: Model,
        *,
        predictor: Callable[[Model], Predictor],
        refusals: Callable[[Model], RefusalCounter],
    ) -> None:
        self._build_predictor = predictor
        self._build_refusals = refusals
        self.served = self.build(model)

    @property
    def model(self) -> Model:
        """The model of the served version."""
        return self.served.model

    def build(self, model: Model) -> ServedVersion:
        """Build the parts that are bound to a model; call it on the event loop."""
        return ServedVersion(
            model, self._build_predictor(model), self._build_refusals(model), row_parser(model.schema)
        )

    async def settle(self) -> None:
        """Add the waiting counts of refused rows to the store, if it can be written."""
        await self.served.refusals.settle()

    async def close(self) -> None:
        """Finish the waiting rows, and write the waiting counts."""
        await self.served.predictor.close()
        await self.served.refusals.close()
