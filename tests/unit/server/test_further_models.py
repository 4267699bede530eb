"""Paths below `/models`: which are those of further models, and which those of the main model's versions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.unit.server.auth.site import Site

from driftbell.records.api_keys import ADMIN, PREDICT, READ
from driftbell.server.auth.access import ACCESS
from driftbell.server.http.prefix import path_prefix

JSON = {"content_type": "application/json", "content_length": "16"}
ROW = b'{"a": 1, "b": 2}'


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    opened = Site(tmp_path, further=("churn", "stop"))
    yield opened
    opened.close()


def metrics(site: Site) -> list[str]:
    return site.call("GET", "/metrics", READ).body.decode().splitlines()


def test_a_prediction_of_a_further_model_is_stored_in_its_log(site: Site) -> None:
    answer = site.call("POST", "/models/churn/predict", PREDICT, ROW, **JSON)
    assert answer.status == 200, answer.body
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert site.call("POST", "/models/churn/predict", READ, ROW, **JSON).status == 403
    assert site.call("POST", "/models/churn/predict", "none", ROW, **JSON).status == 401
    for path, count in (("/models/churn", 1), ("/models/stop", 0), ("", 0)):
        status = site.call("GET", f"{path}/monitor/status", READ)
        assert f'"data_points":{count},'.encode() in status.body, path
    lines = metrics(site)
    labels = 'method="POST",model="churn",route="/models/churn/predict"'
    for code, count in ((200, 1), (403, 1), (401, 1)):
        assert f'driftbell_http_requests_total{{{labels},status="{code}"}} {count}.0' in lines
    assert 'driftbell_http_requests_total{method="POST",route="/predict",status="200"} 0.0' in lines
    assert 'driftbell_rejected_inputs_total{model="churn",reason="scope"} 1.0' in lines


def test_every_route_of_the_main_model_keeps_its_meaning(site: Site) -> None:
    for method, template in ACCESS:
        if template.startswith("/models"):
            path = template.replace("{version}", "v1")
            answer = site.call(method, path, ADMIN, b"", **JSON)
            assert answer.status in (200, 400, 404, 409, 422), path
    lines = metrics(site)
    assert not [line for line in lines if 'model="churn",route=' in line and not line.endswith(" 0.0")]
    assert (
        'driftbell_http_requests_total{method="POST",route="/models/{version}/promote",status="400"} 1.0'
        in lines
    )
    below = site.call("GET", "/models/churn/models/v1", ADMIN)
    assert (below.status, "no version of" in below.detail) == (404, True)


def test_names_that_are_longer_or_shorter_are_no_model(site: Site) -> None:
    for name in ("chur", "churns", "Churn", "CHURN", "churn ", "churn.", "%63hurn", ""):
        answer = site.call("POST", f"/models/{name}/predict", PREDICT, ROW, **JSON)
        assert answer.status == 404, name
        assert answer.detail == f"no further model is named '{name}': this service has churn, stop"
    assert site.call("POST", "//models/churn/predict", PREDICT, ROW, **JSON).status == 404
    assert site.call("POST", "/models/churn//predict", PREDICT, ROW, **JSON).status == 404
    assert site.call("POST", "/models/churn/models/churn/predict", PREDICT, ROW, **JSON).status == 404
    long = site.call("GET", f"/models/{'x' * 300}/y", READ)
    assert len(long.detail) < 200


def test_links_of_a_model_begin_with_its_path_also_below_a_prefix(tmp_path: Path) -> None:
    site = Site(tmp_path, further=("churn",), prefix="/ml")
    for path in ("/models/churn", "/ml/models/churn", "/ml/models/churn/"):
        page = site.call("GET", path, READ).body.decode()
        assert 'href="/ml/models/churn/docs"' in page, path
        assert '<a href="/ml/">Show the main model</a>' in page
    assert 'href="/ml/models/churn/">churn</a>' in site.call("GET", "/ml/", READ).body.decode()
    answer = site.call("GET", "/ml/models/churn/reports", READ)
    assert "/ml/models/churn/reports/?" in answer.headers["location"]
    browser = site.call("GET", "/models/churn/reports/", accept="text/html")
    assert browser.headers["location"].startswith("/ml/models/churn/login?next=/reports/")
    assert site.call("POST", "/ml/models/churn/predict", PREDICT, ROW, **JSON).status == 200
    site.close()


def test_a_session_of_a_models_page_is_one_of_the_whole_service(site: Site) -> None:
    form = f"key={site.keys[READ]}&next=/reports/".encode()
    answer = site.call("POST", "/models/churn/login", body=form)
    assert (answer.status, answer.headers["location"]) == (303, "/models/churn/reports/")
    assert "; Path=/;" in answer.headers["set-cookie"]
    cookie = answer.headers["set-cookie"].partition(";")[0]
    for path in ("/", "/models/churn/", "/models/stop/"):
        assert site.call("GET", path, cookie=cookie).status == 200, path


def test_the_path_of_one_request_is_not_that_of_the_next_in_its_context(site: Site) -> None:
    async def pipelined() -> list[str]:
        prefixes = []
        for path in ("/models/churn/monitor/status", "/monitor/status", "/models/stop/docs", "/nothing"):
            await site._call("GET", path, [(b"host", b"localhost")], b"", "", "http", "127.0.0.1")
            prefixes.append(path_prefix())
        return prefixes

    prefixes = site._runner.run(pipelined())
    assert prefixes == ["/models/churn", "", "/models/stop", ""]


def test_audit_lines_name_the_model(site: Site) -> None:
    with capture_logs() as lines:
        site.call("POST", "/models/churn/monitor/trigger_now", ADMIN)
    (line,) = [entry for entry in lines if entry["event"] == "audit"]
    assert (line["action"], line["target"]) == (
        "POST /models/churn/monitor/trigger_now",
        "/models/churn/monitor/trigger_now",
    )


def test_health_lists_models_and_a_broken_one_leaves_the_others(site: Site) -> None:
    health = site.call("GET", "/health", READ)
    assert (health.status, health.body.count(b'"monitor":"not running"')) == (200, 3)
    site.app.models["churn"].deployment.served.predictor.check = _fail  # type: ignore[method-assign]
    health = site.call("GET", "/health", READ)
    assert health.status == 200
    assert b'"churn":{"status":"not ready","detail":"it hangs"}' in health.body
    assert site.call("GET", "/models/churn/health", READ).status == 503
    assert site.call("GET", "/models/stop/health", READ).status == 200


def _fail() -> None:
    from driftbell.errors import OverloadedError

    raise OverloadedError("it hangs")


def test_both_answers_come_at_the_same_time(site: Site) -> None:
    async def both() -> list[int]:
        pairs = [(b"host", b"localhost"), (b"authorization", b"Bearer " + site.keys[PREDICT].encode())]
        pairs += [(b"content-type", b"application/json"), (b"content-length", b"16")]
        paths = ["/predict", "/models/churn/predict", "/models/stop/predict"] * 20
        calls = [site._call("POST", path, pairs, ROW, "", "http", "127.0.0.1") for path in paths]
        return [answer.status for answer in await asyncio.gather(*calls)]

    assert site._runner.run(both()) == [200] * 60
    status = [
        site.call("GET", f"{p}/monitor/status", READ).body for p in ("", "/models/churn", "/models/stop")
    ]
    assert all(b'"data_points":10,' in body for body in status), status
