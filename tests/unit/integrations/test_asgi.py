"""`watch` on a FastAPI application: what it answers stays the same, and its predictions arrive."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import StreamingResponse
from tests.asgi import post

from driftbell import ConfigError, Monitor, WatchedApp, watch


class Recorded(Monitor):
    """Keeps predictions instead of sending them."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9")
        self.calls: list[tuple[dict[str, Any], Any, str, Any]] = []

    def log(self, features: Any, prediction: Any, **options: Any) -> str:
        self.calls.append((features, prediction, options["id"], options["probabilities"]))
        assert options["latency_ms"] > 0
        return options["id"]


def application() -> FastAPI:
    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> Any:
        body = await request.json()
        if isinstance(body, list):
            return [{"class": "yes" if row["x"] > 1 else "no"} for row in body]
        if body["x"] < 0:
            raise HTTPException(422, "negative")
        return {"class": "yes" if body["x"] > 1 else "no", "shares": {"yes": 0.75}, "order": 7}

    @app.post("/score")
    async def score(request: Request) -> dict[str, Any]:
        return {"scores": [row["x"] * 2 for row in (await request.json())["rows"]]}

    @app.post("/each")
    async def each(request: Request) -> list[int]:
        return [10 * item["row"]["x"] for item in await request.json()]

    @app.post("/text")
    async def text() -> Response:
        return Response("yes", media_type="text/plain")

    return app


def test_single_rows_and_lists_are_logged_and_answered_as_before() -> None:
    app, monitor = application(), Recorded()
    assert watch(app, monitor, probabilities="shares") is monitor
    answer, several, refused, other = post(
        app,
        ("/predict", {"x": 2}),
        ("/predict", [{"x": 0}, {"x": 5}]),
        ("/predict", {"x": -1}),
        ("/score", {"rows": [{"x": 1}]}),
    )
    assert answer.json() == {"class": "yes", "shares": {"yes": 0.75}, "order": 7}
    name = answer.headers["x-driftbell-id"]
    assert several.json() == [{"class": "no"}, {"class": "yes"}]
    assert (refused.status_code, other.status_code) == (422, 200)
    assert "x-driftbell-id" not in other.headers
    single, first, second = monitor.calls
    assert single == ({"x": 2}, "yes", name, {"yes": 0.75})
    assert (first[0], first[1], second[0], second[1]) == ({"x": 0}, "no", {"x": 5}, "yes")
    assert first[2].removesuffix("-0") == second[2].removesuffix("-1")


def test_fields_and_ids_can_be_named() -> None:
    app, monitor = application(), Recorded()
    watch(app, monitor, path="/score", features="rows", prediction="scores", id="key")
    post(app, ("/score", {"rows": [{"x": 1, "key": "a"}, {"x": 2, "key": 9}]}))
    assert [(row, value, name) for row, value, name, _ in monitor.calls] == [
        ({"x": 1}, 2, "a"),
        ({"x": 2}, 4, "9"),
    ]
    app, monitor = application(), Recorded()
    watch(app, monitor, path="/each", features="row", id="key")
    post(app, ("/each", [{"key": "a", "row": {"x": 1}}, {"key": "b", "row": {"x": 2}}]))
    assert [(row, value, name) for row, value, name, _ in monitor.calls] == [
        ({"x": 1}, 10, "a"),
        ({"x": 2}, 20, "b"),
    ]
    app, monitor = application(), Recorded()
    watch(app, monitor, id="order")
    post(app, ("/predict", {"x": 2}))
    assert monitor.calls[0][2] == "7"


def test_metadata_are_fields_of_the_request_and_no_features() -> None:
    class Keeps(Recorded):
        def log(self, features: Any, prediction: Any, **options: Any) -> str:
            metadata.append(options["metadata"])
            return super().log(features, prediction, **options)

    metadata: list[Any] = []
    app, monitor = application(), Keeps()
    watch(app, monitor, metadata=["shop", "n"])
    post(
        app, ("/predict", {"x": 2, "shop": "Bern"}), ("/predict", [{"x": 1, "n": 5}]), ("/predict", {"x": 1})
    )
    assert metadata == [{"shop": "Bern"}, {"n": 5}, {}]
    assert [row for row, *_ in monitor.calls] == [{"x": 2}, {"x": 1}, {"x": 1}]
    app, monitor = application(), Keeps()
    watch(app, monitor, path="/each", features="row", metadata=["shop"])
    post(app, ("/each", [{"shop": "Bern", "row": {"x": 1}}]))
    assert metadata[-1] == {"shop": "Bern"}


def test_an_answer_has_no_header_with_another_id_than_the_users() -> None:
    app, monitor = application(), Recorded()
    watch(app, monitor, id="order")
    assert "x-driftbell-id" not in post(app, ("/predict", {"x": 2}))[0].headers


def test_a_mounted_application_is_watched_by_its_own_path() -> None:
    app, outer, monitor = application(), FastAPI(), Recorded()
    watch(app, monitor)
    outer.mount("/v1", app)
    post(outer, ("/v1/predict", {"x": 2}), ("/v1/score", {"rows": []}))
    assert [(row, value) for row, value, _, _ in monitor.calls] == [({"x": 2}, "yes")]


def test_compressed_and_streamed_answers_are_read() -> None:
    app, monitor = application(), Recorded()

    @app.post("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(iter(['{"class"', ': "yes"}']), media_type="application/json")

    app.add_middleware(GZipMiddleware, minimum_size=1)
    watch(app, monitor)
    watch(app, monitor, path="/stream")
    answer, streamed = post(app, ("/predict", {"x": 2}), ("/stream", {"x": 3}))
    assert answer.headers["content-encoding"] == streamed.headers["content-encoding"] == "gzip"
    assert answer.json()["class"] == "yes"
    assert [(row, value) for row, value, _, _ in monitor.calls] == [({"x": 2}, "yes"), ({"x": 3}, "yes")]


def test_answers_that_cannot_be_read_are_left_alone() -> None:
    app, monitor = application(), Recorded()
    watch(app, monitor, path="/text")
    assert post(app, ("/text", "not an object"))[0].text == "yes"
    assert monitor.calls == []
    assert monitor.counts.dropped == 1
    with pytest.raises(ConfigError, match="wrap it as WatchedApp"):
        watch(WatchedApp(app, monitor=monitor))
