"""Clients of MLflow's scoring server and of the Open Inference Protocol call driftbell without a change."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from tests.conftest import Running, running

from driftbell.models.remote import RemoteOptions, load_remote
from driftbell.simulation.traffic import iris_rows
from driftbell.tabular.binary_tensors import fill_tensors

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("serve", tmp_path_factory.mktemp("doors")) as found:
        yield found


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [dict(row) for row in iris_rows(40, np.random.default_rng(0))]


@pytest.fixture(scope="module")
def expected(service: Running, rows: list[dict[str, Any]]) -> list[str]:
    answer = httpx.post(f"{service.url}/predict/batch", json=rows)
    return [row["class"] for row in answer.json()["predictions"]]


def bodies(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names, data = list(rows[0]), [list(row.values()) for row in rows]
    return [
        {"dataframe_split": {"columns": names, "data": data, "index": list(range(len(rows)))}},
        {"dataframe_records": rows},
        {"instances": rows, "params": {"temperature": 0}},
        {"instances": data},
        {"inputs": {name: [row[name] for row in rows] for name in names}},
        {"inputs": {name: [[row[name]] for row in rows] for name in names}, "params": {}},
    ]


def test_invocations_answer_as_mlflow_does(
    service: Running, rows: list[dict[str, Any]], expected: list[str]
) -> None:
    for body in bodies(rows):
        answer = httpx.post(f"{service.url}/invocations", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"] == expected
        assert len(set(answer.json()["ids"])) == len(rows)
    csv = pd.DataFrame(rows).to_csv(index=False)
    answer = httpx.post(f"{service.url}/invocations", content=csv, headers={"Content-Type": "text/csv"})
    assert answer.json()["predictions"] == expected
    label = {"prediction_id": answer.json()["ids"][0], "label": expected[0]}
    assert httpx.post(f"{service.url}/labels", json=label).json()["accepted"] == 1
    assert httpx.get(f"{service.url}/ping").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ([], 422, "one of dataframe_split"),
        ({"rows": []}, 422, "one of dataframe_split"),
        ({"instances": [], "inputs": []}, 422, "one of dataframe_split"),
        ({"inputs": {"a": [1], "b": [1, 2]}}, 422, "all of one length"),
        ({"instances": [[1.0]]}, 422, "4 values"),
        ({"instances": [[5.1, 3.5, 1.4, 0.2]], "rows": []}, 422, "unknown field 'rows' beside 'instances'"),
        ({"dataframe_records": [{"sepal length (cm)": "x"}]}, 422, "must be a number"),
    ],
)
def test_wrong_invocations_say_what_to_send(service: Running, body: Any, status: int, text: str) -> None:
    answer = httpx.post(f"{service.url}/invocations", json=body)
    assert answer.status_code == status
    assert text in answer.json()["detail"]


def test_the_open_inference_protocol_describes_and_predicts(
    service: Running, rows: list[dict[str, Any]], expected: list[str]
) -> None:
    assert httpx.get(f"{service.url}/v2").json()["name"] == "driftbell"
    assert httpx.get(f"{service.url}/v2/health/live").json() == {"live": True}
    assert httpx.get(f"{service.url}/v2/health/ready").json() == {"ready": True}
    assert httpx.get(f"{service.url}/v2/models/iris/ready").json() == {"name": "iris", "ready": True}
    described = httpx.get(f"{service.url}/v2/models/iris").json()
    assert [tensor["name"] for tensor in described["inputs"]] == list(rows[0])
    assert {tensor["datatype"] for tensor in described["inputs"]} == {"FP64"}
    n = len(rows)
    columns = [
        {"name": name, "shape": shape, "datatype": "FP64", "data": [row[name] for row in rows]}
        for name, shape in zip(rows[0], ([n, 1], [n], [n, 1], [n]), strict=True)
    ]
    flat = [value for row in rows for value in row.values()]
    one = [{"name": "input-0", "shape": [n, 4], "datatype": "FP32", "data": flat}]
    nested = [{**one[0], "data": [list(row.values()) for row in rows]}]
    for inputs in (columns, one, nested):
        body = {"id": "r1", "inputs": inputs}
        answer = httpx.post(f"{service.url}/v2/models/iris/infer", json=body)
        assert answer.status_code == 200, answer.text
        content = answer.json()
        assert (content["model_name"], content["id"]) == ("iris", "r1")
        outputs = {tensor["name"]: tensor for tensor in content["outputs"]}
        assert outputs["class"]["data"] == expected
        assert outputs["probabilities"]["shape"] == [n, 3]
        assert np.reshape(outputs["probabilities"]["data"], (n, 3)).sum(axis=1) == pytest.approx(np.ones(n))
        assert len(set(outputs["id"]["data"])) == n
    body = {"inputs": one, "outputs": [{"name": "class_id"}]}
    outputs = httpx.post(f"{service.url}/v2/models/iris/infer", json=body).json()["outputs"]
    assert [tensor["name"] for tensor in outputs] == ["class_id"]


def test_wrong_tensors_are_refused_with_the_member_that_clients_read(service: Running) -> None:
    url = f"{service.url}/v2/models/iris/infer"
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4]}
    for body, status, text in (
        ({}, 422, "'inputs'"),
        ({"inputs": [{**tensor, "shape": [2, 4]}]}, 422, "fits its data"),
        ({"inputs": [{**tensor, "shape": [1, -4]}]}, 422, "fits its data"),
        ({"inputs": [{**tensor, "shape": [4, 1]}]}, 422, "must have the shape [rows, 4]"),
        ({"inputs": [tensor], "outputs": [{"name": "logits"}]}, 422, "no output 'logits'"),
        ({"inputs": [{**tensor, "data": [1, 2, 3, "x"]}]}, 422, "must be a number"),
    ):
        answer = httpx.post(url, json=body)
        assert answer.status_code == status, answer.text
        assert text in answer.json()["error"]
    other = httpx.post(f"{service.url}/v2/models/churn/infer", json={"inputs": [tensor]})
    assert (other.status_code, "'iris'" in other.json()["error"]) == (404, True)
    for length, text in (("9", "a length up to the 2 bytes"), ("2", "a list of tensors")):
        binary = httpx.post(url, content=b"{}", headers={"Inference-Header-Content-Length": length})
        assert (binary.status_code, text in binary.json()["error"]) == (422, True)


def test_driftbells_own_clients_of_both_protocols_understand_the_answers(
    service: Running, rows: list[dict[str, Any]], expected: list[str], tmp_path: Path
) -> None:
    classes = ("setosa", "versicolor", "virginica")
    for path, protocol in (("/invocations", "mlflow"), ("/v2/models/iris", "v2")):
        loaded, _ = load_remote(f"{service.url}{path}", RemoteOptions(protocol), classes)
        outputs = loaded.predict(pd.DataFrame(rows))
        assert [classes[i] for i in outputs.values] == expected
        assert (outputs.probabilities is not None) == (protocol == "v2")


def test_an_id_that_cannot_be_answered_is_refused_before_anything_is_recorded(
    service: Running, rows: list[dict[str, Any]]
) -> None:
    name = httpx.get(f"{service.url}/health").json()["model"]
    inputs = [{"name": n, "shape": [1], "datatype": "FP64", "data": [v]} for n, v in rows[0].items()]
    address = f"{service.url}/v2/models/{name}/infer"
    body = json.dumps({"inputs": inputs, "id": "\ud800"})
    answer = httpx.post(address, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (
        422,
        "'id' must be valid Unicode text without NUL",
    )
    assert httpx.post(address, json={"inputs": inputs, "id": "ä"}).json()["id"] == "ä"


def test_binary_tensors_are_read_and_answered(
    service: Running, rows: list[dict[str, Any]], expected: list[str]
) -> None:
    url, n = f"{service.url}/v2/models/iris/infer", len(rows)
    values = np.array([list(row.values()) for row in rows])
    for dtype, datatype in (("<f8", "FP64"), ("<f4", "FP32")):
        data = values.astype(dtype).tobytes()
        tensor = {"name": "x", "shape": [n, 4], "datatype": datatype}
        body = {
            "inputs": [{**tensor, "parameters": {"binary_data_size": len(data)}}],
            "outputs": [
                {"name": "class", "parameters": {"binary_data": True}},
                {"name": "probabilities", "parameters": {"binary_data": True}},
                {"name": "class_id"},
            ],
        }
        head = json.dumps(body).encode()
        headers = {"Inference-Header-Content-Length": str(len(head))}
        packed = gzip.compress(head + data)
        for content, coding in ((head + data, {}), (packed, {"Content-Encoding": "gzip"})):
            answer = httpx.post(url, content=content, headers={**headers, **coding})
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"] == "application/octet-stream"
            length = int(answer.headers["inference-header-content-length"])
            outputs = json.loads(answer.content[:length])["outputs"]
            assert [output["name"] for output in outputs] == ["class", "class_id", "probabilities"]
            filled = fill_tensors({"outputs": outputs}, answer.content[length:], "outputs")["outputs"]
            assert filled[0]["data"] == expected
            shares = np.reshape(filled[2]["data"], (n, 3))
            assert shares.argmax(axis=1).tolist() == filled[1]["data"]
    assert httpx.get(f"{service.url}/v2").json()["extensions"] == ["binary_tensor_data"]


def test_the_client_of_triton_is_understood(
    service: Running, rows: list[dict[str, Any]], expected: list[str]
) -> None:
    client = pytest.importorskip("tritonclient.http", reason="tritonclient is not installed")
    with client.InferenceServerClient(service.url.removeprefix("http://")) as server:
        inputs = []
        for name in rows[0]:
            values = np.array([[row[name]] for row in rows])
            inputs.append(client.InferInput(name, list(values.shape), "FP64"))
            inputs[-1].set_data_from_numpy(values)
        for coding in (None, "gzip"):
            result = server.infer("iris", inputs, request_compression_algorithm=coding)
            assert [text.decode() for text in result.as_numpy("class")] == expected
            assert result.as_numpy("probabilities").shape == (len(rows), 3)
