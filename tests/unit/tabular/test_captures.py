"""Captured requests of SageMaker and Databricks as predictions and labels."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from driftbell.records import Feature, Kind
from driftbell.tabular.captures import Captured, is_capture, read_databricks, read_sagemaker

FEATURES = (Feature("age", Kind.NUMERIC), Feature("city", Kind.CATEGORICAL))
CLASSES = ("no", "yes")
TIME = "2026-03-01T08:00:00Z"


def data(content: str, encoding: str = "CSV", kind: str = "text/csv") -> dict[str, Any]:
    return {"observedContentType": kind, "mode": "INPUT", "data": content, "encoding": encoding}


def packed(content: str, kind: str) -> dict[str, Any]:
    return data(base64.b64encode(content.encode()).decode(), "BASE64", kind)


def event(
    sent: Any = None, answered: Any = None, truth: Any = None, name: str = "e1", **metadata: str
) -> dict[str, Any]:
    line: dict[str, Any] = {"eventMetadata": {"eventId": name, "inferenceTime": TIME, **metadata}}
    if sent is not None:
        line["captureData"] = {"endpointInput": sent, "endpointOutput": answered}
    if truth is not None:
        line["groundTruthData"] = truth
    return {**line, "eventVersion": "0"}


def read(*events: Any, classes: tuple[str, ...] = CLASSES) -> list[Captured]:
    lines = b"\n".join(json.dumps(e).encode() if isinstance(e, dict) else e for e in events)
    return list(read_sagemaker(lines + b"\n", FEATURES, classes))


ROWS = [{"age": 31.0, "city": "Oslo"}, {"age": 42.0, "city": None}]
JSON = "application/json"


@pytest.mark.parametrize(
    "sent",
    [
        data("31,Oslo\n42,\n"),
        packed("31,Oslo\r\n42,", "text/csv; charset=utf-8"),
        data('{"instances": [{"features": [31, "Oslo"]}, {"features": [42, null]}]}', "JSON", JSON),
        data('{"instances": [[31, "Oslo"], [42, null]]}', "JSON", JSON),
        data('[[31, "Oslo"], [42, null]]', "JSON", JSON),
        data('[{"age": 31, "city": "Oslo"}, {"age": 42, "city": null}]', "JSON", JSON),
        packed('{"dataframe_records": [{"age": 31, "city": "Oslo"}, {"age": 42}]}', JSON),
    ],
)
@pytest.mark.parametrize(
    "answered",
    [
        data("yes\nno\n"),
        data("1\n0"),
        data("yes,no"),
        data("0.75,0.25"),
        data("[0.25, 0.75]\n[0.75, 0.25]\n"),
        packed("0.75\n0.25", "text/csv"),
        data('{"predictions": [{"predicted_label": 1}, {"predicted_label": 0}]}', "JSON", JSON),
        data('["yes", "no"]', "JSON", JSON),
    ],
)
def test_every_encoding_gives_the_same_rows(sent: Any, answered: Any) -> None:
    (request,) = read(event(sent, answered))
    assert request.problem == ""
    assert [item["prediction"] for item in request.items] == ["yes", "no"]
    assert [item["features"] | {"city": item["features"].get("city")} for item in request.items] == ROWS
    assert [item["id"] for item in request.items] == ["e1-0", "e1-1"]
    assert {item["time"] for item in request.items} == {TIME}


def test_one_row_has_the_id_of_the_event_or_the_users_own() -> None:
    plain, own = read(
        event(data("31,Oslo"), data("no")), event(data("31,Oslo"), data("no"), inferenceId="o-7")
    )
    assert [request.items[0]["id"] for request in (plain, own)] == ["e1", "o-7"]


def test_a_regression_answers_numbers() -> None:
    (request,) = read(event(data("31,Oslo"), data("12.5")), classes=())
    assert request.items[0]["prediction"] == 12.5


def test_labels_come_alone_or_merged_with_the_request() -> None:
    merged, alone, several = read(
        event(data("31,Oslo\n42,"), data("1\n0"), data("0\n1")),
        event(truth=data("1"), name="e2"),
        event(truth=data('["yes", "no"]', "JSON", JSON), name="e3", inferenceId="o-3"),
    )
    assert merged.labels == {"e1-0": 0, "e1-1": 1}
    assert (alone.items, alone.labels) == ([], {"e2": 1})
    assert several.labels == {"o-3-0": "yes", "o-3-1": "no"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "Expecting"),
        (b"[]", ""),
        ({"captureData": {}}, "it has no 'eventMetadata'"),
        (event(), "neither captureData nor groundTruthData"),
        ({**event(), "captureData": {"endpointInput": data("1,a")}}, "capture both"),
        (event(data("31"), data("no")), "row 0 has 1 values for the 2 columns"),
        (event(data("31,Oslo"), data("no\nyes")), "2 predictions for 1 rows"),
        (event(data("31,Oslo", "ZIP"), data("no")), "encoding 'ZIP' is none of"),
        (event(data("?", "BASE64"), data("no")), "is no text of text/csv"),
        (event(packed("x", "image/png"), data("no")), "'image/png' is neither CSV nor JSON"),
        (event(data("31,Oslo"), data("no"), data("no\nyes")), "2 labels for 1 predictions"),
    ],
)
def test_lines_that_cannot_be_read_are_named(line: Any, problem: str) -> None:
    requests = read(event(data("31,Oslo"), data("no")), line, event(data("31,Oslo"), data("no")))
    assert [bool(request.problem) for request in requests] == [False, True, False]
    assert problem in requests[1].problem
    assert (requests[1].reason, requests[1].place) == ("unreadable", "line 2")


def test_captures_are_recognised_by_their_beginning() -> None:
    assert is_capture(json.dumps(event(data("1,a"), data("no"))).encode())
    assert is_capture(json.dumps(event(truth=data("1"))).encode())
    assert not is_capture(b'{"age": 31}')
    assert not is_capture(b'age,"captureData"')


def table(**changes: Any) -> dict[str, list[Any]]:
    row = {
        "databricks_request_id": "d-1",
        "client_request_id": None,
        "timestamp_ms": 1772352000250,
        "status_code": 200,
        "execution_time_ms": 8,
        "request": '{"dataframe_split": {"columns": ["age", "city"], "data": [[31, "Oslo"], [42, null]]}}',
        "response": '{"predictions": ["yes", "no"]}',
        **changes,
    }
    return {name: [cell] for name, cell in row.items()}


def test_an_inference_table_gives_predictions_with_times_and_durations() -> None:
    (request,) = read_databricks(table(), FEATURES, CLASSES)
    assert [item["features"] for item in request.items] == ROWS
    assert [item["id"] for item in request.items] == ["d-1-0", "d-1-1"]
    assert request.items[0]["time"] == datetime(2026, 3, 1, 8, 0, 0, 250_000, tzinfo=UTC)
    assert request.items[0]["latency_ms"] == 4.0
    newer = table(client_request_id="o-1", request_time=datetime(2026, 3, 1, tzinfo=UTC))
    del newer["timestamp_ms"], newer["execution_time_ms"]
    (request,) = read_databricks(newer, FEATURES, CLASSES)
    assert request.items[1]["id"] == "o-1-1"
    assert request.items[1]["time"] == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "problem", "reason"),
    [
        ({"status_code": 400}, "status 400", "model_error"),
        ({"status_code": 429}, "status 429", ""),
        ({"response": None}, "must be str", "unreadable"),
        ({"response": "{}"}, "no list of 'predictions'", "unreadable"),
        ({"request": "text"}, "Expecting value", "unreadable"),
    ],
)
def test_requests_without_a_prediction_are_named(changes: Any, problem: str, reason: str) -> None:
    (request,) = read_databricks(table(**changes), FEATURES, CLASSES)
    assert problem in request.problem
    assert (request.items, request.reason, request.place) == ([], reason, "row 0")
