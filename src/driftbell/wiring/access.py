"""Decide which requests of the service need an API key."""

from __future__ import annotations

from contextlib import closing, suppress
from multiprocessing import parent_process
from typing import TYPE_CHECKING

import structlog

from driftbell.addresses import is_loopback
from driftbell.config.auth import parse_rate
from driftbell.config.settings import Settings
from driftbell.errors import ConfigError, MissingExtraError, StoreError
from driftbell.wiring.session_secret import session_secret

if TYPE_CHECKING:
    from driftbell.ports import Store
    from driftbell.server.auth.guard import Access
    from driftbell.server.auth.tokens import TokenVerifier

logger = structlog.get_logger()


def auth_rule(settings: Settings) -> str:
    """Return "always", "never" or "with_keys"; "auto" depends on the address that the service listens on."""
    rule = settings.auth.required
    if rule == "auto":
        return "never" if is_loopback(settings.server.host) else "always"
    return rule


def without_keys_hint(settings: Settings) -> str:
    """Return when a service with these settings needs no key; "" if it does."""
    if auth_rule(settings) != "never":
        return ""
    if settings.auth.required == "never":
        return 'auth.required is "never", so no request needs a key'
    return (
        f'a service on {settings.server.host} needs no key, unless auth.required is "always"; on any other '
        "address, as with --host 0.0.0.0, every request needs one"
    )


def check_keys(settings: Settings) -> None:
    """Check that there is a key if each request needs one, before anything slow begins.

    Raises:
        ConfigError: there is none, or the data folder cannot be written.
        StoreError: the store cannot be opened.
    """
    if auth_rule(settings) != "always" or settings.auth.issuer is not None:
        return
    from driftbell.wiring.store import open_store  # SQLAlchemy takes long to import

    store = open_store(settings, lazy=settings.log.on_failure == "spool")
    with closing(store), suppress(StoreError):  # a process that could not read the keys reads them later
        if not store.keys.all():
            _require_key(settings)


def _require_key(settings: Settings) -> None:
    """Refuse a start without a key if every request would be refused."""
    if auth_rule(settings) != "always" or settings.auth.issuer is not None:
        return
    reason = (
        f"the service listens on {settings.server.host}, where others reach it"
        if settings.auth.required == "auto"
        else 'auth.required is "always"'
    )
    raise ConfigError(
        f"{reason}, and there is no API key, so it would answer nobody: create one with `driftbell keys "
        'create NAME --scope admin`, or set auth.required = "never" to serve without authentication'
    )


def open_access(settings: Settings, store: Store) -> Access:
    """Build the check of API keys, and log which rule applies.

    Raises:
        ConfigError: keys are required, and the store has none; or the settings of tokens are incomplete; or
            the secret of the sessions cannot be read.
    """
    from driftbell.server.auth.guard import Access
    from driftbell.server.auth.keyring import Keyring
    from driftbell.wiring.store import clock

    rule, host = auth_rule(settings), settings.server.host
    if rule == "never":
        _log_rule("no request needs an API key", host, has_keys=False)
        return Access()
    keyring = Keyring(store.keys, clock=clock)
    keyring.refresh()
    tokens = _token_verifier(settings)
    if keyring.empty:
        _require_key(settings)
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
        from driftbell.wiring.store import clock
    except ModuleNotFoundError as error:
        if error.name != "joserfc":
            raise
        raise MissingExtraError("auth.issuer", "oidc") from error
    return TokenVerifier(auth.issuer, auth.audience, scope_claim=auth.scope_claim, clock=clock)


def _log_rule(text: str, host: str, *, has_keys: bool, **fields: int) -> None:
    """Log which rule applies, once for all workers; a service that all can use is a warning."""
    if parent_process() is not None:
        return
    logger.info("authentication", rule=text, **fields)
    if not has_keys and not is_loopback(host):
        hint = "everyone who reaches this port can use the service: see docs/security.md"
        logger.warning("service listens beyond loopback, and has no authentication", host=host, hint=hint)
