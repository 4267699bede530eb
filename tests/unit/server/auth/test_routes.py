"""Routes that no scope is known of stop the start, and those that a setting opens need no key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from tests.unit.server.auth.site import Site

from driftbell.records.api_keys import PREDICT, READ
from driftbell.server.auth.access import ACCESS, OPENABLE, check_routes


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    opened = Site(tmp_path)
    yield opened
    opened.close()


@pytest.mark.parametrize("open_names", [(), ("health",), ("metrics",), ("health", "metrics")])
def test_health_and_metrics_are_open_or_closed_by_the_setting(
    open_names: tuple[str, ...], tmp_path: Path
) -> None:
    site = Site(tmp_path, open_names=open_names)
    for name, paths in OPENABLE.items():
        for template in paths:
            path = template.replace("{name}", "stub")
            refusals = {site.call(method, path).status == 401 for method in ("GET", "HEAD")}
            assert refusals == {name not in open_names}, path
            assert site.call("GET", path, PREDICT).status != 403 or name not in open_names, path
            assert site.call("GET", path, READ).status not in (401, 403), path
    site.close()


def test_a_route_without_a_scope_stops_the_start(site: Site) -> None:
    check_routes(site.app)
    site.app.get("/new")(lambda: None)
    with pytest.raises(RuntimeError, match=r"lacks \[\('GET', '/new'\)\]"):
        check_routes(site.app)
    site.app.router.routes[:] = [
        r for r in site.app.router.routes if getattr(r, "path", "") not in ("/new", "/metrics")
    ]
    with pytest.raises(RuntimeError, match=r"has \[\('GET', '/metrics'\)\]"):
        check_routes(site.app)
    assert {path for paths in OPENABLE.values() for path in paths} <= {path for _, path in ACCESS}


def test_a_web_socket_stops_the_start(site: Site) -> None:
    site.app.websocket("/ws")(lambda socket: None)
    with pytest.raises(RuntimeError, match="WebSocketRoute '/ws' has no methods"):
        check_routes(site.app)


def test_a_mounted_application_stops_the_start(site: Site) -> None:
    site.app.mount("/more", Starlette(routes=[Route("/a", lambda request: None, methods=["POST"])]))
    with pytest.raises(RuntimeError, match=r"lacks \[\('GET', '/more/\{path:path\}'\)\]"):
        check_routes(site.app)
    assert site.call("POST", "/more/a").status == 401, "and nobody reaches it without a key"
