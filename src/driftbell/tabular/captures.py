"""Requests and answers that other platforms have captured: SageMaker's data capture, Databricks' tables."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from driftbell.records import Feature
from driftbell.records.refusals import MODEL_ERROR, UNREADABLE
from driftbell.tabular.exchanges import (
    JsonFields,
    count_request_rows,
    is_inference,
    read_exchange,
    read_json_exchange,
)
from driftbell.tabular.inference_tables import csv_rows, mlflow_table, row_objects

CAPTURE_KEYS = (b'"captureData"', b'"groundTruthData"')
DATABRICKS_COLUMNS = frozenset(("databricks_request_id", "request", "response"))
FAILED_STATUSES = (400, 422, 500)
"""Statuses of requests that the model fails on, which count as data quality; others are of the server."""


@dataclass(frozen=True, slots=True)
class Captured:
    """One captured request.

    Attributes:
        items: its predictions, as `POST /predictions` receives them.
        labels: the true class or number of each, by id.
        problem: why it has no predictions; "" if it has some, or only labels.
        place: the line or row of a problem.
        rows: number of rows of the request that has a problem; 1 if they cannot be counted.
        reason: the reason with which a problem counts as a refused row; "" if it does not count.
    """

    items: list[dict[str, Any]] = field(default_factory=list)
    labels: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    reason: str = ""
    place: str = ""
    rows: int = 1


def is_capture(head: bytes) -> bool:
    """Return whether a file that begins with these bytes is a data capture of SageMaker, or its labels."""
    return head.lstrip().startswith(b"{") and any(key in head for key in CAPTURE_KEYS)


def read_sagemaker(lines: bytes, features: Sequence[Feature], classes: Sequence[str]) -> Iterator[Captured]:
    """Yield the requests of a data capture of SageMaker, of its labels, or of both merged.

    The id of a prediction is the `inferenceId` of its request, or else the `eventId`; of several rows it is
    followed by the number of the row. CSV has no header, and its columns are the features in their order.

    Args:
        lines: one JSON object on each line.
        features: the model's features in its order.
        classes: the model's classes; none for a regression.
    """
    for number, line in enumerate(lines.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield _event(json.loads(line), features, classes)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            yield Captured(problem=_reason(error), reason=UNREADABLE, place=f"line {number}")


def read_databricks(
    columns: Mapping[str, Sequence[Any]], features: Sequence[Feature], classes: Sequence[str]
) -> Iterator[Captured]:
    """Yield the requests of an inference table of Databricks.

    The id of a prediction is the `client_request_id` of its request, or else the `databricks_request_id`; of
    several rows it is followed by the number of the row.

    Args:
        columns: cells by column.
        features: the model's features in its order.
        classes: the model's classes; none for a regression.
    """
    names = [feature.name for feature in features]
    for index in range(len(columns["request"])):
        row = {name: cells[index] for name, cells in columns.items()}
        status = row.get("status_code")
        if status is not None and not 200 <= int(status) < 300:
            reason = MODEL_ERROR if int(status) in FAILED_STATUSES else ""
            problem = f"requests with the status {int(status)} have no prediction"
            rows = _count_rows(row["request"], names) if reason else 1
            yield Captured(problem=problem, reason=reason, place=f"row {index}", rows=rows)
            continue
        try:
            request, answer = json.loads(row["request"]), json.loads(row["response"])
            items = _items(request, answer, names, classes)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            yield Captured(problem=_reason(error), reason=UNREADABLE, place=f"row {index}")
            continue
        identifier = str(row.get("client_request_id") or row["databricks_request_id"])
        time = _databricks_time(row)
        latency = row.get("execution_time_ms", row.get("execution_duration_ms"))
        for item in items:
            if time is not None:
                item["time"] = time
            if latency is not None:
                item["latency_ms"] = float(latency) / len(items)
        yield Captured(_with_ids(items, identifier))


def _count_rows(request: Any, names: Sequence[str]) -> int:
    try:
        return count_request_rows(json.loads(request), names)
    except (ValueError, TypeError, RecursionError):
        return 1


def _databricks_time(row: Mapping[str, Any]) -> Any:
    time = row.get("timestamp_ms")
    if time is None:
        return row.get("request_time")
    try:
        return datetime.fromtimestamp(float(time) / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return str(time)  # refused with the name of the field


def _event(event: Any, features: Sequence[Feature], classes: Sequence[str]) -> Captured:
    """Return the predictions and labels of one line.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: it has another form.
    """
    metadata = event["eventMetadata"]
    identifier = str(metadata.get("inferenceId") or metadata["eventId"])
    items: list[dict[str, Any]] = []
    capture = event.get("captureData")
    if capture is not None:
        names = [feature.name for feature in features]
        if "endpointInput" not in capture or "endpointOutput" not in capture:
            raise ValueError("captureData needs endpointInput and endpointOutput: capture both")
        sent, is_csv = _content(capture["endpointInput"])
        request = csv_rows(sent, features, header=False) if is_csv else _rows(json.loads(sent))
        answered, is_csv = _content(capture["endpointOutput"])
        answer = _csv_answer(answered, _row_count(request, names)) if is_csv else json.loads(answered)
        items = _with_ids(_items(request, answer, names, classes), identifier)
        for item in items:
            if metadata.get("inferenceTime"):
                item["time"] = metadata["inferenceTime"]
    elif "groundTruthData" not in event:
        raise ValueError("it has neither captureData nor groundTruthData")
    truth = event.get("groundTruthData")
    if truth is None:
        return Captured(items)
    text, is_csv = _content(truth)
    values = _cells(text) if is_csv else json.loads(text)
    values = values if isinstance(values, list) else [values]
    flat = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in values]
    if items and len(flat) != len(items):
        raise ValueError(f"groundTruthData has {len(flat)} labels for {len(items)} predictions")
    ids = [identifier] if len(flat) == 1 else [f"{identifier}-{i}" for i in range(len(flat))]
    return Captured(items, dict(zip(ids, flat, strict=True)))


def _content(data: Mapping[str, Any]) -> tuple[str, bool]:
    """Return captured data as text, and whether it is CSV.

    Raises:
        ValueError: it has another encoding.
    """
    encoding, content = str(data.get("encoding", "")).upper(), data["data"]
    kind = str(data.get("observedContentType", "")).lower()
    if encoding == "BASE64":
        try:
            content = base64.b64decode(content, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ValueError(f"its BASE64 data is no text of {kind or 'a known type'}") from error
        if "csv" not in kind and "json" not in kind:
            raise ValueError(f"its observedContentType '{kind[:40]}' is neither CSV nor JSON")
        return content, "csv" in kind
    if encoding not in ("CSV", "JSON") or not isinstance(content, str):
        raise ValueError(f"its encoding '{encoding[:20]}' is none of CSV, JSON and BASE64")
    return content, encoding == "CSV"


def _rows(request: Any) -> Any:
    """Return the rows of a JSON request, without the `features` around each of them."""
    rows = request.get("instances", request) if isinstance(request, dict) else request
    if isinstance(rows, list):
        return [_without_features(row) for row in rows]
    return _without_features(rows)


def _without_features(row: Any) -> Any:
    return row["features"] if isinstance(row, dict) and set(row) == {"features"} else row


def _row_count(request: Any, names: Sequence[str]) -> int:
    """Return the number of rows of a request."""
    if is_inference(request):
        return len(row_objects(mlflow_table(names, request)))
    return len(request) if isinstance(request, list) else 1


def _items(request: Any, answer: Any, names: Sequence[str], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the predictions of a request in any protocol; see `read_exchange`."""
    if is_inference(request):
        return read_exchange(request, answer, names, classes)
    if isinstance(request, list):
        rows = [request] if request and not isinstance(request[0], list | dict) else request
        return read_exchange({"instances": rows}, answer, names, classes)
    return read_json_exchange(JsonFields(), request, answer, names, classes)


def _csv_answer(text: str, rows: int) -> list[Any]:
    """Return the predictions of an answer in CSV: one a line, or those of several rows in one line."""
    cells = _cells(text)
    if len(cells) == 1 and rows > 1 and isinstance(cells[0], list):
        return cells[0]
    return cells


def _cells(text: str) -> list[Any]:
    """Return the cell of each line, or the list of its cells."""
    lines = csv.reader(io.StringIO(text.replace("[", "").replace("]", "")))
    rows = [[_number(cell.strip()) for cell in line] for line in lines if line]
    return [row[0] if len(row) == 1 else row for row in rows]


def _number(cell: str) -> Any:
    try:
        return int(cell)
    except ValueError:
        try:
            return float(cell)
        except ValueError:
            return cell


def _with_ids(items: list[dict[str, Any]], identifier: str) -> list[dict[str, Any]]:
    for index, item in enumerate(items):
        item["id"] = identifier if len(items) == 1 else f"{identifier}-{index}"
    return items


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return str(error) or type(error).__name__
