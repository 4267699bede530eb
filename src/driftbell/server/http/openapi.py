"""Parts of OpenAPI that depend on the served model; they follow it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from driftbell.ports import Model

NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""Telemetry of newer versions of FastAPI is off: it exports messages that may hold feature values."""


@dataclass(frozen=True, slots=True)
class Description:
    """Bodies of a route.

    Attributes:
        request: the content of the request's body, by media type.
        answer: the response 200.
    """

    request: dict[str, Any]
    answer: dict[str, Any]


def describe_routes(
    document: dict[str, Any], describe: Mapping[str, Callable[[Model], Description]], model: Model
) -> None:
    """Write the bodies of routes for a model into an OpenAPI document.

    Args:
        document: the document.
        describe: describes the POST route of a path for a model.
        model: the served model.
    """
    for path, description_of in describe.items():
        if path not in document["paths"]:  # not served
            continue
        operation, description = document["paths"][path]["post"], description_of(model)
        operation["requestBody"] = {"required": True, "content": description.request}
        operation["responses"]["200"] = description.answer
