"""The route template of a request, for metrics and logs."""

from __future__ import annotations

from starlette.types import Scope

from driftbell.server.http.prefix import MODEL_PATH, route_path

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}

OTHER = "other"
"""Any other method, and every method of a request that no route takes."""

QUIET = {"/metrics", "/health", "/health/live", "/static"}
"""Routes that machines ask for every few seconds; they are counted, neither logged nor traced."""


UNMATCHED = "unmatched"
"""The route of a request that no route takes."""


def route_of(scope: Scope) -> str:
    """Return the template of the route: raw paths would give unlimited label values.

    That of a further model begins with the path of the model, such as `/models/churn/predict`.
    """
    route = _template_of(scope)
    return route if route == UNMATCHED else f"{scope.get(MODEL_PATH, '')}{route}"


def _template_of(scope: Scope) -> str:
    template = getattr(scope.get("route"), "path", None)
    if template:
        return str(template)
    path = route_path(scope)
    if path.startswith("/static/"):
        return "/static"
    # a match without a template, such as /openapi.json, is on a fixed path
    return path if "endpoint" in scope else UNMATCHED
