"""`POST /monitor/alertmanager`: receive Alertmanager's webhook and log each alert."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import APIRouter, Request, Response

from driftbell.errors import InputError
from driftbell.records import FieldProblem
from driftbell.server.http.body import read_json
from driftbell.server.http.problems import documented

MAX_ALERTS = 100
MAX_TEXT_LENGTH = 300
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
        summary="Receive Alertmanager alerts",
        status_code=204,
        response_class=Response,
        openapi_extra={"requestBody": body},
        responses=documented(400, 413, 415, 422),
    )
    async def alertmanager(request: Request) -> Response:
        """Log each alert of a webhook of Alertmanager as one line of the service's log."""
        alerts = await read_json(request, body_limit, webhook_alerts)
        for alert in alerts[:MAX_ALERTS]:
            _log_alert(alert)
        if len(alerts) > MAX_ALERTS:
            logger.warning("further alerts are not logged", count=len(alerts) - MAX_ALERTS)
        return Response(status_code=204)

    return router


def webhook_alerts(body: Any) -> list[dict[str, Any]]:
    """Parse the alerts of a webhook's body.

    Raises:
        InputError: the body is not a webhook of Alertmanager, version 4.
    """
    if not isinstance(body, dict) or body.get("version") != "4":
        raise _input_error("version", "send the webhook of Alertmanager, an object with 'version': \"4\"")
    alerts = body.get("alerts")
    if not isinstance(alerts, list):
        raise _input_error("alerts", "'alerts' must be a list")
    for row, alert in enumerate(alerts):
        if not isinstance(alert, dict) or alert.get("status") not in STATES:
            raise _input_error(
                "status", "each alert must be an object with the 'status' firing or resolved", row
            )
        if not _is_text_mapping(alert.get("labels")):
            raise _input_error("labels", "'labels' must be an object of strings", row)
        if not _is_text_mapping(alert.get("annotations", {})):
            raise _input_error("annotations", "'annotations' must be an object of strings", row)
    return alerts


def _is_text_mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _input_error(field: str, message: str, row: int | None = None) -> InputError:
    return InputError([FieldProblem(field, "alertmanager", message, row)])


def _log_alert(alert: dict[str, Any]) -> None:
    labels, annotations = alert["labels"], alert.get("annotations", {})
    firing = alert["status"] == "firing"
    (logger.warning if firing else logger.info)(
        f"alert {alert['status']}",
        alertname=labels.get("alertname", "")[:MAX_TEXT_LENGTH],
        severity=labels.get("severity", "")[:MAX_TEXT_LENGTH],
        summary=annotations.get("summary", "")[:MAX_TEXT_LENGTH],
    )
