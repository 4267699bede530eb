"""Over HTTP, a model of every format answers as its own library does on the original table."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tests.conftest import running
from tests.service.model_tables import FORMATS, NEW, REFERENCE, SINGLE_ROWS, Served

from driftbell.server.batch import arrow

pytestmark = pytest.mark.service

CSV_REFERENCES = ("XGBoost ubj regressor", "LightGBM txt regressor", "ONNX classifier")
"""Formats that keep categories themselves, or need none."""


def json_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    text = frame.to_json(orient="records", date_format="iso", date_unit="ns", double_precision=15)
    rows: list[dict[str, Any]] = json.loads(text)
    return rows


def arrow_body(frame: pd.DataFrame) -> bytes:
    rows = pa.Table.from_pandas(frame, preserve_index=False)
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def bodies(frame: pd.DataFrame) -> Iterator[tuple[str, str, bytes]]:
    """Yield name, media type and body of each kind of request."""
    options: Any = {"date_format": "iso", "date_unit": "ns", "double_precision": 15}
    yield "records", "application/json", frame.to_json(orient="records", **options).encode()
    yield "split", "application/json", frame.to_json(orient="split", **options).encode()
    yield "CSV", "text/csv", frame.to_csv(index=False).encode()
    yield "Arrow", arrow.FILE, arrow_body(frame)


def answered(response: httpx.Response, media_type: str, served: Served) -> tuple[list[Any], np.ndarray]:
    """Return classes and probabilities, or numbers, of an answer."""
    assert response.status_code == 200, response.text[:500]
    if media_type == "application/json":
        rows = pd.DataFrame(response.json()["predictions"])
        if served.classes:
            return list(rows["class"]), np.array(
                [[p[c] for c in served.classes] for p in rows["probabilities"]]
            )
        return [], rows["value"].to_numpy()
    if media_type == "text/csv":
        rows = pd.read_csv(io.BytesIO(response.content))
    else:
        rows = pa.ipc.open_file(response.content).read_all().to_pandas()
    if served.classes:
        shares = rows[[f"probability of {c}" for c in served.classes]].to_numpy()
        return [str(v) for v in rows["class"]], shares
    return [], rows["value"].to_numpy()


def assert_answers(
    classes: list[Any], values: np.ndarray, served: Served, expected: np.ndarray, way: str
) -> None:
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-12, err_msg=way)
    if served.classes:
        assert classes == [served.classes[i] for i in expected.argmax(axis=1)], way


@pytest.mark.filterwarnings("ignore::UserWarning")  # as errors, its hints stop its own inference
@pytest.mark.parametrize("name", FORMATS)
def test_a_model_answers_over_http_as_its_library_does(name: str, tmp_path: Path) -> None:
    served = FORMATS[name](tmp_path)
    reference, frame = REFERENCE[served.columns], NEW[served.columns]
    if len(served.answers) < len(frame):  # the library refuses nulls
        reference, frame = reference.dropna(), frame.dropna()
    suffix = "csv" if name in CSV_REFERENCES else "parquet"
    path = tmp_path / f"reference.{suffix}"
    (reference.to_csv(path, index=False) if suffix == "csv" else reference.to_parquet(path))
    data = tmp_path / "data"
    data.mkdir()
    for module in tmp_path.glob("*.py"):
        module.rename(data / module.name)
    settings = {
        "MODEL__NAME": "m",
        "MODEL__PATH": served.path,
        "MODEL__REFERENCE": str(path),
        "CHECK__EVERY": "off",
        **served.settings,
    }
    with (
        running("serve", data, **settings) as service,
        httpx.Client(base_url=service.url, timeout=60) as client,
    ):
        for way, media_type, body in bodies(frame):
            answer = client.post("/predict/batch", content=body, headers={"Content-Type": media_type})
            assert_answers(*answered(answer, media_type, served), served, served.answers, way)
        rows = [client.post("/predict", json=row) for row in json_rows(frame[:SINGLE_ROWS])]
        assert [r.status_code for r in rows] == [200] * SINGLE_ROWS, rows[0].text
        parts = [r.json() for r in rows]
        values = [
            [p["probabilities"][c] for c in served.classes] if served.classes else p["value"] for p in parts
        ]
        classes = [p.get("class") for p in parts]
        single = served.answers[:SINGLE_ROWS] if served.single is None else served.single
        assert_answers(classes, np.array(values), served, single, "one row")
