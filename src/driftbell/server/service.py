"""The parts of the application of one model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from driftbell.alarms.smallest_loss import SmallestLoss
from driftbell.ports import Model, Store
from driftbell.publish.report_folder import ReportFolder
from driftbell.server.auth.guard import Access
from driftbell.server.http.prefix import PathPrefix
from driftbell.server.http.site_guard import SiteGuard
from driftbell.server.http.tracing import Tracing
from driftbell.server.predict.recorder import Durability, OnFailure
from driftbell.server.version_follower import VersionSource
from driftbell.tabular.logged_values import LoggedValues


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of the application.

    Attributes:
        model: the served model.
        store: predictions are written there, and checks are read from it.
        journals: folder of the predictions that are not in the store yet.
        reports: folder of the reports.
        window_rows: rows of the largest window.
        body_limit: maximum size of a body in bytes.
        queue_limit: rows that may wait for the model, and for the store.
        durability: see `open_recorder`.
        on_failure: while the store cannot be written, 'refuse' predictions with 503, or 'spool' them in the
            journal until it can be written again.
        access_log: write one log line for each request.
        site_guard: refuses requests of other sites.
        tracing: records spans, or is off.
        clock: returns the time (UTC).
        budget_per_day: see `CheckCollector`.
        smallest_loss: see `CheckCollector`.
        compared_loss: the smallest loss that matters in a comparison of versions.
        versions: the registry of versions; None if the model never changes.
        prefix: finds the path below which a proxy publishes the service.
        cors_origins: origins of other sites with pages that may use the service; `*` for every site.
        access: checks the API key of each request; the default lets every request pass.
        logged: returns what is logged of the rows of a version; None for everything.
    """

    model: Model
    store: Store
    journals: Path
    reports: ReportFolder
    window_rows: int
    body_limit: int
    queue_limit: int
    access_log: bool
    site_guard: SiteGuard
    tracing: Tracing
    clock: Callable[[], datetime]
    durability: Durability = "process"
    on_failure: OnFailure = "refuse"
    budget_per_day: float | None = None
    smallest_loss: float | None = None
    compared_loss: SmallestLoss = field(default_factory=SmallestLoss)
    versions: VersionSource | None = None
    prefix: PathPrefix = field(default_factory=PathPrefix)
    cors_origins: tuple[str, ...] = ()
    access: Access = field(default_factory=Access)
    logged: Callable[[Model], LoggedValues | None] = lambda _: None
