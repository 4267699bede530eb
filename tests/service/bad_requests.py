"""Bad requests of every kind, and how the service has to answer each."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from tests.conftest import EXAMPLE

JSON = {"Content-Type": "application/json"}
POST = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
NAMES = list(EXAMPLE)
SEPAL, WIDTH = NAMES[0], NAMES[1]
GOOD = json.dumps(EXAMPLE)
DETAIL_LIMIT = 2000


def row(value: str, name: str = SEPAL) -> str:
    """The example as text, with something else as one field's value."""
    return GOOD.replace(f'"{name}": {EXAMPLE[name]}', f'"{name}": {value}')


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


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
        says=f"did you mean '{SEPAL}' (they differ only in spaces at the ends)?",
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
        "gzip without its header",
        gzip.compress(GOOD.encode()),
        400,
        "not_json",
        says="Content-Encoding: gzip",
    ),
]

GZIPPED = gzip.compress(GOOD.encode())
ENCODINGS = [
    Bad(name, content, status, reason, says=says, headers={**JSON, "Content-Encoding": coding})
    for name, content, coding, status, reason, says in (
        ("brotli", GOOD, "br", 415, "content_encoding", "gzip, deflate, zstd or no Content-Encoding"),
        ("two codings", GZIPPED, "gzip, gzip", 415, "content_encoding", "compress it once"),
        ("gzip that is not", GOOD, "gzip", 400, "content_encoding", "leave the header out"),
        ("deflate that is not", GOOD, "deflate", 400, "content_encoding", "corrupt"),
        ("zstd that is not", GOOD, "zstd", 400, "content_encoding", "leave the header out"),
        ("zstd of noise", b"\x28\xb5\x2f\xfd" + b"\xff" * 99, "zstd", 400, "content_encoding", "corrupt"),
        ("gzip cut off", GZIPPED[:-9], "gzip", 400, "content_encoding", "ends too early"),
        ("gzip with a wrong sum", GZIPPED[:-8] + b"\0" * 8, "gzip", 400, "content_encoding", "corrupt"),
        ("gzip with more after it", GZIPPED + b"more", "gzip", 400, "content_encoding", "after its end"),
        ("gzip of gzip", gzip.compress(GZIPPED), "gzip", 400, "content_encoding", "twice"),
        ("1,000 empty streams", gzip.compress(b"") * 1000, "gzip", 400, "content_encoding", "100"),
        ("empty gzip", gzip.compress(b""), "gzip", 400, "empty_body", "empty"),
        ("no gzip at all", b"", "gzip", 400, "content_encoding", "leave the header out"),
        ("a bomb", gzip.compress(b" " * 20_000_000), "gzip", 413, "too_large", "more than 1048576 bytes"),
        ("a deflate bomb", zlib.compress(b" " * 20_000_000), "deflate", 413, "too_large", "1048576 bytes"),
        ("a zstd bomb", zstd(b" " * 20_000_000), "zstd", 413, "too_large", "1048576 bytes"),
    )
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
            "a table with more", json.dumps({"columns": NAMES, "data": [], "more": []}), reason="not_a_batch"
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

BAD = [*VALUES, *FIELDS, *BODIES, *ENCODINGS, *TYPES, *BATCHES]
