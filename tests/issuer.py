"""A small OpenID Connect issuer on loopback: its configuration, its keys, and tokens that it signs."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

AUDIENCE = "driftbell-test"


@dataclass
class Issuer:
    """The issuer.

    Attributes:
        url: its URL.
        keys: its private keys by id, all of which are published.
        extra: further entries of its key set.
        configuration: changes of its published configuration.
        requests: the paths that were asked for.
    """

    url: str
    keys: dict[str, Any] = field(default_factory=dict)
    extra: list[dict[str, Any]] = field(default_factory=list)
    configuration: dict[str, Any] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    down: bool = False

    def add_key(self, name: str, kind: str = "RSA") -> Any:
        from joserfc.jwk import JWKRegistry

        size: Any = 2048 if kind == "RSA" else "P-256" if kind == "EC" else "Ed25519"
        key = JWKRegistry.generate_key(kind, size, {"kid": name, "use": "sig"}, private=True)
        self.keys[name] = key
        return key

    def token(self, now: float, key: str = "one", algorithm: str = "RS256", **claims: Any) -> str:
        """Sign a token; a claim of None is left out."""
        from joserfc import jwt

        known = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ada",
            "exp": int(now) + 600,
            "scope": "read",
        } | claims
        header = {"alg": algorithm, "kid": key}
        payload = {name: value for name, value in known.items() if value is not None}
        signed: str = jwt.encode(header, payload, self.keys[key], algorithms=[algorithm])
        return signed

    def answer(self, path: str) -> dict[str, Any] | None:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"} | self.configuration
        if path == "/keys":
            return {"keys": [*self.extra, *(key.as_dict(private=False) for key in self.keys.values())]}
        return None


@contextlib.contextmanager
def issuing() -> Iterator[Issuer]:
    """Run an issuer with one RSA key, `one`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.requests.append(self.path)
            found = None if issuer.down else issuer.answer(self.path)
            self.send_response(200 if found is not None else 503)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = Issuer(f"http://127.0.0.1:{server.server_address[1]}")
    issuer.add_key("one")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
