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
from driftbell.ports import Model, VersionStore
from driftbell.records.versions import ServerWorker, VersionState
from driftbell.server.deployment import Deployment

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
    """

    versions: VersionStore
    worker: str
    models: tuple[Model, ...]
    open: Callable[[str], Model]


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
        state = await asyncio.to_thread(self._versions.state, self._clock(), model=model)
        self._follow(state)

    def _follow(self, state: VersionState) -> None:
        deployment = self._deployment
        champion, upcoming = state.champion, state.upcoming
        if upcoming and self._clock() >= upcoming.active_from:  # its time came while the state was read
            champion, upcoming = upcoming, None
        if upcoming and upcoming.version in deployment.loaded:
            deployment.schedule(upcoming.version, upcoming.active_from)
        served = deployment.current().model.version
        if champion and champion.version and champion.version != served:
            if champion.version in deployment.loaded:
                deployment.switch(champion.version)
            else:
                self._load(champion.version, state)
        if upcoming and upcoming.version and upcoming.version not in deployment.loaded:
            self._load(upcoming.version, state)
        promotion = state.promotion
        if promotion and promotion.version not in deployment.loaded and promotion.id not in self._errors:
            self._load(promotion.version, state)

    def _load(self, version: str, state: VersionState) -> None:
        """Load a version in a thread, one at a time."""
        if self._loading and not self._loading.done():
            return
        promotion = state.promotion
        promoted = promotion.id if promotion and promotion.version == version else ""
        retry = self._retry.get(version)
        if not promoted and retry and self._clock() < retry:
            return
        named = (state.champion, state.upcoming, state.promotion)
        keep = frozenset(entry.version for entry in named if entry and entry.version)
        self._loading = asyncio.get_running_loop().create_task(self._open(version, promoted, keep))

    async def _open(self, version: str, promoted: str, keep: frozenset[str]) -> None:
        with ErrorCapture() as captured:  # a model may fail with any error
            model = await asyncio.to_thread(self._source.open, version)
            self._deployment.add(model, keep)
        error = captured.error
        if error:
            text = str(error) if isinstance(error, DriftbellError) else f"{type(error).__name__}: {error}"
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
