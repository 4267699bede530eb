"""`/monitor/*`: status of the monitor, history of checks, and requests for a check."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from driftbell.models.known_versions import known_versions, unknown_version_text
from driftbell.models.versions_in_use import versions_in_use
from driftbell.ports import Model, Store
from driftbell.publish.json_views import alarm_view, check_view, notification_view
from driftbell.publish.label_sheet import check_label_sheet
from driftbell.publish.report_folder import MAIN_REPORT, ReportFolder
from driftbell.publish.version_views import version_in_use_view
from driftbell.records import Check, CheckKind, CheckRequest, Lease
from driftbell.records.versions import VersionInUse
from driftbell.server.api.label_sheet_responses import CSV_RESPONSE, label_sheet_response
from driftbell.server.http.prefix import path_prefix
from driftbell.server.http.problems import Refused, documented

RECENT_REPORTS = 20
MAX_VERSIONS = 5
"""Versions in use that are listed."""

POLL_SECONDS = 0.05
WAIT_SECONDS = 120.0

VersionQuery = Annotated[str | None, Query(min_length=1, max_length=64, pattern=r"^[^\x00]+$")]
"""The parameter `version`: a version of the model."""


class MonitorView:
    """Status of the monitor for the API and the pages, read from the store.

    Args:
        store: the prediction store.
        folder: folder of reports.
        served: returns the served model.
        window_rows: size of the window.
        clock: returns the time (UTC).
    """

    def __init__(
        self,
        store: Store,
        folder: ReportFolder,
        *,
        served: Callable[[], Model],
        window_rows: int,
        clock: Callable[[], datetime],
    ) -> None:
        self.store = store
        self.folder = folder
        self.clock = clock
        self.served = served
        self._window_rows = window_rows

    def _lease(self) -> Lease | None:
        lease = self.store.coordination.lease()
        return lease if lease and lease.expires > self.clock() else None

    def monitor(self) -> str:
        """Return "running" or "not running".

        Raises:
            StoreError: the store cannot be read.
        """
        return _monitor_state(self._lease())

    def status(self, versions: Sequence[VersionInUse] | None = None) -> dict[str, Any]:
        """Return the status as JSON.

        Args:
            versions: those of `versions`, if they were read already.

        Raises:
            StoreError: the store cannot be read.
        """
        model = self.served()
        served: dict[str, Any] = {"model": model.name, "version": model.version}
        lease = self._lease()
        next_run = lease.next_run if lease else None
        versions = self.versions() if versions is None else versions
        last = self.last_check(versions=versions)
        totals = self.store.checks.totals()
        alarm = self.store.alarms.current(**served)
        return {
            "enabled": next_run is not None,
            "monitor": _monitor_state(lease),
            "next_run": next_run.isoformat() if next_run else None,
            "data_points": self.store.predictions.count(**served, limit=self._window_rows),
            "window_rows": self._window_rows,
            **served,
            "engine": model.engine,
            "engine_reason": model.engine_reason,
            "reports": self.reports(RECENT_REPORTS),
            "latest_report_url": latest_url(self.folder),
            "last_check": linked_view(last) if last else None,
            "checks": dict(totals.by_verdict),
            "check_failures": totals.failed,
            "notifications": self._notifications(model),
            "alarm": alarm and alarm_view(alarm),
            "warnings": list(last.state.warnings) if last else [],
            "versions": self._version_views(versions),
        }

    def _version_views(self, versions: Sequence[VersionInUse]) -> list[dict[str, Any]]:
        model = self.served().name
        counts = self.store.predictions.counts_by_version(self._window_rows, model=model)
        total = sum(counts.values())
        return [
            version_in_use_view(
                item,
                counts.get(item.version, 0) / total if total else None,
                self.store.alarms.current(model=model, version=item.version),
            )
            for item in versions
        ]

    def _notifications(self, model: Model) -> dict[str, Any]:
        last = self.store.notifications.last(model=model.name, version=model.version)
        return {
            "last": last and notification_view(last),
            "pending": self.store.notifications.totals().get("pending", 0),
        }

    def versions(self) -> list[VersionInUse]:
        """Return the served version first, then the challenger and the newest others, few in all.

        Raises:
            StoreError: the store cannot be read.
        """
        model, now = self.served(), self.clock()
        state = self.store.versions.state(now, model=model.name)
        options: dict[str, Any] = {"model": model.name, "now": now, "limit": MAX_VERSIONS}
        return versions_in_use(self.store, state, served=model.version, **options)

    def last_check(self, version: str | None = None, versions: Sequence[VersionInUse] = ()) -> Check | None:
        """Return the newest check of a version, or of the served one; `versions` were read already."""
        version = version or self.served().version
        for item in versions:
            if item.version == version:
                return item.last_check
        return next(iter(self.store.checks.newest(1, version=version)), None)

    def unknown_version(self, version: str, further_models: Iterable[str] = ()) -> Refused:
        """Return the answer to a request for a version that does not exist, with those that do.

        Raises:
            StoreError: the store cannot be read.
        """
        model = self.served().name
        known = known_versions(self.store, model=model)
        text = unknown_version_text(version, known, model=model, further_models=further_models)
        return Refused(404, "unknown_version", text)

    def require_version(self, version: str | None) -> None:
        """Require that a version is known; called where nothing of it was read.

        Raises:
            Refused: 404, it is not.
            StoreError: the store cannot be read.
        """
        model = self.served()
        if version in (None, model.version) or version in known_versions(self.store, model=model.name):
            return
        raise self.unknown_version(str(version))

    def reports(self, max_reports: int | None = None) -> list[dict[str, Any]]:
        """Return the reports, newest first."""
        return [
            {
                "name": f.name,
                "url": f"{path_prefix()}/reports/{f.name}",
                "time": f.time.isoformat(),
                "manual": f.manual,
                "size": f.size,
                "verdict": f.verdict and f.verdict.value,
                "version": f.version or None,
            }
            for f in self.folder.files(max_reports)
        ]

    async def request_check(self, kind: CheckKind, *, wait: bool) -> tuple[CheckRequest, Check | None]:
        """Request a check from the monitor.

        Args:
            kind: kind of the check.
            wait: wait until the check is done, at most `WAIT_SECONDS`.

        Returns:
            The request, and its check if it is done.

        Raises:
            Refused: 503, no monitor is running, or the check failed.
            StoreError: the store cannot be read or written.
        """
        lease = await run_in_threadpool(self.store.coordination.lease)
        if not lease or lease.expires <= self.clock():
            await run_in_threadpool(self.store.ping)  # a monitor that cannot write loses its lease
            detail = (
                "no monitor is running: start one with `driftbell monitor`, or service and monitor with "
                "`driftbell up`; a monitor needs a few seconds to start"
            )
            raise Refused(503, "no_monitor", detail, headers={"Retry-After": "15"})
        request = await run_in_threadpool(self.store.coordination.request_check, kind, self.clock())
        deadline = asyncio.get_running_loop().time() + (WAIT_SECONDS if wait else 0)
        while request.state == "pending" and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(POLL_SECONDS)
            polled = await run_in_threadpool(self.store.coordination.get_request, request.id)
            request = polled or request
        if request.state == "failed":
            raise Refused(503, "check_failed", request.error, headers={"Retry-After": "15"})
        if not request.check_id:
            return request, None
        return request, await run_in_threadpool(self.store.checks.get, request.check_id)


def _monitor_state(lease: Lease | None) -> str:
    return "running" if lease else "not running"


def latest_url(folder: ReportFolder) -> str | None:
    """Return the path of the newest report; None without reports."""
    name = f"{MAIN_REPORT}_latest.html"
    return f"{path_prefix()}/reports/{name}" if folder.open(name) else None


def linked_view(check: Check, **options: bool) -> dict[str, Any]:
    """Return a check as JSON, with links below the path prefix of the request; see `check_view`."""
    view, prefix = check_view(check, **options), path_prefix()
    if prefix:
        view["reports"] = [prefix + url for url in view["reports"]]
        view["report_url"] = view["report_url"] and prefix + view["report_url"]
    return view


def monitor_router(view: MonitorView) -> APIRouter:
    """Build the routes."""
    router = APIRouter(prefix="/monitor", tags=["monitor"], responses=documented(503))

    @router.get("/status", summary="Get the status of the monitor")
    def status() -> dict[str, Any]:
        """Return whether checks are scheduled, the next one, the window, recent reports and the versions."""
        with view.store.snapshot():
            return view.status()

    @router.post("/trigger_now", summary="Run a check now", responses=_check_responses())
    async def trigger_now(wait: bool = True) -> Response:
        """Check the current window for drift and degradation.

        The answer comes when the check is done, or at once with `wait=false`.
        """
        return _check_response(*await view.request_check(CheckKind.TRIGGERED, wait=wait))

    @router.get("/generate_report", summary="Generate a manual report", responses=_check_responses())
    async def generate_report(wait: bool = True) -> Response:
        """Run a check and write its report to `drift_report_manual_YYYYMMDD_HHMMSS.html`."""
        return _check_response(*await view.request_check(CheckKind.MANUAL, wait=wait))

    @router.get("/checks", summary="List checks", responses=documented(404, 422))
    def checks(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100, version: VersionQuery = None
    ) -> dict[str, Any]:
        """Return the checks, of one version if it is given, newest first, without evidence and columns."""
        newest = view.store.checks.newest(limit, version=version)
        if not newest:
            view.require_version(version)
        return {"checks": [linked_view(c, brief=True) for c in newest]}

    @router.get("/checks/{check_id}", summary="Get one check", responses=documented(404, 422))
    def one_check(check_id: str) -> dict[str, Any]:
        """Return one check with its evidence and every statistic of every column."""
        return linked_view(_get_check(view, check_id), columns=True)

    @router.get(
        "/checks/{check_id}/label-sheet",
        summary="Download the rows that a check wants labelled",
        response_class=Response,
        responses={**CSV_RESPONSE, **documented(404, 422)},
    )
    def download_label_sheet(check_id: str) -> Response:
        """Return the predictions to label of a check as CSV.

        Fill in the empty column `label` and send the file with `driftbell labels FILE --url URL`.
        """
        check = _get_check(view, check_id)
        return label_sheet_response(check_label_sheet(view.store, check), check.id)

    @router.get("/requests/{request_id}", summary="Poll a requested check", responses=documented(404, 422))
    def one_request(request_id: str) -> dict[str, Any]:
        """Return the request's state: `pending`, `done` (with the check) or `failed` (with the error)."""
        request = view.store.coordination.get_request(request_id)
        if request is None:
            raise Refused(404, "unknown_request", "no request for a check has this id")
        return _request_view(request, view.store.checks.get(request.check_id) if request.check_id else None)

    return router


def _get_check(view: MonitorView, check_id: str) -> Check:
    check = view.store.checks.get(check_id)
    if check is None:
        raise Refused(404, "unknown_check", "no check has this id; GET /monitor/checks lists the newest")
    return check


def _check_responses() -> dict[int | str, dict[str, Any]]:
    return {202: {"description": "The check is not done yet: poll the URL in `Location`."}, **documented(422)}


def _request_view(request: CheckRequest, check: Check | None) -> dict[str, Any]:
    view = {"id": request.id, "state": request.state, "url": f"{path_prefix()}/monitor/requests/{request.id}"}
    if request.error:
        view["error"] = request.error
    return {**view, "check": linked_view(check)} if check else view


def _check_response(request: CheckRequest, check: Check | None) -> Response:
    if check is None:
        view = _request_view(request, None)
        return JSONResponse(view, 202, headers={"Location": view["url"]})
    return JSONResponse(linked_view(check))
