"""The part of OpenAPI about API keys."""

from __future__ import annotations

from typing import Any

from driftbell.server.auth.access import ACCESS, OPEN
from driftbell.server.http.problems import documented

SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a token of the issuer in `auth.issuer`.",
    },
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def add_security(spec: dict[str, Any]) -> None:
    """Add to each operation of a specification which scope its key needs."""
    spec.setdefault("components", {})["securitySchemes"] = SCHEMES
    refusals = {str(status): answer for status, answer in documented(401, 403).items()}
    scopes = {(method, path.replace(":path}", "}")): scope for (method, path), scope in ACCESS.items()}
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            scope = scopes[method.upper(), path]
            if scope == OPEN:
                continue
            operation["security"] = [{name: []} for name in SCHEMES]
            operation["responses"] |= refusals
            text = f"Needs an API key with the scope `{scope}`."
            operation["description"] = f"{operation.get('description', '')}\n\n{text}".strip()
