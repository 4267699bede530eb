"""`/monitor/alarms`: list and annotate alarms, and download the rows to label."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from driftbell.alarms.annotations import MAX_LENGTHS, read_annotation
from driftbell.publish.json_views import alarm_view
from driftbell.publish.label_sheet import label_sheet
from driftbell.records import Alarm, CheckKind
from driftbell.records.alarms import ANNOTATIONS
from driftbell.server.api.label_sheet_responses import CSV_RESPONSE, label_sheet_response
from driftbell.server.api.monitor import MonitorView, VersionQuery
from driftbell.server.http.body import read_json
from driftbell.server.http.problems import Refused, documented

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["annotation", "author", "reason"],
                    "additionalProperties": False,
                    "properties": {
                        "annotation": {"type": "string", "enum": list(ANNOTATIONS)},
                        "author": {"type": "string", "minLength": 1, "maxLength": MAX_LENGTHS["author"]},
                        "reason": {"type": "string", "minLength": 1, "maxLength": MAX_LENGTHS["reason"]},
                        "until": {"type": "string", "format": "date-time"},
                    },
                },
                "example": {"annotation": "expected", "author": "ada", "reason": "the new sensor is in"},
            }
        },
    }
}


def alarms_router(view: MonitorView, *, body_limit: int) -> APIRouter:
    """Build the routes.

    Args:
        view: access to the store.
        body_limit: maximum size of a body in bytes.
    """
    router = APIRouter(prefix="/monitor/alarms", tags=["monitor"], responses=documented(503))

    @router.get("", summary="List alarms", responses=documented(404, 422))
    def alarms(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100, version: VersionQuery = None
    ) -> dict[str, Any]:
        """Return the alarms, of one version if it is given, newest first.

        At most one alarm of each model version is open.
        """
        newest = view.store.alarms.newest(limit, version=version)
        if not newest:
            view.require_version(version)
        return {"alarms": [alarm_view(alarm) for alarm in newest]}

    @router.get("/{alarm_id}", summary="Get one alarm", responses=documented(404, 422))
    def one_alarm(alarm_id: str) -> dict[str, Any]:
        """Return when the alarm opened and closed, the sentence of its newest check, and its annotation."""
        return alarm_view(_get_alarm(view, alarm_id))

    @router.post(
        "/{alarm_id}/annotation",
        summary="Annotate an alarm",
        openapi_extra=_BODY,
        responses=documented(400, 404, 413, 415, 422),
    )
    async def annotate(alarm_id: str, request: Request) -> dict[str, Any]:
        """Annotate an alarm as `expected`, `false` or `silenced`, with author and reason.

        `expected`: the current data become the baseline. `false`: the evidence starts again at zero.
        `silenced`: no notification is sent until the time in `until`. The annotation takes effect at the next
        check, which is requested at once if the annotation closes the alarm.
        """
        body = await read_json(request, body_limit, lambda body: body)
        return await run_in_threadpool(_annotate, view, alarm_id, body)

    @router.get(
        "/{alarm_id}/label-sheet",
        summary="Download the rows to label",
        response_class=Response,
        responses={**CSV_RESPONSE, **documented(404, 422)},
    )
    def download_label_sheet(alarm_id: str) -> Response:
        """Return the predictions to label as CSV.

        Fill in the empty column `label` and send the file with `driftbell labels FILE --url URL`: the labels
        confirm or refute the alarm.
        """
        alarm = _get_alarm(view, alarm_id)
        return label_sheet_response(label_sheet(view.store, alarm), alarm.id)

    return router


def _get_alarm(view: MonitorView, alarm_id: str) -> Alarm:
    alarm = view.store.alarms.get(alarm_id)
    if alarm is None:
        raise Refused(404, "unknown_alarm", "no alarm has this id; GET /monitor/alarms lists all alarms")
    return alarm


def _annotate(view: MonitorView, alarm_id: str, body: Any) -> dict[str, Any]:
    alarm, now = _get_alarm(view, alarm_id), view.clock()
    annotated = view.store.alarms.annotate(alarm.id, read_annotation(body, alarm, now=now)) or alarm
    lease = view.store.coordination.lease()
    if annotated.closed and lease and lease.expires > now:
        view.store.coordination.request_check(CheckKind.TRIGGERED, now)
    return alarm_view(annotated)
