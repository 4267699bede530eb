"""`/login` and `/logout`: people show an API key once, and their browser keeps a session."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.types import Scope

from driftbell.records.api_keys import READ
from driftbell.server.auth.audit import client_address, write_audit_line
from driftbell.server.auth.guard import Access
from driftbell.server.auth.session import COOKIE
from driftbell.server.http.body import read_bytes
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.prefix import path_prefix, route_path, service_prefix
from driftbell.server.http.problems import Refused
from driftbell.server.pages import render_page

MAX_FORM_BYTES = 4096
MAX_NEXT_LENGTH = 1000

_LOCAL = re.compile(r"/(?!/)[!-\[\]-~]*")
"""A path of this host: browsers read `//name`, and a backslash, as another host."""


def login_router(access: Access, metrics: Metrics) -> APIRouter:
    """Build the routes. OpenAPI does not list them."""
    router = APIRouter(include_in_schema=False)

    @router.get("/login")
    def login_page(request: Request, next: str = "/") -> Response:
        sessions = access.sessions
        if sessions is None or not access.is_required or sessions.key_of(request.headers.raw):
            return _redirect(local_path(next))
        return _form(next)

    @router.post("/login")
    async def login(request: Request) -> Response:
        keyring, sessions = access.keyring, access.sessions
        fields = parse_qs((await read_bytes(request, MAX_FORM_BYTES)).decode("utf-8", "replace"))
        target = fields.get("next", ["/"])[0]
        if keyring is None or sessions is None or not access.is_required:
            return _redirect(local_path(target))
        try:
            client = client_address(request.scope)
            key = access.valid_key(fields.get("key", [""])[0].strip().encode(), client)
        except Refused as refusal:
            if refusal.status >= 500:
                raise
            metrics.rejected.labels(refusal.reason).inc()
            if refusal.status == 429:
                answer = _form(target, "Too many unknown keys came from here: try again in a minute.")
                answer.status_code = 429
                answer.headers.update(refusal.headers or {})
                return answer
            return _form(target, "This key is unknown, revoked or expired.")
        if not key.allows(READ):
            metrics.rejected.labels("scope").inc()
            return _form(target, f"The key '{key.name}' has no scope 'read', which the pages need.")
        keyring.mark_used(key)
        write_audit_line(key.name, "log in", "/login", key_id=key.id, client=client)
        value, seconds = sessions.begin(key)
        answer = _redirect(local_path(target))
        answer.set_cookie(
            COOKIE,
            value,
            max_age=seconds,
            path=service_prefix() or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return answer

    @router.post("/logout")
    def logout(request: Request) -> Response:
        key = access.sessions.end(request.headers.raw) if access.sessions else None
        if key:
            client = client_address(request.scope)
            write_audit_line(key.name, "log out", "/logout", key_id=key.id, client=client)
        answer = _redirect("/login")
        answer.delete_cookie(COOKIE, path=service_prefix() or "/", httponly=True, samesite="strict")
        return answer

    return router


def redirect_to_login(scope: Scope) -> Response | None:
    """Return the redirect of a browser that opens a page without a session; None for another client."""
    accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    if scope["method"] not in ("GET", "HEAD") or b"text/html" not in accept:
        return None
    query = scope["query_string"].decode("latin-1")
    page = route_path(scope) + (f"?{query}" if query else "")
    return _redirect(f"/login?next={quote(page, safe='/')}" if page != "/" else "/login")


def local_path(text: str) -> str:
    """Return a path of this host to go to after the login; "/" for anything else.

    >>> local_path("/reports/?a=1"), local_path("//evil.example"), local_path("https://evil.example")
    ('/reports/?a=1', '/', '/')
    """
    is_own = len(text) <= MAX_NEXT_LENGTH and _LOCAL.fullmatch(text)
    return text if is_own and not text.startswith(("/login", "/logout")) else "/"


def _redirect(path: str) -> Response:
    return RedirectResponse(f"{path_prefix()}{path}", 303, {"Cache-Control": "no-store"})


def _form(target: str, error: str = "") -> Response:
    answer = render_page("login.html.j2", next=local_path(target), error=error)
    answer.status_code = 403 if error else 200
    return answer
