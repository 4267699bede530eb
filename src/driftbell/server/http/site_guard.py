"""Protection from web pages of other sites: the `Host` of a request, and where a change of state comes from.

A browser sends requests of any page to any address that it reaches, loopback included. A page with a name
that is pointed at this service (DNS rebinding) has that name as `Host`; the browser marks the requests of
other pages with `Sec-Fetch-Site`, `Origin` or `Referer`. See
https://www.w3.org/TR/fetch-metadata/ and RFC 6454.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from driftbell.addresses import is_address, is_loopback
from driftbell.server.http.errors import ErrorAnswers
from driftbell.server.http.prefix import route_path
from driftbell.server.http.problems import Refused

LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
"""Methods that do not change state."""

CHANGING_PATHS = {"/monitor/generate_report"}
"""Paths on which GET changes state."""

MAX_KNOWN_HOSTS = 1000
MAX_HOST_LENGTH = 300
"""Longer hosts are checked each time, so that they take no memory; a name has 253 characters at most."""


class SiteGuard:
    """Refuses requests for another host, and changes of state that another site asks for.

    Args:
        allowed: host names that are accepted besides the loopback names; `*.example.org` matches every name
            below it, and `*` every host.
        bound: the address that the service listens on. If it can be reached from outside, IP addresses are
            accepted as hosts too: no web page can be pointed at one.
        origins: origins of other sites with pages that may change state too; `*` for every site.
    """

    def __init__(self, allowed: Collection[str], *, bound: str, origins: Collection[str] = ()) -> None:
        names = [name.lower() for name in allowed]
        self._any = "*" in names
        self._names = LOOPBACK_NAMES | {bound.lower()} | {n for n in names if not n.startswith("*")}
        self._suffixes = tuple(n[1:] for n in names if n.startswith("*."))
        self._accepts_addresses = not is_loopback(bound)
        self._origins = {origin.encode() for origin in origins}
        self._any_origin = "*" in origins
        self._known: dict[bytes, bool] = {}

    def check(self, scope: Scope) -> None:
        """Check the headers of a request.

        Raises:
            Refused: 400 no host or several, 421 another host, 403 another site.
        """
        host = origin = site = referer = b""
        hosts = 0
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
                hosts += 1
            elif name == b"sec-fetch-site":
                site = value
            elif name == b"origin":
                origin = value
            elif name == b"referer":
                referer = value
        # others on the way may read another of several; HTTP/1.0 knows none
        if hosts != 1 and (hosts or scope["http_version"] != "1.0"):
            raise Refused(400, "host", "send one header 'Host'")
        known = self._known.get(host)
        if not (self._is_allowed(host) if known is None else known):
            detail = "this host name is not known here: add it to the setting server.allowed_hosts"
            raise Refused(421, "host", detail)
        if scope["method"] in SAFE_METHODS:
            if route_path(scope) in CHANGING_PATHS:
                self._check_site(scope, host, site, origin, referer)
        elif site or origin or referer:
            self._check_site(scope, host, site, origin, referer)

    def _check_site(self, scope: Scope, host: bytes, site: bytes, origin: bytes, referer: bytes) -> None:
        if not origin and referer and not site:
            origin = _origin(referer)
        if origin and (self._any_origin or origin.lower() in self._origins):
            is_foreign = False
        elif site:
            is_foreign = site not in (b"same-origin", b"none")
        elif origin:
            is_foreign = _netloc(origin) not in (host.lower(), _header(scope, b"x-forwarded-host").lower())
        else:  # an image of another page looks the same without those headers
            is_browser = _header(scope, b"user-agent").startswith(b"Mozilla/")
            is_foreign = scope["method"] in SAFE_METHODS and is_browser
        if is_foreign:
            detail = (
                "another site may not change state here: use the page of this service, a client that is no "
                "browser, or allow the site's origin in server.cors_origins"
            )
            raise Refused(403, "cross_site", detail)

    def _is_allowed(self, host: bytes) -> bool:
        allowed = self._any or self._matches(_host_name(host))
        if len(self._known) < MAX_KNOWN_HOSTS and len(host) <= MAX_HOST_LENGTH:
            self._known[host] = allowed
        return allowed

    def _matches(self, name: str | None) -> bool:
        if name is None:
            return False
        if name in self._names or (self._suffixes and name.endswith(self._suffixes)):
            return True
        return is_address(name) and (self._accepts_addresses or is_loopback(name))


class GuardedSite:
    """ASGI middleware that applies a `SiteGuard`, and refuses paths with control characters.

    The router takes `/labels` and a line feed for `/labels`, and what compares paths does not.

    Args:
        app: handles the requests that pass.
        guard: checks them.
        errors: answers the others.
    """

    def __init__(self, app: ASGIApp, *, guard: SiteGuard, errors: ErrorAnswers) -> None:
        self._app = app
        self._guard = guard
        self._errors = errors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on or refuse one request."""
        if scope["type"] == "http":
            try:
                self._guard.check(scope)
                if not scope["path"].isprintable():
                    raise Refused(404, "path", "there is nothing here; the API is described at /docs")
            except Refused as refusal:
                await self._errors.answer(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _header(scope: Scope, wanted: bytes) -> bytes:
    return next((bytes(value) for name, value in scope["headers"] if name == wanted), b"")


def _origin(url: bytes) -> bytes:
    """Return scheme, host and port of a URL as the origin that a browser sends for it.

    >>> _origin(b"https://Evil.example/a?b"), _origin(b"//x"), _origin(b"http://[::1")
    (b'https://evil.example', b'null', b'null')
    """
    try:
        parts = urlsplit(url.decode("latin-1").lower())
    except ValueError:
        return b"null"
    return f"{parts.scheme}://{parts.netloc}".encode("latin-1") if parts.scheme and parts.netloc else b"null"


def _netloc(url: bytes) -> bytes:
    """Return host and port of an origin; None of another's matches `null` or an invalid one."""
    try:
        return urlsplit(url.decode("latin-1").lower()).netloc.encode("latin-1") or b"null"
    except ValueError:
        return b"null"


def _host_name(host: bytes) -> str | None:
    """Return the name in a `Host` header without its port; None if it is not valid.

    >>> _host_name(b"LOCALHOST.:8000"), _host_name(b"[::1]:8000"), _host_name(b"a@localhost"), _host_name(b"")
    ('localhost', '::1', None, 'localhost')
    """
    text = host.decode("latin-1").lower()
    if not text:
        return "localhost"  # HTTP/1.0 without the header, which no browser sends
    if any(character in text for character in "@/\\?#, \t"):
        return None
    try:
        url = urlsplit(f"//{text}")
        _ = url.port
    except ValueError:
        return None
    return (url.hostname or "").removesuffix(".") or None
