"""Bearer tokens of an OpenID Connect issuer: real signatures, a real issuer on loopback."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.conftest import wait_until
from tests.issuer import AUDIENCE, Issuer, issuing
from tests.unit.server.auth.site import NOW, Site

from driftbell.records.api_keys import ADMIN, LABEL, PREDICT, READ

pytest.importorskip("joserfc", reason="the extra oidc is not installed")

from driftbell.server.auth.guard import TokenError
from driftbell.server.auth.tokens import LEEWAY, MAX_TOKENS, RETRY_SECONDS, TokenVerifier
from driftbell.testing import ManualClock

NOON = NOW.timestamp()


@pytest.fixture(scope="module")
def running_issuer() -> Iterator[Issuer]:
    with issuing() as issuer:
        issuer.add_key("elliptic", "EC")
        issuer.add_key("edwards", "OKP")
        yield issuer


@pytest.fixture
def issuer(running_issuer: Issuer) -> Iterator[Issuer]:
    keys = dict(running_issuer.keys)
    yield running_issuer
    running_issuer.keys = keys
    running_issuer.extra, running_issuer.configuration, running_issuer.down = [], {}, False


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def verifier(issuer: Issuer, clock: ManualClock) -> TokenVerifier:
    made = TokenVerifier(issuer.url, AUDIENCE, scope_claim="scope", clock=clock)
    made.refresh()
    assert made.loaded
    return made


def accepted(verifier: TokenVerifier, token: str) -> bool:
    try:
        verifier.verify(token.encode())
    except TokenError:
        return False
    return True


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [("one", "RS256"), ("one", "PS512"), ("elliptic", "ES256"), ("edwards", "Ed25519")],
)
def test_tokens_of_the_issuer_are_keys(
    verifier: TokenVerifier, issuer: Issuer, key: str, algorithm: str
) -> None:
    token = issuer.token(NOON, key, algorithm, scope="openid driftbell:predict read profile")
    for _ in range(2):  # the second time from memory
        found = verifier.verify(token.encode())
        assert (found.name, set(found.scopes)) == ("ada", {PREDICT, READ})
        assert found.expires == NOW + timedelta(minutes=10)


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"iss": "https://evil.example"}, "of another issuer"),
        ({"iss": None}, "of another issuer"),
        ({"aud": "other"}, "for another audience"),
        ({"aud": ["other", "more"]}, "for another audience"),
        ({"aud": None}, "for another audience"),
        ({"aud": {AUDIENCE: 1}}, "for another audience"),
        ({"exp": None}, "no end"),
        ({"exp": "tomorrow"}, "no end"),
        ({"exp": True}, "no end"),
        ({"exp": 1e300}, "no end"),
        ({"exp": int(NOON) - 61}, "expired"),
        ({"nbf": int(NOON) + 61}, "not valid yet"),
        ({"nbf": "now"}, "not valid yet"),
        ({"sub": None}, "no subject"),
        ({"sub": 7}, "no subject"),
    ],
)
def test_claims_are_checked(
    verifier: TokenVerifier, issuer: Issuer, claims: dict[str, Any], message: str
) -> None:
    with pytest.raises(TokenError, match=message):
        verifier.verify(issuer.token(NOON, **claims).encode())


@pytest.mark.parametrize(
    "claims",
    [{"aud": ["x", AUDIENCE]}, {"exp": int(NOON) - 59}, {"nbf": int(NOON) + 59}, {"exp": NOON + 0.5}],
)
def test_audiences_may_be_a_list_and_clocks_may_differ_by_a_minute(
    verifier: TokenVerifier, issuer: Issuer, claims: dict[str, Any]
) -> None:
    assert accepted(verifier, issuer.token(NOON, **claims))


@pytest.mark.parametrize(
    ("claim", "scopes"),
    [
        ("read label", {READ, LABEL}),
        (["driftbell:admin", "email", 7, None], {ADMIN}),
        ("reader admins READ driftbell:", set()),
        (None, set()),
        (7, set()),
        ({"read": True}, set()),
    ],
)
def test_scopes_are_words_of_a_claim(
    verifier: TokenVerifier, issuer: Issuer, claim: Any, scopes: set[str]
) -> None:
    assert verifier.verify(issuer.token(NOON, scope=claim).encode()).scopes == scopes


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_forged_token_is_refused(verifier: TokenVerifier, issuer: Issuer) -> None:
    from joserfc import jwt
    from joserfc.jwk import RSAKey

    good = issuer.token(NOON)
    head, body, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = [
        f"{head}.{part(claims | {'scope': 'admin'})}.{signature}",
        f"{part({'alg': 'none'})}.{body}.",
        f"{part({'alg': 'none', 'kid': 'one'})}.{body}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}",
        f"{part({'alg': 'RS256', 'kid': 'other'})}.{body}.{signature}",
        f"{part({'alg': 'ES256', 'kid': 'one'})}.{body}.{signature}",
        "eyJ..",
        "eyJ.eyJ.eyJ",
        f"{head}.{body}.{signature}.{signature}",
        "eyJ" + "x" * 15_000,
    ]
    stranger = RSAKey.generate_key(2048, {"kid": "one"})
    forged.append(jwt.encode({"alg": "RS256", "kid": "one"}, claims, stranger))
    for public in (issuer.keys["one"].as_pem(private=False), part(issuer.keys["one"].as_dict()).encode()):
        text = f"{part({'alg': 'HS256', 'kid': 'one'})}.{body}"  # RFC 8725, 2.1
        code = hmac.digest(public, text.encode(), "sha256")
        forged.append(f"{text}.{base64.urlsafe_b64encode(code).rstrip(b'=').decode()}")
    embedded = {"alg": "RS256", "jwk": stranger.as_dict(private=False), "jku": "https://evil.example/keys"}
    forged.append(jwt.encode(embedded, claims, stranger))
    for token in forged:
        assert not accepted(verifier, token), token[:200]
    assert accepted(verifier, good)


def test_symmetric_and_encryption_keys_of_the_issuer_are_not_used(issuer: Issuer, clock: ManualClock) -> None:
    from joserfc import jwt
    from joserfc.jwk import OctKey, RSAKey

    shared = OctKey.generate_key(256, {"kid": "shared"})
    other_use = RSAKey.generate_key(2048, {"kid": "enc", "use": "enc"})
    issuer.extra = [
        shared.as_dict(private=True),
        other_use.as_dict(private=False),
        {"kty": "EC", "crv": "P-9999", "x": "AA", "y": "AA", "kid": "odd"},
        {},
    ]
    verifier = TokenVerifier(issuer.url, AUDIENCE, scope_claim="scope", clock=clock)
    verifier.refresh()
    assert accepted(verifier, issuer.token(NOON))
    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "ada", "exp": int(NOON) + 600}
    signed = jwt.encode({"alg": "HS256", "kid": "shared"}, claims, shared, algorithms=["HS256"])
    assert not accepted(verifier, signed)
    unused = RSAKey.import_key({k: v for k, v in other_use.as_dict(private=True).items() if k != "use"})
    assert not accepted(verifier, jwt.encode({"alg": "RS256", "kid": "enc"}, claims, unused))


def test_odd_headers_are_refused(verifier: TokenVerifier, issuer: Issuer) -> None:
    from joserfc import jwe, jws
    from joserfc.jwk import OctKey, RSAKey

    good = issuer.token(NOON)
    body = good.split(".")[1]
    claims = base64.urlsafe_b64decode(body + "==")
    key = issuer.keys["one"]
    wrong_headers: tuple[dict[str, Any], ...] = (
        {},
        {"alg": "RS256"},  # several keys, and none is named
        {"alg": "RS256", "kid": 1},
        {"alg": "RS256", "kid": ["one"]},
        {"alg": "RS256", "kid": None},
        {"alg": ["RS256"], "kid": "one"},
        {"alg": None, "kid": "one"},
        {"alg": "rs256", "kid": "one"},
        {"alg": "RS256", "kid": "one", "crit": ["exp"]},
        {"alg": "RS256", "kid": "one", "crit": ["odd"], "odd": 1},
    )
    for header in wrong_headers:
        signing_input = f"{part(header)}.{body}".encode()
        signature = key.get_op_key("sign").sign(signing_input, *rsa_padding())
        text = base64.urlsafe_b64encode(signature).rstrip(b"=")
        assert not accepted(verifier, (signing_input + b"." + text).decode()), header
    right = f"{part({'alg': 'RS256', 'kid': 'one'})}.{body}".encode()
    text = base64.urlsafe_b64encode(key.get_op_key("sign").sign(right, *rsa_padding())).rstrip(b"=")
    assert accepted(verifier, (right + b"." + text).decode()), (
        "the others would be valid but for their header"
    )
    encrypted = {"alg": "RSA-OAEP", "enc": "A128GCM", "kid": "one"}
    public = RSAKey.import_key({n: v for n, v in key.as_dict(private=False).items() if n != "use"})
    assert not accepted(verifier, jwe.encrypt_compact(encrypted, claims, public))
    slow = part({"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 10**9, "p2s": "AA"})
    assert not accepted(verifier, f"{slow}.AA.AA.AA.AA")
    detached = {"alg": "RS256", "kid": "one", "b64": False, "crit": ["b64"]}
    assert not accepted(verifier, f"{part(detached)}..{good.split('.')[2]}")
    assert not accepted(verifier, jws.serialize_compact({"alg": "HS256"}, claims, OctKey.generate_key(256)))


def rsa_padding() -> tuple[Any, Any]:
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.hashes import SHA256

    return padding.PKCS1v15(), SHA256()


def test_a_flood_of_unknown_tokens_reads_the_keys_once_in_ten_seconds_at_most(
    issuer: Issuer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftbell.server.auth.tokens.RETRY_SECONDS", 3600.0)
    running = TokenVerifier(issuer.url, AUDIENCE, scope_claim="scope", clock=clock)
    before = len(issuer.requests)
    running.start()
    wait_until(lambda: running.loaded, 30, "the keys")
    issuer.add_key("two")
    new = issuer.token(NOON, "two")
    for number in range(500):
        token = issuer.token(NOON) if number % 2 else new
        body, signature = token.split(".")[1:]
        forged = f"{part({'alg': 'RS256', 'kid': f'unknown {number}'})}.{body}.{signature}"
        assert not accepted(running, forged)
        assert not accepted(running, new)
    assert issuer.requests[before:] == ["/.well-known/openid-configuration", "/keys"]
    running.close()
    assert RETRY_SECONDS >= 10


def test_a_running_verifier_follows_a_rotation_and_outlives_its_issuer(
    issuer: Issuer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftbell.server.auth.tokens.RETRY_SECONDS", 0.05)
    running = TokenVerifier(issuer.url, AUDIENCE, scope_claim="scope", clock=clock)
    running.start()
    wait_until(lambda: running.loaded, 30, "the keys")
    issuer.add_key("two")
    new = issuer.token(NOON, "two")
    wait_until(lambda: accepted(running, new), 30, "the new key, which its token asks for")
    issuer.down = True
    seen = len(issuer.requests)

    def asked_again() -> bool:
        assert not accepted(running, issuer.token(NOON, "elliptic", "RS256"))
        return len(issuer.requests) > seen + 3

    monkeypatch.setitem(issuer.keys, "elliptic", issuer.keys["one"])
    wait_until(asked_again, 30, "reads of an issuer that is down")
    assert [accepted(running, token) for token in (issuer.token(NOON), new)] == [True, True]
    running.close()


def test_a_new_key_is_accepted_after_a_refresh_and_a_removed_one_ends(
    verifier: TokenVerifier, issuer: Issuer
) -> None:
    old = issuer.token(NOON)
    assert accepted(verifier, old)
    issuer.add_key("two")
    new = issuer.token(NOON, "two")
    assert not accepted(verifier, new)
    verifier.refresh()
    assert [accepted(verifier, token) for token in (old, new)] == [True, True]
    del issuer.keys["one"]
    verifier.refresh()
    assert [accepted(verifier, token) for token in (old, new)] == [False, True]


@pytest.mark.parametrize(
    "configuration",
    [{"issuer": "https://evil.example"}, {"issuer": None}, {"jwks_uri": "/keys"}, {"jwks_uri": 7}],
)
def test_a_wrong_configuration_changes_nothing(
    verifier: TokenVerifier, issuer: Issuer, configuration: dict[str, Any]
) -> None:
    issuer.configuration = configuration
    issuer.add_key("two")
    with capture_logs() as lines:
        verifier.refresh()
        verifier.refresh()
    assert [line["event"] for line in lines] == ["keys of the token issuer cannot be read"]
    assert [accepted(verifier, issuer.token(NOON, key)) for key in ("one", "two")] == [True, False]


def test_an_issuer_that_is_down_or_without_keys_leaves_the_known_ones(
    verifier: TokenVerifier, issuer: Issuer, clock: ManualClock
) -> None:
    issuer.down = True
    verifier.refresh()
    assert accepted(verifier, issuer.token(NOON))
    fresh = TokenVerifier(issuer.url, AUDIENCE, scope_claim="scope", clock=clock)
    fresh.refresh()
    assert not fresh.loaded
    issuer.down, issuer.keys = False, {}
    fresh.refresh()
    assert not fresh.loaded


def test_a_token_ends_at_its_time_and_memory_is_bounded(
    verifier: TokenVerifier, issuer: Issuer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = issuer.token(NOON)
    assert accepted(verifier, token)
    clock.now += timedelta(minutes=10) + LEEWAY
    assert not accepted(verifier, token)
    clock.now = NOW
    monkeypatch.setattr("driftbell.server.auth.tokens.MAX_TOKENS", 3)
    for number in range(10):
        assert accepted(verifier, issuer.token(NOON, sub=f"person {number}"))
    assert len(verifier._current.verified) == 3
    assert MAX_TOKENS >= 1000


def test_requests_with_tokens_pass_by_scope_beside_keys(
    verifier: TokenVerifier, issuer: Issuer, tmp_path: Path
) -> None:
    site = Site(tmp_path, tokens=verifier, always=False, has_keys=False)
    assert site.call("GET", "/runbook.json").status == 401, "an issuer requires authentication"
    site.keys["token"] = issuer.token(NOON, sub="ada\n")
    site.keys["admin token"] = issuer.token(NOON, scope="admin")
    site.keys["bad token"] = issuer.token(NOON, aud="other")
    assert site.call("GET", "/runbook.json", "token").status == 200
    refused = site.call("POST", "/monitor/trigger_now", "token")
    assert (refused.status, refused.reads) == (403, 0)
    assert "'ada\\n'" in refused.detail
    with capture_logs() as lines:
        assert site.call("POST", "/monitor/trigger_now", "admin token").status == 503
    (audit,) = [line for line in lines if line["event"] == "audit"]
    assert audit["who"] == "ada"
    refused = site.call("GET", "/runbook.json", "bad token")
    assert (refused.status, refused.reads) == (401, 0)
    assert refused.detail == "this token is not accepted: it is for another audience"
    assert site.call("POST", "/login", body=f"key={site.keys['token']}".encode()).status == 403
    site.add("shop", READ)
    site.keyring.refresh()
    assert site.call("GET", "/runbook.json", "shop").status == 200
    site.keyring.refresh()
    verifier.loaded = False
    assert site.call("GET", "/runbook.json", "token").status == 503
    assert site.call("GET", "/runbook.json", "shop").status == 200
    site.close()
