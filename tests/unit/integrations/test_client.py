"""The client of a service that is not ours: bounded, and nothing of it reaches its host."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from driftbell import ConfigError, Monitor, MonitorCounts


class Service:
    """A service that remembers what it gets, and answers as it is told."""

    def __init__(self) -> None:
        self.status, self.rows, self.headers = 200, list[dict[str, Any]](), list[dict[str, str]]()
        self.refused, self.answer = 0, b""
        self.ignored: dict[str, int] = {}
        self._open: list[socket.socket] = []
        self.status_of: Callable[[list[dict[str, Any]]], int] = lambda rows: self.status
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                service._open.append(self.connection)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = service.status_of(body)
                answer = {"detail": "busy"} if status != 200 else service.take(body, self.headers)
                content = service.answer or json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, body: list[dict[str, Any]], headers: Any) -> dict[str, Any]:
        self.rows += body
        self.headers.append(dict(headers))
        errors = [{"message": "'age' is missing"}] if self.refused else []
        accepted = len(body) - self.refused
        return {"accepted": accepted, "refused": self.refused, "errors": errors, "ignored": self.ignored}

    def hang_up(self) -> None:
        """Close the connections, as a service does with idle ones."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    opened = Service()
    yield opened
    opened.close()


def test_predictions_arrive_in_order_with_ids_times_and_plain_values(service: Service) -> None:
    monitor = Monitor(service.url, api_key="dbk_secret")
    features = {
        "age": np.float32(31.5),
        "bad": float("nan"),
        "day": datetime(2026, 3, 1, tzinfo=UTC),
        "gone": pd.NaT,
        "flag": np.True_,
        "price": Decimal("12.50"),
        "none": Decimal("NaN"),
        "instant": np.datetime64("2026-03-01T08:00:00.5", "ns"),
        "nat": np.datetime64("NaT"),
        "long": np.longdouble(0.5),
        "key": UUID(int=7),
        "stamp": pd.Timestamp("2026-03-01", tz="UTC"),
    }
    assert (
        monitor.log(
            features, np.int64(1), id="a", probabilities={"1": np.float64(0.75)}, metadata={"n": np.int64(3)}
        )
        == "a"
    )
    made = [monitor.log({"age": i}, "yes") for i in range(1200)]
    assert monitor.flush()
    assert [row["id"] for row in service.rows] == ["a", *made]
    assert len(set(made)) == 1200
    first = service.rows[0]
    assert first["features"] == {
        "age": 31.5,
        "bad": None,
        "day": "2026-03-01T00:00:00+00:00",
        "gone": None,
        "flag": True,
        "price": 12.5,
        "none": None,
        "instant": "2026-03-01T08:00:00.500000000",
        "nat": None,
        "long": 0.5,
        "key": "00000000-0000-0000-0000-000000000007",
        "stamp": "2026-03-01T00:00:00+00:00",
    }
    assert (first["prediction"], first["probabilities"]) == (1, {"1": 0.75})
    assert first["metadata"] == {"n": 3}
    assert "metadata" not in service.rows[1]
    assert datetime.fromisoformat(first["time"]).tzinfo is not None
    assert all(headers["Authorization"] == "Bearer dbk_secret" for headers in service.headers)
    assert monitor.counts == MonitorCounts(sent=1201, refused=0, dropped=0, waiting=0)
    monitor.close()
    monitor.close()


def test_a_service_that_is_down_costs_the_host_nothing_and_gets_the_rows_later(service: Service) -> None:
    service.status = 503
    monitor = Monitor(service.url, queue_limit=5)
    for number in range(8):
        monitor.log({"x": number}, "no", id=str(number))
    assert not monitor.flush(timeout=1.0)
    assert monitor.counts.dropped == 3
    service.status = 200
    assert monitor.flush()
    assert [row["id"] for row in service.rows] == ["3", "4", "5", "6", "7"]
    monitor.close()


def test_what_is_refused_is_counted_and_logged_once(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.refused = 1
    monitor = Monitor(service.url)
    with caplog.at_level(logging.WARNING, logger="driftbell"):
        for _ in range(3):
            monitor.log({"x": 1}, "no")
            assert monitor.flush()
    assert monitor.counts.refused == 3
    assert [record.getMessage() for record in caplog.records] == [
        "driftbell: refused 1 prediction: 'age' is missing"
    ]
    service.status = 422  # all of a batch
    monitor.log({"x": 1}, "no")
    assert monitor.flush()
    assert monitor.counts.refused == 4
    monitor.close()


def test_nothing_raises_into_the_host(service: Service) -> None:
    monitor = Monitor("http://127.0.0.1:9")
    monitor.log({"x": object()}, "no")
    monitor.log({"x": [object()]}, "no")
    monitor.log({"x": 1}, "no", id="kept")
    assert monitor.counts.dropped == 2
    monitor.close(timeout=0.2)
    assert monitor.log({"x": 1}, "no", id="late") == "late"
    assert monitor.counts == MonitorCounts(sent=0, refused=0, dropped=4, waiting=0)


@pytest.mark.parametrize("status", [400, 413])
def test_one_row_that_the_service_cannot_read_does_not_hold_up_the_others(
    service: Service, status: int
) -> None:
    service.status_of = lambda rows: status if any(row["id"] == "bad" for row in rows) else 200
    monitor = Monitor(service.url)
    names = [*map(str, range(20)), "bad", *map(str, range(20, 40))]
    for name in names:
        monitor.log({"x": 1}, "no", id=name)
    assert monitor.flush()
    assert [row["id"] for row in service.rows] == [name for name in names if name != "bad"]
    assert monitor.counts == MonitorCounts(sent=40, refused=1, dropped=0, waiting=0)
    monitor.close()


@pytest.mark.parametrize(
    "answer", [b"<html>", b"[]", b"{}", b'{"refused": null, "errors": 1}', b"[" * 100_000, b" " * 2_000_000]
)
def test_a_strange_answer_does_not_end_the_thread(service: Service, answer: bytes) -> None:
    service.answer = answer
    monitor = Monitor(service.url)
    monitor.log({"x": 1}, "no", id="first")
    assert not monitor.flush(timeout=0.8)
    service.answer = b""
    assert monitor.flush()
    assert monitor.counts.sent == 1
    monitor.close()


def test_a_bad_request_of_a_proxy_is_repeated(service: Service) -> None:
    service.status, service.answer = 400, b"<html>plain HTTP was sent to an HTTPS port</html>"
    monitor = Monitor(service.url)
    monitor.log({"x": 1}, "no")
    assert not monitor.flush(timeout=0.8)
    service.status, service.answer = 200, b""
    assert monitor.flush()
    assert monitor.counts.sent == 1
    monitor.close()


def test_times_ids_and_threads_that_cannot_be_had_do_not_raise(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = Monitor(service.url)
    wrong: Any = "2026-01-31"
    pairs: Any = np.array(["a", "b"])
    monitor.log({"x": 1}, "no", time=wrong)
    monitor.log({"x": 1}, "no", id=pairs)
    assert monitor.counts.dropped == 2

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        monitor.log({"x": 1}, "no", id="first")
    monitor.log({"x": 1}, "no", id="second")
    assert monitor.flush()
    assert [row["id"] for row in service.rows] == ["first", "second"]
    monitor.close()


def test_a_decorated_function_keeps_its_result_and_its_errors(service: Service) -> None:
    monitor = Monitor(service.url)

    @monitor.logged
    def plain(row: dict[str, float]) -> str:
        return "high" if row["x"] > 1 else "low"

    @monitor.logged(features=lambda x, scale: {"x": x, "scale": scale})
    def scaled(x: float, scale: float) -> float:
        return x / scale

    assert plain({"x": 2.0}) == "high"
    assert plain.__name__ == "plain"
    assert scaled(4.0, scale=2.0) == 2.0
    with pytest.raises(ZeroDivisionError):
        scaled(4.0, scale=0.0)
    assert monitor.flush()
    assert [(row["features"], row["prediction"]) for row in service.rows] == [
        ({"x": 2.0}, "high"),
        ({"x": 4.0, "scale": 2.0}, 2.0),
    ]
    assert all(row["latency_ms"] >= 0 for row in service.rows)
    monitor.close()


def test_async_functions_are_awaited_and_logged(service: Service) -> None:
    monitor = Monitor(service.url)

    @monitor.logged
    async def plain(row: dict[str, float]) -> str:
        await asyncio.sleep(0.02)
        return "high" if row["x"] > 1 else "low"

    @monitor.logged(features=lambda x: {"x": x})
    async def failing(x: float) -> float:
        return 1 / x

    async def play() -> None:
        assert inspect.iscoroutinefunction(plain)
        answers = await asyncio.gather(plain({"x": 2.0}), plain(row={"x": 0.0}))
        assert list(answers) == ["high", "low"]
        with pytest.raises(ZeroDivisionError):
            await failing(0.0)

    asyncio.run(play())
    assert monitor.flush()
    assert sorted((row["features"]["x"], row["prediction"]) for row in service.rows) == [
        (0.0, "low"),
        (2.0, "high"),
    ]
    assert all(row["latency_ms"] > 0 for row in service.rows)
    monitor.close()


def test_a_call_without_features_is_counted_and_keys_of_any_kind_are_texts(service: Service) -> None:
    monitor = Monitor(service.url)

    @monitor.logged
    def constant() -> str:
        return "yes"

    assert constant() == "yes"
    assert monitor.counts.dropped == 1
    keys: list[Any] = [0, UUID(int=7), np.int64(5)]
    names = [monitor.log({"x": 1}, "no", id=key) for key in keys]
    assert names == ["0", "00000000-0000-0000-0000-000000000007", "5"]
    assert monitor.flush()
    assert [row["id"] for row in service.rows] == names
    monitor.close()


def test_a_forked_child_sends_its_own_predictions(service: Service) -> None:
    monitor = Monitor(service.url)
    monitor.log({"x": 1}, "no", id="parent")
    child = os.fork()
    if child == 0:
        monitor.log({"x": 1}, "no", id="child")
        os._exit(0 if monitor.flush() and monitor.counts.sent == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert monitor.flush()
    assert sorted(row["id"] for row in service.rows) == ["child", "parent"]
    monitor.close()


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://x", "http://", "http://x:99999", "http://x:0", "http://[::1"]
)
def test_a_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="the URL of driftbell must be such as"):
        Monitor(url)


def test_an_idle_connection_that_the_service_has_closed_is_no_failure(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = Monitor(service.url)
    with caplog.at_level(logging.WARNING, logger="driftbell"):
        for number in range(3):
            monitor.log({"x": number}, "no", id=str(number))
            assert monitor.flush()
            service.hang_up()
    assert [row["id"] for row in service.rows] == ["0", "1", "2"]
    assert not caplog.records
    monitor.close()


def test_fields_that_the_model_does_not_have_are_logged(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.ignored = {"agee": 1, "x": 1}
    monitor = Monitor(service.url)
    with caplog.at_level(logging.WARNING, logger="driftbell"):
        monitor.log({"agee": 1}, "no")
        assert monitor.flush()
    assert [r.getMessage() for r in caplog.records] == [
        "driftbell: fields that the model does not have are not stored: agee, x"
    ]
    monitor.close()
