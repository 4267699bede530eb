"""Own ids and metadata in every request that predicts: recorded, answered, and never given to the model."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from driftbell.errors import InputError
from driftbell.publish.report_folder import ReportFolder
from driftbell.records import Columns, Label, Outputs, Prediction, Refusal, Task
from driftbell.server.app import Service, create_app
from driftbell.server.batch import arrow
from driftbell.server.http.problems import Refused
from driftbell.server.http.site_guard import SiteGuard
from driftbell.server.http.tracing import Tracing
from driftbell.server.pass_through import read_row, requested_fields
from driftbell.server.predict.fast_path import passed_row_parser, row_parser
from driftbell.store.sqlite import open_sqlite
from driftbell.tabular.columns import as_columns
from driftbell.tabular.pass_through import pass_through_fields
from driftbell.tabular.schema import Schema, infer_schema

NUMBERS = infer_schema(as_columns({"a": np.array([1.0]), "b": np.array([2.0])}))
TEXTS = infer_schema(
    as_columns({"city": np.array(["Bern", "Köln"], dtype=object), "age": np.array([31.0, np.nan])})
)
NAMESAKES = infer_schema(as_columns({"id": np.array([1.0]), "metadata": np.array([2.0])}))


class Model:
    """The sum of two numbers."""

    name, version, classes = "sum", "v1", ("small", "large")
    engine, engine_reason, inline = "native", "it is a test", True
    class_counts: tuple[int, ...] = ()
    task = Task.CLASSIFICATION

    def __init__(self, schema: Schema = NUMBERS) -> None:
        self.schema = schema
        self.rows: list[Any] = []

    def predict(self, columns: Columns) -> Outputs:
        ids, shares = self.answer(list(zip(*columns.values(), strict=True)))
        return Outputs(np.array(ids), np.array(shares))

    def answer(self, rows: Any) -> tuple[list[int], list[list[float]]]:
        self.rows += rows
        ids = [int(a + b > 3) for a, b in rows]
        return ids, [[1.0 - i, float(i)] for i in ids]


class Client:
    """Calls the application of one model without a network."""

    def __init__(self, service: Service, runner: asyncio.Runner) -> None:
        app = create_app(service)
        self.service, self.runner = service, runner
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
        self.life = app.router.lifespan_context(app)
        runner.run(self.life.__aenter__())

    def post(self, path: str, body: Any, media_type: str = "application/json") -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": media_type}
        return self.runner.run(self.http.post(path, content=content, headers=headers))

    def get(self, path: str) -> httpx.Response:
        return self.runner.run(self.http.get(path))

    def logged(self, prediction_id: str) -> Prediction:
        self.get("/monitor/status")  # waits for the journal
        prediction = self.service.store.predictions.get(prediction_id)
        assert prediction
        return prediction

    def close(self) -> None:
        self.runner.run(self.life.__aexit__(None, None, None))


@pytest.fixture(params=["process", "power"])
def durability(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def client(tmp_path: Path, model: Model) -> Iterator[Client]:
    yield from opened(tmp_path, model)


def opened(place: Path, model: Model, **options: Any) -> Iterator[Client]:
    options = {"body_limit": 50_000, **options}
    service = Service(
        model=model,
        store=open_sqlite(place / "log.sqlite"),
        journals=place / "journal",
        reports=ReportFolder(place / "reports", keep=1),
        window_rows=10,
        queue_limit=100,
        access_log=False,
        site_guard=SiteGuard((), bound="127.0.0.1"),
        tracing=Tracing(),
        clock=lambda: datetime(2026, 1, 31, tzinfo=UTC),
        **options,
    )
    with asyncio.Runner() as runner:
        client = Client(service, runner)
        yield client
        client.close()


METADATA = {"shop": "Zürich", "basket": 3, "price": 1.5, "test": True}
ROW = {"a": 1, "b": 2}


@pytest.mark.parametrize("tail", [b"", b" " * 20_000], ids=["inline", "in a thread"])
def test_a_prediction_has_the_id_and_metadata_of_the_client(
    client: Client, model: Model, tail: bytes
) -> None:
    body = json.dumps({**ROW, "id": "order-1", "metadata": METADATA}).encode()
    answer = client.post("/predict", body + tail)
    assert (answer.status_code, answer.json()["id"]) == (200, "order-1")
    logged = client.logged("order-1")
    assert dict(logged.metadata) == METADATA
    assert dict(logged.features) == {"a": 1.0, "b": 2.0}
    assert [list(row) for row in model.rows] == [[1.0, 2.0]]
    sent = client.post("/labels", {"prediction_id": "order-1", "label": "small"})
    assert sent.json()["accepted"] == 1
    assert client.service.store.labels.add([Label("order-1", "small", logged.time)]).duplicates == 1


def test_without_an_id_the_service_makes_one_also_beside_metadata(client: Client) -> None:
    for body in (ROW, {**ROW, "id": None}, {**ROW, "metadata": {"shop": "a"}}, {**ROW, "metadata": {}}):
        name = client.post("/predict", body).json()["id"]
        assert len(name) == 32
        assert dict(client.logged(name).metadata) == (body.get("metadata") or {})
    assert client.post("/predict", {**ROW, "id": 17}).json()["id"] == "17"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"id": ""},
            "'id' must be a text of 1 to 128 characters without control characters, or a whole number",
        ),
        ({"id": "a\nb"}, "'id' must be a text"),
        ({"id": 1.5}, "'id' must be a text"),
        ({"metadata": [1]}, "'metadata' must be an object of texts, numbers and booleans, got an array"),
        (
            {"metadata": {"a": {}}},
            "'metadata' must have texts, numbers and booleans: the value of 'a' is an obj",
        ),
        ({"idd": "x"}, "unknown field 'idd'"),
    ],
)
def test_an_invalid_id_or_metadata_is_refused_and_nothing_is_recorded(
    client: Client, more: dict[str, Any], message: str
) -> None:
    for path, body in (("/predict", {**ROW, **more}), ("/predict/batch", [ROW, {**ROW, **more}])):
        answer = client.post(path, body)
        assert answer.status_code == 422
        assert message in answer.json()["detail"]
    client.get("/monitor/status")
    assert client.service.store.predictions.count(model="sum", version="v1") == 0
    refusal, rest = [r.refusal for r in client.service.store.refusals.since("", model="sum", version="v1")]
    assert (refusal.field, refusal.rows, refusal.value) in (("", 2, ""), ("", 2, "idd"))
    assert rest == Refusal("", "same_request", "", 1, 1)


def test_an_id_again_is_answered_again_and_the_log_keeps_the_first(tmp_path: Path, durability: str) -> None:
    for client in opened(tmp_path, Model(), durability=durability):
        client.post("/predict", {**ROW, "id": "x", "metadata": {"n": 1}})
        client.get("/monitor/status")
        with capture_logs() as events:
            answer = client.post("/predict", {"a": 5, "b": 5, "id": "x", "metadata": {"n": 2}})
            assert (answer.status_code, answer.json()["class"]) == (200, "large")
            assert client.logged("x").output == "small"
            client.post("/predict", {**ROW, "id": "x"})
            client.get("/monitor/status")
        assert dict(client.logged("x").metadata) == {"n": 1}
        assert client.service.store.predictions.count(model="sum", version="v1") == 1
        assert "driftbell_predictions_repeated_total 2.0" in client.get("/metrics").text
        assert [e["rows"] for e in events if e["event"].startswith("predictions with ids")] == [1]


def test_a_prediction_of_the_log_can_be_read_with_its_metadata_and_label(client: Client) -> None:
    assert client.get("/predictions/x").status_code == 404
    name = "order/7 ü"
    client.post("/predict", {**ROW, "id": name, "metadata": {"shop": "Bern", "test": True, "n": 2}})
    first = client.get("/predictions/order%2F7%20%C3%BC").json()
    assert (first["id"], first["metadata"]) == (name, {"shop": "Bern", "test": True, "n": 2})
    assert (first["features"], first["prediction"], first["label"]) == (ROW, "small", None)
    assert (first["model"], first["version"]) == ("sum", "v1")
    client.post("/labels", {"prediction_id": name, "label": "large"})
    client.post("/labels", {"prediction_id": name, "label": "small"})
    assert client.get("/predictions/order%2F7%20%C3%BC").json() == {**first, "label": "small"}
    other = client.post("/predict", ROW).json()["id"]
    assert client.get(f"/predictions/{other}").json()["metadata"] == {}
    assert client.get("/predictions/%00").status_code == 404


def test_the_address_names_other_fields(client: Client) -> None:
    path = "/predict?id=order&metadata=shop,test&metadata=n"
    body = {**ROW, "order": 12, "shop": "Bern", "test": True, "n": None}
    assert client.post(path, body).json()["id"] == "12"
    assert dict(client.logged("12").metadata) == {"shop": "Bern", "test": True}
    missing = client.post(path, {**ROW, "order": 13, "shop": "Bern", "test": True})
    assert (missing.status_code, missing.json()["errors"][0]["field"]) == (422, "n")
    feature = client.post("/predict?id=a", ROW)
    assert "'a' is a feature of the model" in feature.json()["detail"]
    unknown = client.post("/predict?id=order", {**ROW, "order": 14, "id": "x"})
    assert "unknown field 'id'" in unknown.json()["detail"]


def test_features_named_id_and_metadata_are_features(tmp_path: Path) -> None:
    model = Model(NAMESAKES)
    for client in opened(tmp_path, model):
        answer = client.post("/predict", {"id": 1, "metadata": 2})
        assert len(answer.json()["id"]) == 32
        assert model.rows == [[1.0, 2.0]]
        named = client.post(
            "/predict?id=key&metadata=shop", {"id": 1, "metadata": 2, "key": "k", "shop": "s"}
        )
        assert named.json()["id"] == "k"
        assert dict(client.logged("k").metadata) == {"shop": "s"}
        assert dict(client.logged("k").features) == {"id": 1.0, "metadata": 2.0}
        row = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]
        properties = row["content"]["application/json"]["schema"]["properties"]
        assert [properties[name]["type"] for name in ("id", "metadata")] == ["number", "number"]


OBJECTS = [{**ROW, "id": f"o-{i}", "metadata": {"n": i}} for i in range(3)]
TABLE: dict[str, Any] = {"columns": ["key", "a", "n", "b"], "data": [[f"o-{i}", 1, i, 2] for i in range(3)]}
FRAME = pa.table({"key": [f"o-{i}" for i in range(3)], "a": [1.0] * 3, "n": [0, 1, 2], "b": [2.0] * 3})
NAMED = "?id=key&metadata=n"


def ipc(table: pa.Table, media_type: str = arrow.STREAM) -> bytes:
    sink = io.BytesIO()
    new = pa.ipc.new_file if media_type == arrow.FILE else pa.ipc.new_stream
    with new(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def tensors(**columns: list[Any]) -> dict[str, Any]:
    inputs = [{"name": n, "shape": [len(c)], "datatype": "FP64", "data": c} for n, c in columns.items()]
    return {"inputs": inputs}


KEYS, NS, ONES, TWOS = [f"o-{i}" for i in range(3)], [0, 1, 2], [1] * 3, [2] * 3
CSV_BODY = b"key,a,n,b\no-0,1,0,2\no-1,1,1,2\no-2,1,2,2\n"
WIDE = {
    "inputs": [
        {"name": "rows", "shape": [3, 2], "datatype": "FP64", "data": [1, 2] * 3},
        {"name": "key", "shape": [3, 1], "datatype": "BYTES", "data": KEYS},
        {"name": "n", "shape": [3], "datatype": "INT64", "data": NS},
    ]
}
INFER = "/v2/models/sum/infer"
BATCHES: dict[str, tuple[str, Any, str]] = {
    "objects": ("/predict/batch", OBJECTS, "application/json"),
    "objects with named fields": (
        f"/predict/batch{NAMED}",
        [{**ROW, "key": f"o-{i}", "n": i} for i in range(3)],
        "application/json",
    ),
    "columns": (f"/predict/batch{NAMED}", TABLE, "application/json"),
    "split": (f"/predict/batch{NAMED}", {**TABLE, "index": [0, 1, 2]}, "application/json"),
    "CSV": (f"/predict/batch{NAMED}", CSV_BODY, "text/csv"),
    "semicolons": (f"/predict/batch{NAMED}", CSV_BODY.replace(b",", b";"), "text/csv"),
    "stream": (f"/predict/batch{NAMED}", ipc(FRAME), arrow.STREAM),
    "file": (f"/predict/batch{NAMED}", ipc(FRAME, arrow.FILE), arrow.FILE),
    "MLflow records": ("/invocations", {"dataframe_records": OBJECTS}, "application/json"),
    "MLflow split": (f"/invocations{NAMED}", {"dataframe_split": TABLE}, "application/json"),
    "MLflow inputs": (
        f"/invocations{NAMED}",
        {"inputs": {"key": KEYS, "a": ONES, "b": TWOS, "n": NS}},
        "application/json",
    ),
    "MLflow CSV": (f"/invocations{NAMED}", CSV_BODY, "text/csv"),
    "tensors": (f"{INFER}{NAMED}", tensors(key=KEYS, a=ONES, b=TWOS, n=NS), "application/json"),
    "one tensor": (f"{INFER}{NAMED}", WIDE, "application/json"),
}


@pytest.mark.parametrize("name", BATCHES)
def test_every_batch_carries_ids_and_metadata(client: Client, model: Model, name: str) -> None:
    path, body, media_type = BATCHES[name]
    answer = client.post(path, body, media_type)
    assert answer.status_code == 200, answer.text
    assert set(map(tuple, model.rows)) == {(1.0, 2.0)}
    for i in range(3):
        logged = client.logged(f"o-{i}")
        assert dict(logged.metadata) == {"n": str(i) if media_type == "text/csv" else i}
        assert dict(logged.features) == {"a": 1.0, "b": 2.0}
    texts = answer.content.decode("latin-1")
    assert all(f"o-{i}" in texts for i in range(3))


@pytest.mark.parametrize("name", [name for name, (path, _, _) in BATCHES.items() if "?" in path])
def test_a_column_that_is_not_named_or_not_there_is_refused(client: Client, name: str) -> None:
    path, body, media_type = BATCHES[name]
    unnamed = client.post(path.partition("?")[0], body, media_type)
    missing = client.post(f"{path},nothing", body, media_type)
    assert (unnamed.status_code, missing.status_code) == (422, 422)
    assert "'nothing' is missing" in missing.json()["detail"]


@pytest.mark.parametrize("name", ["objects", "columns", "CSV", "stream"])
def test_an_id_twice_in_a_batch_is_refused_with_its_row(client: Client, name: str) -> None:
    path, _, media_type = BATCHES[name]
    twice: Any = {
        "objects": lambda: [*OBJECTS, OBJECTS[1]],
        "columns": lambda: {**TABLE, "data": [*TABLE["data"], TABLE["data"][1]]},
        "CSV": lambda: CSV_BODY + b"o-1,1,1,2\n",
        "stream": lambda: ipc(pa.concat_tables([FRAME, FRAME.slice(1, 1)])),
    }[name]()
    answer = client.post(path, twice, media_type)
    assert answer.status_code == 409
    assert answer.json()["errors"][0]["row"] == 3
    assert "is 'o-1' in more than one row" in answer.json()["detail"]
    client.get("/monitor/status")
    stored = client.service.store.refusals.since("", model="sum", version="v1")
    assert [entry.refusal for entry in stored] == [
        Refusal("", "own_id", "", 1, 1),
        Refusal("", "same_request", "", 3, 3),
    ]
    assert client.service.store.predictions.count(model="sum", version="v1") == 0


def test_empty_ids_of_a_table_are_made_by_the_service(client: Client) -> None:
    body = b"key,a,b\n,1,2\n7,1,2\n,1,2\n"
    lines = client.post("/predict/batch?id=key", body, "text/csv").text.splitlines()
    ids = [line.split(",")[0] for line in lines]
    assert ids[2] == "7"
    assert [len(name) for name in ids] == [2, 32, 1, 32]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["a", None, "c"]).dictionary_encode(), ["a", None, "c"]),
        (
            pa.array([datetime(2026, 1, 31, 12, tzinfo=UTC), None, None], pa.timestamp("ms")),
            ["2026-01-31 12:00:00.000"],
        ),
        (pa.array([True, None, False]), [True, None, False]),
        (pa.array([1.5, float("nan"), None]), [1.5, None, None]),
        (pa.array([1, 2, 3], pa.decimal128(5, 2)), [1.0, 2.0, 3.0]),
        (pa.nulls(3), [None] * 3),
    ],
)
def test_arrow_columns_of_each_type_are_metadata(client: Client, column: Any, expected: list[Any]) -> None:
    body = ipc(FRAME.append_column("m", column))
    assert client.post("/predict/batch?id=key&metadata=m,n", body, arrow.STREAM).status_code == 200
    for i, value in enumerate(expected):
        assert client.logged(f"o-{i}").metadata.get("m") == value


def test_arrow_columns_of_lists_and_large_texts_are_refused(client: Client) -> None:
    lists = ipc(FRAME.append_column("m", pa.array([[1], [2], [3]])))
    answer = client.post("/predict/batch?id=key&metadata=m,n", lists, arrow.STREAM)
    assert "'m' must have texts, numbers, booleans or times, got list" in answer.json()["detail"]
    more = pa.table({"a": [1.0] * 30, "b": [2.0] * 30})
    bomb = pa.DictionaryArray.from_arrays(pa.array(np.zeros(30, np.int32)), pa.array(["x" * 20_000]))
    large = client.post("/predict/batch?metadata=m", ipc(more.append_column("m", bomb)), arrow.STREAM)
    assert large.status_code == 413


def test_tensors_of_another_length_are_refused(client: Client) -> None:
    answer = client.post(f"{INFER}?id=key", tensors(key=KEYS[:2], a=ONES, b=TWOS))
    assert answer.status_code == 422
    assert "the input 'key' must have one value for each row" in answer.json()["error"]


def read_closely(schema: Schema, body: bytes) -> Any:
    """Read a row as the framework's path does; None if it is refused."""
    try:
        return read_row(schema, pass_through_fields(schema.names), json.loads(body))
    except (InputError, Refused, ValueError):
        return None


VALUES = st.sampled_from(
    [
        "o-1",
        "",
        'quote"',
        "a\n",
        5,
        5.5,
        10**30,
        True,
        None,
        [],
        {},
        {"a": 1},
        {"b": 'x"y', "c": None},
        {"d": []},
    ]
)
CELLS = st.sampled_from(["Bern", "o-1", 'x"', 1, 2.5, None, "\ud800"])


@pytest.mark.parametrize("schema", [NUMBERS, TEXTS, NAMESAKES], ids=["numbers", "texts", "namesakes"])
@settings(max_examples=200)
@given(
    cells=st.tuples(CELLS, CELLS),
    passed=st.dictionaries(st.sampled_from(["id", "metadata", "other"]), VALUES),
)
def test_the_fast_path_reads_what_the_close_look_reads(
    schema: Schema, cells: tuple[Any, Any], passed: dict[str, Any]
) -> None:
    row = dict(zip(schema.names, cells, strict=True))
    body = json.dumps({**passed, **row}).encode()
    fast = passed_row_parser(schema)(body)
    assert fast is None or repr(fast) == repr(read_closely(schema, body))
    assert row_parser(schema)(body) is None or not set(passed) - set(schema.names)


def test_the_fast_path_is_taken_for_ids_and_metadata() -> None:
    parse = passed_row_parser(TEXTS)
    values, passed = parse(b'{"city": "Bern", "id": "x", "metadata": {"a": "b", "n": 1}}') or ([], None)
    assert values == ["Bern", None]
    assert passed == ("x", {"a": "b", "n": 1})
    assert parse(b'{"city": "Bern", "id": "x", "id": "y"}') is None
    assert parse(b'{"city": "Bern", "metadata": {"a": 1, "a": 2}}') is None


def test_a_request_without_a_query_has_the_default_fields() -> None:
    assert requested_fields({"query_string": b""}, NUMBERS) == pass_through_fields(NUMBERS.names)
    assert requested_fields({"query_string": b"other=1"}, NUMBERS) == pass_through_fields(NUMBERS.names)
