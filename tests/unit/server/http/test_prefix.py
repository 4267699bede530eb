"""The path prefix of a request, configured or named by a proxy."""

from __future__ import annotations

from typing import Any

import pytest

from driftbell.server.http.prefix import PathPrefix, path_prefix, route_path


def applied(path: str, configured: str, header: str | None, *, use_header: bool) -> tuple[str, str]:
    headers = [(b"x-forwarded-prefix", header.encode())] if header is not None else []
    scope: dict[str, Any] = {"type": "http", "path": path, "headers": headers}
    PathPrefix(configured, use_header=use_header).apply(scope)
    assert scope["root_path"] == path_prefix()
    assert scope["path"] == scope["root_path"] + route_path(scope)
    return scope["root_path"], route_path(scope)


@pytest.mark.parametrize(
    ("path", "configured", "header", "use_header", "expected"),
    [
        ("/health", "/ml", None, False, ("/ml", "/health")),
        ("/ml/health", "/ml", None, False, ("/ml", "/health")),
        ("/ml", "/ml", None, False, ("/ml", "")),
        ("/mlx/health", "/ml", None, False, ("/ml", "/mlx/health")),
        ("/health", "", "/ml", True, ("/ml", "/health")),
        ("/health", "", "/ml/", True, ("/ml", "/health")),
        ("/ml/health", "", "/ml", True, ("/ml", "/ml/health")),
        ("/health", "", "/ml", False, ("", "/health")),
        ("/health", "/a", "/b/c", True, ("/b/c", "/health")),
        ("/a/health", "/a", "/b/c", True, ("/b/c", "/health")),
        ("/health", "/a", "//evil.example", True, ("/a", "/health")),
        ("/health", "", "/a/../b", True, ("", "/health")),
        ("/health", "", '/"onload=', True, ("", "/health")),
        ("/health", "", "", True, ("", "/health")),
    ],
)
def test_prefix_and_path_of_the_route(
    path: str, configured: str, header: str | None, use_header: bool, expected: tuple[str, str]
) -> None:
    assert applied(path, configured, header, use_header=use_header) == expected


def test_two_headers_are_ambiguous() -> None:
    headers = [(b"x-forwarded-prefix", b"/a"), (b"x-forwarded-prefix", b"/b")]
    scope: dict[str, Any] = {"type": "http", "path": "/health", "headers": headers}
    PathPrefix(use_header=True).apply(scope)
    assert scope["root_path"] == ""
