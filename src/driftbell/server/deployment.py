"""The loaded versions of the model: which one answers requests, and when another one takes over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog
from starlette.types import Scope

from driftbell.ports import Model
from driftbell.records.versions import AliasChange
from driftbell.server.challenge import Challenge, ServedVersion
from driftbell.server.predict.fast_path import passed_row_parser, row_parser
from driftbell.server.predict.predictor import Predictor
from driftbell.server.predict.refusal_counter import RefusalCounter
from driftbell.server.predict.shadow import Shadow

MAX_LOADED = 3
"""Versions that stay loaded: switching back to one of them takes no time."""

Switch = tuple[datetime, str, AliasChange | None]

logger = structlog.get_logger()


class Deployment:
    """The loaded versions. Each request reads the served one once, at its beginning, and finishes on it.

    A version that is not loaded any more ends when its last request has its answer: nothing refers to it.
    Every method belongs to the event loop.

    Args:
        models: loaded models; the first one is the champion.
        predictor: builds the predictor of a model.
        refusals: builds the counter of refused rows of a model.
        shadow: builds the shadow of a challenger's model, for the champion's features and a share.
        clock: returns the time (UTC).

    Attributes:
        sole: the version that answers every request; None if it depends on the request or on the time.
        served: the champion, unless `due` has come.
        challenger: the change that made a loaded version the challenger; None if there is none.
        due: the time of the next switch, with the champion and the challenger from then on; None if there is
            none.
    """

    def __init__(
        self,
        *models: Model,
        predictor: Callable[[Model], Predictor],
        refusals: Callable[[Model], RefusalCounter],
        shadow: Callable[[Model, Sequence[str], float], Shadow],
        clock: Callable[[], datetime],
    ) -> None:
        self._build_predictor = predictor
        self._build_refusals = refusals
        self._build_shadow = shadow
        self._clock = clock
        self._loaded: dict[str, ServedVersion] = {}
        self.due: Switch | None = None
        for model in models:
            self._loaded[model.version] = self._build(model)
        self.served = self._loaded[models[0].version]
        self.challenger: AliasChange | None = None
        self._challenge: Challenge | None = None
        self.sole: ServedVersion | None = self.served

    @property
    def model(self) -> Model:
        """The model of the champion."""
        return self.current().model

    @property
    def loaded(self) -> tuple[str, ...]:
        """The loaded versions."""
        return tuple(self._loaded)

    def current(self) -> ServedVersion:
        """Return the champion now."""
        if self.due is not None and self._clock() >= self.due[0]:
            self.switch(*self.due[1:])
        return self.served

    def choose(self, scope: Scope) -> ServedVersion:
        """Return the version that answers a request that begins now; see `ServedVersion.choose`."""
        if self.sole is not None:
            return self.sole
        champion, challenge = self.current(), self._challenge
        if challenge is None:
            return champion
        return challenge.by_rows or challenge.choose(scope)

    def add(self, model: Model, keep: frozenset[str]) -> None:
        """Add a loaded version, and forget the oldest ones beyond `MAX_LOADED`.

        Args:
            model: its model.
            keep: versions that stay, besides the champion and the challenger.
        """
        self._loaded[model.version] = self._build(model)
        stay = keep | {model.version, self.served.model.version}
        if self.challenger and self.challenger.version:
            stay |= {self.challenger.version}
        for version in [v for v in self._loaded if v not in stay]:
            if len(self._loaded) <= MAX_LOADED:
                break
            del self._loaded[version]

    def schedule(self, due: Switch | None) -> None:
        """Set when the next switch is due, to loaded versions; None cancels it."""
        self.due = due
        self._settle_sole()

    def switch(self, version: str, challenger: AliasChange | None = None) -> None:
        """Serve a loaded version as the champion from now on, with or without a loaded challenger."""
        before, before_challenger, self.due = self.served, self.challenger, None
        self.served = self._loaded[version]
        self.challenger = challenger
        self._challenge = None
        self._end_shadow(before.predictor)
        if challenger and challenger.version:
            second = self._loaded[challenger.version]
            if challenger.is_shadow:
                names, share = self.served.model.schema.names, challenger.share or 0.0
                self.served.predictor.shadow = self._build_shadow(second.model, names, share)
            else:
                self._challenge = Challenge(challenger, self.served, second)
        self._settle_sole()
        model = self.served.model
        if self.served is not before:
            self._loaded[version] = self._loaded.pop(version)  # the newest
            logger.info(
                "served version changed", model=model.name, version=version, before=before.model.version
            )
        if challenger != before_challenger:
            _log_challenger(model.name, challenger)

    def _end_shadow(self, predictor: Predictor) -> None:
        if predictor.shadow:
            predictor.shadow.is_over = True
            predictor.shadow = None

    def _settle_sole(self) -> None:
        is_plain = self.due is None and self._challenge is None
        self.sole = self.served if is_plain else None

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


def _log_challenger(model: str, challenger: AliasChange | None) -> None:
    if challenger is None:
        logger.info("challenger ended", model=model)
        return
    logger.info(
        "challenger changed",
        model=model,
        version=challenger.version,
        share=challenger.share,
        shadow=challenger.is_shadow,
        sticky=challenger.sticky,
    )
