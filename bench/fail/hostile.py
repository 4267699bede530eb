"""Requests that cost a naive server much time or memory: long, nested, repeated, cut in pieces."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import httpx
from tests.conftest import EXAMPLE

HEAD_BYTES = 15_000
"""Just below `server.header_limit`."""

BODY_BYTES = 1_000_000
"""Just below `server.body_limit`."""

ANSWER_SECONDS = 60.0
JSON = b"Content-Type: application/json"
ROW = json.dumps(EXAMPLE).encode()

PAGES = (
    ("GET", "/"),
    ("GET", "/index.json"),
    ("GET", "/reports/"),
    ("GET", "/reports.json"),
    ("GET", "/reports/drift_report_latest.html"),
    ("GET", "/runbook"),
    ("GET", "/runbook.json"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/static/swagger/swagger-ui-bundle.js"),
    ("GET", "/nothing/here"),
)
"""Routes that OpenAPI does not list."""


@dataclass(frozen=True)
class Route:
    """A method and a path without placeholders."""

    method: str
    path: str

    @property
    def has_body(self) -> bool:
        """Whether requests have a body."""
        return self.method == "POST"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def routes(url: str) -> list[Route]:
    """Return all routes of a service."""
    paths = httpx.get(f"{url}/openapi.json", timeout=30).raise_for_status().json()["paths"]
    listed = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    return [Route(method, path.replace("{", "").replace("}", "")) for method, path in (*listed, *PAGES)]


def request(
    route: Route, *headers: bytes, body: bytes = b"", target: bytes | None = None, host: bytes = b"localhost"
) -> bytes:
    """Build a request with a body of known length."""
    lines = [b"%b %b HTTP/1.1" % (route.method.encode(), target or route.path.encode()), b"Host: " + host]
    if body or route.has_body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, *headers]) + b"\r\n\r\n" + body


def _fill(unit: bytes, size: int = HEAD_BYTES) -> bytes:
    return unit * (size // len(unit))


def long_headers() -> Iterator[tuple[str, list[bytes]]]:
    """Yield headers that take long to parse if a parser is quadratic, by name."""
    yield "Content-Type, semicolons", [b'Content-Type: application/json; a="' + _fill(b";")]
    yield "Content-Type, parameters", [b"Content-Type: application/json" + _fill(b"; a=b")]
    yield "Content-Type, quotes", [b"Content-Type: application/json; a=" + _fill(b'\\"')]
    yield "Content-Type, blanks", [b"Content-Type: application/json" + _fill(b" ") + b"x"]
    yield "Content-Type, multipart", [b"Content-Type: multipart/form-data; boundary=" + _fill(b"-")]
    yield "Cookie, pairs", [b"Cookie: " + _fill(b"a=b; ")]
    yield "Cookie, backslashes", [b'Cookie: a="' + _fill(b"\\")]
    yield "Accept, types", [b"Accept: " + _fill(b"a/b;q=0.1,"), JSON]
    yield "Accept, commas", [b"Accept: " + _fill(b","), JSON]
    yield "Accept, digits", [b"Accept: */*;q=0." + _fill(b"9"), JSON]
    yield "Accept-Encoding", [b"Accept-Encoding: " + _fill(b"gzip;q=0,")]
    yield (
        "Range, one after the other",
        [b"Range: bytes=" + b",".join(b"%d-%d" % (i, i) for i in range(0, 5000, 2))],
    )
    yield "Range, overlapping", [b"Range: bytes=0-" + _fill(b",0-")]
    yield "Range, digits", [b"Range: bytes=0-" + _fill(b"9")]
    yield "If-Range", [b"Range: bytes=0-1", b"If-Range: " + _fill(b'"')]
    yield "If-None-Match", [b"If-None-Match: " + _fill(b'W/"a",')]
    yield "If-Modified-Since", [b"If-Modified-Since: Mon, " + _fill(b"0")]
    yield "Host, dots", [b"X: y"]
    yield "Origin, at signs", [b"Origin: http://" + _fill(b"@")]
    yield "Origin, brackets", [b"Origin: http://[" + _fill(b":")]
    yield "Referer", [b"User-Agent: Mozilla/5.0", b"Referer: http://" + _fill(b"a.")]
    yield "X-Forwarded-Host", [b"Origin: http://a", b"X-Forwarded-Host: " + _fill(b"a,")]
    yield "X-Request-ID", [b"X-Request-ID: " + _fill(b"a")]
    yield "traceparent", [b"traceparent: 00-" + _fill(b"0") + b"-01"]
    yield "Connection", [b"Connection: " + _fill(b"upgrade, "), b"Upgrade: h2c"]
    yield (
        "Upgrade",
        [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: " + _fill(b"A")],
    )
    yield "Expect", [b"Expect: " + _fill(b"100-continue, ")]
    yield "Content-Encoding", [b"Content-Encoding: " + _fill(b"gzip, "), JSON]
    yield "many headers", [_fill(b"a:b\r\n") + b"a: b"]
    yield "many hosts", [_fill(b"Host: a\r\n") + b"a: b"]
    yield "too large", [b"A: " + _fill(b"x", 300_000)]
    yield "too many", [_fill(b"a:b\r\n", 300_000) + b"a: b"]


def long_targets(path: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield request targets that are long or strange, by name."""
    yield "query, ampersands", path + b"?" + _fill(b"&")
    yield "query, parameters", path + b"?" + _fill(b"limit=1&")
    yield "query, digits", path + b"?limit=" + _fill(b"9")
    yield "query, percents", path + b"?wait=" + _fill(b"%")
    yield "query, semicolons", path + b"?" + _fill(b"a;")
    yield "path, segments", path + _fill(b"/a")
    yield "path, slashes", path + _fill(b"/")
    yield "path, dots", path + _fill(b"/..")
    yield "path, percent-encoded", path + _fill(b"/%2e%2e")
    yield "path, not UTF-8", path + _fill(b"%ff")
    yield "path, percents", path + _fill(b"%")
    yield "absolute", b"http://" + _fill(b"a.") + b"/" + path
    yield "absolute, ports", b"http://localhost:" + _fill(b"9") + path


def large_bodies() -> Iterator[tuple[str, bytes]]:
    """Yield bodies that take long to parse or to check, by name."""
    recent = f"{int(time.time() * 1000):012x}"
    ids = ({"prediction_id": f"{recent[:8]}{recent[8:]}7{i:019x}", "label": "setosa"} for i in range(10_000))
    half = BODY_BYTES // 2
    yield "lists in lists", b"[" * half + b"]" * half
    yield "objects in objects", _fill(b'{"a":', BODY_BYTES)
    yield "one long integer", b'{"sepal length (cm)": ' + _fill(b"9", BODY_BYTES) + b"}"
    yield "one long fraction", b'{"sepal length (cm)": 0.' + _fill(b"9", BODY_BYTES) + b"}"
    yield "one long exponent", b'{"sepal length (cm)": 1e' + _fill(b"9", BODY_BYTES) + b"}"
    yield "many long integers", b"[" + _fill(b"9" * 399 + b",", BODY_BYTES) + b"1]"
    yield "many long fractions", b"[" + _fill(b"0." + b"7" * 700 + b"e-300,", BODY_BYTES) + b"1]"
    yield "one name many times", b"{" + _fill(b'"a":1,', BODY_BYTES) + b'"a":1}'
    yield "many names", b"{" + b",".join(b'"%07d":1' % i for i in range(BODY_BYTES // 12)) + b"}"
    yield (
        "many names, twice",
        b"{" + b",".join(b'"%07d":1' % (i // 2) for i in range(BODY_BYTES // 12)) + b"}",
    )
    yield "many small rows", b"[" + _fill(b"{},", BODY_BYTES) + b"{}]"
    yield "many rows", b"[" + b",".join([ROW] * (BODY_BYTES // (len(ROW) + 1))) + b"]"
    yield "many numbers", b"[" + _fill(b"1,", BODY_BYTES) + b"1]"
    yield "many strings", b"[" + _fill(b'"",', BODY_BYTES) + b'""]'
    yield "one long string", b'{"sepal length (cm)": "' + _fill(b"\\u0041", BODY_BYTES) + b'"}'
    yield "one long name", b'{"' + _fill(b"sepal length ", BODY_BYTES) + b'": 1}'
    yield "half surrogates", b'{"' + _fill(b"\\ud800", BODY_BYTES) + b'": 1}'
    yield "blanks", _fill(b" ", BODY_BYTES) + b"{}"
    yield "line breaks", _fill(b"\n", BODY_BYTES) + b"x"
    yield "minus signs", _fill(b"-", BODY_BYTES)
    yield "made-up ids", json.dumps({"labels": list(ids)}).encode()
    yield (
        "wide table",
        b'{"columns": [' + _fill(b'"a",', half) + b'"a"], "data": [[' + _fill(b"1,", half) + b"1]]}",
    )
    yield "16 KiB of names", b"{" + b",".join(b'"sepal lengt%d":1' % i for i in range(800)) + b"}"
    yield "16 KiB of rows", b"[" + _fill(b"{},", 16_000) + b"{}]"
    yield "16 KiB of digits", b"[" + _fill(b"9" * 399 + b",", 16_000) + b"1]"
    yield "16 KiB of brackets", _fill(b"[", 16_000)


def chunked(route: Route) -> Iterator[tuple[str, bytes]]:
    """Yield requests with a body in chunks, by name."""
    head = b"%b %b HTTP/1.1\r\nHost: localhost\r\n%b\r\nTransfer-Encoding: chunked\r\n\r\n"
    start = head % (route.method.encode(), route.path.encode(), JSON)
    yield "chunks of one byte", start + _fill(b"1\r\n \r\n", BODY_BYTES) + b"0\r\n\r\n"
    yield "chunk extensions", start + b"1;a=" + _fill(b"b", BODY_BYTES) + b"\r\n{\r\n0\r\n\r\n"
    yield "many chunk extensions", start + _fill(b"1;a=b\r\n \r\n", BODY_BYTES) + b"0\r\n\r\n"
    yield "trailers", start + b"2\r\n{}\r\n0\r\n" + _fill(b"a: b\r\n", BODY_BYTES) + b"\r\n"
    yield "one long trailer", start + b"2\r\n{}\r\n0\r\na: " + _fill(b"b", 2 * BODY_BYTES) + b"\r\n\r\n"
    yield "zeros before the size", start + _fill(b"0", BODY_BYTES) + b"1\r\n{\r\n0\r\n\r\n"
    yield "too much", start + (b"ffff\r\n" + b" " * 65535 + b"\r\n") * 80 + b"0\r\n\r\n"


def pipelined(route: Route) -> Iterator[tuple[str, bytes]]:
    """Yield many requests in one segment, by name."""
    small = request(route, JSON, body=ROW if route.has_body else b"")
    yield "500 requests at once", small * 500
    offer = request(route, b"Connection: Upgrade", b"Upgrade: h2c", JSON, body=ROW if route.has_body else b"")
    yield "500 offers at once", offer * 500


def hostile_requests(route: Route) -> Iterator[tuple[str, bytes]]:
    """Yield all hostile requests to one route, by name."""
    body = ROW if route.has_body else b""
    for name, headers in long_headers():
        host = _fill(b"a.") if name == "Host, dots" else b"localhost"
        yield name, request(route, *headers, body=body, host=host)
    for name, target in long_targets(route.path.encode()):
        yield name, request(route, JSON, body=body, target=target)
    if route.has_body:
        for name, large in large_bodies():
            yield name, request(route, JSON, body=large)
        yield from chunked(route)
    else:
        yield "a body that nobody reads", request(route, JSON, body=_fill(b" ", BODY_BYTES))
        yield from list(chunked(route))[3:]
    if route.path not in ("/monitor/trigger_now", "/monitor/generate_report"):
        yield from pipelined(route)


async def ask(port: int, data: bytes | Sequence[bytes], seconds: float = ANSWER_SECONDS) -> int:
    """Send a request over a connection of its own.

    Returns:
        The status of the first answer; 0 if the connection ends without one, -1 if nothing comes in time.
    """
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return 0
    try:
        async with asyncio.timeout(seconds):
            with contextlib.suppress(ConnectionError):
                for part in [data] if isinstance(data, bytes) else data:
                    writer.write(part)
                    await writer.drain()
            line = await reader.readline()
            while line.startswith(b"HTTP/1.1 100"):
                await reader.readline()
                line = await reader.readline()
            return int(line.split(b" ", 2)[1]) if line else 0
    except TimeoutError:
        return -1
    except (ConnectionError, ValueError, IndexError):
        return 0
    finally:
        writer.transport.abort()
