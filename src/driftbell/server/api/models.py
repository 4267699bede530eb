"""`/models`: the registered versions of the model, and promotions."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from driftbell.errors import ConfigError, InputError
from driftbell.models.promotion import Promoted, previous_champion, promote
from driftbell.ports import EXTERNAL
from driftbell.publish.version_views import aliases_by_version, change_view, version_view
from driftbell.records import FieldProblem
from driftbell.records.versions import CHALLENGER, CHAMPION, ModelVersion
from driftbell.server.api.monitor import MonitorView
from driftbell.server.http.body import read_json
from driftbell.server.http.problems import Refused, documented

MAX_LENGTH = 500
"""Characters of an author or a reason."""

MAX_CHANGES = 100

_TEXT = {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["author", "reason"],
                    "additionalProperties": False,
                    "properties": {
                        "author": _TEXT,
                        "reason": _TEXT,
                        "schema_change": {"type": "boolean"},
                    },
                },
                "example": {"author": "ada", "reason": "better on last month's labels"},
            }
        },
    }
}


def models_router(view: MonitorView, *, body_limit: int) -> APIRouter:
    """Build the routes.

    Args:
        view: access to the store and the served model.
        body_limit: maximum size of a body in bytes.
    """
    router = APIRouter(prefix="/models", tags=["models"], responses=documented(503))
    errors = documented(400, 404, 409, 413, 415, 422)

    @router.get("", summary="List the versions")
    def versions() -> dict[str, Any]:
        """Return the registered versions of the model, newest first, and the changes of the champion."""
        store, name = view.store.versions, view.served().name
        with view.store.snapshot():
            state = store.state(view.clock(), model=name)
            registered = store.newest(model=name)
            changes = store.history(MAX_CHANGES, model=name, alias=CHAMPION)
        aliases = aliases_by_version(state)
        return {
            "model": name,
            "versions": [version_view(version, aliases) for version in registered],
            "changes": [change_view(change) for change in changes],
        }

    @router.get("/{version}", summary="Get one version", responses=documented(404, 422))
    def one_version(version: str) -> dict[str, Any]:
        """Return one version, and when it was the champion or the challenger."""
        registered = _find(view, version)
        store = view.store.versions
        changes = [
            change
            for alias in (CHAMPION, CHALLENGER)
            for change in store.history(MAX_CHANGES, model=registered.model, alias=alias)
            if change.version == version
        ]
        aliases = aliases_by_version(store.state(view.clock(), model=registered.model))
        return {**version_view(registered, aliases), "history": [change_view(change) for change in changes]}

    @router.post("/rollback", summary="Go back to the champion before", openapi_extra=_BODY, responses=errors)
    async def rollback(request: Request) -> dict[str, Any]:
        """Promote the version that was the champion before the current one."""
        body = await read_json(request, body_limit, _read_body)
        return await run_in_threadpool(_rollback, view, body)

    @router.post("/{version}/promote", summary="Promote a version", openapi_extra=_BODY, responses=errors)
    async def promote_version(version: str, request: Request) -> dict[str, Any]:
        """Promote a version to champion, in every server process at one time.

        The answer comes when every server process has loaded the version, with the time of the switch. If one
        cannot load it, nothing changes. A version with other features or classes needs `schema_change`.
        """
        body = await read_json(request, body_limit, _read_body)
        return await run_in_threadpool(_promote, view, version, body)

    return router


def _find(view: MonitorView, version: str) -> ModelVersion:
    version = version.replace("\0", "\ufffd")  # PostgreSQL accepts no text with a NUL
    registered = view.store.versions.get(version, model=view.served().name)
    if registered is None:
        raise Refused(404, "unknown_version", "no version has this name; GET /models lists all versions")
    return registered


def _rollback(view: MonitorView, body: dict[str, Any]) -> dict[str, Any]:
    try:
        version = previous_champion(view.store.versions, model=view.served().name)
    except ConfigError as error:
        raise Refused(409, "not_promoted", str(error)) from error
    return _promote(view, version, {**body, "schema_change": True})


def _promote(view: MonitorView, version: str, body: dict[str, Any]) -> dict[str, Any]:
    registered = _find(view, version)
    if view.served().engine == EXTERNAL:
        raise Refused(409, "not_promoted", "this service monitors a model that is served elsewhere")
    try:
        promoted = promote(view.store.versions, registered, **body, clock=view.clock)
    except ConfigError as error:
        raise Refused(409, "not_promoted", str(error)) from error
    return _promoted_view(promoted)


def _promoted_view(promoted: Promoted) -> dict[str, Any]:
    return {**change_view(promoted.change), "before": promoted.before, "workers": promoted.workers}


def _read_body(body: Any) -> dict[str, Any]:
    """Check the body of a promotion.

    Raises:
        InputError: a field is missing, unknown or invalid.
    """
    if not isinstance(body, dict):
        raise InputError([FieldProblem("", "not_an_object", "send an object with 'author' and 'reason'")])
    problems = [
        FieldProblem(name, "type", f"'{name}' must be a text of 1 to {MAX_LENGTH} characters")
        for name in ("author", "reason")
        if not _is_text(body.get(name))
    ]
    if not isinstance(body.get("schema_change", False), bool):
        problems.append(FieldProblem("schema_change", "type", "'schema_change' must be true or false"))
    extra = [str(name)[:80] for name in body if name not in ("author", "reason", "schema_change")]
    problems += [FieldProblem(name, "extra", f"unknown field '{name}'") for name in extra[:1]]
    if problems:
        raise InputError(problems)
    return body


def _is_text(value: Any) -> bool:
    return (
        isinstance(value, str)
        and bool(value.strip())
        and len(value) <= MAX_LENGTH
        and not any("\ud800" <= c <= "\udfff" or c == "\0" for c in value)
    )
