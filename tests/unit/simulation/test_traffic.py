from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_iris

from driftbell.drift.compare import compare
from driftbell.drift.judge import judge
from driftbell.errors import ConfigError
from driftbell.records import Judgement, Value, Verdict
from driftbell.simulation.faults import CONTRACT_FAULTS, Fault, FaultKind, apply_faults, parse_fault
from driftbell.simulation.traffic import Progress, Summary, format_progress, iris_rows, sample_rows, simulate
from driftbell.tabular.columns import as_column, as_columns
from driftbell.tabular.schema import infer_schema

DATA = load_iris()
IRIS = as_columns(dict(zip(DATA.feature_names, DATA.data.T, strict=True)))
SEPAL_LENGTH, SEPAL_WIDTH, PETAL_LENGTH, PETAL_WIDTH = DATA.feature_names
SHIFTED = {SEPAL_LENGTH, SEPAL_WIDTH, PETAL_LENGTH}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def table(rows: Sequence[Mapping[str, Value]]) -> dict[str, list[Value]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def judged(rows: Sequence[Mapping[str, Value]]) -> Judgement:
    return judge(compare(IRIS, table(rows)), rows=len(rows))


def test_iris_rows_keep_the_joint_distribution() -> None:
    columns = as_columns(table(iris_rows(2000, rng())))
    wanted = np.corrcoef(list(IRIS.values()))
    assert np.corrcoef(columns[PETAL_LENGTH], columns[PETAL_WIDTH])[0, 1] > 0.9
    np.testing.assert_allclose(np.corrcoef(list(columns.values())), wanted, atol=0.06)


def test_iris_rows_are_measured_like_iris_and_are_more_than_its_150_rows() -> None:
    rows = iris_rows(1000, rng())
    for name, column in IRIS.items():
        values = [row[name] for row in rows]
        assert all(v == round(float(v), 1) and column.min() <= v <= column.max() for v in values)
    assert len({tuple(row.values()) for row in rows}) > 400
    assert json.loads(json.dumps(rows)) == rows


def test_iris_is_jittered_by_half_a_resolution_and_rounded_to_it() -> None:
    source = rng(5)
    index = source.integers(150, size=300)
    for name, column in IRIS.items():
        wanted = np.round(column[index] + source.normal(0, 0.05, 300), 1).clip(column.min(), column.max())
        assert [row[name] for row in iris_rows(300, rng(5))] == wanted.tolist()


def test_normal_traffic_is_not_drift() -> None:
    alarms = [seed for seed in range(40) if judged(iris_rows(500, rng(seed))).verdict is not Verdict.OK]
    assert len(alarms) <= 2


def test_fifty_drifted_of_a_hundred_alarm_in_exactly_the_three_shifted_features() -> None:
    exact = 0
    for seed in range(40):
        source = rng(seed)
        rows = iris_rows(50, source) + apply_faults(iris_rows(50, source), CONTRACT_FAULTS, source)
        exact += set(judged(rows).drifted_columns) == SHIFTED
    assert exact >= 38


def awkward(n: int, source: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "rare flag": (source.random(n) < 0.02) * 1.0,
        "small count": source.poisson(1, n) * 1.0,
        "count": source.poisson(20, n) * 1.0,
        "mostly zero": np.where(source.random(n) < 0.7, 0.0, source.integers(1, 1000, n)),
        "halves": source.integers(0, 20, n) / 2,
        "thousands": source.integers(20, 90, n) * 1000.0,
        "continuous": source.normal(size=n),
        "with nulls": np.where(source.random(n) < 0.1, np.nan, source.normal(size=n).round(1)),
        "category": as_column(source.choice(["a", "b", "c"], n).tolist()),
    }


def test_sampled_rows_of_any_table_have_no_drift() -> None:
    reference = awkward(1000, rng(9))
    windows = [table(sample_rows(reference, 500, rng(seed))) for seed in range(30)]
    verdicts = [judge(compare(reference, window), rows=500).verdict for window in windows]
    assert sum(v is not Verdict.OK for v in verdicts) <= 2


def test_sampled_rows_fit_the_schema_of_the_reference() -> None:
    reference = as_columns(
        {
            "when": [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 8)],
            "yes": [True, False, None, True, False, True, True],
            "mixed": ["a", 1, 2, "b", None, "a", "a"],
            "number": [1.5, 2.5, None, 3.5, 4.5, 5.5, math.inf],
        }
    )
    rows = sample_rows(reference, 50, rng())
    schema = infer_schema(reference)
    assert {type(row["number"]) for row in rows} == {float, type(None)}
    for row in rows:
        if row["number"] != math.inf:  # sent to see it refused
            schema.validate(json.loads(json.dumps(row)))


def test_the_jitter_is_of_the_columns_own_resolution() -> None:
    reference = {
        "thousands": np.arange(20) * 1000.0,
        "cents": np.arange(20) / 100 + 0.01,
        "constant": np.ones(20),
    }
    columns = as_columns(table(sample_rows(reference, 500, rng())))
    assert set(columns["thousands"]) <= set(reference["thousands"])
    assert set(columns["cents"]) <= set(reference["cents"])
    assert set(columns["constant"]) == {1.0}


@given(st.lists(st.floats(), min_size=1, max_size=30), st.integers(0, 20))
def test_sampled_numbers_stay_in_their_range(values: list[float], n: int) -> None:
    known = [v for v in values if not math.isnan(v)]
    rows = sample_rows({"x": as_column(values)}, n, rng())
    assert len(rows) == n
    for row in rows:
        assert math.isnan(sum(values) * 0) or row["x"] is not None
        assert row["x"] is None or min(known) <= float(row["x"]) <= max(known)


@pytest.mark.parametrize(
    ("progress", "wanted"),
    [
        (Progress("normal", 1, 50, 200), "[1/50] normal request sent. Status: 200"),
        (Progress("drifted", 1, 50, 200), "[1/50] drifted request sent. Status: 200"),
        (
            Progress("drifted", 2, 9, 422, "'a' is null"),
            "[2/9] drifted request sent. Status: 422 ('a' is null)",
        ),
        (Progress("normal", 3, 9, None, "refused"), "[3/9] normal request sent. Status: no answer (refused)"),
    ],
)
def test_line(progress: Progress, wanted: str) -> None:
    assert format_progress(progress) == wanted


class Service:
    """A prediction service with scripted answers: a status, or None to drop the connection."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        self.rows: list[Any] = []
        self.headers: list[Any] = []
        self.lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # an answer in one packet: two would wait for each other

            def do_POST(self) -> None:
                row = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with service.lock:
                    service.rows.append(row)
                    service.headers.append(self.headers)
                    number = len(service.rows)
                status = answer(number, row) if self.path == "/predict" else 404
                if status is None:
                    self.close_connection = True
                    return
                content, body = {
                    200: ("application/json", '{"class": "setosa"}'),
                    422: ("application/problem+json", '{"detail": "a feature must not be null"}'),
                }.get(status, ("text/html", "<h1>no</h1>"))
                self.send_response(status)
                self.send_header("Content-Type", content)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def serving(answer: Callable[..., Any] = lambda number, row: 200) -> Iterator[Service]:
    service = Service(answer)
    thread = threading.Thread(target=service.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield service
    finally:
        service.server.shutdown()
        thread.join()
        service.server.server_close()


def send(url: str, **options: Any) -> tuple[Summary, list[Progress], list[float]]:
    seen: list[Progress] = []
    slept: list[float] = []
    chosen = {
        "normal": 5,
        "drifted": 5,
        "rate": None,
        "rng": rng(),
        "report": seen.append,
        "sleep": slept.append,
    }
    return simulate(url, **{**chosen, **options}), seen, slept


def test_normal_then_drifted_requests_reach_the_service() -> None:
    with serving() as service:
        summary, seen, slept = send(f"{service.url}/")
    assert (summary.sent, summary.by_status, summary.failed) == (10, {200: 10}, 0)
    assert [format_progress(p) for p in seen[4:6]] == [
        "[5/5] normal request sent. Status: 200",
        "[1/5] drifted request sent. Status: 200",
    ]
    source = rng()
    assert service.rows == iris_rows(5, source) + apply_faults(iris_rows(5, source), CONTRACT_FAULTS, source)
    assert not any(slept)


def test_the_default_is_fifty_of_each() -> None:
    with serving() as service:
        simulate(service.url, rate=None, rng=rng(), report=lambda _: None)
    assert len(service.rows) == 100


def test_a_refused_request_is_counted_with_its_reason() -> None:
    with serving(lambda number, row: 422 if None in row.values() else 200) as service:
        summary, seen, _ = send(service.url, faults=[parse_fault(f"nulls:{PETAL_WIDTH}")])
    assert (summary.sent, summary.by_status, summary.failed) == (10, {200: 5, 422: 5}, 0)
    assert format_progress(seen[-1]) == "[5/5] drifted request sent. Status: 422 (a feature must not be null)"


def test_an_answer_without_a_problem_document_is_reported_by_its_status() -> None:
    with serving(lambda number, row: 502) as service:
        summary, seen, _ = send(service.url, normal=1, drifted=0)
    assert summary.by_status == {502: 1}
    assert format_progress(seen[0]) == "[1/1] normal request sent. Status: 502 (Bad Gateway)"


def test_a_missing_service_is_a_clear_error() -> None:
    with serving() as service:
        pass
    with pytest.raises(ConfigError) as raised:
        send(service.url)
    assert (
        f"cannot reach {service.url}: is the service running there? start it with `driftbell up`, or name"
        in str(raised.value)
    )


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_first_request_without_an_answer_ends_the_run(concurrency: int) -> None:
    with serving(lambda number, row: None) as service, pytest.raises(ConfigError, match="cannot reach"):
        send(service.url, concurrency=concurrency)
    assert len(service.rows) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "localhost:8000"}, "must begin with http"),
        ({"rate": -1.0}, "the rate must be"),
        ({"rate": math.nan}, "the rate must be"),
        ({"faults": [Fault(FaultKind.SHIFT, "height", 1.0)]}, "unknown feature 'height'"),
    ],
)
def test_an_invalid_argument_is_an_error_before_any_request(options: dict[str, Any], message: str) -> None:
    with serving() as service:
        with pytest.raises(ConfigError, match=message):
            send(**{"url": service.url, **options})
        assert not service.rows


def waits_of_this_thread(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace `time.sleep` by a list of the waits; other threads sleep as before."""
    waits: list[float] = []
    this, sleep = threading.get_ident(), time.sleep
    monkeypatch.setattr(
        "time.sleep", lambda s: waits.append(s) if threading.get_ident() == this else sleep(s)
    )
    return waits


def test_a_dropped_request_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = waits_of_this_thread(monkeypatch)
    with serving(lambda number, row: None if number in (3, 4) else 200) as service:
        summary, _, _ = send(service.url)
    assert (summary.sent, summary.by_status, summary.failed) == (10, {200: 10}, 0)
    assert waits == [0.1, 0.2]
    assert service.rows[2] == service.rows[3] == service.rows[4]


def test_a_request_that_is_dropped_repeatedly_counts_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = waits_of_this_thread(monkeypatch)
    with serving(lambda number, row: None if number > 1 else 200) as service:
        summary, seen, _ = send(service.url, normal=2, drifted=1)
    assert (summary.sent, summary.by_status, summary.failed) == (3, {200: 1}, 2)
    assert len(service.rows) == 1 + 2 * 4
    assert format_progress(seen[1]).startswith("[2/2] normal request sent. Status: no answer (")
    assert waits == [0.1, 0.2, 0.4] * 2


def test_pauses_are_random_with_the_mean_of_the_rate() -> None:
    with serving() as service:
        _, _, slept = send(service.url, normal=300, drifted=0, rate=20.0, concurrency=4)
    assert len(set(slept)) == 300
    assert 0.15 < np.mean(slept) < 0.25  # each of four senders pauses four times as long
    with serving() as service:
        _, _, slept = send(service.url, normal=300, drifted=0, rate=20.0)
    assert 0.04 < np.mean(slept) < 0.06


def test_concurrent_requests_are_reported_in_order_of_completion() -> None:
    both = threading.Barrier(2, timeout=20)

    def answer(number: int, row: dict[str, float]) -> int:
        if number in (2, 3):
            both.wait()  # only two requests at the same time get past it
        return 200

    with serving(answer) as service:
        summary, seen, _ = send(service.url, normal=100, drifted=20, concurrency=8)
    assert (summary.sent, summary.by_status) == (120, {200: 120})
    assert [p.index for p in seen] == [*range(1, 101), *range(1, 21)]
    assert [p.phase for p in seen] == ["normal"] * 100 + ["drifted"] * 20


def test_queued_requests_are_dropped_when_the_callback_raises() -> None:
    def interrupted(progress: Progress) -> None:
        if progress.index == 3:
            raise KeyboardInterrupt

    def answer(number: int, row: dict[str, float]) -> int:
        time.sleep(0.05)
        return 200

    with serving(answer) as service:
        with pytest.raises(KeyboardInterrupt):
            send(service.url, normal=200, concurrency=2, report=interrupted)
        assert len(service.rows) < 20


def test_custom_headers_client_and_reference_are_used() -> None:
    with serving() as service, httpx.Client(headers={"X-Mine": "1"}) as client:
        own = {"age": np.array([31.0, 32.0])}
        send(service.url, headers={"X-API-Key": "k"}, client=client, reference=own, faults=())
        assert not client.is_closed
    assert {(h["X-API-Key"], h["X-Mine"], h["Content-Type"]) for h in service.headers} == {
        ("k", "1", "application/json")
    }
    assert {tuple(row) for row in service.rows} == {("age",)}
