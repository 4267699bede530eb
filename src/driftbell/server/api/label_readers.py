"""Choice of the reader of each label: by the classes of the version that predicted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from driftbell.ports import Model, Store
from driftbell.server.api.label_body import LabelReader, LabelRequest, NumberReader, prediction_ids
from driftbell.server.http.body import read_json
from driftbell.server.ids import is_recent

RECENT_SECONDS = 120.0
"""A prediction of the last `RECENT_SECONDS` may not be in the store yet, so its label is retried. Its id has
the time of the replica that answered it; the clock of that replica may be ahead or behind by as much."""

RETRIES, RETRY_SECONDS = 6, 0.05
"""Attempts to find a recent prediction, first after `RETRY_SECONDS`, then each time after twice as long: the
journal of another replica is moved to the store meanwhile."""

REFRESH_SECONDS = 30.0
"""The registered versions are read again after this time, and when another version is served."""

Classes = tuple[str, ...]


@lru_cache(maxsize=8)
def label_reader(classes: Classes) -> LabelReader:
    """Return the reader of labels of a model with these classes; none for a regression."""
    return LabelReader(classes) if classes else NumberReader()


class LabelReaders:
    """Reads requests with labels, each label by the classes of the version that predicted.

    The versions of predictions are looked up only while the registered versions have different classes.

    Args:
        store: the prediction store with its registered versions.
        served: returns the served model, which predicted if nothing else is known.
        clock: returns the time (UTC).
    """

    def __init__(self, store: Store, served: Callable[[], Model], clock: Callable[[], datetime]) -> None:
        self._store = store
        self._served = served
        self._clock = clock
        self._classes: Mapping[str, Classes] = {}
        self._read_for = ""
        self._read_until = 0.0

    async def read(self, request: Request, body_limit: int, *, accept_unseen: bool) -> LabelRequest:
        """Read the body of a request; see `LabelReader.read`.

        Args:
            request: a request that was not read yet.
            body_limit: maximum size of its body in bytes.
            accept_unseen: see `LabelReader.read`.

        Raises:
            InputError, Refused: see `LabelReader.read` and `read_json`.
            StoreError: the versions cannot be read.
        """
        model = self._served()
        reader = label_reader(model.classes)
        await self._refresh(model)
        if all(classes == model.classes for classes in self._classes.values()):
            return await read_json(request, body_limit, partial(reader.read, accept_unseen=accept_unseen))
        body: Any = await read_json(request, body_limit, lambda body: body)
        versions = await self._versions(prediction_ids(body), model.name)
        others = {
            name: label_reader(self._classes[version])
            for name, version in versions.items()
            if self._classes.get(version, model.classes) != model.classes
        }
        return await run_in_threadpool(reader.read, body, accept_unseen=accept_unseen, others=others)

    async def _refresh(self, model: Model) -> None:
        """Read the classes of the registered versions, if they may have changed."""
        now = time.monotonic()
        if model.version == self._read_for and now < self._read_until:
            return
        versions = await run_in_threadpool(self._store.versions.newest, model=model.name)
        self._classes = {version.version: version.classes for version in versions}
        self._read_for, self._read_until = model.version, now + REFRESH_SECONDS

    async def _versions(self, names: Iterable[str], model: str) -> dict[str, str]:
        """Return the versions of predictions by id; that of a recent one may be in the store soon."""
        versions: dict[str, str] = {}
        missing = list(dict.fromkeys(names))
        now = self._clock()
        for attempt in range(RETRIES + 1):
            versions |= await run_in_threadpool(self._store.predictions.versions_by_id, missing, model=model)
            missing = [n for n in missing if n not in versions and is_recent(n, now, RECENT_SECONDS)]
            if not missing or attempt == RETRIES:
                break
            await asyncio.sleep(RETRY_SECONDS * 2**attempt)
        return versions
