"""Models behind a server that already runs, in three protocols."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from driftbell.config.settings import load
from driftbell.errors import ModelError, PredictError
from driftbell.models import remote_call
from driftbell.records import Task
from driftbell.server.predict.failed_rows import FailedRows
from driftbell.wiring.model import open_model

FRAME = pd.DataFrame(
    {
        "age": [20, 40, 60],
        "income": [1.5, None, 3.5],
        "plan": ["basic", None, "größer"],
        "new": [True, False, True],
    }
)
ROWS: list[list[Any]] = [
    [20, 1.5, "basic", True],
    [40, None, None, False],
    [60, 3.5, "größer", True],
]
Answer = Callable[[str, Any], Any]


class Serving:
    """A server on loopback that answers as a function says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Answer = lambda path, body: None
        self.requests: list[tuple[str, Any]] = []
        serving = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.respond(None)

            def do_POST(self) -> None:
                self.respond(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def respond(self, body: Any) -> None:
                serving.requests.append((self.path, body))
                answer = serving.answer(self.path, body)
                status, content = answer if isinstance(answer, tuple) else (200, answer)
                if not isinstance(content, bytes):
                    content = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with suppress(BrokenPipeError):  # the client has given up
                    self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()


@pytest.fixture
def serving() -> Iterator[Serving]:
    server = Serving()
    yield server
    server.server.shutdown()
    server.thread.join()
    server.server.server_close()


def opened(folder: Path, url: str, *classes: str, **more: Any) -> Any:
    FRAME.to_parquet(folder / "past.parquet", index=False)
    overrides = {
        "data_dir": folder / "data",
        "model.path": url,
        "model.reference": folder / "past.parquet",
        "model.classes": classes,
        **{f"model.{key}": value for key, value in more.items()},
    }
    return open_model(load(environment={}, overrides=overrides).settings).model


def answers(model: Any) -> Any:
    rows = [dict(zip(FRAME.columns, row, strict=True)) for row in ROWS]
    return model.answer([model.schema.validate(row) for row in rows])


def of_ages(body: Any) -> list[Any]:
    """Return the first column of a table in JSON."""
    return [row[0] for row in body["data"]]


def test_plain_json_has_columns_and_rows(serving: Serving, tmp_path: Path) -> None:
    serving.answer = lambda path, body: [age / 100 for age in of_ages(body)]
    model = opened(tmp_path, f"{serving.url}/predict", "no", "yes")
    assert answers(model) == ([0, 0, 1], [[0.8, 0.2], [0.6, 0.4], [0.4, 0.6]])
    assert serving.requests[-1] == ("/predict", {"columns": list(FRAME.columns), "data": ROWS})
    assert model.name == f"127.0.0.1-{serving.server.server_port}-predict"


def test_plain_json_may_have_labels_and_probabilities(serving: Serving, tmp_path: Path) -> None:
    serving.answer = lambda path, body: {
        "predictions": ["no" for _ in of_ages(body)],
        "probabilities": [[0.4, 0.6] for _ in of_ages(body)],
    }
    model = opened(tmp_path, serving.url, "no", "yes")
    assert answers(model) == ([0, 0, 0], [[0.4, 0.6]] * 3)


def test_numbers_without_classes_are_a_regression(serving: Serving, tmp_path: Path) -> None:
    serving.answer = lambda path, body: {"predictions": [age * 1.5 for age in of_ages(body)]}
    model = opened(tmp_path, serving.url)
    assert model.task is Task.REGRESSION
    assert answers(model) == ([30.0, 60.0, 90.0], None)


@pytest.mark.parametrize("path", ["", "/", "/invocations"])
def test_mlflow_is_asked_for_invocations(path: str, serving: Serving, tmp_path: Path) -> None:
    serving.answer = lambda path, body: {
        "predictions": [int(a > 30) for a in of_ages(body["dataframe_split"])]
    }
    model = opened(tmp_path, serving.url + path, "no", "yes", protocol="mlflow")
    assert answers(model) == ([0, 1, 1], None)
    assert serving.requests[-1] == (
        "/invocations",
        {"dataframe_split": {"columns": list(FRAME.columns), "data": ROWS}},
    )


def test_mlflow_may_answer_records(serving: Serving, tmp_path: Path) -> None:
    serving.answer = lambda path, body: {
        "predictions": [{"0": 0.25, "1": 0.75} for _ in of_ages(body["dataframe_split"])]
    }
    model = opened(tmp_path, serving.url, "no", "yes", protocol="mlflow")
    assert answers(model) == ([1, 1, 1], [[0.25, 0.75]] * 3)


def v2(description: Any, outputs: Callable[[int], list[Any]]) -> Answer:
    def answer(path: str, body: Any) -> Any:
        if body is None:
            return description
        return {"model_name": "churn", "outputs": outputs(body["inputs"][0]["shape"][0])}

    return answer


def tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def test_v2_sends_a_tensor_a_column(serving: Serving, tmp_path: Path) -> None:
    serving.answer = v2(
        {"name": "churn", "versions": ["7"]},
        lambda n: [
            tensor("label", "BYTES", [n], ["yes"] * n),
            tensor("probability", "FP32", [n, 2], [0.25, 0.75] * n),
        ],
    )
    model = opened(tmp_path, f"{serving.url}/v2/models/churn", "no", "yes", protocol="v2")
    assert answers(model) == ([1, 1, 1], [[0.25, 0.75]] * 3)
    path, body = serving.requests[-1]
    assert path == "/v2/models/churn/infer"
    assert body["inputs"] == [
        tensor("age", "INT64", [3, 1], [20, 40, 60]),
        tensor("income", "FP64", [3, 1], [1.5, None, 3.5]),
        tensor("plan", "BYTES", [3, 1], ["basic", None, "größer"]),
        tensor("new", "BOOL", [3, 1], [True, False, True]),
    ]
    first = model.version
    serving.answer = v2({"name": "churn", "versions": ["8"]}, lambda n: [tensor("y", "INT64", [n], [0] * n)])
    again = opened(tmp_path, f"{serving.url}/v2/models/churn/infer", "no", "yes", protocol="v2")
    assert again.version != first


def test_v2_sends_one_tensor_if_the_server_takes_one(serving: Serving, tmp_path: Path) -> None:
    serving.answer = v2(
        {"name": "churn", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]},
        lambda n: [tensor("y", "FP64", [n, 1], [1.5] * n)],
    )
    model = opened(tmp_path, f"{serving.url}/v2/models/churn", protocol="v2")
    assert answers(model) == ([1.5, 1.5, 1.5], None)
    flat = [value for row in ROWS for value in row]
    assert serving.requests[-1][1] == {"inputs": [tensor("x", "FP32", [3, 4], flat)]}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((500, b"out of memory"), r"answered 500: out of memory"),
        ((404, {"detail": "no"}), "answered 404"),
        (b"<html>", r"answered no JSON; check model\.path and model\.protocol"),
        ({"answer": 1}, "answered in another form than the protocol json has"),
        ("yes", "answered in another form than the protocol json has"),
        ([0.5, 0.5], "answered 2 values for 1 row: it must answer one for each row"),
        (["maybe"], "answered 'maybe', which is none of its classes"),
        ((302, b""), "answered 302, a redirect to '', which is not followed"),
        ((500, b"a\x1b[31m\nb"), r"answered 500: a\\x1b\[31m\\nb; look into the server's log"),
        ((401, b""), "answered 401; it asks for a login, and driftbell sends none"),
        ((422, {"detail": "no"}), "answered 422: .*; check model.protocol"),
        (b"[" * 100_000, "answered no JSON"),
        (b"", "answered no JSON"),
        (None, r"answered nothing \(None\) instead of a list"),
        ([[0.5, 0.5], [1]], "answered in another form than the protocol json has"),
    ],
)
def test_an_answer_that_is_none_is_refused(
    answer: Any, problem: str, serving: Serving, tmp_path: Path
) -> None:
    serving.answer = lambda path, body: answer
    with pytest.raises(ModelError, match=problem):
        opened(tmp_path, serving.url, "no", "yes")


def test_an_answer_is_read_up_to_a_limit(
    serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_call, "MAX_ANSWER_BYTES", 1000)
    serving.answer = lambda path, body: b" " * 2000
    with pytest.raises(ModelError, match="answered more than"):
        opened(tmp_path, serving.url, "no", "yes")


def test_a_slow_server_is_not_waited_for(serving: Serving, tmp_path: Path) -> None:
    serving.answer = lambda path, body: [0.5] * len(body["data"])
    model = opened(tmp_path, serving.url, "no", "yes", timeout="1s")
    done = threading.Event()
    serving.answer = lambda path, body: done.wait(30) and []
    with pytest.raises(PredictError) as caught:
        answers(model)
    done.set()
    assert "timed out" in str(caught.value.__cause__)


def dripping(head: bytes, done: threading.Event) -> Iterator[str]:
    """Serve a head, and a byte each 0.1 s, on loopback; yield the URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):  # the client gives up
            connection.sendall(head)
            while not done.wait(0.1):
                connection.sendall(b" ")

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/x"
    done.set()
    thread.join()
    listener.close()


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nX-Long:", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"]
)
def test_an_answer_that_arrives_byte_by_byte_is_not_waited_for(head: bytes, tmp_path: Path) -> None:
    for url in dripping(head, threading.Event()):
        with pytest.raises(ModelError, match=r"/x timed out: it has not answered within .* \(1 s\)"):
            opened(tmp_path, url, "no", "yes", timeout="1s")


def test_the_next_call_after_a_timeout_is_answered(serving: Serving, tmp_path: Path) -> None:
    serving.answer = lambda path, body: [0.5] * len(body["data"])
    model = opened(tmp_path, serving.url, "no", "yes", timeout="1s")
    done = threading.Event()
    serving.answer = lambda path, body: done.wait(30) and []
    with pytest.raises(PredictError):
        answers(model)
    done.set()
    serving.answer = lambda path, body: [0.25] * len(body["data"])
    assert answers(model)[0] == [0, 0, 0]


def test_no_value_is_blamed_for_a_server_that_fails(serving: Serving, tmp_path: Path) -> None:
    serving.answer = lambda path, body: [0.5] * len(body["data"])
    model = opened(tmp_path, serving.url, "no", "yes")

    def answer(path: str, body: Any) -> Any:
        return (status, b"") if 40 in of_ages(body) else [0.5] * len(body["data"])

    serving.answer = answer
    rows: list[list[Any]] = [[20, 1.5, "basic", True], [40, None, None, False]]

    def explained() -> Any:
        with pytest.raises(PredictError) as caught:
            model.answer(rows)
        return FailedRows(model.schema, model.answer).explain(rows, caught.value, batch=True)

    status = 500
    count = len(serving.requests)
    assert isinstance(explained(), PredictError)
    assert len(serving.requests) == count + 1
    status = 422
    assert [p.field for p in explained().problems] == ["age"]


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot reach http://127\.0\.0\.1:1/x: .*check model\.path"):
        opened(tmp_path, "http://127.0.0.1:1/x", "no", "yes")


@pytest.mark.parametrize(
    "url",
    [
        "http:///x",
        "http://h/x?a=1",
        "http://h/#x",
        "http://[h/x",
        "http://h:x/",
        "http://h:99999/",
        "http://a b/",
    ],
)
def test_another_url_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must be a URL such as"):
        opened(tmp_path, url)
