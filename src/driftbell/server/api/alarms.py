"""`/monitor/alarms`: alarms, their annotations, and which rows to label."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from driftbell.alarms.annotations import MAX_LENGTHS, read_annotation
from driftbell.publish.json_views import alarm_shown
from driftbell.publish.label_sheet import label_sheet
from driftbell.records import Alarm, CheckKind
from driftbell.records.alarms import ANNOTATIONS
from driftbell.server.api.monitor import MonitorView
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

_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "A line for each row."}
}


def alarms_router(view: MonitorView, *, body_limit: int) -> APIRouter:
    """Build the routes.

    Args:
        view: reads the log.
        body_limit: bytes of the largest body.
    """
    router = APIRouter(prefix="/monitor/alarms", tags=["monitor"], responses=documented(503))

    @router.get("", summary="The history of alarms", responses=documented(422))
    def alarms(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
        """The newest alarms, newest first; one of each model version may be open."""
        return {"alarms": [alarm_shown(a) for a in view.log.alarms.newest(limit)]}

    @router.get("/{alarm_id}", summary="One alarm", responses=documented(404, 422))
    def one_alarm(alarm_id: str) -> dict[str, Any]:
        """When it opened and closed, what the newest check said about it, and what people said."""
        return alarm_shown(_known(view, alarm_id))

    @router.post(
        "/{alarm_id}/annotation",
        summary="Say what an alarm is",
        openapi_extra=_BODY,
        responses=documented(400, 404, 413, 415, 422),
    )
    async def annotate(alarm_id: str, request: Request) -> dict[str, Any]:
        """`expected`: what is current is the reference from now on. `false`: count anew.

        `silenced`: no message until the time in `until`. The next check heeds it; one is asked for at once.
        """
        body = await read_json(request, body_limit)
        return await run_in_threadpool(_annotate, view, alarm_id, body)

    @router.get(
        "/{alarm_id}/label-sheet",
        summary="The rows whose labels would settle it",
        response_class=Response,
        responses={**_CSV, **documented(404, 422)},
    )
    def to_label(alarm_id: str) -> Response:
        """A table with an empty column `label`: fill it in, and give it to `driftbell labels FILE`."""
        found = _known(view, alarm_id)
        headers = {"Content-Disposition": f'attachment; filename="label-sheet-{found.id}.csv"'}
        return Response(label_sheet(view.log, found), media_type="text/csv", headers=headers)

    return router


def _known(view: MonitorView, alarm_id: str) -> Alarm:
    found = view.log.alarms.get(alarm_id)
    if found is None:
        raise Refused(404, "unknown_alarm", "there is no alarm with this id; see /monitor/alarms")
    return found


def _annotate(view: MonitorView, alarm_id: str, body: Any) -> dict[str, Any]:
    alarm, now = _known(view, alarm_id), view.clock()
    annotated = view.log.alarms.annotate(alarm.id, read_annotation(body, alarm, now=now)) or alarm
    lease = view.log.coordination.lease()
    if annotated.closed and lease and lease.expires > now:
        view.log.coordination.request_check(CheckKind.TRIGGERED, now)
    return alarm_shown(annotated)
