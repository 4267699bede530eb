"""`/models`: the registered versions of the model, and promotions."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from driftbell.alarms.smallest_loss import SmallestLoss
from driftbell.errors import ConfigError
from driftbell.models.challenge import Traffic, challenge, sticky_key, stop_challenge
from driftbell.models.promotion import previous_champion, promote
from driftbell.models.version_change import VersionChange
from driftbell.models.version_comparison import VersionComparer
from driftbell.ports import EXTERNAL
from driftbell.publish.json_views import version_comparison_view
from driftbell.publish.version_views import aliases_by_version, change_view, version_view
from driftbell.records import Task
from driftbell.records.versions import CHALLENGER, CHAMPION, ModelVersion
from driftbell.server.api.added_versions import add_version_route
from driftbell.server.api.model_bodies import MAX_LENGTH, read_challenge, read_promotion, read_stop
from driftbell.server.api.monitor import MonitorView, VersionQuery
from driftbell.server.http.body import read_json
from driftbell.server.http.problems import Refused, documented

MAX_CHANGES = 100

MAX_COMPARED = 20_000
"""Newest labelled predictions of a version that are compared: in that time, answers are a little slower."""

_TEXT = {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH}
_NAME = {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_LENGTH}


def _described(
    example: dict[str, Any], rules: dict[str, Any] | None = None, **properties: Any
) -> dict[str, Any]:
    """Describe a body with author, reason and more members in OpenAPI."""
    schema = {
        "type": "object",
        "required": ["author", "reason"],
        "additionalProperties": False,
        "properties": {"author": _TEXT, "reason": _TEXT, **properties},
        **(rules or {}),
    }
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


_PROMOTE = _described(
    {"author": "ada", "reason": "better on last month's labels"}, schema_change={"type": "boolean"}
)
_CHALLENGE = _described(
    {"author": "ada", "reason": "more trees", "share": 0.1, "sticky_header": "X-User"},
    {"anyOf": [{"required": ["share"]}, {"required": ["shadow"], "properties": {"shadow": {"const": True}}}]},
    share={"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    shadow={"type": "boolean"},
    sticky_feature=_NAME,
    sticky_header=_NAME,
    rollback={"type": "boolean"},
)
_STOP = _described({"author": "ada", "reason": "no better"})


def models_router(
    view: MonitorView,
    further_models: Collection[str],
    *,
    body_limit: int,
    smallest_loss: SmallestLoss,
    is_main: bool = True,
) -> APIRouter:
    """Build the routes.

    Args:
        view: access to the store and the served model.
        further_models: names of the further models of the service, which are below the same path.
        body_limit: maximum size of a body in bytes.
        smallest_loss: the smallest loss that matters in a comparison.
        is_main: whether it is the main model, to which files can be added.
    """
    router = APIRouter(prefix="/models", tags=["models"], responses=documented(503))
    errors = documented(400, 404, 409, 413, 415, 422)

    def find(version: str) -> ModelVersion:
        version = version.replace("\0", "\ufffd")  # PostgreSQL accepts no text with a NUL
        registered = view.store.versions.get(version, model=view.served().name)
        if registered is None:
            raise view.unknown_version(version, further_models)
        return registered

    @router.get("", summary="List the versions")
    def versions() -> dict[str, Any]:
        """Return the registered versions, newest first, the challenger, and the changes of both aliases."""
        store, name = view.store.versions, view.served().name
        with view.store.snapshot():
            state = store.state(view.clock(), model=name)
            registered = store.newest(model=name)
            changes = store.history(MAX_CHANGES, model=name, alias=CHAMPION)
            challenges = store.history(MAX_CHANGES, model=name, alias=CHALLENGER)
        aliases = aliases_by_version(state)
        return {
            "model": name,
            "challenger": change_view(state.challenger) if state.challenger else None,
            "versions": [version_view(version, aliases) for version in registered],
            "changes": [change_view(change) for change in changes],
            "challenges": [change_view(change) for change in challenges],
        }

    add_version_route(router, is_main=is_main)

    @router.get("/compare", summary="Compare two versions", responses=documented(404, 409, 422))
    def compare(before: VersionQuery = None, after: VersionQuery = None) -> dict[str, Any]:
        """Compare two versions by the newest labels of their predictions, as `driftbell models compare`.

        Without versions, the champion and its challenger are compared, or the two that received labels last.
        """
        return _compare(view, smallest_loss, before, after)

    @router.get("/{version}", summary="Get one version", responses=documented(404, 422))
    def one_version(version: str) -> dict[str, Any]:
        """Return one version, and when it was the champion or the challenger."""
        registered = find(version)
        store = view.store.versions
        changes = [
            change
            for alias in (CHAMPION, CHALLENGER)
            for change in store.history(MAX_CHANGES, model=registered.model, alias=alias)
            if change.version == version
        ]
        aliases = aliases_by_version(store.state(view.clock(), model=registered.model))
        return {**version_view(registered, aliases), "history": [change_view(change) for change in changes]}

    @router.post(
        "/rollback", summary="Go back to the champion before", openapi_extra=_PROMOTE, responses=errors
    )
    async def rollback(request: Request) -> dict[str, Any]:
        """Promote the version that was the champion before the current one."""
        body = await read_json(request, body_limit, read_promotion)
        return await run_in_threadpool(lambda: _rollback(view, find, body))

    @router.post("/{version}/promote", summary="Promote a version", openapi_extra=_PROMOTE, responses=errors)
    async def promote_version(version: str, request: Request) -> dict[str, Any]:
        """Promote a version to champion, in every server process at one time.

        The answer comes when every server process has loaded the version, with the time of the switch. If one
        cannot load it, nothing changes. A version with other features or classes needs `schema_change`. A
        challenge ends.
        """
        body = await read_json(request, body_limit, read_promotion)
        return await run_in_threadpool(lambda: _promote(view, find(version), body))

    @router.post(
        "/{version}/challenge", summary="Challenge the champion", openapi_extra=_CHALLENGE, responses=errors
    )
    async def challenge_version(version: str, request: Request) -> dict[str, Any]:
        """Start or change a challenge: a share of the requests, or copies of them (`shadow`).

        With `sticky_feature` or `sticky_header`, requests with an equal value are answered by one version.
        Every server process loads the version first. Call it again to change the share. With `rollback` the
        monitor ends the challenge when labels show that the challenger is worse by the smallest loss.
        """
        body = await read_json(request, body_limit, read_challenge)
        return await run_in_threadpool(lambda: _challenge(view, find(version), body))

    @router.post("/challenger/stop", summary="End the challenge", openapi_extra=_STOP, responses=errors)
    async def stop_challenger(request: Request) -> dict[str, Any]:
        """End the challenge and return the challenger; the champion answers all requests again."""
        body = await read_json(request, body_limit, read_stop)
        return await run_in_threadpool(_stop, view, body)

    return router


def _compare(
    view: MonitorView, smallest_loss: SmallestLoss, before: str | None, after: str | None
) -> dict[str, Any]:
    if (before is None) != (after is None):
        raise Refused(409, "not_compared", "name both versions, 'before' and 'after', or none")
    model = view.served()
    comparer = VersionComparer(
        view.store,
        model.name,
        is_regression=model.task is Task.REGRESSION,
        smallest_loss=smallest_loss,
        max_rows=MAX_COMPARED,
    )
    try:
        return version_comparison_view(comparer.compare(before, after, now=view.clock()))
    except ConfigError as error:
        status, code = (409, "not_compared") if before is None else (404, "unknown_version")
        raise Refused(status, code, str(error)) from error


def _rollback(view: MonitorView, find: Callable[[str], ModelVersion], body: dict[str, Any]) -> dict[str, Any]:
    try:
        version = previous_champion(view.store.versions, model=view.served().name)
    except ConfigError as error:
        raise Refused(409, "not_promoted", str(error)) from error
    return _promote(view, find(version), {**body, "schema_change": True})


def _promote(view: MonitorView, registered: ModelVersion, body: dict[str, Any]) -> dict[str, Any]:
    _require_versions(view)
    try:
        promoted = promote(_change(view, body), registered, schema_change=body.get("schema_change", False))
    except ConfigError as error:
        raise Refused(409, "not_promoted", str(error)) from error
    return {**change_view(promoted.change), "before": promoted.before, "workers": promoted.workers}


def _challenge(view: MonitorView, registered: ModelVersion, body: dict[str, Any]) -> dict[str, Any]:
    _require_versions(view)
    is_shadow = body.get("shadow", False)
    try:
        sticky = sticky_key(body.get("sticky_feature"), body.get("sticky_header"))
        traffic = Traffic(body.get("share", 1.0), is_shadow, sticky, body.get("rollback", False))
        challenged = challenge(_change(view, body), registered, traffic)
    except ConfigError as error:
        raise Refused(409, "not_challenged", str(error)) from error
    return {
        **change_view(challenged.change),
        "champion": challenged.champion,
        "workers": challenged.workers,
    }


def _stop(view: MonitorView, body: dict[str, Any]) -> dict[str, Any]:
    now = view.clock()
    try:
        ended = stop_challenge(view.store.versions, model=view.served().name, **body, now=now)
    except ConfigError as error:
        raise Refused(409, "no_challenger", str(error)) from error
    return {**change_view(ended), "ended": now.isoformat()}


def _change(view: MonitorView, body: dict[str, Any]) -> VersionChange:
    return VersionChange(view.store.versions, author=body["author"], reason=body["reason"], clock=view.clock)


def _require_versions(view: MonitorView) -> None:
    if view.served().engine == EXTERNAL:
        raise Refused(409, "not_promoted", "this service monitors a model that is served elsewhere")
