"""HTML pages: first page, reports, runbook and API docs; no page loads anything from another host."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from importlib.resources import files
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

import driftbell
from driftbell.errors import StoreError
from driftbell.models.challenge import last_rollback
from driftbell.process.supervised_thread import SupervisedThread
from driftbell.publish.alarm_texts import alarm_facts, alarm_title
from driftbell.publish.charts import histogram_svg
from driftbell.publish.column_cards import ColumnCards, column_cards
from driftbell.publish.degradation_block import register_template_globals
from driftbell.publish.json_views import alarm_view, check_view
from driftbell.publish.report_folder import MAIN_REPORT, OWN_REPORT, own_first
from driftbell.publish.wording import drift_sentence
from driftbell.records import CheckKind, TrafficBucket
from driftbell.records.versions import VersionInUse, VersionRole
from driftbell.server.api.monitor import MonitorView, VersionQuery, linked_view
from driftbell.server.auth.session import may_change, session_name
from driftbell.server.http.prefix import path_prefix, service_prefix
from driftbell.server.http.problems import Refused
from driftbell.server.model_state import ModelState
from driftbell.server.traffic import BUCKET_SECONDS, TrafficCounts

MAX_CHECKS = 12
MAX_ALARMS = 5
MAX_DRIFTED_LINKS = 8
"""Drifted columns that the page names above the cards."""

MAX_EXAMPLE = 1500
"""Characters of an example row in a command; a longer one is left to a file."""

ColumnQuery = Annotated[str, Query(max_length=200)]
"""The parameter `column`: a part of the names of the columns that the first page shows."""

StartQuery = Annotated[int, Query(ge=0, le=1_000_000)]
"""The parameter `start`: number of columns before the first one that the page shows."""

CARD_WIDTH, CARD_HEIGHT = 230, 100
"""Size of a column's histogram: about the width of its card, so that its labels are not scaled down."""

PAGE_POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "img-src data: blob:; font-src data:; base-uri 'none'; frame-ancestors 'self'; sandbox allow-scripts"
)

RUNBOOK = json.loads(files("driftbell.server").joinpath("runbook.json").read_text("utf-8"))
"""Meaning, diagnosis and fix of each alert in `deploy/prometheus/rules`; the alerts link to the page."""

_templates = Environment(
    loader=ChoiceLoader([PackageLoader("driftbell.server"), PackageLoader("driftbell", "publish")]),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
register_template_globals(_templates)
_templates.globals["alarm_facts"] = alarm_facts
_templates.globals["alarm_title"] = alarm_title
_templates.globals["root"] = path_prefix
_templates.globals["service_root"] = service_prefix
_templates.globals["own_first"] = own_first
_templates.globals["session_name"] = session_name
_templates.globals["may_change"] = may_change


class Pages:
    """The pages of a service.

    Args:
        view: reads the checks and the reports.
        models: the states of further models by name, which the first page lists.
    """

    def __init__(self, view: MonitorView, models: Mapping[str, ModelState] = MappingProxyType({})) -> None:
        self._view = view
        self._models = models
        self._counts = TrafficCounts(view.store.predictions)

    def prepare(self) -> None:
        """Build the first page in a thread, so that nobody waits for the templates and the traffic."""
        SupervisedThread(self._build, name="pages").start()

    def _build(self) -> None:
        with suppress(StoreError):  # the first load tries again
            render_page("home.html.j2", base="", models=[], **_home(self._view, self._counts))

    def router(self) -> APIRouter:
        """Build the routes of the pages. OpenAPI does not list them."""
        return _router(self._view, self._counts, self._models)


def _router(view: MonitorView, counts: TrafficCounts, states: Mapping[str, ModelState]) -> APIRouter:
    def models() -> list[dict[str, Any]]:
        return [state.overview(name) for name, state in states.items()]

    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def home(
        request: Request, version: VersionQuery = None, column: ColumnQuery = "", start: StartQuery = 0
    ) -> Response:
        context = _home(view, counts, version, column, start)
        return render_page("home.html.j2", base=str(request.base_url), models=models(), **context)

    @router.get("/index.json")
    def home_json(version: VersionQuery = None) -> Response:
        more = {"models": models()} if states else {}
        return JSONResponse({**_home_json(view, counts, version), **more})

    @router.post("/check")
    async def check_now() -> Response:
        await view.request_check(CheckKind.TRIGGERED, wait=True)
        return RedirectResponse(f"{path_prefix()}/", 303)

    @router.get("/reports/")
    def reports() -> Response:
        latest = [f"{prefix}_latest.html" for prefix in (OWN_REPORT, MAIN_REPORT)]
        existing = [name for name in latest if view.folder.open(name)] or latest[1:]
        return render_page("reports.html.j2", reports=view.folder.files(), latest=existing)

    @router.get("/reports.json")
    def reports_json() -> Response:
        return JSONResponse({"reports": view.reports()})

    @router.get("/reports/{name}")
    def report(name: str) -> Response:
        path = view.folder.open(name)
        if path is None:
            raise Refused(404, "unknown_report", "no report has this name; /reports/ lists all reports")
        headers = {"Content-Security-Policy": REPORT_POLICY, "Cache-Control": "no-cache", **_SAFE}
        return FileResponse(path, media_type="text/html", headers=headers)

    @router.get("/runbook")
    def runbook() -> Response:
        return render_page("runbook.html.j2", entries=RUNBOOK)

    @router.get("/runbook.json")
    def runbook_json() -> Response:
        return JSONResponse({"alerts": RUNBOOK})

    @router.get("/docs")
    def docs(request: Request) -> Response:
        return render_page("docs.html.j2", spec=f"{path_prefix()}{request.app.openapi_url}")

    return router


_SAFE = {"Referrer-Policy": "same-origin"}


def render_page(template: str, **context: Any) -> Response:
    """Build the answer with a page."""
    content = _templates.get_template(template).render(version=driftbell.__version__, **context)
    headers = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-store", **_SAFE}
    return HTMLResponse(content, headers=headers)


def _chosen(view: MonitorView, versions: Sequence[VersionInUse], version: str | None) -> VersionInUse | None:
    """Return the version that a page is about; None for the served one.

    Raises:
        Refused: 404, no version with predictions or checks has this name.
    """
    if version is None:
        return None
    in_use = next((item for item in versions if item.version == version), None)
    last = view.last_check(version, versions)
    if in_use is None and last is None:
        view.require_version(version)  # one without predictions and checks has an empty page
    return in_use or VersionInUse(version, VersionRole.REPLACED, last_check=last)


def _home(
    view: MonitorView, counts: TrafficCounts, version: str | None = None, column: str = "", start: int = 0
) -> dict[str, Any]:
    now = view.clock()
    with view.store.snapshot():
        traffic = counts.last_hour(now)  # first, before others have counted rows that this snapshot lacks
        versions = view.versions()
        chosen = _chosen(view, versions, version)
        status = view.status(versions)
        checks = view.store.checks.newest(MAX_CHECKS, version=version)
        last = view.last_check(version, versions)
        alarm = view.store.alarms.current(model=status["model"], version=version or status["version"])
        alarms = view.store.alarms.newest(MAX_ALARMS, version=version)
        rolled_back = last_rollback(view.store.versions, model=status["model"])
    cards = column_cards(last.judgement, column, start) if last else ColumnCards()
    histograms = {
        c.column: histogram_svg(c.comparison.histogram, width=CARD_WIDTH, height=CARD_HEIGHT, compact=True)
        for _, c in cards.cards
        if c.comparison.histogram
    }
    example = json.dumps(view.served().schema.example)
    drifted = column_cards(last.judgement).cards if last else ()
    return {
        "status": status,
        "last": last,
        "alarm": alarm,
        "alarms": alarms,
        "chosen": chosen,
        "rolled_back": rolled_back,
        "versions": list(zip(versions, status["versions"], strict=True)),
        "checks": checks,
        "histograms": histograms,
        "columns": cards,
        "drifted": [(i, c.column) for i, c in drifted[:MAX_DRIFTED_LINKS] if c.drifted],
        "drift": drift_sentence(last.judgement) if last else ("", ""),
        "traffic": traffic_by_minute(traffic.buckets, now),
        "total": traffic.total,
        "complete": traffic.complete,
        "mean_latency": traffic.mean_latency_ms,
        "max_latency": traffic.max_latency_ms,
        "now": now,
        "example": example if len(example) <= MAX_EXAMPLE else "",
    }


def _home_json(view: MonitorView, counts: TrafficCounts, version: str | None) -> dict[str, Any]:
    with view.store.snapshot():
        traffic = counts.last_hour(view.clock())  # first, as on the page
        versions = view.versions()
        _chosen(view, versions, version)
        status = view.status(versions)
        checks = view.store.checks.newest(MAX_CHECKS, version=version)
        last = view.last_check(version, versions)
        alarms = view.store.alarms.newest(MAX_ALARMS, version=version)
    return {
        "status": status,
        "alarms": [alarm_view(alarm) for alarm in alarms],
        "checks": [linked_view(c, brief=True) for c in checks],
        "columns": check_view(last, columns=True)["columns"] if last else [],
        "traffic": [
            {
                "start": b.start.isoformat(),
                "count": b.count,
                "mean_latency_ms": b.mean_latency_ms,
                "max_latency_ms": b.max_latency_ms,
            }
            for b in traffic.buckets
        ],
        "traffic_complete": traffic.complete,
    }


def traffic_by_minute(buckets: list[TrafficBucket], now: datetime) -> list[tuple[datetime, int, float]]:
    """Return start, count and mean latency of each minute of the last hour, including empty ones."""
    by_start = {b.start: b for b in buckets}
    last = now.replace(second=0, microsecond=0)
    starts = [last - timedelta(seconds=BUCKET_SECONDS * i) for i in range(59, -1, -1)]
    return [
        (s, by_start[s].count, by_start[s].mean_latency_ms) if s in by_start else (s, 0, 0.0) for s in starts
    ]
