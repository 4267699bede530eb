"""Wherever a client puts its key, neither spans nor log lines, metrics and answers show it."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
import pytest
from tests.conftest import EXAMPLE, running, wait_until
from tests.service.test_auth import QUIET, bearer, create
from tests.service.test_tracing import caller, collecting

from driftbell.server.auth.session import COOKIE

pytestmark = pytest.mark.service

UNKNOWN = "dbk_0badc0de_nobody-has-this-key"


def test_no_key_is_in_spans_log_lines_metrics_and_answers(tmp_path: Path) -> None:
    admin, predict = create(tmp_path, "ada", "admin"), create(tmp_path, "shop", "predict")
    with (
        collecting() as collector,
        running(
            "serve", tmp_path, **QUIET, AUTH__REQUIRED="always", TRACING__ENDPOINT=collector.url
        ) as service,
        httpx.Client(base_url=service.url, timeout=30) as client,
    ):
        trace, _, traced = caller()
        session = client.post("/login", data={"key": admin}, headers=traced).cookies[COOKIE]
        client.cookies.clear()
        secrets = [admin, predict, UNKNOWN, session]
        secrets += [secret.split("_", 2)[2] for secret in (admin, predict)]
        secrets += [base64.b64encode(f":{key}".encode()).decode() for key in (admin, predict, UNKNOWN)]
        answers = []
        for key in (admin, predict, UNKNOWN):
            basic = base64.b64encode(f":{key}".encode()).decode()
            for headers in (
                bearer(key),
                {"X-API-Key": key},
                {"Authorization": f"Basic {basic}"},
                {"Authorization": f"Token {key}"},
                {"Cookie": f"{COOKIE}={key}"},
                {"Cookie": f"{COOKIE}={session}"},
                {**bearer(key), "X-Request-ID": "x", "Accept": "text/html"},
            ):
                sent = {**headers, **traced}
                answers += [client.get(path, headers=sent) for path in ("/monitor/status", "/nothing", "/")]
                answers.append(client.post("/predict", json={**EXAMPLE, "odd": 1}, headers=sent))
                answers.append(client.post("/models/none/promote", json={}, headers=sent))
        for name in ("key", "api_key", "access_token", "token"):
            answer = client.get("/monitor/status", params={name: admin}, headers=traced)
            assert answer.status_code == 401, "a key in a URL is in the logs of proxies, and opens nothing"
            answers.append(answer)
        answers.append(client.post("/login", data={"key": UNKNOWN}, headers=traced))
        answers.append(client.get("/metrics", headers=bearer(admin)))
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        assert client.get("/", headers={**upgrade, "Sec-WebSocket-Version": "13"}).status_code == 401
        assert {200, 401, 403, 404, 422} <= {answer.status_code for answer in answers}
        wait_until(lambda: len(collector.spans(trace)) > len(answers) / 2, 60, "the spans")
    spans = b"".join(collector.bodies)
    for secret in secrets:
        assert secret.encode() not in spans
        assert secret not in service.lines()
        for answer in answers:
            assert secret not in answer.text, answer.request.url
            assert secret not in str(answer.headers), answer.request.url
