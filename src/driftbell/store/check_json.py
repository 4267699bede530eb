"""Checks as JSON, in the column `body`."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog

from driftbell.records import Check

logger = structlog.get_logger()


def check_to_json(check: Check) -> dict[str, Any]:
    """Serialize a check as a JSON object."""
    body: dict[str, Any] = msgspec.to_builtins(check)
    return body


def check_from_json(body: dict[str, Any]) -> Check:
    """Parse a check.

    The state belongs to the monitor. One that another release wrote, and that does not parse, is dropped:
    the next check starts with new evidence.
    """
    try:
        return msgspec.convert(body, Check)
    except msgspec.ValidationError as error:
        if not body.get("state"):
            raise
        logger.warning("state of a check cannot be read and is dropped", check_id=body.get("id"))
        try:
            return msgspec.convert({**body, "state": {}}, Check)
        except msgspec.ValidationError:
            raise error from None
