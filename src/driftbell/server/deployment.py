"""The loaded versions of the model: which one answers requests, and when another one takes over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from driftbell.ports import Model
from driftbell.records import Value
from driftbell.server.predict.fast_path import passed_row_parser, row_parser
from driftbell.server.predict.predictor import Predictor
from driftbell.server.predict.refusal_counter import RefusalCounter
from driftbell.tabular.pass_through import PassThrough

MAX_LOADED = 3
"""Versions that stay loaded: switching back to one of them takes no time."""

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """A loaded version, with the parts that are bound to it.

    Attributes:
        model: the model.
        predictor: predicts its rows.
        refusals: counts the rows that it got no answer for.
        parse_row: see `row_parser`.
        parse_passed_row: see `passed_row_parser`.
    """

    model: Model
    predictor: Predictor
    refusals: RefusalCounter
    parse_row: Callable[[bytes], list[Value] | None]
    parse_passed_row: Callable[[bytes], tuple[list[Value], PassThrough | None] | None]


class Deployment:
    """The loaded versions. Each request reads the served one once, at its beginning, and finishes on it.

    A version that is not loaded any more ends when its last request has its answer: nothing refers to it.
    Every method belongs to the event loop.

    Args:
        models: loaded models; the first one is served.
        predictor: builds the predictor of a model.
        refusals: builds the counter of refused rows of a model.
        clock: returns the time (UTC).

    Attributes:
        served: the version that answers requests, unless `due` has come.
        due: the time and the version of the next switch; None if there is none.
    """

    def __init__(
        self,
        *models: Model,
        predictor: Callable[[Model], Predictor],
        refusals: Callable[[Model], RefusalCounter],
        clock: Callable[[], datetime],
    ) -> None:
        self._build_predictor = predictor
        self._build_refusals = refusals
        self._clock = clock
        self._loaded: dict[str, ServedVersion] = {}
        self.due: tuple[datetime, str] | None = None
        for model in models:
            self._loaded[model.version] = self._build(model)
        self.served = self._loaded[models[0].version]

    @property
    def model(self) -> Model:
        """The model of the served version."""
        return self.current().model

    @property
    def loaded(self) -> tuple[str, ...]:
        """The loaded versions."""
        return tuple(self._loaded)

    def current(self) -> ServedVersion:
        """Return the version that answers a request that begins now."""
        if self.due is not None and self._clock() >= self.due[0]:
            self.switch(self.due[1])
        return self.served

    def add(self, model: Model, keep: frozenset[str]) -> None:
        """Add a loaded version, and forget the oldest ones beyond `MAX_LOADED`.

        Args:
            model: its model.
            keep: versions that stay, besides the served one.
        """
        self._loaded[model.version] = self._build(model)
        stay = keep | {model.version, self.served.model.version}
        for version in [v for v in self._loaded if v not in stay]:
            if len(self._loaded) <= MAX_LOADED:
                break
            del self._loaded[version]

    def schedule(self, version: str, time: datetime) -> None:
        """Serve a loaded version from a time on."""
        self.due = (time, version)

    def switch(self, version: str) -> None:
        """Serve a loaded version from now on."""
        before, self.due = self.served, None
        self.served = self._loaded[version]
        if self.served is not before:
            self._loaded[version] = self._loaded.pop(version)  # the newest
            model = self.served.model
            logger.info(
                "served version changed",
                model=model.name,
                version=version,
                before=before.model.version,
            )

    async def settle(self) -> None:
        """Add the waiting counts of refused rows to the store, if it can be written."""
        for version in list(self._loaded.values()):
            await version.refusals.settle()

    async def close(self) -> None:
        """Finish the waiting rows, and write the waiting counts."""
        for version in list(self._loaded.values()):
            await version.predictor.close()
            await version.refusals.close()

    def _build(self, model: Model) -> ServedVersion:
        return ServedVersion(
            model,
            self._build_predictor(model),
            self._build_refusals(model),
            row_parser(model.schema),
            passed_row_parser(model.schema),
        )
