"""`/monitor/*`: what the monitor does, and how to ask it for a check."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from driftbell.ports import Store
from driftbell.publish.json_views import alarm_shown, check_shown, notification_view
from driftbell.publish.report_folder import MAIN_REPORT, ReportFolder
from driftbell.records import Check, CheckKind, CheckRequest, Lease
from driftbell.server.http.problems import Refused, documented

RECENT = 20
POLL_SECONDS = 0.05
WAIT_SECONDS = 120.0


class MonitorView:
    """Reads what the monitor does from the log, for the API and the pages."""

    def __init__(
        self,
        log: Store,
        folder: ReportFolder,
        *,
        model: str,
        version: str,
        engine: str,
        engine_reason: str = "",
        window_rows: int,
        clock: Callable[[], datetime],
    ) -> None:
        self.log = log
        self.folder = folder
        self.clock = clock
        self._model = model
        self._version = version
        self._engine = {"engine": engine, "engine_reason": engine_reason}
        self._window_rows = window_rows

    def _lease(self) -> Lease | None:
        lease = self.log.coordination.lease()
        return lease if lease and lease.expires > self.clock() else None

    def monitor(self) -> str:
        """Return whether a monitor runs.

        Raises:
            StoreError: the log cannot be read.
        """
        return _running(self._lease())

    def status(self) -> dict[str, Any]:
        """Return the status.

        Raises:
            StoreError: the log cannot be read.
        """
        lease = self._lease()
        next_run = lease.next_run if lease else None
        last = self.last_check()
        totals = self.log.checks.totals()
        alarm = self.log.alarms.current(model=self._model, version=self._version)
        return {
            "enabled": next_run is not None,
            "monitor": _running(lease),
            "next_run": next_run.isoformat() if next_run else None,
            "data_points": self.log.predictions.count(
                model=self._model, version=self._version, limit=self._window_rows
            ),
            "window_rows": self._window_rows,
            "model": self._model,
            "version": self._version,
            **self._engine,
            "reports": self.reports(RECENT),
            "latest_report_url": latest_url(self.folder),
            "last_check": check_shown(last) if last else None,
            "checks": dict(totals.by_verdict),
            "check_failures": totals.failed,
            "notifications": self._notifications(),
            "alarm": alarm and alarm_shown(alarm),
            "warnings": list(last.state.warnings) if last else [],
        }

    def _notifications(self) -> dict[str, Any]:
        last = self.log.notifications.last(model=self._model, version=self._version)
        return {
            "last": last and notification_view(last),
            "pending": self.log.notifications.totals().get("pending", 0),
        }

    def last_check(self) -> Check | None:
        """Return the newest check of the served version."""
        return next(iter(self.log.checks.newest(1, version=self._version)), None)

    def reports(self, most: int | None = None) -> list[dict[str, Any]]:
        """List the reports, newest first."""
        return [
            {
                "name": f.name,
                "url": f"/reports/{f.name}",
                "time": f.time.isoformat(),
                "manual": f.manual,
                "size": f.size,
            }
            for f in self.folder.files()[:most]
        ]

    async def ask(self, kind: CheckKind, *, wait: bool) -> tuple[CheckRequest, Check | None]:
        """Ask for a check and, if told to, wait until it is done.

        Raises:
            Refused: 503, no monitor is running, or the check could not be made.
            StoreError: the log cannot be read or written.
        """
        lease = await run_in_threadpool(self.log.coordination.lease)
        if not lease or lease.expires <= self.clock():
            detail = (
                "no monitor is running yet: one that has just been started needs some seconds, "
                "else start one with `driftbell monitor`, or both with `driftbell up`"
            )
            raise Refused(503, "no_monitor", detail, headers={"Retry-After": "15"})
        asked = await run_in_threadpool(self.log.coordination.request_check, kind, self.clock())
        deadline = asyncio.get_running_loop().time() + (WAIT_SECONDS if wait else 0)
        while asked.state == "pending" and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(POLL_SECONDS)
            polled = await run_in_threadpool(self.log.coordination.get_request, asked.id)
            asked = polled or asked
        if asked.state == "failed":
            raise Refused(503, "check_failed", asked.error)
        found = await run_in_threadpool(self.log.checks.get, asked.check_id) if asked.check_id else None
        return asked, found


def _running(lease: Lease | None) -> str:
    return "running" if lease else "not running"


def latest_url(folder: ReportFolder) -> str | None:
    """Return the address of the newest report, or None."""
    name = f"{MAIN_REPORT}_latest.html"
    return f"/reports/{name}" if folder.open(name) else None


def monitor_router(view: MonitorView) -> APIRouter:
    """Build the routes."""
    router = APIRouter(prefix="/monitor", tags=["monitor"], responses=documented(503))

    @router.get("/status", summary="How things stand")
    def status() -> dict[str, Any]:
        """Whether checks run by themselves, when the next one is, how full the window is, recent reports."""
        return view.status()

    @router.post("/trigger_now", summary="Check for drift at once", responses=_asked())
    async def trigger_now(wait: bool = True) -> Response:
        """Run a check on the current window and answer when it is done, or at once with `wait=false`."""
        return _answer(*await view.ask(CheckKind.TRIGGERED, wait=wait))

    @router.get("/generate_report", summary="Make a manual report", responses=_asked())
    async def generate_report(wait: bool = True) -> Response:
        """Run a check whose report is named `drift_report_manual_…`."""
        return _answer(*await view.ask(CheckKind.MANUAL, wait=wait))

    @router.get("/checks", summary="The history of checks", responses=documented(422))
    def checks(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
        """The newest checks, newest first."""
        return {"checks": [check_shown(c, brief=True) for c in view.log.checks.newest(limit)]}

    @router.get("/checks/{check_id}", summary="One check, column by column", responses=documented(404, 422))
    def one_check(check_id: str) -> dict[str, Any]:
        """Every statistic of one check."""
        found = view.log.checks.get(check_id)
        if found is None:
            raise Refused(404, "unknown_check", "there is no check with this id; see /monitor/checks")
        return check_shown(found, columns=True)

    @router.get(
        "/requests/{request_id}", summary="Poll a check that was asked for", responses=documented(404, 422)
    )
    def one_request(request_id: str) -> dict[str, Any]:
        """`state` is `pending`, `done` (with the check) or `failed` (with the error)."""
        asked = view.log.coordination.get_request(request_id)
        if asked is None:
            raise Refused(404, "unknown_request", "nobody asked for a check under this id")
        return _polled(asked, view.log.checks.get(asked.check_id) if asked.check_id else None)

    return router


def _asked() -> dict[int | str, dict[str, Any]]:
    return {202: {"description": "Not done yet: poll the URL given."}, **documented(422)}


def _polled(asked: CheckRequest, found: Check | None) -> dict[str, Any]:
    shown = {"id": asked.id, "state": asked.state, "url": f"/monitor/requests/{asked.id}"}
    if asked.error:
        shown["error"] = asked.error
    return {**shown, "check": check_shown(found)} if found else shown


def _answer(asked: CheckRequest, found: Check | None) -> Response:
    if found is None:
        shown = _polled(asked, None)
        return JSONResponse(shown, 202, headers={"Location": shown["url"]})
    return JSONResponse(check_shown(found))
