"""The proxy: answers are the server's own, and what is not recorded is counted with its reason."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.external import external_model
from tests.unit.server.proxy.origin import Origin, answer

from driftbell.server.auth.guard import Access
from driftbell.server.proxy import exchange_queue
from driftbell.server.proxy.app import PREDICT_PATHS, PredictRequests
from driftbell.server.proxy.service import ProxyService, create_proxy
from driftbell.server.proxy.upstream import Upstream
from driftbell.tabular.exchanges import JsonFields
from driftbell.testing import ManualClock, memory_store

ROW = {"income": 48.0, "region": "north"}


class Front:
    """A proxy in this process, and what it has recorded."""

    def __init__(self, client: httpx.AsyncClient, store: Any, origin: Origin) -> None:
        self.client, self.store, self.origin = client, store, origin
        self.post = client.post

    async def settled(self) -> tuple[dict[str, Any], dict[str, int]]:
        """Predictions by id, and refused rows by reason."""
        while (await self.client.get("/driftbell/health")).json()["waiting"]:
            await asyncio.sleep(0.01)
        for _ in range(300):
            window = self.store.predictions.window(100, model="credit", version="v1").predictions
            rows = self.store.refusals.since("2000-01-01", model="credit", version="v1")
            if window or rows:
                break
            await asyncio.sleep(0.01)
        counts: dict[str, int] = {}
        for row in rows:
            counts[row.refusal.reason] = counts.get(row.refusal.reason, 0) + row.refusal.refused
        return {prediction.id: prediction for prediction in window}, counts


def play(
    folder: Path,
    reply: Callable[[bytes], bytes | Awaitable[bytes]],
    task: Callable[[Front], Awaitable[None]],
    *,
    protocol: str = "json",
    fields: JsonFields | None = None,
    down: bool = False,
    **options: Any,
) -> None:
    async def run() -> None:
        store = memory_store()
        own_ids = fields is not None and fields.id is not None
        async with Origin(reply) as origin:
            service = ProxyService(
                model=external_model(),
                store=store,
                journals=folder / "journal",
                upstream=Upstream("127.0.0.1", 9 if down else origin.port, timeout=1.0),
                predict=PredictRequests(PREDICT_PATHS[protocol], "x-request-id", own_ids),
                fields=(fields or JsonFields()) if protocol == "json" else None,
                durability="process",
                access=Access(),
                clock=ManualClock(),
                **{"body_limit": 10_000, "queue_limit": 100, **options},
            )
            proxy = create_proxy(service)
            async with proxy.own.router.lifespan_context(proxy.own):
                transport = httpx.ASGITransport(proxy)
                async with httpx.AsyncClient(transport=transport, base_url="http://front") as client:
                    await task(Front(client, store, origin))

    asyncio.run(run())


def body_of(request: bytes) -> Any:
    return json.loads(request.partition(b"\r\n\r\n")[2])


def test_json_answers_pass_and_are_recorded_with_the_id_of_the_header(tmp_path: Path) -> None:
    async def task(front: Front) -> None:
        got = await front.post("/predict", json=ROW, headers={"x-request-id": "order-7"})
        assert (got.status_code, got.content) == (200, b'{"class":"yes", "shares":[0.25,0.75]}')
        assert got.headers["x-driftbell-id"] == "order-7"
        assert body_of(front.origin.requests[0]) == ROW
        several = await front.post("/predict", json=[ROW, ROW])
        name = several.headers["x-driftbell-id"]
        await front.post("/other", json=ROW)
        predictions, refused = await front.settled()
        while len(predictions) < 3:
            predictions, refused = await front.settled()
        assert (set(predictions), refused) == ({"order-7", f"{name}-0", f"{name}-1"}, {})
        assert predictions["order-7"].features == ROW
        assert predictions["order-7"].output == "yes"
        assert predictions["order-7"].probabilities == {"no": 0.25, "yes": 0.75}
        assert predictions["order-7"].latency_ms > 0

    one = b'{"class":"yes", "shares":[0.25,0.75]}'
    play(
        tmp_path,
        lambda request: answer(one if b"[" not in request else b"[%b,%b]" % (one, one)),
        task,
        fields=JsonFields(probabilities="shares"),
    )


def test_ids_of_the_bodies_are_used_and_the_answer_gets_no_header(tmp_path: Path) -> None:
    async def task(front: Front) -> None:
        got = await front.post("/predict", json={"row": ROW, "order": 3})
        assert "x-driftbell-id" not in got.headers
        predictions, _ = await front.settled()
        assert set(predictions) == {"3"}

    play(tmp_path, lambda _: answer(b'{"class": 1}'), task, fields=JsonFields(features="row", id="order"))


def test_other_bodies_of_mlflow_are_read(tmp_path: Path) -> None:
    async def task(front: Front) -> None:
        csv = b"region,income\nnorth,48.0\n,52\n"
        await front.post("/invocations", content=csv, headers={"content-type": "text/csv; charset=utf-8"})
        packed = gzip.compress(json.dumps({"instances": [[1.0, "south"]] * 2}).encode())
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        got = await front.post("/ml/invocations", content=packed, headers=headers)
        assert got.json() == {"predictions": ["yes", "no"]}, "the client decompresses the server's own bytes"
        predictions, refused = await front.settled()
        while len(predictions) < 4:
            predictions, refused = await front.settled()
        assert refused == {}
        assert [p.features for p in predictions.values()] == [
            ROW,
            {"income": 52.0, "region": None},
            {"income": 1.0, "region": "south"},
            {"income": 1.0, "region": "south"},
        ]

    content = gzip.compress(b'{"predictions": ["yes", "no"]}')
    play(tmp_path, lambda _: answer(content, "200 OK", "content-encoding: gzip"), task, protocol="mlflow")


@pytest.mark.parametrize(
    ("reply", "status", "reason"),
    [
        (answer(b"yes"), 200, "unreadable"),
        (answer(b"\x80", "200 OK", "content-encoding: br"), 200, "unreadable"),
        (answer(b'{"class": "maybe"}'), 200, "unknown_class"),
        (answer(b'{"class": "' + b"x" * 20_000 + b'"}'), 200, "unreadable"),
        (answer(b"{}", "500 Internal Server Error"), 500, "model_error"),
        (answer(b"{}", "422 Unprocessable Entity"), 422, "model_error"),
    ],
)
def test_answers_that_are_not_recorded_are_counted(
    tmp_path: Path, reply: bytes, status: int, reason: str
) -> None:
    async def task(front: Front) -> None:
        async with front.client.stream("POST", "/predict", json=ROW) as got:
            content = b"".join([part async for part in got.aiter_raw()])
        assert got.status_code == status
        assert content == reply.partition(b"\r\n\r\n")[2]
        predictions, refused = await front.settled()
        assert (predictions, refused) == ({}, {reason: 1})

    play(tmp_path, lambda _: reply, task)


@pytest.mark.parametrize(
    ("protocol", "path", "body", "rows"),
    [
        ("json", "/predict", [ROW] * 7, 7),
        ("mlflow", "/invocations", {"dataframe_records": [ROW] * 300}, 300),
        ("mlflow", "/invocations", {"dataframe_split": {"columns": [*ROW], "data": [[1, "north"]] * 3}}, 3),
        ("mlflow", "/invocations", {"other": 1}, 1),
    ],
)
def test_every_row_of_a_request_that_the_model_fails_on_is_counted(
    tmp_path: Path, protocol: str, path: str, body: Any, rows: int
) -> None:
    async def task(front: Front) -> None:
        assert (await front.post(path, json=body)).status_code == 422
        _, refused = await front.settled()
        assert refused == {"model_error": rows}

    play(tmp_path, lambda _: answer(b"{}", "422 Unprocessable Entity"), task, protocol=protocol)


def test_a_large_request_passes_and_is_counted_as_unread(tmp_path: Path) -> None:
    async def task(front: Front) -> None:
        large = b'{"income": 1, "region": "' + b"x" * 2_000_000 + b'"}'
        got = await front.post("/predict", content=large)
        assert got.status_code == 200
        assert front.origin.requests[0].endswith(large)
        _, refused = await front.settled()
        assert refused == {"unreadable": 1}

    play(tmp_path, lambda _: answer(b'{"class": "yes"}'), task)


def test_a_full_queue_drops_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_queue, "MAX_BYTES", 0)

    async def task(front: Front) -> None:
        for _ in range(3):
            assert (await front.post("/predict", json=ROW)).status_code == 200
        _, refused = await front.settled()
        assert refused == {"dropped": 3}

    play(tmp_path, lambda _: answer(b'{"class": "yes"}'), task)


def test_a_server_that_is_down_is_502_and_a_silent_one_504(tmp_path: Path) -> None:
    async def down(front: Front) -> None:
        got = await front.post("/predict", json=ROW)
        assert got.status_code == 502
        assert re.search(r"the model's server http://127.0.0.1:9 does not answer: .*", got.json()["detail"])
        exposition = (await front.client.get("/driftbell/metrics")).text
        assert 'driftbell_http_requests_total{method="POST",route="proxy",status="502"} 1.0' in exposition

    async def never() -> bytes:
        await asyncio.sleep(30)
        return b""

    async def silent(front: Front) -> None:
        got = await front.post("/predict", json=ROW)
        assert (got.status_code, "no answer within 1 s" in got.json()["detail"]) == (504, True)

    play(tmp_path / "a", lambda _: b"", down, down=True)
    play(tmp_path / "b", lambda _: never(), silent)
