"""`POST /monitor/alertmanager`: log alerts of Alertmanager, one line each."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import APIRouter, Request, Response

from driftbell.errors import InputError
from driftbell.records import FieldProblem
from driftbell.server.http.body import read_json
from driftbell.server.http.problems import documented

MOST_ALERTS = 100
LONGEST_TEXT = 300
STATES = ("firing", "resolved")

logger = structlog.get_logger()

_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
SCHEMA: dict[str, Any] = {
    "title": "AlertmanagerWebhook",
    "type": "object",
    "required": ["version", "alerts"],
    "properties": {
        "version": {"const": "4"},
        "alerts": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["status", "labels"],
                "properties": {"status": {"enum": list(STATES)}, "labels": _TEXTS, "annotations": _TEXTS},
            },
        },
    },
}
EXAMPLE = {
    "version": "4",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "DriftAlarm", "severity": "warning"},
            "annotations": {"summary": "The inputs of iris have drifted."},
        }
    ],
}


def alertmanager_router(*, body_limit: int) -> APIRouter:
    """Build the route."""
    router = APIRouter(prefix="/monitor", tags=["monitor"])
    body = {"required": True, "content": {"application/json": {"schema": SCHEMA, "example": EXAMPLE}}}

    @router.post(
        "/alertmanager",
        summary="Log what Alertmanager says",
        status_code=204,
        response_class=Response,
        openapi_extra={"requestBody": body},
        responses=documented(400, 413, 415, 422),
    )
    async def alertmanager(request: Request) -> Response:
        """A receiver for Alertmanager's webhook: each alert becomes one line of the service's log."""
        alerts = webhook_alerts(await read_json(request, body_limit))
        for alert in alerts[:MOST_ALERTS]:
            _tell(alert)
        if len(alerts) > MOST_ALERTS:
            logger.warning("more alerts are not shown", count=len(alerts) - MOST_ALERTS)
        return Response(status_code=204)

    return router


def webhook_alerts(body: Any) -> list[dict[str, Any]]:
    """Parse the alerts of a webhook's body.

    Raises:
        InputError: it is not what Alertmanager sends.
    """
    if not isinstance(body, dict) or body.get("version") != "4":
        raise _wrong("version", "send Alertmanager's webhook, an object whose 'version' is \"4\"")
    alerts = body.get("alerts")
    if not isinstance(alerts, list):
        raise _wrong("alerts", "'alerts' must be a list")
    for row, alert in enumerate(alerts):
        if not isinstance(alert, dict) or alert.get("status") not in STATES:
            raise _wrong("status", "each alert must be an object whose 'status' is firing or resolved", row)
        if not _texts(alert.get("labels")):
            raise _wrong("labels", "'labels' must be an object of strings", row)
        if not _texts(alert.get("annotations", {})):
            raise _wrong("annotations", "'annotations' must be an object of strings", row)
    return alerts


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _wrong(field: str, message: str, row: int | None = None) -> InputError:
    return InputError([FieldProblem(field, "alertmanager", message, row)])


def _tell(alert: dict[str, Any]) -> None:
    labels, annotations = alert["labels"], alert.get("annotations", {})
    firing = alert["status"] == "firing"
    (logger.warning if firing else logger.info)(
        f"alert {alert['status']}",
        alertname=labels.get("alertname", "")[:LONGEST_TEXT],
        severity=labels.get("severity", "")[:LONGEST_TEXT],
        summary=annotations.get("summary", "")[:LONGEST_TEXT],
    )
