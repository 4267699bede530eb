"""Audit lines: who changed what, in the service's log."""

from __future__ import annotations

from collections.abc import Awaitable

import structlog
from starlette.types import Message, Scope, Send

from driftbell.server.http.prefix import MODEL_PATH, route_path

MAX_TARGET_LENGTH = 200

logger = structlog.get_logger()


def write_audit_line(who: str, action: str, target: str, **fields: object) -> None:
    """Write one line.

    Args:
        who: the name of the key, or the command that changed the store.
        action: the method and path template of the request, or what happened to a key.
        target: the path of the request, or the name of the key.
        fields: more facts.
    """
    logger.info("audit", who=who, action=action, target=target[:MAX_TARGET_LENGTH], **fields)


def audited(scope: Scope, template: str, send: Send) -> Send:
    """Return a `send` that writes the audit line of a request when its answer begins."""
    model = scope.get(MODEL_PATH, "")

    def send_on(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            key = scope["driftbell.key"]
            write_audit_line(
                key.name,
                f"{scope['method']} {model}{template}",
                model + route_path(scope),
                key_id=key.id,
                client=client_address(scope),
                status=message["status"],
            )
        return send(message)

    return send_on


def client_address(scope: Scope) -> str:
    """Return the address that connects; behind `server.trusted_proxies`, that of their client."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"
