"""Bad input of every kind: a problem that names the field, counted, never logged, and the service goes on."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.conftest import EXAMPLE, Running, predict, total, wait_until

pytestmark = pytest.mark.service

JSON = {"Content-Type": "application/json"}
POST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
NAMES = list(EXAMPLE)
SEPAL, WIDTH = NAMES[0], NAMES[1]
GOOD = json.dumps(EXAMPLE)
DETAIL_LIMIT = 2000


def row(value: str, name: str = SEPAL) -> str:
    """The example as text, with something else as one field's value."""
    return GOOD.replace(f'"{name}": {EXAMPLE[name]}', f'"{name}": {value}')


def without(name: str) -> dict[str, float]:
    return {k: v for k, v in EXAMPLE.items() if k != name}


def renamed(name: str) -> str:
    return json.dumps({**without(SEPAL), name: 5.1})


def table(columns: Any = NAMES, data: Any = (tuple(EXAMPLE.values()),)) -> str:
    return json.dumps({"columns": columns, "data": data})


@dataclass(frozen=True)
class Bad:
    """One bad request and what it must be answered."""

    name: str
    content: str | bytes
    status: int = 422
    reason: str = "type"
    at: str | None = None
    row: int | None = None
    says: str = ""
    path: str = "/predict"
    headers: dict[str, str] | None = None


VALUES = [
    Bad("a string for a number", row('"5.1"'), at=SEPAL, says="must be a number, got a string"),
    Bad("an empty string for a number", row('""'), at=SEPAL, says="got a string"),
    Bad("true for a number", row("true"), at=SEPAL, says="got a boolean"),
    Bad("false for a number", row("false", WIDTH), at=WIDTH, says="got a boolean"),
    Bad("a list for a number", row("[5.1]"), at=SEPAL, says="got an array"),
    Bad("an object for a number", row('{"value": 5.1}'), at=SEPAL, says="got an object"),
    Bad("null for a number", row("null"), reason="null", at=SEPAL, says="must not be null"),
    Bad("NaN", row("NaN"), reason="not_finite", at=SEPAL, says="finite"),
    Bad("Infinity", row("Infinity"), reason="not_finite", at=SEPAL, says="finite"),
    Bad("minus Infinity", row("-Infinity", WIDTH), reason="not_finite", at=WIDTH, says="finite"),
    Bad("a number beyond double precision", row("1e400"), reason="not_finite", at=SEPAL),
    Bad("a number beyond single precision", row("1e39"), reason="not_finite", at=SEPAL, says="3.4e38"),
    Bad("a negative number beyond single precision", row("-3.5e38"), reason="not_finite", at=SEPAL),
    Bad("an integer of 400 digits", row("9" * 400), reason="not_finite", at=SEPAL),
    Bad("an integer of 5000 digits", row("9" * 5000), reason="not_finite", at=SEPAL),
    Bad("a negative integer of 5000 digits", row("-" + "9" * 5000), reason="not_finite", at=SEPAL),
]

FIELDS = [
    Bad("no fields", "{}", reason="missing", at=SEPAL, says=f"'{NAMES[3]}' is missing"),
    *(
        Bad(f"without {n}", json.dumps(without(n)), reason="missing", at=n, says=f"'{n}' is missing")
        for n in NAMES
    ),
    Bad(
        "an extra field",
        json.dumps({**EXAMPLE, "colour": 1}),
        reason="extra",
        at="colour",
        says="features are",
    ),
    Bad("an extra field that is null", json.dumps({**EXAMPLE, "x": None}), reason="extra", at="x"),
    Bad("a misspelt field", renamed("sepal lenght (cm)"), reason="missing", says=f"did you mean '{SEPAL}'?"),
    Bad(
        "a field without its unit", renamed("sepal length"), reason="missing", says=f"did you mean '{SEPAL}'?"
    ),
    Bad("a field in capitals", renamed("Sepal Length (cm)"), reason="missing", at="Sepal Length (cm)"),
    Bad(
        "a field with a blank at its end",
        renamed(f"{SEPAL} "),
        reason="missing",
        says=f"did you mean '{SEPAL}'?",
    ),
    Bad("an empty field name", json.dumps({**EXAMPLE, "": 1}), reason="extra", at=""),
    Bad("half a surrogate pair as a field", row('1, "\\ud800": 1'), reason="extra", at="\ud800"),
    Bad(
        "a control character as a field",
        row('1, "a\\u0000b\\u001b[31m": 1'),
        reason="extra",
        at="a\0b\x1b[31m",
    ),
    Bad("a field of 100 kB", json.dumps({**EXAMPLE, "k" * 100_000: 1}), reason="extra", at="k" * 80),
    Bad("markup as a field", json.dumps({**EXAMPLE, "<script>": 1}), reason="extra", at="<script>"),
    Bad("a batch in place of a row", f"[{GOOD}]", reason="not_an_object", says="got an array"),
    Bad("a string in place of a row", '"setosa"', reason="not_an_object", says="got a string"),
    Bad("a number in place of a row", "5.1", reason="not_an_object", says="got a number"),
    Bad("NaN in place of a row", "NaN", reason="not_an_object", says="got a number"),
    Bad("null in place of a row", "null", reason="not_an_object", says="got null"),
    Bad("true in place of a row", "true", reason="not_an_object", says="got a boolean"),
    Bad("a row in a row", json.dumps({"row": EXAMPLE}), reason="missing", at=SEPAL),
]

BODIES = [
    Bad("an empty body", "", 400, "empty_body", says="empty"),
    Bad("a body of blanks", " \r\n\t ", 400, "empty_body", says="empty"),
    Bad("no JSON", "sepal length = 5.1", 400, "not_json", says="line 1, column 1"),
    Bad("single quotes", GOOD.replace('"', "'"), 400, "not_json"),
    Bad("a form", "sepal+length=5.1&sepal+width=3.5", 400, "not_json"),
    Bad("half of a row", GOOD[:40], 400, "not_json", says="column"),
    Bad("two rows", GOOD + GOOD, 400, "not_json", says="Extra data"),
    Bad("garbage behind the row", GOOD + "x", 400, "not_json", says="Extra data"),
    Bad("a comma too many", GOOD.replace("}", ",}"), 400, "not_json"),
    Bad("a comment", "/* row */" + GOOD, 400, "not_json"),
    Bad(
        "a line break in a name", GOOD.replace("sepal", "sepal\n"), 400, "not_json", says="control character"
    ),
    Bad("a hexadecimal number", row("0x5"), 400, "not_json"),
    Bad("a number with a leading plus", row("+5.1"), 400, "not_json"),
    Bad("a number with a leading zero", row("05.1"), 400, "not_json"),
    Bad("a bare nan", row("nan"), 400, "not_json"),
    Bad(
        "a field twice",
        row(f'5.1, "{SEPAL}": 5.1'),
        400,
        "duplicate",
        says=f"'{SEPAL}' is there more than once",
    ),
    Bad(
        "an unknown field twice",
        row('5.1, "a": 1, "a": 2'),
        400,
        "duplicate",
        says="'a' is there more than once",
    ),
    Bad("100,000 brackets", "[" * 100_000, 400, "not_json", says="deep"),
    Bad("100,000 closed brackets", "[" * 100_000 + "]" * 100_000, 400, "not_json", says="deep"),
    Bad("100,000 braces", '{"a":' * 100_000, 400, "not_json", says="deep"),
    Bad("UTF-16", GOOD.encode("utf-16"), 400, "not_json", says="UTF-8"),
    Bad("UTF-16 without a mark", GOOD.encode("utf-16-le"), 400, "not_json"),
    Bad("a byte order mark", "\ufeff" + GOOD, 400, "not_json"),
    Bad("bytes that are no UTF-8", row('5.1, "\xe9": 1').encode("latin-1"), 400, "not_json", says="UTF-8"),
    Bad("zero bytes", b"\0" * 100, 400, "not_json"),
    Bad("one byte over the limit", GOOD.ljust(1024 * 1024 + 1), 413, "too_large", says="1048576 bytes"),
    Bad(
        "gzip that says so",
        gzip.compress(GOOD.encode()),
        415,
        "content_encoding",
        headers={**JSON, "Content-Encoding": "gzip"},
    ),
    Bad("gzip that does not", gzip.compress(GOOD.encode()), 400, "not_json"),
]

TYPES = [
    Bad(
        f"content type {given or 'missing'}",
        GOOD,
        415,
        "content_type",
        headers={"Content-Type": given} if given else {},
    )
    for given in (
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/jsonp",
        "application/json, application/json",
        "json",
        ";",
    )
]

BATCHES = [
    Bad(b.name, b.content, b.status, b.reason, b.at, b.row, b.says, "/predict/batch")
    for b in [
        Bad("an empty list", "[]", reason="empty_batch", says="no rows"),
        Bad("a row in place of a batch", GOOD, reason="not_a_batch", says="columns"),
        Bad("a number in place of a batch", "3", reason="not_a_batch"),
        Bad("null in place of a batch", "null", reason="not_a_batch"),
        Bad("a string in place of a batch", '"rows"', reason="not_a_batch"),
        Bad("a list of numbers", "[5.1, 3.5, 1.4, 0.2]", reason="not_an_object", row=0, says="row 0"),
        Bad("a list of lists", "[[5.1, 3.5, 1.4, 0.2]]", reason="not_an_object", row=0),
        Bad(
            "one bad row among good",
            f"[{GOOD}, {GOOD}, {row('null')}, {GOOD}]",
            reason="null",
            at=SEPAL,
            row=2,
            says="row 2",
        ),
        Bad(
            "one row without a field",
            f"[{GOOD}, {json.dumps(without(WIDTH))}]",
            reason="missing",
            at=WIDTH,
            row=1,
            says="row 1",
        ),
        Bad("NaN in a row", f"[{GOOD}, {row('NaN')}]", reason="not_finite", at=SEPAL, row=1),
        Bad(
            "100,000 bad rows",
            "[" + ",".join(["{}"] * 100_000) + "]",
            reason="missing",
            at=SEPAL,
            row=0,
            says="more",
        ),
        Bad("a table without rows", table(data=[]), reason="empty_batch", says="no rows"),
        Bad("a table without data", json.dumps({"columns": NAMES}), reason="not_a_batch"),
        Bad(
            "a table with more", json.dumps({"columns": NAMES, "data": [], "index": []}), reason="not_a_batch"
        ),
        Bad("columns that are a string", table("abcd"), reason="not_a_batch"),
        Bad(
            "columns that are numbers",
            table([0, 1, 2, 3]),
            reason="not_a_batch",
            says="'columns' must be feature names",
        ),
        Bad("a column twice", table([SEPAL, SEPAL, *NAMES[2:]]), reason="not_a_batch", says="each once"),
        Bad(
            "an unknown column",
            table(["sepal lenght (cm)", *NAMES[1:]]),
            reason="missing",
            at=SEPAL,
            row=0,
            says="did you mean",
        ),
        Bad("a column too few", table(NAMES[:3], [[5.1, 3.5, 1.4]]), reason="missing", at=NAMES[3], row=0),
        Bad(
            "a row that is too short",
            table(data=[[5.1, 3.5, 1.4, 0.2], [5.1, 3.5]]),
            reason="length",
            at="data",
            row=1,
            says="row 1",
        ),
        Bad(
            "a row that is too long", table(data=[[5.1, 3.5, 1.4, 0.2, 9]]), reason="length", at="data", row=0
        ),
        Bad("a row that is an object", table(data=[EXAMPLE]), reason="length", at="data", row=0),
        Bad("data that is an object", table(data={"0": [5.1, 3.5, 1.4, 0.2]}), reason="not_a_batch"),
        Bad("a string in a table", table(data=[[5.1, 3.5, 1.4, "0.2"]]), at=NAMES[3], row=0),
        Bad("an empty body for a batch", "", 400, "empty_body"),
        Bad("a large body for a batch", "[" + ",".join([GOOD] * 11_000) + "]", 413, "too_large"),
    ]
]

BAD = [*VALUES, *FIELDS, *BODIES, *TYPES, *BATCHES]


def test_the_good_row_that_the_bad_ones_are_made_of_is_good(service: Running) -> None:
    assert httpx.post(f"{service.url}/predict", content=GOOD, headers=JSON).status_code == 200
    assert len(BAD) >= 60


def test_numbers_at_the_edge_of_what_is_allowed_are_answered(service: Running) -> None:
    largest = 3.4028234663852886e38
    rows = [{**EXAMPLE, SEPAL: v} for v in (largest, -largest, 5e-324, -0.0, 0)]
    assert len(predict(service.url, rows)) == 5


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_bad_input_is_refused_and_counted_and_never_logged(service: Running, bad: Bad) -> None:
    logged = len(service.logged_ids())
    before = service.samples()
    content = bad.content.encode() if isinstance(bad.content, str) else bad.content
    answer = httpx.post(
        f"{service.url}{bad.path}",
        content=content,
        headers=JSON if bad.headers is None else bad.headers,
        timeout=10,
    )
    is_problem(answer, bad.status)
    body = answer.json()
    assert bad.says in body["detail"]
    if bad.at is not None:
        assert any(e["field"] == bad.at and e.get("row") == bad.row for e in body["errors"])
    assert len(service.logged_ids()) == logged
    after = service.samples()
    labels = {"route": bad.path, "method": "POST", "status": str(bad.status)}
    for name, found in (
        ("driftbell_http_requests_total", labels),
        ("driftbell_http_request_duration_seconds_count", labels),
        ("driftbell_rejected_inputs_total", {"reason": bad.reason}),
    ):
        assert total(after, name, **found) == total(before, name, **found) + 1
    assert httpx.get(f"{service.url}/health").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("PUT", "/predict", "POST"),
        ("DELETE", "/predict", "POST"),
        ("PATCH", "/predict/batch", "POST"),
        ("OPTIONS", "/predict", "POST"),
        ("POST", "/health", "GET"),
        ("POST", "/metrics", "GET"),
        ("GET", "/monitor/trigger_now", "POST"),
        ("POST", "/monitor/generate_report", "GET"),
        ("DELETE", "/monitor/status", "GET"),
        ("POST", "/reports/", "GET"),
        ("DELETE", "/reports/drift_report_latest.html", "GET"),
        ("PUT", "/static/style.css", "GET"),
        ("PROPFIND", "/health", "GET"),
    ],
)
def test_a_wrong_method_is_405_and_told_what_is_allowed(
    service: Running, method: str, path: str, allowed: str
) -> None:
    answer = httpx.request(method, f"{service.url}{path}")
    is_problem(answer, 405)
    assert allowed in answer.headers["allow"]
    assert allowed in answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/predict/row",
        "/monitor",
        "/monitor/checks/0123456789abcdef",
        "/monitor/checks/%00",
        "/monitor/checks/%ed%a0%80",
        "/monitor/checks/' OR 1=1 --",
        "/monitor/requests/nobody",
        "/static/nothing.css",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/.env",
        "/" + "a" * 5000,
    ],
)
def test_an_unknown_path_is_404(service: Running, path: str) -> None:
    is_problem(httpx.get(f"{service.url}{path}", follow_redirects=True), 404)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        *(
            ("GET", f"/monitor/checks?limit={v}", "limit")
            for v in ("0", "-1", "1001", "many", "1.5", "", "9" * 5000)
        ),
        *(("POST", f"/monitor/trigger_now?wait={v}", "wait") for v in ("maybe", "2", "", "%00")),
        ("GET", "/monitor/generate_report?wait=later", "wait"),
    ],
)
def test_a_query_parameter_out_of_range_is_refused_by_name(
    service: Running, method: str, path: str, name: str
) -> None:
    before = service.metric("driftbell_rejected_inputs_total", reason="query")
    answer = httpx.request(method, f"{service.url}{path}")
    is_problem(answer, 422)
    assert f"'{name}'" in answer.json()["detail"]
    assert answer.json()["errors"][0]["field"] == name
    assert service.metric("driftbell_rejected_inputs_total", reason="query") == before + 1


@pytest.mark.parametrize(
    "name",
    [
        b"../log.sqlite",
        b"..%2flog.sqlite",
        b"%2e%2e/log.sqlite",
        b"%2e%2e%2flog.sqlite",
        b"%252e%252e%252flog.sqlite",
        b"..%5clog.sqlite",
        b"....//log.sqlite",
        b"%2fetc%2fpasswd",
        b"/etc/passwd",
        b"drift_report_latest.html%00",
        b"drift_report_latest.html%0a",
        b"drift_report_latest.html/../../log.sqlite",
        b"drift_report_20260101_000000.html",
        b".drift_report_latest.html.part",
        b"%c0%ae%c0%ae/log.sqlite",
        b"DRIFT_REPORT_LATEST.HTML",
    ],
)
def test_reports_never_gives_another_file(service: Running, name: bytes) -> None:
    status, body = spoken(service, b"GET /reports/" + name + b" HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert status == 404
    assert json.loads(body)["status"] == 404
    assert b"SQLite" not in body


def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent(service: Running) -> None:
    for more in (b"", b"Expect: 100-continue\r\n"):
        status, body = spoken(
            service,
            POST + b"Content-Length: 1073741824\r\n" + more + b"\r\n",
        )
        assert status == 413
        assert "1048576 bytes" in json.loads(body)["detail"]


def test_a_chunked_body_is_cut_off_at_the_limit(service: Running) -> None:
    before = service.metric("driftbell_rejected_inputs_total", reason="too_large")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    sent = 0
    with socket.create_connection(address(service), timeout=10) as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            while sent < 64 * 1024 * 1024:  # the end of the body is never sent
                connection.sendall(chunk)
                sent += 0x10000
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < 32 * 1024 * 1024
    assert service.metric("driftbell_rejected_inputs_total", reason="too_large") == before + 1


def test_a_chunked_body_within_the_limit_is_taken(service: Running) -> None:
    def parts() -> Iterator[bytes]:
        for part in itertools.batched(GOOD.encode(), 7) if hasattr(itertools, "batched") else [GOOD.encode()]:
            yield bytes(part)

    assert httpx.post(f"{service.url}/predict", content=parts(), headers=JSON).status_code == 200


def test_a_client_that_goes_away_in_the_middle_of_its_body_is_counted(service: Running) -> None:
    before = service.metric("driftbell_rejected_inputs_total", reason="disconnected")
    logged = len(service.logged_ids())
    with socket.create_connection(address(service), timeout=10) as connection:
        connection.sendall(POST + b"Content-Length: 100\r\n\r\n{")
        wait_until(lambda: service.metric("driftbell_http_requests_in_flight") >= 2, 60, "the request")
    wait_until(
        lambda: service.metric("driftbell_rejected_inputs_total", reason="disconnected") == before + 1,
        10,
        "the count",
    )
    assert len(service.logged_ids()) == logged


@pytest.mark.parametrize(
    "sent",
    [
        b"\0\1\2\3 garbage \xff\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"FOO /health HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        POST + b"Content-Length: -5\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /health HTTP/1.1\r\nHost x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_is_refused_and_kills_nothing(service: Running, sent: bytes) -> None:
    status, _ = spoken(service, sent)
    assert status == 400
    assert httpx.post(f"{service.url}/predict", json=EXAMPLE).status_code == 200


@pytest.mark.parametrize("offered", [b"h2c", b"websocket"])
@pytest.mark.parametrize("apart", [False, True], ids=["at once", "the body later"])
def test_an_offer_of_another_protocol_is_ignored(service: Running, offered: bytes, apart: bool) -> None:
    """Java's HTTP client offers h2c, and sends head and body apart."""
    length = b"Content-Length: %d\r\n\r\n" % len(GOOD)
    parts = [POST + b"Connection: Upgrade\r\nUpgrade: " + offered + b"\r\n" + length, GOOD.encode()]
    with socket.create_connection(address(service), timeout=10) as connection:
        for part in parts if apart else [b"".join(parts)]:
            connection.sendall(part)
            time.sleep(0.05)
        connection.sendall(POST + b"Connection: close\r\n" + length + GOOD.encode())
        received = b""
        while part := connection.recv(65536):
            received += part
    assert received.count(b"HTTP/1.1 200") == received.count(b'"class":"setosa"') == 2


@pytest.mark.parametrize("host", [b"[", b"a b<>\"'", b"\xff", b"", b"x" * 5000])
def test_a_strange_host_header_breaks_no_page(service: Running, host: bytes) -> None:
    status, body = spoken(service, b"GET / HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
    assert status in (200, 400)
    assert host not in body or b"<" not in host


def test_nothing_that_was_refused_made_an_error_line(service: Running) -> None:
    httpx.post(f"{service.url}/predict", content="{", headers=JSON)
    events = service.events()
    assert any(e["level"] == "WARNING" and e.get("status") == 400 for e in events)
    assert [e for e in events if e["level"] == "ERROR"] == []


def is_problem(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert 0 < len(body["detail"]) < DETAIL_LIMIT
    assert len(answer.content) < 20_000


def address(service: Running) -> tuple[str, int]:
    url = httpx.URL(service.url)
    return url.host, url.port or 80


def spoken(service: Running, sent: bytes) -> tuple[int, bytes]:
    """Send bytes as they are and give the status and body of the answer; the sender's half stays open."""
    with socket.create_connection(address(service), timeout=10) as connection:
        connection.sendall(sent)
        received = b""
        while part := connection.recv(65536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body
