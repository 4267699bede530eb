"""The path below which a proxy publishes the service, such as `/ml`, for links, redirects and OpenAPI."""

from __future__ import annotations

import re
from contextvars import ContextVar

from starlette.types import Scope

MAX_PREFIX_LENGTH = 200

FORWARDED = b"x-forwarded-prefix"

VALID = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
"""No empty segment: a browser reads `//name` as another host."""

MODEL_PATH = "driftbell.model_path"
"""Key of a request's scope: the path of the further model that it is for, such as `/models/churn`."""

_current: ContextVar[str] = ContextVar("driftbell_path_prefix", default="")
_model_path: ContextVar[str] = ContextVar("driftbell_model_path", default="")


def path_prefix() -> str:
    """Return the path before the route of the current request, such as `/ml/models/churn`; "" without one."""
    return _current.get() + _model_path.get()


def service_prefix() -> str:
    """Return the path prefix of the service, without that of a further model; "" without one."""
    return _current.get()


def enter_model(scope: Scope, path: str) -> None:
    """Mark a request as one of a further model with its routes below `path`; "" for the main one."""
    _model_path.set(path)
    if path:
        scope[MODEL_PATH] = path
        scope["root_path"] = scope["app_root_path"] = scope.get("app_root_path", "") + path


def route_path(scope: Scope) -> str:
    """Return the path of a request without its prefix."""
    prefix = scope.get("app_root_path", "")
    return str(scope["path"])[len(prefix) :] if prefix else str(scope["path"])


class PathPrefix:
    """Finds the path prefix of each request.

    A path that begins with the configured prefix is accepted, and so is one without it: a proxy may keep the
    prefix or strip it. The header `X-Forwarded-Prefix` changes links only, as its proxy strips what it names.

    Args:
        configured: the prefix, such as `/ml`; "" for none.
        use_header: whether `X-Forwarded-Prefix` of a request is used.
    """

    def __init__(self, configured: str = "", *, use_header: bool = False) -> None:
        self.used = bool(configured) or use_header
        self._configured = configured
        self._use_header = use_header

    def apply(self, scope: Scope) -> None:
        """Set the prefix of a request as ASGI has it: `root_path`, with which `path` begins."""
        configured, path = self._configured, scope["path"]
        if configured and (path == configured or path.startswith(f"{configured}/")):
            path = path[len(configured) :]
        prefix = (self._use_header and forwarded_prefix(scope)) or configured
        scope["root_path"] = scope["app_root_path"] = prefix
        scope["path"] = prefix + path
        _current.set(prefix)


def forwarded_prefix(scope: Scope) -> str:
    """Return the prefix that the proxy names; "" if it names none, several or an invalid one."""
    values = [value for name, value in scope["headers"] if name == FORWARDED]
    if len(values) != 1 or len(values[0]) > MAX_PREFIX_LENGTH:
        return ""
    text = str(values[0].decode("latin-1")).strip().rstrip("/")
    return text if VALID.fullmatch(text) and not {".", ".."} & set(text.split("/")) else ""
