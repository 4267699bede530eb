"""The scope that each route needs. The application does not start with a route that is missing here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, routing
from starlette.routing import Mount, compile_path

from driftbell.records.api_keys import ADMIN, LABEL, PREDICT, READ

OPEN = "open"
"""Needs no key."""

ACCESS = {
    ("POST", "/predict"): PREDICT,
    ("POST", "/predict/batch"): PREDICT,
    ("POST", "/invocations"): PREDICT,
    ("POST", "/v2/models/{name}/infer"): PREDICT,
    ("GET", "/v2/models/{name}"): PREDICT,
    ("GET", "/v2/models/{name}/ready"): READ,
    ("GET", "/v2"): READ,
    ("GET", "/v2/health/live"): READ,
    ("GET", "/v2/health/ready"): READ,
    ("GET", "/ping"): READ,
    ("POST", "/predictions"): PREDICT,
    ("GET", "/predictions/{prediction_id:path}"): READ,
    ("POST", "/cloudevents"): PREDICT,
    ("POST", "/labels"): LABEL,
    ("GET", "/health"): READ,
    ("GET", "/health/live"): READ,
    ("GET", "/metrics"): READ,
    ("GET", "/monitor/status"): READ,
    ("GET", "/monitor/checks"): READ,
    ("GET", "/monitor/checks/{check_id}"): READ,
    ("GET", "/monitor/checks/{check_id}/label-sheet"): READ,
    ("GET", "/monitor/requests/{request_id}"): READ,
    ("GET", "/monitor/performance"): READ,
    ("GET", "/monitor/alarms"): READ,
    ("GET", "/monitor/alarms/{alarm_id}"): READ,
    ("GET", "/monitor/alarms/{alarm_id}/label-sheet"): READ,
    ("POST", "/monitor/alarms/{alarm_id}/annotation"): ADMIN,
    ("GET", "/models"): READ,
    ("POST", "/models"): ADMIN,
    ("GET", "/models/compare"): READ,
    ("GET", "/models/{version}"): READ,
    ("POST", "/models/{version}/promote"): ADMIN,
    ("POST", "/models/{version}/challenge"): ADMIN,
    ("POST", "/models/challenger/stop"): ADMIN,
    ("POST", "/models/rollback"): ADMIN,
    ("POST", "/monitor/trigger_now"): ADMIN,
    ("GET", "/monitor/generate_report"): ADMIN,
    ("POST", "/monitor/alertmanager"): READ,  # it writes log lines and changes nothing
    ("GET", "/"): READ,
    ("GET", "/index.json"): READ,
    ("POST", "/check"): ADMIN,
    ("GET", "/reports/"): READ,
    ("GET", "/reports.json"): READ,
    ("GET", "/reports/{name}"): READ,
    ("GET", "/runbook"): READ,
    ("GET", "/runbook.json"): READ,
    ("GET", "/docs"): READ,
    ("GET", "/openapi.json"): READ,
    ("GET", "/login"): OPEN,
    ("POST", "/login"): OPEN,
    ("POST", "/logout"): OPEN,
    ("GET", "/static/{path:path}"): OPEN,  # files of the package, the same everywhere
}
"""Scope by method and path template. `HEAD` needs what `GET` needs; other methods need any valid key."""

OPENABLE = {
    "health": (
        *("/health", "/health/live", "/ping"),
        *("/v2/health/live", "/v2/health/ready", "/v2/models/{name}/ready"),
    ),
    "metrics": ("/metrics",),
}
"""Routes that the setting `auth.open` opens, by the name that it has for them."""


@dataclass(frozen=True, slots=True)
class RouteScope:
    """One entry of `ACCESS`.

    Attributes:
        path: the template, for metrics and logs.
        scope: the scope that it needs.
    """

    path: str
    scope: str


class RouteScopes:
    """Finds the entry of `ACCESS` for a request.

    Args:
        open_names: names of `OPENABLE` routes that need no key.
    """

    def __init__(self, open_names: Collection[str] = ()) -> None:
        opened = {path for name in open_names for path in OPENABLE[name]}
        self._exact: dict[tuple[str, str], RouteScope] = {}
        self._patterns: list[tuple[str, re.Pattern[str], RouteScope]] = []
        for (method, path), scope in ACCESS.items():
            entry = RouteScope(path, OPEN if path in opened else scope)
            if "{" not in path:
                self._exact[method, path] = entry
            # the router's own patterns, so that no path means one thing here and another there
            self._patterns.append((method, compile_path(path)[0], entry))

    def find(self, method: str, path: str) -> RouteScope | None:
        """Return the entry for a method and a path without prefix; None if no route takes them."""
        method = "GET" if method == "HEAD" else method
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact
        return next((e for m, pattern, e in self._patterns if m == method and pattern.match(path)), None)


def check_routes(app: FastAPI) -> None:
    """Compare `ACCESS` with the routes of an application.

    Raises:
        RuntimeError: a route is missing in `ACCESS`, or `ACCESS` has one that does not exist.
    """
    routes = set(routes_of(app))
    missing, superfluous = routes - ACCESS.keys(), ACCESS.keys() - routes
    if missing or superfluous:
        raise RuntimeError(
            f"driftbell.server.auth.access.ACCESS lacks {sorted(missing)}, and has {sorted(superfluous)} "
            "that are no routes"
        )


def routes_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Yield method and path template of each route; `HEAD` is implied by `GET`."""
    flatten: Any = getattr(routing, "iter_route_contexts", iter)  # newer versions keep routers nested
    routes: Iterable[Any] = flatten(app.routes)
    for route in routes:
        original = getattr(route, "original_route", route)
        if isinstance(original, Mount):
            yield "GET", f"{original.path}/{{path:path}}"
            continue
        if not getattr(route, "methods", None):  # of web sockets or hosts, which the guard does not know
            raise RuntimeError(f"{type(original).__name__} {getattr(original, 'path', '')!r} has no methods")
        for method in route.methods - {"HEAD"}:
            yield method, route.path
