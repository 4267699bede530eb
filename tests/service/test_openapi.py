"""`/openapi.json` tells the truth: schemathesis asks the real service everything it promises."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from tests.conftest import CHEAP_MONITOR, EXAMPLE, Running, monitored, running
from tests.service.test_batch import body_of

from driftbell.server.batch import arrow
from driftbell.server.batch.csv_body import CSV

pytestmark = pytest.mark.service

for media_type in arrow.NAMES:  # what schemathesis sends as such
    schemathesis.openapi.media_type(
        media_type,
        st.lists(st.just(EXAMPLE), min_size=1, max_size=3).map(
            functools.partial(body_of, media_type=media_type)
        ),
    )

schemathesis.openapi.media_type(
    CSV,
    st.integers(1, 3).map(
        lambda rows: "\n".join([",".join(EXAMPLE), *[",".join(map(str, EXAMPLE.values()))] * rows]).encode()
    ),
)

OUTSIDE = re.compile(rb"""(?:https?:)?//(?!127\.0\.0\.1|localhost)[a-z0-9.-]+\.[a-z]{2,}""", re.IGNORECASE)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of its own, whose window may fill with whatever is valid."""
    with running(
        "up",
        tmp_path_factory.mktemp("openapi"),
        CHECK__EVERY="off",
        **CHEAP_MONITOR,
        REPORTS__KEEP="3",
    ) as found:
        monitored(found)
        yield found


@pytest.fixture(scope="module")
def api(asked: Running) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{asked.url}/openapi.json", config=SchemathesisConfig())


OPERATIONS = (
    "POST /predict",
    "POST /predict/batch",
    "POST /invocations",
    "GET /ping",
    "GET /v2",
    "GET /v2/health/live",
    "GET /v2/health/ready",
    "GET /v2/models/{name}",
    "GET /v2/models/{name}/ready",
    "POST /v2/models/{name}/infer",
    "GET /predictions/{prediction_id}",
    "POST /labels",
    "GET /monitor/performance",
    "GET /monitor/status",
    "POST /monitor/trigger_now",
    "GET /monitor/generate_report",
    "POST /monitor/alertmanager",
    "GET /monitor/checks",
    "GET /monitor/checks/{check_id}",
    "GET /monitor/checks/{check_id}/label-sheet",
    "GET /monitor/requests/{request_id}",
    "GET /monitor/alarms",
    "GET /monitor/alarms/{alarm_id}",
    "POST /monitor/alarms/{alarm_id}/annotation",
    "GET /monitor/alarms/{alarm_id}/label-sheet",
    "GET /models",
    "POST /models",
    "GET /models/compare",
    "GET /models/{version}",
    "POST /models/{version}/promote",
    "POST /models/{version}/challenge",
    "POST /models/challenger/stop",
    "POST /models/rollback",
    "GET /health",
    "GET /health/live",
    "GET /metrics",
)


def test_every_operation_is_tried(api: schemathesis.BaseSchema) -> None:
    assert {result.ok().label for result in api.get_all_operations() if isinstance(result, Ok)} == set(
        OPERATIONS
    )


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", OPERATIONS)
def test_every_operation_keeps_its_promises(
    api: schemathesis.BaseSchema, label: str, mode: GenerationMode
) -> None:
    method, path = label.split()
    cases = api[path][method].as_strategy(generation_mode=mode)

    @given(case=cases)
    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def answered(case: schemathesis.Case) -> None:
        case.call_and_validate(timeout=60)

    try:
        answered()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # an operation without input cannot be asked wrongly


def test_what_schemathesis_sent_left_the_service_whole(asked: Running) -> None:
    answer = httpx.post(f"{asked.url}/monitor/trigger_now", timeout=60)
    assert answer.status_code == 200
    assert answer.json()["error"] is None
    assert httpx.get(f"{asked.url}/health").is_success
    assert not [e for e in asked.events() if e["level"] == "ERROR"]


def test_the_example_row_of_each_body_works(asked: Running) -> None:
    paths = httpx.get(f"{asked.url}/openapi.json").json()["paths"]
    tried = 0
    for path, operations in paths.items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content and "{" not in path:  # those are of something that is not there
                example = content["application/json"]["example"]
                answer = httpx.request(method, f"{asked.url}{path}", json=example)
                # there is no other version to go back to, and no challenger
                is_refused = path in ("/models/rollback", "/models/challenger/stop")
                assert answer.status_code == 409 if is_refused else answer.is_success
                tried += 1
    assert tried == 7


def test_the_named_features_are_in_the_description_of_the_body(asked: Running) -> None:
    paths = httpx.get(f"{asked.url}/openapi.json").json()["paths"]
    body = paths["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == list(EXAMPLE)
    assert body["additionalProperties"] is False


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/", "/reports/"])
def test_no_page_refers_to_another_host(asked: Running, path: str) -> None:
    answer = httpx.get(f"{asked.url}{path}")
    assert answer.is_success
    assert OUTSIDE.findall(answer.content) == []


def test_the_scripts_of_the_docs_are_served_from_here(asked: Running) -> None:
    page = httpx.get(f"{asked.url}/docs").text
    parts = re.findall(r"""(?:src|href)="([^"]+\.(?:js|css|svg))""", page)
    assert len(parts) >= 3
    for part in parts:
        assert part.startswith("/static/")
        assert httpx.get(f"{asked.url}{part}").is_success
