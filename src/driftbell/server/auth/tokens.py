"""Bearer tokens of an OpenID Connect issuer: JSON Web Tokens, verified with its published keys.

RFC 7519 (tokens), RFC 8725 (best practices) and OpenID Connect Discovery 1.0. A thread reads the keys of the
issuer, so no request waits for it. Only asymmetric signatures are accepted.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog
from joserfc import jwt
from joserfc.jwk import JWKRegistry, KeySet

from driftbell.error_capture import ErrorCapture
from driftbell.phrases import printable
from driftbell.process.supervised_thread import SupervisedThread
from driftbell.records.api_keys import SCOPES, ApiKey
from driftbell.server.auth.guard import TokenError

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"),
    "Ed25519",
)
KEY_TYPES = ("RSA", "EC", "OKP")

REFRESH_SECONDS, RETRY_SECONDS = 600.0, 10.0
"""Time between two reads of the keys, and between two after a failure or for an unknown key."""

FETCH_SECONDS = 5.0
LEEWAY = timedelta(seconds=60)
"""Difference of the clocks of issuer and service that is accepted."""

MAX_TOKENS = 5000
"""Verified tokens that are remembered, since a signature takes longer to verify than a prediction."""

SCOPE_PREFIX = "driftbell:"
MAX_NAME_LENGTH = 100

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys of the issuer, with the tokens that they have signed."""

    key_set: KeySet
    thumbprints: frozenset[str]
    verified: OrderedDict[bytes, ApiKey] = field(default_factory=OrderedDict)


class TokenVerifier:
    """Verifies tokens of one issuer for one audience.

    Args:
        issuer: its URL, exactly as tokens have it in `iss`.
        audience: what tokens for this service have in `aud`.
        scope_claim: the claim with the scopes: a text with spaces, or a list.
        clock: returns the time (UTC).

    Attributes:
        loaded: whether the keys of the issuer have been read at least once.
    """

    def __init__(
        self, issuer: str, audience: str, *, scope_claim: str, clock: Callable[[], datetime]
    ) -> None:
        self.loaded = False
        self._issuer = issuer
        self._audience = audience
        self._scope_claim = scope_claim
        self._clock = clock
        self._current = _Keys(KeySet([]), frozenset())
        self._failing = False
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = SupervisedThread(self._run, name="tokens")

    def start(self) -> None:
        """Read the keys of the issuer in a thread from now on."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, without waiting for an issuer that does not answer."""
        self._stop.set()
        self._wake.set()

    def verify(self, token: bytes) -> ApiKey:
        """Return a token as a key: its `sub` is the name, its `exp` the end.

        Raises:
            TokenError: it is not valid for this service now.
        """
        current, digest = self._current, hashlib.sha256(token).digest()
        known = current.verified.get(digest)
        if known is None:
            known = current.verified[digest] = self._key(self._claims(token, current.key_set))
            if len(current.verified) > MAX_TOKENS:
                current.verified.popitem(last=False)
        if known.end(self._clock() - LEEWAY):
            raise TokenError("it has expired")
        return known

    def _claims(self, token: bytes, keys: KeySet) -> Mapping[str, Any]:
        """Verify the signature of a token and return its claims."""
        try:
            claims: Mapping[str, Any] = jwt.decode(token, keys, algorithms=ALGORITHMS).claims
            return claims
        except Exception as error:  # any error of the library: a token is anybody's text
            self._wake.set()  # perhaps the issuer has a new key
            raise TokenError("no key of its issuer has signed it") from error

    def _key(self, claims: Mapping[str, Any]) -> ApiKey:
        """Check the claims of a token and return it as a key."""
        now = self._clock()
        if claims.get("iss") != self._issuer:
            raise TokenError("it is of another issuer")
        audience = claims.get("aud")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise TokenError("it is for another audience")
        expires = _time(claims.get("exp"))
        if expires is None:
            raise TokenError("it has no end")
        begin = _time(claims["nbf"]) if "nbf" in claims else now
        if begin is None or begin - LEEWAY > now:
            raise TokenError("it is not valid yet")
        subject = claims.get("sub")
        if not isinstance(subject, str) or not subject:
            raise TokenError("it has no subject")
        scopes = _scopes(claims.get(self._scope_claim))
        name = printable(subject, MAX_NAME_LENGTH)
        digest = hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()
        return ApiKey(f"oidc-{digest[:16]}", name, scopes, "", now, expires)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.refresh()
            self._stop.wait(RETRY_SECONDS)  # so often at most, whatever tokens come in
            if not self._failing:
                self._wake.wait(REFRESH_SECONDS - RETRY_SECONDS)
            self._wake.clear()

    def refresh(self) -> None:
        """Read the keys of the issuer; if that fails, those that are known stay valid."""
        try:
            keys = self._fetch()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, AttributeError) as error:
            if not self._failing:
                reason = str(error) or type(error).__name__
                logger.warning("keys of the token issuer cannot be read", issuer=self._issuer, error=reason)
            self._failing = True
            return
        if self._failing:
            logger.info("keys of the token issuer can be read again", issuer=self._issuer)
        self._failing = False
        thumbprints = frozenset((key.kid or "") + key.thumbprint() for key in keys.keys)
        if thumbprints != self._current.thumbprints:  # what old keys have signed is not valid any more
            self._current = _Keys(keys, thumbprints)
        self.loaded = True

    def _fetch(self) -> KeySet:
        with httpx.Client(timeout=FETCH_SECONDS, follow_redirects=False) as client:
            address = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
            found = client.get(address).raise_for_status().json()
            if found["issuer"] != self._issuer:
                raise ValueError(f"its configuration is that of the issuer '{printable(found['issuer'])}'")
            uri = str(found["jwks_uri"])
            if urlsplit(uri).scheme != "https" and urlsplit(self._issuer).scheme == "https":
                raise ValueError("its keys are not at an https URL")
            entries = client.get(uri).raise_for_status().json()["keys"]
        keys = []
        for entry in entries:
            if entry.get("kty") in KEY_TYPES and entry.get("use", "sig") == "sig":
                with ErrorCapture():  # one of a curve that is unknown here does not hide the others
                    keys.append(JWKRegistry.import_key(entry))
        if not keys:
            raise ValueError("it publishes no key for signatures")
        return KeySet(keys)


def _scopes(claim: object) -> frozenset[str]:
    """Return the known scopes of a claim, with or without `driftbell:` before them."""
    words = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    names = {word.removeprefix(SCOPE_PREFIX) for word in words if isinstance(word, str)}
    return frozenset(names & set(SCOPES))


def _time(claim: object) -> datetime | None:
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        return None
    try:
        return datetime.fromtimestamp(claim, UTC)
    except (ValueError, OverflowError, OSError):
        return None
