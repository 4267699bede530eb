"""Decide which requests of the service need an API key."""

from __future__ import annotations

from multiprocessing import parent_process
from typing import TYPE_CHECKING

import structlog

from driftbell.config.auth import parse_rate
from driftbell.config.settings import Settings
from driftbell.errors import ConfigError, MissingExtraError
from driftbell.wiring.session_secret import session_secret
from driftbell.wiring.store import clock

if TYPE_CHECKING:
    from driftbell.ports import Store
    from driftbell.server.auth.guard import Access
    from driftbell.server.auth.tokens import TokenVerifier

logger = structlog.get_logger()


def auth_rule(settings: Settings) -> str:
    """Return "always", "never" or "with_keys"; "auto" depends on the address that the service listens on."""
    from driftbell.server.http.site_guard import is_loopback

    rule = settings.auth.required
    if rule == "auto":
        return "never" if is_loopback(settings.server.host) else "always"
    return rule


def without_keys_hint(settings: Settings) -> str:
    """Return what to set so that keys are required; "" if they are."""
    if auth_rule(settings) != "never":
        return ""
    return 'with these settings no request needs a key: set auth.required = "always" for the service'


def open_access(settings: Settings, store: Store) -> Access:
    """Build the check of API keys, and log which rule applies.

    Raises:
        ConfigError: keys are required, and the store has none; or the settings of tokens are incomplete; or
            the secret of the sessions cannot be read.
    """
    from driftbell.server.auth.guard import Access
    from driftbell.server.auth.keyring import Keyring

    rule, host = auth_rule(settings), settings.server.host
    if rule == "never":
        _log_rule("no request needs an API key", host, has_keys=False)
        return Access()
    keyring = Keyring(store.keys, clock=clock)
    keyring.refresh()
    tokens = _token_verifier(settings)
    if keyring.empty and rule == "always" and tokens is None:
        reason = (
            f"the service listens on {host}, where others reach it"
            if settings.auth.required == "auto"
            else 'auth.required is "always"'
        )
        raise ConfigError(
            f"{reason}, and there is no API key, so it would answer nobody: create one with `driftbell keys "
            'create NAME --scope admin`, or set auth.required = "never" to serve without authentication'
        )
    if rule == "with_keys" and keyring.empty and tokens is None:
        _log_rule("requests need an API key as soon as the first one is created", host, has_keys=False)
    else:
        needed = "an API key" if tokens is None else "an API key, or a token of auth.issuer"
        _log_rule(f"requests need {needed}", host, has_keys=True, valid_keys=keyring.valid_count)
        if keyring.loaded and not keyring.valid_count and tokens is None:
            logger.warning("every API key is revoked or expired, so every request is refused")
    rate = parse_rate(settings.auth.rate) if settings.auth.rate else None
    return Access(
        keyring,
        secret=session_secret(settings),
        always=rule == "always",
        open_names=settings.auth.open,
        tokens=tokens,
        rate=rate,
    )


def _token_verifier(settings: Settings) -> TokenVerifier | None:
    auth = settings.auth
    if auth.issuer is None:
        return None
    if auth.audience is None:
        raise ConfigError(
            "auth.issuer needs auth.audience, the name of this service in its tokens: those for other "
            "services must not count"
        )
    try:
        from driftbell.server.auth.tokens import TokenVerifier
    except ModuleNotFoundError as error:
        if error.name != "joserfc":
            raise
        raise MissingExtraError("auth.issuer", "oidc") from error
    return TokenVerifier(auth.issuer, auth.audience, scope_claim=auth.scope_claim, clock=clock)


def _log_rule(text: str, host: str, *, has_keys: bool, **fields: int) -> None:
    """Log which rule applies, once for all workers; a service that all can use is a warning."""
    from driftbell.server.http.site_guard import is_loopback

    if parent_process() is not None:
        return
    logger.info("authentication", rule=text, **fields)
    if not has_keys and not is_loopback(host):
        hint = "everyone who reaches this port can use the service: see docs/security.md"
        logger.warning("service listens beyond loopback, and has no authentication", host=host, hint=hint)
