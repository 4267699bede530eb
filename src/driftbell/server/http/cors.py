"""Cross-origin resource sharing: which web pages of other sites may use the service (Fetch Standard, 3.3)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

PREFLIGHT_SECONDS = 600
"""A browser may keep the answer to a preflight for so long."""


def cors_options(origins: Collection[str]) -> dict[str, Any]:
    """Return the options of `starlette.middleware.cors.CORSMiddleware`.

    Args:
        origins: allowed origins such as `https://app.example.org`; `*` for every site.
    """
    return {
        "allow_origins": tuple(origins),
        "allow_methods": ("GET", "HEAD", "POST"),
        "allow_headers": (
            *("Authorization", "Content-Encoding", "Content-Type", "Traceparent", "Tracestate", "X-API-Key"),
            "X-Request-ID",
        ),
        "expose_headers": ("Location", "Retry-After", "X-Request-ID"),
        "max_age": PREFLIGHT_SECONDS,
    }
