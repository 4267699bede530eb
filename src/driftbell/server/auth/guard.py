"""Check the API key of each request, before its body is read and before the router sees it."""

from __future__ import annotations

import base64
import binascii
import math
import time
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from driftbell.records.api_keys import ADMIN, ApiKey
from driftbell.server.auth.access import OPEN, RouteScope, RouteScopes
from driftbell.server.auth.audit import audited, client_address
from driftbell.server.auth.keyring import Keyring
from driftbell.server.auth.limits import GuessLimit, RateLimit
from driftbell.server.auth.session import Sessions, set_current
from driftbell.server.http.errors import ErrorAnswers
from driftbell.server.http.prefix import route_path
from driftbell.server.http.problems import Refused

HOW = "send one as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'; `driftbell keys create` creates one"
CHALLENGE = 'Bearer realm="driftbell"'

if TYPE_CHECKING:
    from driftbell.server.auth.tokens import TokenVerifier  # joserfc is an optional dependency


class TokenError(Exception):
    """A token is not accepted; the message says why."""


class Access:
    """Decides which requests pass.

    Args:
        keyring: the keys; None lets every request pass.
        secret: the key of the signatures of sessions; None accepts no sessions.
        always: whether keys are required before the first one exists.
        open_names: see `driftbell.server.auth.access.RouteScopes`.
        tokens: verifies tokens of an issuer, which are accepted besides API keys; None accepts none.
        rate: the largest number of requests of one key within a number of seconds; None for no limit.
        timer: returns a monotonic time in seconds.
    """

    def __init__(
        self,
        keyring: Keyring | None = None,
        *,
        secret: bytes | None = None,
        always: bool = True,
        open_names: Collection[str] = (),
        tokens: TokenVerifier | None = None,
        rate: tuple[int, float] | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keyring = keyring
        self.sessions = Sessions(keyring, secret) if keyring and secret is not None else None
        self._always = always
        self._scopes = RouteScopes(open_names)
        self._guesses = GuessLimit()
        self._tokens = tokens
        self._rate = RateLimit(*rate) if rate else None
        self._timer = timer

    def check(self, scope: Scope) -> RouteScope | None:
        """Check the key of a request to any path; an unknown path needs a key too.

        Returns:
            The entry of its route; None for an unknown path, or if keys are never checked.

        Raises:
            Refused: see `require`.
        """
        if self.keyring is None:
            return None
        set_current(None)  # a pipelined request begins in the context of the one before
        entry = self._scopes.find(scope["method"], route_path(scope))
        if entry is None:
            self.require(scope, "")
        elif entry.scope != OPEN:
            try:
                self.require(scope, entry.scope)
            except Refused:
                scope["route"] = entry  # as the router does, for metrics and logs
                raise
        return entry

    def require(self, scope: Scope, needed: str) -> None:
        """Check that the key of a request is valid and has a scope; "" for any.

        Raises:
            Refused: 401 no valid key, 403 it lacks the scope, 429 too many unknown keys, or requests of
                this key, 503 the keys could not be read yet.
        """
        keyring = self.keyring
        if keyring is None or not self.is_required:
            return
        presented = presented_key(scope["headers"])
        if presented is None:
            key = self.sessions.key_of(scope["headers"]) if self.sessions else None
            if key is None:
                self._check_loaded(keyring)
                what = f"an API key with the scope '{needed}'" if needed else "an API key"
                raise _unauthorized("no_key", f"this call needs {what}: {HOW}", CHALLENGE)
            set_current(key)
        elif self._tokens is not None and presented.startswith(b"eyJ"):
            key = self._token(self._tokens, presented, client_address(scope))
        else:
            key = self.valid_key(presented, client_address(scope))
        if needed and not key.allows(needed):
            raise _forbidden(key, needed)
        if self._rate is not None:
            self._rate.check(key.id, self._timer())
        keyring.mark_used(key)
        scope["driftbell.key"] = key

    @property
    def is_required(self) -> bool:
        """Return whether requests need a key now."""
        return self.keyring is not None and (
            self._always or not self.keyring.empty or self._tokens is not None
        )

    def valid_key(self, presented: bytes, client: str) -> ApiKey:
        """Return the stored key that a client presents.

        Args:
            presented: the key.
            client: the client's address.

        Raises:
            Refused: 401 it is unknown, revoked or expired, 429 too many unknown keys, 503 the
                keys could not be read yet.
        """
        keyring = self.keyring
        key = keyring.find(presented) if keyring else None
        if keyring is None or key is None:
            self._check_loaded(keyring)
            self._count_guess(client)
            raise _unauthorized("wrong_key", f"this API key is unknown: {HOW}")
        if key.revoked is not None or key.expires is not None:
            end = key.end(keyring.clock())
            if end:
                raise _unauthorized("wrong_key", f"the API key '{key.name}' is {end}: {HOW}")
        return key

    def _token(self, tokens: TokenVerifier, presented: bytes, client: str) -> ApiKey:
        """Return a token of the issuer as a key; the errors are those of `valid_key`."""
        if not tokens.loaded:
            raise Refused(
                503, "keys", "the keys of the token issuer cannot be read yet; try again in a second"
            )
        try:
            return tokens.verify(presented)
        except TokenError as error:
            self._count_guess(client)
            raise _unauthorized("wrong_key", f"this token is not accepted: {error}") from error

    def _count_guess(self, client: str) -> None:
        seconds = self._guesses.count(client, self._timer())
        if not seconds:
            return
        raise Refused(
            429,
            "guesses",
            "too many unknown API keys: check the key of this client, and try again later",
            headers={"Retry-After": str(math.ceil(seconds)), "Cache-Control": "no-store"},
        )

    @staticmethod
    def _check_loaded(keyring: Keyring | None) -> None:
        if keyring is not None and not keyring.loaded:
            raise Refused(
                503, "keys", "the API keys cannot be read from the store yet; try again in a second"
            )

    def start(self) -> None:
        """Keep the keys up to date from now on."""
        if self.keyring is not None:
            self.keyring.start()
        if self._tokens is not None:
            self._tokens.start()

    def close(self) -> None:
        """End what `start` began."""
        if self.keyring is not None:
            self.keyring.close()
        if self._tokens is not None:
            self._tokens.close()


class AuthenticatedRequests:
    """ASGI middleware that applies an `Access`.

    Args:
        app: handles the requests that pass.
        access: checks them.
        errors: answers the others.
        login: returns the redirect of a browser without a session; None for other clients.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        errors: ErrorAnswers,
        login: Callable[[Scope], Response | None],
    ) -> None:
        self._app = app
        self._access = access
        self._errors = errors
        self._login = login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on or refuse one request."""
        if scope["type"] == "http":
            try:
                entry = self._access.check(scope)
            except Refused as refusal:
                answer = self._errors.answer(refusal)
                redirect = self._login(scope) if refusal.status == 401 else None
                await (redirect or answer)(scope, receive, send)
                return
            if entry is not None and entry.scope == ADMIN and "driftbell.key" in scope:
                send = audited(scope, entry.path, send)
        await self._app(scope, receive, send)


def presented_key(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """Return the key of a request; None if it has none, or if a header is there twice.

    It is in `X-API-Key`, else in `Authorization`: as Bearer token, or as password of Basic.

    >>> presented_key([(b"authorization", b"Bearer dbk_1")])
    b'dbk_1'
    >>> presented_key([(b"authorization", b"Basic YWRhOmRia18x")])
    b'dbk_1'
    """
    own = authorization = None
    for name, value in headers:
        if name == b"x-api-key":
            own = value if own is None else b""
        elif name == b"authorization":
            authorization = value if authorization is None else b""
    if own is not None:  # Authorization may be for a proxy
        return own or None
    if not authorization:
        return None
    scheme, _, credentials = authorization.partition(b" ")
    scheme, credentials = scheme.lower(), credentials.strip()
    if scheme == b"bearer":
        return credentials or None
    return _password(credentials) if scheme == b"basic" else None


def _password(credentials: bytes) -> bytes | None:
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2] or None
    except binascii.Error:
        return None


def _unauthorized(
    reason: str, detail: str, challenge: str = f'{CHALLENGE}, error="invalid_token"'
) -> Refused:
    headers = {"WWW-Authenticate": challenge, "Cache-Control": "no-store"}
    return Refused(401, reason, detail, headers=headers)


def _forbidden(key: ApiKey, needed: str) -> Refused:
    detail = (
        f"the API key '{key.name}' has no scope '{needed}', which this call needs: use another key, or "
        f"create one with `driftbell keys create NAME --scope {needed}`"
    )
    challenge = f'{CHALLENGE}, error="insufficient_scope", scope="{needed}"'
    return Refused(403, "scope", detail, headers={"WWW-Authenticate": challenge, "Cache-Control": "no-store"})
