"""A server process follows the registry: it loads versions before they are served, and reports it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from driftbell.error_capture import ErrorCapture
from driftbell.errors import DriftbellError, StoreError
from driftbell.models.foreign_code import error_text
from driftbell.ports import Model, VersionStore
from driftbell.records.versions import AliasChange, ServerWorker, VersionState
from driftbell.server.deployment import Deployment, Switch

POLL_SECONDS = 0.5
REPORT_SECONDS = 2.0
"""A worker reports this often, and at once when it has loaded a version."""

RETRY_SECONDS = 10.0
"""A champion that could not be loaded is tried again after this time."""

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class VersionSource:
    """The registry, as a server process uses it.

    Attributes:
        versions: the registry.
        worker: identifies this process.
        models: the models that are loaded already; the first one is the champion.
        open: opens a version; it may take long, and raises `DriftbellError`.
        state: the aliases when the models were loaded; None if they could not be read.
    """

    versions: VersionStore
    worker: str
    models: tuple[Model, ...]
    open: Callable[[str], Model]
    state: VersionState | None = None


class VersionFollower:
    """Loads what the registry names, and switches the deployment at the time that the registry names.

    Args:
        source: the registry.
        deployment: the loaded versions.
        clock: returns the time (UTC).
    """

    def __init__(self, source: VersionSource, deployment: Deployment, clock: Callable[[], datetime]) -> None:
        self._source = source
        self._versions = source.versions
        self._deployment = deployment
        self._clock = clock
        self._errors: dict[str, str] = {}
        self._retry: dict[str, datetime] = {}
        self._loading: asyncio.Task[None] | None = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._reported: ServerWorker | None = None
        self._failing = False

    def start(self) -> None:
        """Begin to follow the registry, and to report to it; a report that waits delays no switch."""
        loop = asyncio.get_running_loop()
        if self._source.state:
            self._follow(self._source.state)
        self._tasks = (loop.create_task(self._run()), loop.create_task(self._run_reports()))

    async def close(self) -> None:
        """Stop, and tell promotions not to wait for this process."""
        for task in (*self._tasks, self._loading):
            if task:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        with suppress(StoreError):
            await asyncio.to_thread(self._versions.remove_worker, self._source.worker)

    async def _run(self) -> None:
        while True:
            with ErrorCapture() as captured:  # requests are answered whatever the registry is like
                await self.poll()
            error = captured.error
            if error and not self._failing:  # once per outage
                text = str(error) if isinstance(error, DriftbellError) else type(error).__name__
                logger.error("model versions cannot be followed", error=text)
            elif self._failing and not error:
                logger.info("model versions are followed again")
            self._failing = error is not None
            await asyncio.sleep(POLL_SECONDS)

    async def _run_reports(self) -> None:
        while True:
            with suppress(StoreError):  # reading fails then as well, which is logged
                await self._report()
            await asyncio.sleep(POLL_SECONDS)

    async def poll(self) -> None:
        """Read the registry once, and follow it.

        Raises:
            StoreError: it cannot be read now.
        """
        model = self._deployment.served.model.name
        # the clock is read in the thread, which may begin late
        state = await asyncio.to_thread(lambda: self._versions.state(self._clock(), model=model))
        self._follow(state)

    def _follow(self, state: VersionState) -> None:
        deployment = self._deployment
        served = deployment.current().model.version
        now = self._clock()  # not before: a switch in between would be taken back
        champion, challenger = state.champion, state.challenger
        upcoming, next_challenger = state.upcoming, state.upcoming_challenger
        if upcoming and now >= upcoming.active_from:  # its time came while the state was read
            champion, challenger, upcoming = upcoming, None, None
        if next_challenger and now >= next_challenger.active_from:
            challenger, next_challenger = next_challenger, None
        if champion and champion.version:
            if champion.version in deployment.loaded:
                ready = self._ready(challenger)
                if (champion.version, ready) != (served, deployment.challenger):
                    deployment.switch(champion.version, ready)
            else:
                self._load(champion.version, state)
        champion_now = deployment.served.model.version
        deployment.schedule(self._next_switch(champion_now, upcoming, next_challenger))
        for change in (upcoming, challenger, next_challenger):
            if change and change.version and change.version not in deployment.loaded:
                self._load(change.version, state)
        promotion = state.promotion
        if promotion and promotion.version not in deployment.loaded and promotion.id not in self._errors:
            self._load(promotion.version, state)

    def _ready(self, challenger: AliasChange | None) -> AliasChange | None:
        """Return the change of a challenger if it names a loaded version."""
        return challenger if challenger and challenger.version in self._deployment.loaded else None

    def _next_switch(
        self, served: str, upcoming: AliasChange | None, challenger: AliasChange | None
    ) -> Switch | None:
        """Return the next switch, if its versions are loaded."""
        if upcoming and upcoming.version and upcoming.version in self._deployment.loaded:
            return (upcoming.active_from, upcoming.version, None)
        if challenger and (challenger.version is None or self._ready(challenger)):
            return (challenger.active_from, served, self._ready(challenger))
        return None

    def _load(self, version: str, state: VersionState) -> None:
        """Load a version in a thread, one at a time."""
        if self._loading and not self._loading.done():
            return
        promotion = state.promotion
        promoted = promotion.id if promotion and promotion.version == version else ""
        retry = self._retry.get(version)
        if not promoted and retry and self._clock() < retry:
            return
        named = (
            *(state.champion, state.upcoming, state.promotion),
            *(state.challenger, state.upcoming_challenger),
        )
        keep = frozenset(entry.version for entry in named if entry and entry.version)
        self._loading = asyncio.get_running_loop().create_task(self._open(version, promoted, keep))

    async def _open(self, version: str, promoted: str, keep: frozenset[str]) -> None:
        with ErrorCapture() as captured:  # a model may fail with any error
            model = await asyncio.to_thread(self._source.open, version)
            self._deployment.add(model, keep)
        error = captured.error
        if error:
            text = str(error) if isinstance(error, DriftbellError) else error_text(error)
            logger.error("model version cannot be loaded", version=version, error=text)
            self._retry[version] = self._clock() + timedelta(seconds=RETRY_SECONDS)
            self._errors = {promoted: text} if promoted else {}
        with suppress(StoreError):  # the next report is soon
            await self._report()

    async def _report(self) -> None:
        now, last = self._clock(), self._reported
        served = self._deployment.served.model.name
        worker = ServerWorker(self._source.worker, served, now, self._deployment.loaded, self._errors)
        is_same = last and (last.ready, last.errors) == (worker.ready, worker.errors)
        if last and is_same and timedelta() <= now - last.seen < timedelta(seconds=REPORT_SECONDS):
            return
        await asyncio.to_thread(self._versions.report_worker, worker)
        self._reported = worker
